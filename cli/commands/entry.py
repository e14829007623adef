"""`libra entry`: what became of one entry."""

from datetime import datetime
from typing import Any

import click
from rich.text import Text

from cli.comparison import as_json, iso, print_json
from cli.listing import key_text
from cli.report import figures_table, page, shown
from cli.writing import connected
from shared.aggregation import Source, document_id
from shared.catalog import LIBRA_HOME, libra
from shared.windows import EntryStatus, entry_status

MEANING = {
    "verified": "a completed recompute has counted it",
    "applied": "the trigger has counted it; the next recompute that proves its commit time proves that",
    "received": "it is there and not counted yet: its event is on the way, late or lost",
    "unsure": "it was edited, and no marker says whether the edit is counted: the next recompute settles it",
    "uncounted": "it is there, and no aggregation counts anything of it",
    "gone": "it was deleted or archived, and the totals know it",
    "unknown": "it is not there: it was never written, or it was deleted or archived",
}


class Moment(click.ParamType[datetime]):
    """An instant in ISO 8601, with a zone."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        """Parse it, or end the command with what is allowed."""
        try:
            moment = value if isinstance(value, datetime) else datetime.fromisoformat(value)
        except ValueError:
            moment = None
        if moment is None or moment.tzinfo is None:
            self.fail(f"{value!r} is no time with a zone such as 2025-09-04T18:57:29.123456Z", param, ctx)
        return moment


@click.command("entry")
@click.argument("entry_id", metavar="ID")
@click.option(
    "--version",
    type=Moment(),
    help="When its last version was committed. It tells a deleted or archived entry from an unknown one.",
)
@as_json
def command(*, entry_id: str, version: datetime | None, as_json: bool) -> None:
    """Show what became of the entry ID: received, applied, verified, or gone; and why it is not counted.

    The exit status is 1 if the entry is not there. It costs about four reads.
    """
    with connected() as (store, settings):
        source = libra(settings)
        found = entry_status(store, source, LIBRA_HOME, entry_id, version=version)
    if as_json:
        print_json(_plain(source, found))
    else:
        _show(source, found)
    if found.state == "unknown":
        raise SystemExit(1)


def _plain(source: Source, found: EntryStatus) -> dict[str, object]:
    return {
        "id": found.id,
        "state": found.state,
        "created": iso(found.created),
        "updated": iso(found.updated),
        "adds": [
            {
                "aggregation": cell.aggregation,
                "key": source.aggregation(cell.aggregation).stored_key(cell.key),
                "id": document_id(cell.key),
                **adds,
            }
            for cell, adds in found.contribution.deltas.items()
        ],
        "rejections": [
            {"aggregation": each.aggregation, "field": each.field, "reason": each.reason}
            for each in found.rejections
        ],
        "recorded": [dict(each) for each in found.recorded],
        "exact_through": iso(found.proof.watermark),
    }


def _show(source: Source, found: EntryStatus) -> None:
    console = page()
    console.print(shown(found.id), style="bold")
    console.print(Text(f"{found.state}: {MEANING[found.state]}."))
    rows = [
        (name, f"{moment:%Y-%m-%d %H:%M:%S.%f} UTC")
        for name, moment in (("created", found.created), ("version", found.updated))
        if moment
    ]
    for cell, adds in found.contribution.deltas.items():
        declared = source.aggregation(cell.aggregation)
        numbers = ", ".join(f"{name} {amount:+,}" for name, amount in adds.items())
        key = shown(key_text(declared, cell.key, "")).plain
        rows.append((cell.aggregation, f"{key}: {numbers}"))
    if rows:
        console.print(figures_table("", [(name, Text(text).plain) for name, text in rows]))
    for each in found.rejections:
        said = f"{each.aggregation} does not count it: {each.field}: {each.reason}"
        console.print(Text(said, style="yellow"))

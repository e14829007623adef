"""`libra rejected`: what could not be counted, and a second look at it."""

from collections.abc import Mapping

import click
from rich.text import Text

from cli.commands.options import real_project
from cli.comparison import as_json, iso, print_json
from cli.listing import collect, listed, one_format, print_csv, say_more
from cli.report import page, shown
from cli.writing import connected, named_store
from shared.catalog import LIBRA_HOME, libra
from shared.windows import Rejected, Retried, rejected, retry

MEANING = {
    "counted": "it can be counted now, and a recompute has done so. The record is removed.",
    "waiting": "it can be counted now. The next recompute that proves its commit time counts it.",
    "rejected": "it still cannot be counted.",
    "replaced": "its version was edited or deleted since. The record is removed.",
    "malformed": "the event describes no entry, and never will.",
}


@click.command("rejected")
@click.option("--retry", "record", metavar="ID", help="Look at one record again.")
@listed
@as_json
@real_project
def command(
    *,
    record: str | None,
    limit: int,
    everything: bool,
    as_csv: bool,
    as_json: bool,
    real_project: str | None,
) -> None:
    """Show what could not be counted and why, the latest first.

    --retry counts nothing by itself: a recompute does. It removes a record that is out of date.
    """
    one_format(as_json=as_json, as_csv=as_csv)
    if record is not None:
        with named_store(real_project) as (store, settings):
            _show_retried(retry(store, libra(settings), LIBRA_HOME, record), as_json=as_json)
        return
    with connected() as (store, _):
        found, more = collect(
            lambda after, size: rejected(store, LIBRA_HOME, after=after, limit=size),
            limit=limit,
            everything=everything,
        )
    if as_json:
        print_json({"rejected": [_plain(each) for each in found], "more": more})
    elif as_csv:
        print_csv(
            ("id", "entry", "event", "version", "rejected_at", "aggregation", "field", "reason"),
            [_row(each, reason) for each in found for reason in each.reasons or ({},)],
        )
        say_more(more)
    else:
        _show(found, more=more)


def _plain(one: Rejected) -> dict[str, object]:
    return {
        "id": one.id,
        "entry": one.entry,
        "event": one.event,
        "version": iso(one.version),
        "rejected_at": iso(one.rejected_at),
        "reasons": [dict(each) for each in one.reasons],
    }


def _row(one: Rejected, reason: Mapping[str, str]) -> list[object]:
    named = [reason.get(name) for name in ("aggregation", "field", "reason")]
    return [one.id, one.entry, one.event, iso(one.version), iso(one.rejected_at), *named]


def _show(found: list[Rejected], *, more: bool) -> None:
    console = page()
    if not found:
        console.print("Nothing is rejected.", style="bold green")
        return
    for each in found:
        console.print(Text(each.id, style="bold"), shown(each.entry or f"event {each.event}"))
        for reason in each.reasons:
            console.print(Text("  ").append_text(shown(_said(reason))))
    if more:
        console.print(Text("There are more: use --limit or --all.", style="dim"))


def _show_retried(found: Retried, *, as_json: bool) -> None:
    if as_json:
        said = {"verdict": found.verdict, "removed": found.removed}
        print_json(_plain(found.record) | said | {"reasons": [dict(each) for each in found.reasons]})
        return
    console = page()
    console.print(shown(found.record.entry or f"event {found.record.event}"), style="bold")
    console.print(Text(f"{found.verdict}: {MEANING[found.verdict]}"))
    for each in found.reasons:
        console.print(shown(_said(each)), style="yellow")


def _said(reason: Mapping[str, str]) -> str:
    return ": ".join(reason[name] for name in ("aggregation", "field", "reason") if name in reason)

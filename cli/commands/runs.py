"""`libra runs`: the history of recomputes, and what one of them found."""

from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from typing import Any

import click
from rich.text import Text

from cli.commands.status import runs_table
from cli.comparison import as_json, iso, print_json
from cli.listing import collect, listed, one_format, print_csv, say_more
from cli.report import figures_table, page, shown
from cli.writing import connected
from shared.catalog import LIBRA_HOME
from shared.status import RunStatus
from shared.windows import Run, run, runs

CORRECTIONS = 20
"""The most corrections of a run that are shown; --json has what the record holds."""


@click.command("runs")
@click.argument("run_id", metavar="[RUN]", required=False)
@listed
@as_json
def command(*, run_id: str | None, limit: int, everything: bool, as_csv: bool, as_json: bool) -> None:
    """Show the last recomputes with their drift, the newest first; or RUN with what it corrected."""
    one_format(as_json=as_json, as_csv=as_csv)
    with connected() as (store, _):
        if run_id is not None:
            _show_one(run(store, LIBRA_HOME, run_id), as_json=as_json, as_csv=as_csv)
            return
        found, more = collect(
            lambda after, size: runs(store, LIBRA_HOME, after=after, limit=size),
            limit=limit,
            everything=everything,
        )
    rows = [_plain(each) for each in found]
    if as_json:
        print_json({"runs": rows, "more": more})
    elif as_csv:
        header = list(RunStatus.__dataclass_fields__)
        print_csv(header, [[row[name] for name in header] for row in rows])
        say_more(more)
    else:
        console = page()
        console.print(runs_table(found, ids=True) if found else "No recompute has run yet.")
        if more:
            console.print(Text("There are more: use --limit or --all.", style="dim"))


def _plain(one: RunStatus) -> dict[str, object]:
    return asdict(one) | {"started": iso(one.started), "watermark": iso(one.watermark)}


def _jsonable(value: object) -> Any:
    if isinstance(value, datetime):
        return iso(value)
    if isinstance(value, Mapping):
        return {str(name): _jsonable(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_jsonable(each) for each in value]
    return value if isinstance(value, str | int | float | bool | None) else str(value)


def _show_one(found: Run, *, as_json: bool, as_csv: bool) -> None:
    if as_csv:
        raise click.UsageError("--csv is for the list of runs; use --json for one.")
    if as_json:
        print_json(_plain(found.status) | {"record": _jsonable(found.record)})
        return
    console, status = page(), found.status
    console.print(shown(status.run_id), style="bold")
    numbers = {"entries": status.entries, "drift": status.drift, "corrected": status.corrected}
    rows = [
        ("started", f"{status.started:%Y-%m-%d %H:%M:%S} UTC"),
        ("state", status.state),
        *([("watermark", f"{status.watermark:%Y-%m-%d %H:%M:%S} UTC")] if status.watermark else []),
        *([("strategy", status.strategy)] if status.strategy else []),
        *((name, f"{number:,}") for name, number in numbers.items() if number is not None),
        *([("seconds", f"{status.seconds:.1f}")] if status.seconds is not None else []),
    ]
    console.print(figures_table("", rows))
    if status.error:
        console.print(Text(status.error, style="yellow"))
    corrections = found.record.get("corrections")
    for each in (corrections if isinstance(corrections, list) else [])[:CORRECTIONS]:
        if isinstance(each, Mapping):
            was = f"{each.get('measure')} was {each.get('stored')}, is {each.get('exact')}"
            console.print(shown(f"{each.get('document')}: {was}"))

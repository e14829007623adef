"""How a recompute and its result look in a terminal and as JSON."""

import json
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from cli.report import figures_table, page, shown
from shared.counting import STRATEGIES
from shared.log import logger
from shared.recompute import Filling, Report

SHOWN = 20

as_json = click.option("--json", "as_json", is_flag=True, help="Print only JSON.")
strategy = click.option(
    "--strategy",
    type=click.Choice(STRATEGIES),
    default="auto",
    show_default=True,
    help="How to count: by the indexes, by reading every entry here or by a Beam pipeline, or (auto) by the "
    "indexes or here, whichever is cheaper.",
)


@contextmanager
def progress_line(*, quiet: bool) -> Iterator[Callable[[str, int], None]]:
    """The progress of a recompute, in one line of the terminal; the command prints errors."""
    logger.addHandler(_NOWHERE)
    console = Console(stderr=True, quiet=quiet or not Console(stderr=True).is_terminal)
    with console.status("Starting") as line:
        yield lambda what, number: line.update(
            f"{number:,} {'entries counted' if what == 'counted' else what}"
        )


_NOWHERE = logging.NullHandler()


def show(report: Report, *, dry: bool, unproven: int = 0) -> None:
    """Print what a run found and did. ``unproven``: entries committed after its watermark."""
    console = page()
    console.print(_verdict(report, dry=dry))
    if unproven:
        console.print(
            Text(f"{unproven:,} entries committed since then are not proven yet: a later run proves them.")
        )
    for each in report.filling:
        if each.why != "first":
            console.print(Text(_filling(each, dry=dry)))
    for loss in report.losses:
        says = "A run refuses this loss (MassLoss)" if dry else "Accepted loss"
        console.print(Text(f"{says}: {loss}.", style="bold red"))
    if report.losses and dry:
        console.print(
            Text(
                "If it is meant: libra recompute --accept-loss, with the same --source. If not: restore them."
            )
        )
    if report.corrections:
        console.print(_corrections(report, dry=dry))
    for note in report.notes:
        console.print(Text(note, style="yellow"))
    if report.proposal:
        console.print(Text(f"{report.proposal}.", style="yellow"))
    rows = [
        ("watermark", f"{report.watermark:%Y-%m-%d %H:%M:%S} UTC"),
        ("entries", f"{report.entries:,}"),
        ("totals", f"{report.documents:,}"),
        ("strategy", f"{report.strategy}: {report.why}"),
        ("cost", f"{report.reads:,} reads, {report.writes:,} writes, {report.seconds:.1f} s"),
        *([("run", report.run_id)] if report.run_id else []),
    ]
    console.print(figures_table("", rows))


def _verdict(report: Report, *, dry: bool) -> Text:
    if not (report.entries or report.documents):
        until = f"{report.watermark:%Y-%m-%d %H:%M:%S} UTC"
        return Text(
            f"Nothing was compared: there is no entry and no total up to {until}.", style="bold yellow"
        )
    if not report.drift and not (dry and report.filled):
        return Text(
            f"Every total is right: {report.documents:,} totals agree with the {report.entries:,} entries up "
            f"to {report.watermark:%Y-%m-%d %H:%M:%S} UTC.",
            style="bold green",
        )
    if not report.drift:
        until = f"{report.watermark:%Y-%m-%d %H:%M:%S} UTC"
        return Text(f"Nothing drifted up to {until}. Nothing was changed.", style="bold green")
    ended = "nothing was changed" if dry else "all of them are right now"
    return Text(
        f"{len(report.corrections):,} numbers were wrong, by {report.drift:,} in sum; {ended}.",
        style="bold yellow",
    )


def _filling(each: Filling, *, dry: bool) -> str:
    filled = f"{each.filled:,} are to be filled in" if dry else f"{each.filled:,} were filled in"
    if each.exact_since:
        until = "it is exact from now on"
    elif each.exact_from:
        until = f"a run at {each.exact_from:%Y-%m-%d %H:%M:%S} UTC or later makes it exact"
    else:
        until = "no run has seen it yet"
    return f"{each.aggregation} is {each.why}: {filled}; {until}."


def _corrections(report: Report, *, dry: bool) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0))
    table.add_column("total", overflow="ellipsis", no_wrap=True, max_width=45)
    table.add_column("measure")
    table.add_column("was" if not dry else "is", justify="right")
    table.add_column("right", justify="right")
    table.add_column("drift", justify="right")
    largest = sorted(report.corrections, key=lambda each: -abs(each.exact - each.stored))
    for each in largest[:SHOWN]:
        drift = each.exact - each.stored
        table.add_row(
            shown(each.document), each.measure, f"{each.stored:,}", f"{each.exact:,}", f"{drift:+,}"
        )
    if len(largest) > SHOWN:
        table.add_row(Text(f"{len(largest) - SHOWN:,} more", style="dim"))
    return table


def print_json(value: object) -> None:
    """Print one JSON document."""
    click.echo(json.dumps(value, indent=2, ensure_ascii=False))


def ago(age: timedelta) -> str:
    """An age in words short enough for a table."""
    seconds = int(age.total_seconds())
    for length, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= length:
            return f"{seconds / length:.1f} {unit} ago"
    return f"{seconds} s ago"


def iso(instant: datetime | None) -> str | None:
    """An instant for JSON."""
    return instant.isoformat() if instant else None

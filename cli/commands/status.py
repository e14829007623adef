"""`libra status`: the watermark and its age, the last runs, and what is not yet proven."""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime

import click
from rich.console import Console
from rich.table import Table

from cli.commands.options import source
from cli.comparison import ago, as_json, iso, print_json
from cli.report import figures_table, page, shown
from cli.writing import connected
from shared.catalog import sources
from shared.status import RUNS, RunStatus, Status, status


@click.command("status")
@click.option("--runs", type=click.IntRange(1), default=RUNS, show_default=True, help="Runs to show.")
@source
@as_json
def command(*, runs: int, source: str, as_json: bool) -> None:
    """Show how far the totals are proven, what the last recomputes found, and what came since."""
    with connected() as (store, settings):
        found = status(store, *sources(settings)[source], datetime.now(UTC), runs=runs)
    if as_json:
        print_json(_plain(found))
    else:
        _show(page(), found, "" if source == "libra" else f" --source {source}")


def _plain(found: Status) -> dict[str, object]:
    return {
        "watermark": iso(found.watermark),
        "sealed": iso(found.sealed),
        "age_seconds": found.age.total_seconds() if found.age else None,
        "running": found.lease.run_id if found.lease else None,
        "pending": dict(found.pending),
        "filling": [each.name for each in found.aggregations.declared if each.filling],
        "orphaned": [each.name for each in found.aggregations.orphaned],
        "proposal": _proposal(found),
        "runs": [
            asdict(run) | {"started": iso(run.started), "watermark": iso(run.watermark)} for run in found.runs
        ],
    }


def _show(console: Console, found: Status, option: str) -> None:
    if found.watermark and found.age:
        console.print(
            f"Proven up to {found.watermark:%Y-%m-%d %H:%M:%S} UTC, {ago(found.age)}.", style="bold green"
        )
    else:
        console.print(f"Nothing is proven yet: run libra recompute{option}.", style="bold yellow")
    if found.sealed and found.sealed != found.watermark:
        console.print(
            f"Sealed up to {found.sealed:%Y-%m-%d %H:%M:%S} UTC by a run that has not completed: late "
            "entries from before then are counted when a run completes.",
            style="yellow",
        )
    filling, orphaned = sum(each.filling for each in found.aggregations.declared), found.aggregations.orphaned
    if filling or orphaned:
        console.print(
            f"Aggregations: {filling} filling, {len(orphaned)} orphaned; "
            f"see libra aggregation status{option}.",
            style="yellow",
        )
    pending = [(collection, f"+{amount:,}") for collection, amount in found.pending.items()]
    if pending:
        console.print("\nCounted by the trigger since, to be proven by the next run:")
        console.print(figures_table("", pending))
    if found.runs:
        console.print("\nLast runs:")
        console.print(runs_table(found.runs))
    if advice := _proposal(found):
        console.print(f"\n{advice}.", style="yellow", markup=False)
    for run in found.runs:
        if run.error:
            console.print(f"\n{run.run_id} failed: {run.error}", style="yellow", markup=False)


def _proposal(found: Status) -> str:
    """Of the last run that completed."""
    return next((run.proposal for run in found.runs if run.state == "completed"), "")


def runs_table(runs: Sequence[RunStatus], *, ids: bool = False) -> Table:
    """Runs, with what each of them found."""
    table = Table(box=None, padding=(0, 2, 0, 0))
    for name in (*(("run",) if ids else ("started",)), "state", "strategy"):
        table.add_column(name, no_wrap=True)
    for name in ("entries", "drift", "seconds"):
        table.add_column(name, justify="right", no_wrap=True)
    for run in runs:
        numbers = [f"{each:,}" if each is not None else "" for each in (run.entries, run.drift)]
        seconds = f"{run.seconds:.1f}" if run.seconds is not None else ""
        first = shown(run.run_id) if ids else f"{run.started:%Y-%m-%d %H:%M:%S}"
        table.add_row(first, run.state, run.strategy or "", *numbers, seconds)
    return table

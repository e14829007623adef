"""`libra recompute`: prove the totals against the entries, and repair them."""

import click

from cli.commands.options import ending, real_project
from cli.comparison import as_json, print_json, progress_line, show, strategy
from cli.writing import connected, named_store
from shared.catalog import LIBRA_HOME, libra
from shared.counting import Strategy
from shared.recompute import Recompute


@click.command("recompute")
@click.option("--dry-run", is_flag=True, help="Find what is wrong and write nothing.")
@strategy
@as_json
@real_project
def command(*, dry_run: bool, strategy: Strategy, as_json: bool, real_project: str | None) -> None:
    """Count every total exactly as of a watermark, and correct what drifted.

    The triggers keep running. One run at a time: while another one holds the lease this ends
    with status 1. `libra verify` compares only, and says by its status whether all was right.
    """
    store_of = connected() if dry_run else named_store(real_project)
    with ending(), store_of as (store, settings), progress_line(quiet=as_json) as progress:
        recompute = Recompute(store, libra(settings), LIBRA_HOME, settings, progress=progress)
        report = recompute.verify(strategy) if dry_run else recompute.run(strategy)
    if as_json:
        print_json(report.as_json())
    else:
        show(report, dry=dry_run)

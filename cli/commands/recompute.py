"""`libra recompute`: prove the totals against the entries, and repair them."""

import click

from cli.beam import beam_options, counting
from cli.commands.options import ending, real_project, source
from cli.comparison import as_json, print_json, progress_line, show, strategy
from cli.writing import connected, named_store
from shared.catalog import sources
from shared.counting import Strategy
from shared.recompute import Recompute


@click.command("recompute")
@click.option("--dry-run", is_flag=True, help="Find what is wrong and write nothing.")
@click.option(
    "--accept-loss", is_flag=True, help="Correct although that takes away more than LIBRA_MAX_LOSS allows."
)
@source
@strategy
@as_json
@real_project
@beam_options
def command(
    *,
    dry_run: bool,
    accept_loss: bool,
    source: str,
    strategy: Strategy,
    as_json: bool,
    real_project: str | None,
    beam_options: tuple[str, ...],
) -> None:
    """Count every total exactly as of a watermark, and correct what drifted.

    The triggers keep running. One run at a time: while another one holds the lease this ends
    with status 1. `libra verify` compares only, and says by its status whether all was right.

    A run that would take away more than LIBRA_MAX_LOSS of an aggregation (and at least 1,000) corrects
    nothing and ends with status 1. If the entries are gone for good, run it again with --accept-loss.

    --strategy beam runs a pipeline, on this machine or with -- --runner=DataflowRunner and what that needs.
    """
    beam = counting(strategy, beam_options)
    store_of = connected() if dry_run else named_store(real_project)
    with ending(), store_of as (store, settings), progress_line(quiet=as_json) as progress:
        recompute = Recompute(store, *sources(settings)[source], settings, progress=progress, beam=beam)
        report = recompute.verify(strategy) if dry_run else recompute.run(strategy, accept_loss=accept_loss)
    if as_json:
        print_json(report.as_json())
    else:
        show(report, dry=dry_run)

"""`libra verify`: compare the totals with the entries; for a pipeline or a pager."""

import sys

import click

from cli.beam import beam_options, counting
from cli.commands.options import ending, source
from cli.comparison import as_json, print_json, progress_line, show, strategy
from cli.writing import connected
from shared.catalog import sources
from shared.counting import Strategy
from shared.recompute import Recompute
from shared.store import Query


@click.command("verify")
@source
@strategy
@as_json
@beam_options
def command(*, source: str, strategy: Strategy, as_json: bool, beam_options: tuple[str, ...]) -> None:
    """Count every total exactly and compare; write nothing. The exit status is 1 if one is wrong.

    It compares what was committed up to its watermark, and says how many entries came after that: no command
    can prove those yet.

    What a run will fill into a new or changed aggregation is not wrong. A loss that a run would refuse
    (MassLoss) is, and is named.

    An entry that the trigger has not counted although it is older than LIBRA_LAG_SECONDS is wrong, too:
    it is late, or lost.
    """
    beam = counting(strategy, beam_options)
    with ending(), connected() as (store, settings), progress_line(quiet=as_json) as progress:
        books = sources(settings)[source]
        report = Recompute(store, *books, settings, progress=progress, beam=beam).verify(strategy)
        unproven = max(0, store.count(Query(books.home.entries)) - report.entries)
    if as_json:
        print_json(report.as_json() | {"unproven": unproven})
    else:
        show(report, dry=True, unproven=unproven)
    if report.drift:
        sys.exit(1)

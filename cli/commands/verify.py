"""`libra verify`: compare the totals with the entries; for a pipeline or a pager."""

import sys
from functools import partial

import click

from cli.against import (
    compared,
    compared_views,
    plain,
    plain_views,
    show_comparison,
    show_views,
)
from cli.beam import beam_options, counting
from cli.commands.options import ending, source
from cli.comparison import as_json, print_json, progress_line, show, strategy
from cli.writing import connected
from shared.catalog import sources
from shared.counting import Strategy
from shared.exports.places import BIGQUERY, PLACES
from shared.recompute import Recompute
from shared.store import Query


@click.command("verify")
@source
@strategy
@click.option("--against", "place", metavar="PLACE", help=f"Compare with an export instead: {PLACES}.")
@as_json
@beam_options
def command(
    *, source: str, strategy: Strategy, place: str | None, as_json: bool, beam_options: tuple[str, ...]
) -> None:
    """Count every total exactly and compare; write nothing. The exit status is 1 if one is wrong.

    It compares what was committed up to its watermark, and says how many entries came after that: no command
    can prove those yet.

    What a run will fill into a new or changed aggregation is not wrong. A loss that a run would refuse
    (MassLoss) is, and is named.

    An entry that the trigger has not counted although it is older than LIBRA_LAG_SECONDS is wrong, too:
    it is late, or lost.

    --against compares the last export of the totals with Firestore, number by number. Firestore is read as of
    the export's own instant, as long as it has that. `--against bigquery` alone compares the views of the
    warehouse (LIBRA_WAREHOUSE_DATASET) over the events that were streamed into it.
    """
    if place:
        sys.exit(_against(place, source, as_json=as_json))
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


def _against(place: str, source: str, *, as_json: bool) -> int:
    """Compare with something else than the entries; the exit status."""
    with ending(), connected() as (store, settings), progress_line(quiet=as_json) as progress:
        books = sources(settings)[source]
        if place == BIGQUERY:
            where, views = compared_views(store, books)
            said, show_it, faults = plain_views(where, views), partial(show_views, where, views), views.faults
        else:
            where, found = compared(store, books, place, progress)
            said, show_it, faults = plain(where, found), partial(show_comparison, where, found), found.faults
    if as_json:
        print_json(said)
    else:
        show_it()
    return 1 if faults else 0

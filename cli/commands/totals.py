"""`libra totals`: the totals of an aggregation, or one of them; live with --watch."""

from contextlib import suppress

import click
from rich.text import Text

from cli.commands.options import Ended, ending
from cli.comparison import as_json, iso, print_json
from cli.listing import (
    aggregation_name,
    collect,
    key_text,
    listed,
    one_format,
    print_csv,
    say_more,
    typed_key,
)
from cli.report import figures_table, page, shown
from cli.totals import csv_header, csv_row, default_order, plain, proven_line, proven_plain, totals_table
from cli.watching import watch_totals
from cli.writing import connected
from shared.aggregation import Aggregation, Source
from shared.catalog import LIBRA_HOME, libra
from shared.store import Store
from shared.windows import Proof, Total, named, proof, total, totals


@click.command("totals")
@aggregation_name
@click.argument("key", nargs=-1)
@click.option(
    "--order", help="key, or a column such as count; - in front descends.  [default: -count; key for times]"
)
@click.option("--watch", is_flag=True, help="Show them as they move, until Ctrl-C.")
@listed
@as_json
def command(
    *,
    aggregation: str,
    key: tuple[str, ...],
    order: str | None,
    watch: bool,
    limit: int,
    everything: bool,
    as_csv: bool,
    as_json: bool,
) -> None:
    """Show the totals of AGGREGATION, or the one of KEY, and how far they are proven.

    KEY is the value itself: 18, 2025-09-04, 'Kettle Chips', ''. A composite key is PART=VALUE for each of
    its parts, or the id of the total's document. A key that nothing was counted under is zero.

    "pending" is how much of a total came after the watermark, so that no recompute has proven it yet. A list
    costs a read for each total shown, and two. --watch costs these, and one for each total that changes.
    """
    one_format(as_json=as_json, as_csv=as_csv)
    with connected() as (store, settings):
        source = libra(settings)
        declared = named(source, aggregation)
        if watch:
            if as_csv or everything:
                raise click.UsageError("--watch shows --limit totals, as a table or with --json as lines.")
            sort = order or default_order(declared)
            with suppress(KeyboardInterrupt, Ended), ending():
                watch_totals(store, settings, source, declared, key, order=sort, limit=limit, as_json=as_json)
            return
        now = proof(store, source, LIBRA_HOME)
        if key:
            one = total(store, source, LIBRA_HOME, aggregation, typed_key(declared, key), proven=now)
            _show_one(declared, one, as_json=as_json, as_csv=as_csv)
            return
        found, more = _list(store, source, declared, now, order=order, limit=limit, everything=everything)
    if as_json:
        rows = [plain(declared, each) for each in found]
        print_json({"aggregation": aggregation, **proven_plain(declared, now), "totals": rows, "more": more})
    elif as_csv:
        print_csv(csv_header(declared), [csv_row(declared, each) for each in found])
        say_more(more)
    else:
        console = page()
        console.print(proven_line(declared, now))
        console.print(totals_table(declared, found))
        if more:
            console.print(Text("There are more: use --limit or --all.", style="dim"))


def _list(
    store: Store,
    source: Source,
    aggregation: Aggregation,
    now: Proof,
    *,
    order: str | None,
    limit: int,
    everything: bool,
) -> tuple[list[Total], bool]:
    sort = order or default_order(aggregation)
    return collect(
        lambda after, size: totals(
            store, source, LIBRA_HOME, aggregation.name, proven=now, order=sort, after=after, limit=size
        ),
        limit=limit,
        everything=everything,
    )


def _show_one(aggregation: Aggregation, one: Total, *, as_json: bool, as_csv: bool) -> None:
    if as_json:
        through = {"exact_through": iso(one.exact_through), "settled": one.settled}
        print_json({"aggregation": aggregation.name, **through, **plain(aggregation, one)})
        return
    if as_csv:
        print_csv(csv_header(aggregation), [csv_row(aggregation, one)])
        return
    console = page()
    console.print(shown(key_text(aggregation, one.key, one.id)), style="bold")
    rows = [(name, _figure(one, name)) for name in aggregation.columns]
    rows += [(name, f"{value:,}") for name, value in one.extremes.items()]
    exact = f"{one.exact_through:%Y-%m-%d %H:%M:%S} UTC" if one.exact_through else "not yet"
    rows += [("proven up to", exact if one.settled else f"{exact}; see libra status")]
    rows += [("changed", f"{one.updated_at:%Y-%m-%d %H:%M:%S} UTC")] if one.updated_at else []
    console.print(figures_table("", rows))


def _figure(one: Total, name: str) -> str:
    beside = [f"{one.pending[name]:+,} pending"] if one.pending[name] else []
    beside += [f"{one.archived[name]:,} archived"] if one.archived[name] else []
    return f"{one.values[name]:,}" + (f" ({', '.join(beside)})" if beside else "")

"""`libra explain`: the entries that make a total, and what they do not explain."""

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

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
from cli.totals import COLUMNS, plain
from cli.writing import connected
from shared.aggregation import Aggregation
from shared.catalog import LIBRA_HOME, libra
from shared.windows import Explanation, Page, Piece, explain, named


@click.command("explain")
@aggregation_name
@click.argument("key", nargs=-1, required=True)
@listed
@as_json
def command(
    *, aggregation: str, key: tuple[str, ...], limit: int, everything: bool, as_csv: bool, as_json: bool
) -> None:
    """Show the entries that make the total of KEY in AGGREGATION, with what each adds and the sum so far.

    With --all, or if they fit --limit, it says what the entries and the archive do not explain, and why.
    KEY is as for libra totals. It reads the entries by their indexes: one read for each, and one more for
    each that no recompute has proven.
    """
    one_format(as_json=as_json, as_csv=as_csv)
    last: list[Explanation] = []
    with connected() as (store, settings):
        source = libra(settings)
        declared = named(source, aggregation)
        typed = typed_key(declared, key)

        def part(after: str | None, size: int) -> Page[Piece]:
            found = explain(store, source, LIBRA_HOME, aggregation, typed, after=after, limit=size)
            last.append(found)
            return Page(found.entries, found.after)

        pieces, more = collect(part, limit=limit, everything=everything)
    if as_json:
        print_json(_plain(declared, last, pieces))
    elif as_csv:
        columns = declared.columns
        header = ["entry", "committed", "state", *(f"adds_{name}" for name in columns), *columns]
        print_csv(header, [_row(declared, each) for each in pieces])
        say_more(more)
    else:
        _show(page(), declared, last, pieces)


def _plain(aggregation: Aggregation, pages: list[Explanation], pieces: list[Piece]) -> dict[str, object]:
    end = pages[-1]
    return {
        "aggregation": aggregation.name,
        "total": plain(aggregation, end.total),
        "exact_through": iso(end.total.exact_through),
        "settled": end.total.settled,
        "at": iso(end.at),
        "entries": [
            {
                "id": each.id,
                "committed": iso(each.committed),
                "state": each.state,
                "adds": dict(each.adds),
                "running": dict(each.running),
            }
            for each in pieces
        ],
        "waiting": dict(end.waiting),
        "unexplained": None if end.unexplained is None else dict(end.unexplained),
        "reasons": list(end.reasons),
        "reads": sum(each.reads for each in pages),
        "more": end.after is not None,
    }


def _row(aggregation: Aggregation, piece: Piece) -> list[object]:
    columns = aggregation.columns
    adds, running = ([of.get(name, 0) for name in columns] for of in (piece.adds, piece.running))
    return [piece.id, iso(piece.committed), piece.state, *adds, *running]


def _show(console: Console, aggregation: Aggregation, pages: list[Explanation], pieces: list[Piece]) -> None:
    end = pages[-1]
    console.print(shown(key_text(aggregation, end.total.key, end.total.id)), style="bold")
    table = Table(box=None, padding=(0, 2, 0, 0))
    table.add_column("entry", overflow="ellipsis", no_wrap=True, max_width=24)
    table.add_column("committed", no_wrap=True)
    table.add_column("state", no_wrap=True)
    columns = aggregation.columns[: COLUMNS - 1]
    for name in columns:
        table.add_column(f"{name}, so far", justify="right", no_wrap=True)
    for each in pieces:
        numbers = [f"{each.adds.get(name, 0):+,}  {each.running.get(name, 0):,}" for name in columns]
        table.add_row(shown(each.id), f"{each.committed:%Y-%m-%d %H:%M:%S}", each.state, *numbers)
    console.print(table)
    if end.unexplained is None:
        console.print(
            Text("There are more: use --limit or --all. Only the end explains the total.", style="dim")
        )
        return
    count, reads = end.total.values["count"], sum(each.reads for each in pages)
    living = pieces[-1].running["count"] if pieces else 0
    rows = [("entries", f"{living:,}"), ("archived", f"{end.total.archived['count']:,}")]
    rows += [("unexplained", f"{end.unexplained['count']:+,}")] if any(end.unexplained.values()) else []
    console.print(figures_table("", [*rows, ("total", f"{count:,}"), ("cost", f"{reads:,} reads")]))
    if not any(end.unexplained.values()):
        console.print("The entries explain the total.", style="bold green")
        return
    console.print("The entries do not explain the total:", style="bold yellow")
    for reason in end.reasons:
        console.print(Text(f"- {reason}.", style="yellow"))

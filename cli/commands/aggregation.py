"""`libra aggregation`: since when each aggregation is exact, and removing what is declared no more."""

from collections.abc import Collection, Mapping
from dataclasses import asdict
from datetime import datetime

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from cli.commands.options import ending, real_project, source
from cli.comparison import as_json, iso, print_json, progress_line
from cli.report import page, shown
from cli.writing import connected, named_store
from shared.aggregation import Home
from shared.catalog import sources
from shared.recompute.removal import of_others, orphan, remove
from shared.recompute.standing import Standing, Standings, standings
from shared.store import Query, Store


@click.group("aggregation")
def command() -> None:
    """Show since when each aggregation is exact, and remove what is declared no more."""


@command.command("status")
@source
@as_json
def show_status(*, source: str, as_json: bool) -> None:
    """Show for each aggregation since when it is exact.

    A new or changed one is filling until a run is certain that no instance of the old code is left. One
    that is declared no more is orphaned: its totals stay until `libra aggregation remove`. The command
    reads the state document, and counts the documents of what is orphaned.
    """
    with connected() as (store, settings):
        books = sources(settings)[source]
        found = standings(*books, _state(store, books.home))
        documents = {each.name: store.count(Query(each.collection)) for each in found.orphaned}
    if as_json:
        everything = (*found.declared, *found.orphaned)
        rows = [_plain(each) | {"documents": documents.get(each.name)} for each in everything]
        print_json({"aggregations": rows, "notes": list(found.notes)})
    else:
        _show(page(), found, documents)


@command.command("remove")
@click.argument("name")
@click.option("--yes", is_flag=True, help="Do not ask.")
@source
@as_json
@real_project
def remove_one(*, name: str, yes: bool, source: str, as_json: bool, real_project: str | None) -> None:
    """Delete the totals of the aggregation NAME, which is declared no more, and forget it.

    No run can begin meanwhile. If it is interrupted, start it again: it goes on with what is left. What
    another source uses stays.
    """
    with ending(), named_store(real_project) as (store, settings):
        books = sources(settings)[source]
        gone = orphan(*books, _state(store, books.home), name)
        others = of_others(settings, source)
        if not yes:
            click.confirm(_question(store, gone, others), abort=True, err=True)
        with progress_line(quiet=as_json) as progress:
            deleted = remove(store, *books, name, of_others=others, progress=progress)
    if as_json:
        print_json({"aggregation": name, "collection": gone.collection, "deleted": deleted})
    else:
        click.echo(f"{deleted:,} documents of {gone.collection} were deleted, and {name} is forgotten.")


def _question(store: Store, gone: Standing, others: Collection[str]) -> str:
    if gone.collection in others:
        return f"Another source uses {gone.collection}: its documents stay. Forget {gone.name}?"
    return f"Delete all {store.count(Query(gone.collection)):,} documents of {gone.collection}?"


def _state(store: Store, home: Home) -> Mapping[str, object]:
    (found,) = store.get([home.state])
    return found.fields if found else {}


def _plain(standing: Standing) -> dict[str, object]:
    times = {
        name: iso(value)
        for name, value in asdict(standing).items()
        if name in {"declared_at", "exact_since", "orphaned_at"}
    }
    return asdict(standing) | times | {"state": standing.state, "exact_from": iso(standing.exact_from)}


def _show(console: Console, found: Standings, documents: Mapping[str, int]) -> None:
    table = Table(box=None, padding=(0, 2, 0, 0))
    table.add_column("aggregation", overflow="fold")
    table.add_column("state", no_wrap=True)
    table.add_column("")
    for each in (*found.declared, *found.orphaned):
        table.add_row(shown(each.name), each.state, Text(_about(each, documents)))
    console.print(table)
    for note in found.notes:
        console.print(Text(note, style="yellow"))


def _about(standing: Standing, documents: Mapping[str, int]) -> str:
    left = (
        f"; its totals still hold {', '.join(standing.orphaned_fields)}" if standing.orphaned_fields else ""
    )
    match standing.state:
        case "exact":
            return f"since {_utc(standing.exact_since)}{left}"
        case "filling":
            return f"{standing.why}; a run at {_utc(standing.exact_from)} or later makes it exact{left}"
        case "unseen":
            return f"{standing.why}; no run has seen it yet: run libra recompute{left}"
    held = f"{documents[standing.name]:,} documents in {standing.collection}"
    if standing.orphaned_at is None:
        return f"{held}; no run has seen yet that it is declared no more"
    return f"since {_utc(standing.orphaned_at)}, {held}: libra aggregation remove {standing.name}"


def _utc(instant: datetime | None) -> str:
    return f"{instant:%Y-%m-%d %H:%M:%S} UTC"

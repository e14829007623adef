"""`libra verify --against`: an export and Firestore, key by key."""

import os
from collections.abc import Callable
from contextlib import closing

from rich.table import Table
from rich.text import Text

from cli.comparison import SHOWN, iso
from cli.report import figures_table, page, shown
from deploy.parameters import default
from shared.catalog import Books
from shared.errors import ExportError, StoreError
from shared.exports import Comparison, Manifest, Snapshot, Target, compare, opened
from shared.exports.rest import BigQuery
from shared.exports.views import ViewComparison, compare_views
from shared.store import Store
from shared.store.client import FirestoreStore

DATASET = "LIBRA_WAREHOUSE_DATASET"


def compared(
    store: FirestoreStore, books: Books, place: str, progress: Callable[[str, int], None]
) -> tuple[str, Comparison]:
    """Compare the last export of a source's totals with Firestore; where it is, and what was found.

    Firestore is read as of the instant at which the export was, if it still has that, else as it is now.

    Raises:
        ExportError: there is no such export, it is of another database, or it cannot be read.
        StoreError: Firestore cannot be read.
    """
    with opened(place, os.environ, store.database.split("/")[1]) as target:
        manifest = target.manifest(books.source.name, "totals")
        if manifest is None:
            raise ExportError(
                f"{target.place}: there is no export of the totals of {books.source.name}: "
                f"libra export totals --source {books.source.name} --to {place} makes one"
            )
        if manifest.database != store.database:
            raise ExportError(
                f"{target.place}: its totals are of {manifest.database}, and this is {store.database}"
            )
        return target.place, compare_then_or_now(store, books, target, manifest, progress)


def compared_views(store: FirestoreStore, books: Books) -> tuple[str, ViewComparison]:
    """Compare the warehouse's views of a source with Firestore; where they are, and what was found.

    Raises:
        ExportError: there are no such views, or BigQuery refuses.
        StoreError: Firestore cannot be read.
    """
    source = books.source
    if not books.home.self_written:
        raise ExportError(
            f"{source.name}: its entries do not come over Pub/Sub, so the warehouse has no views of it: "
            "export its totals, and compare with --against bigquery:DATASET"
        )
    dataset = os.environ.get(DATASET) or default(DATASET)
    with closing(BigQuery.connect(dataset, store.database.split("/")[1])) as bigquery:
        place = f"the views of bigquery:{bigquery.project}.{dataset}"
        return place, compare_views(bigquery, store, *books)


def compare_then_or_now(
    store: Store,
    books: Books,
    target: Target,
    manifest: Manifest,
    progress: Callable[[str, int], None],
) -> Comparison:
    """Compare as of the export's instant, or as of now."""
    try:
        then = Snapshot(store, *books, "totals", at=manifest.read_at, progress=progress)
        return compare(target, manifest, then)
    except StoreError:  # Firestore has no snapshot of then
        return compare(target, manifest, Snapshot(store, *books, "totals", progress=progress))


def plain(place: str, found: Comparison) -> dict[str, object]:
    """A comparison for JSON."""
    return {
        "against": place,
        "snapshot": found.manifest.snapshot,
        "exported": {"watermark": iso(found.manifest.watermark), "read_at": iso(found.manifest.read_at)},
        "firestore": {"watermark": iso(found.watermark), "read_at": iso(found.read_at)},
        "same_instant": found.certain,
        "totals": found.totals,
        "faults": found.faults,
        "differences": [
            {
                "total": each.total,
                "column": each.column,
                "exported": each.exported,
                "firestore": each.firestore,
            }
            for each in found.differences
        ],
        "not_exported": found.missing,
        "not_declared": found.undeclared,
        "damaged": found.damaged,
    }


def plain_views(place: str, found: ViewComparison) -> dict[str, object]:
    """A comparison with views for JSON."""
    return {
        "against": place,
        "newest_event": iso(found.newest),
        "firestore": {"watermark": iso(found.watermark), "read_at": iso(found.read_at)},
        "totals": found.totals,
        "moving": found.moving,
        "faults": found.faults,
        "differences": [
            {
                "total": each.total,
                "column": each.column,
                "warehouse": each.exported,
                "firestore": each.firestore,
            }
            for each in found.differences
        ],
    }


def show_views(place: str, found: ViewComparison) -> None:
    """Print what was found in views."""
    console = page()
    console.print(_verdict(place, found))
    if found.moving:
        console.print(Text(f"{found.moving:,} totals moved meanwhile and prove nothing: run this again."))
    if found.faults:
        console.print(
            Text(
                "An event that is still on its way to one of the two shows as a difference. So does an edit, "
                "a deletion, and an event from before the warehouse: see docs/warehouse.md.",
                style="yellow",
            )
        )
        console.print(_table(found, "warehouse"))
    rows = [
        ("warehouse", f"newest event accepted at {_time(found.newest)}" if found.newest else "no event"),
        (
            "Firestore",
            f"read at {_time(found.read_at)}, "
            + (f"proven up to {_time(found.watermark)}" if found.watermark else "nothing is proven yet"),
        ),
    ]
    console.print(figures_table("", rows))


def show_comparison(place: str, found: Comparison) -> None:
    """Print what was found."""
    console = page()
    console.print(_verdict(place, found))
    if found.faults and not found.certain:
        console.print(
            Text(
                "Firestore no longer has the totals of the export's instant, so these are those of now: a "
                "difference may be what came in between. Export again, and compare within the hour.",
                style="yellow",
            )
        )
    for each in found.damaged:
        console.print(Text(f"{each}.", style="bold red"))
    for name in found.missing:
        console.print(Text(f"{name} is declared, and the export does not have it: export again."))
    for name in found.undeclared:
        console.print(Text(f"{name} is in the export, and declared no more: not compared."))
    if found.differences:
        console.print(_table(found))
    rows = [
        (
            "exported",
            f"read at {_time(found.manifest.read_at)}, proven up to {_time(found.manifest.watermark)}",
        ),
        ("Firestore", f"read at {_time(found.read_at)}, proven up to {_time(found.watermark)}"),
        ("snapshot", found.manifest.snapshot),
    ]
    console.print(figures_table("", rows))


def _verdict(place: str, found: Comparison | ViewComparison) -> Text:
    if found.faults:
        return Text(f"{found.faults:,} numbers differ between {place} and Firestore.", style="bold yellow")
    moving = found.moving if isinstance(found, ViewComparison) else 0
    same = found.totals - moving
    if not same:
        return Text(f"No total in {place} was compared: this proves nothing.", style="bold yellow")
    said = f"{same:,} of {found.totals:,}" if moving else f"All {same:,}"
    return Text(
        f"{said} totals in {place} are those of Firestore, to the last entry.",
        style="bold green",
    )


def _table(found: Comparison | ViewComparison, other: str = "exported") -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0))
    table.add_column("total", overflow="ellipsis", no_wrap=True, max_width=40)
    for name in ("column", other, "Firestore"):
        table.add_column(name, justify="left" if name == "column" else "right")
    for each in found.differences[:SHOWN]:
        table.add_row(shown(each.total), each.column, _number(each.exported), _number(each.firestore))
    if found.faults > SHOWN:
        table.add_row(Text(f"{found.faults - SHOWN:,} more; --json has the first 1,000", style="dim"))
    return table


def _number(value: int | None) -> str:
    return "none" if value is None else f"{value:,}"


def _time(instant: object) -> str:
    return f"{instant:%Y-%m-%d %H:%M:%S} UTC"

"""A world to export, whose numbers say which of its states a snapshot is of."""

from collections.abc import Callable
from datetime import UTC, datetime

from shared.aggregation import Cell
from shared.catalog import LIBRA_HOME, libra
from shared.exports import Manifest, Snapshot, Target
from shared.exports.tables import Row, What
from shared.settings import Settings
from shared.store import Merge
from tests.support.recomputing import World

ODD = [
    "Mac/Cheese",
    "..",
    "%2F",
    "🧂",
    "",
    "x" * 1_400,
    "__x__",
    'a,"b"\n',
    "=1+1",
    "\x00",
    "%00",
    "\ufffd",
    "a\u2028b",
]
"""Ingredients that a key, a line, a cell or a spreadsheet could stumble over."""
LARGE = 2**62 + 1
"""No double is this number."""


def world(odd: bool = True) -> World:
    """A world that is proven, with odd ingredients, and an entry that came after the watermark."""
    made = World()
    ledger = made.ledger()
    for number, ingredient in enumerate(ODD if odd else ("Rice", "Soup", "Tea")):
        ledger.apply(
            made.write(
                f"e{number:03}", ingredient=ingredient, nested={"at": datetime(2025, 1, 1, tzinfo=UTC)}
            )
        )
    advance(made)
    return made


def advance(made: World, entries: int = 1) -> None:
    """Prove everything, and count more entries, which nothing proves yet."""
    made.later(minutes=30)
    made.run("scan")
    made.later(minutes=1)
    made.serve(entries, prefix=f"n{made.clock.now:%H%M%S}")


def enlarge(made: World) -> None:
    """Make a total so large that a double cannot hold it; no recompute has seen it."""
    (total,) = made.store.get([made.home.total(Cell("aggregates_categories", "Kettle Chips"))])
    assert total
    made.store.commit([Merge(total.path, {("count",): LARGE})], timeout=10)


def snapshot(
    made: World,
    what: What = "totals",
    *,
    page: int = 4,
    at: datetime | None = None,
    step: Callable[[str], None] = lambda _: None,
) -> Snapshot:
    """A snapshot of it, in small pages."""
    source = libra(Settings())
    return Snapshot(made.store, source, LIBRA_HOME, what, at=at, step=step, page=page, sleep=made.clock.sleep)


def rows(target: Target, manifest: Manifest) -> dict[str, list[Row]]:
    """What a destination holds, by table."""
    return {each.table.name: list(target.rows(manifest, each)) for each in manifest.tables}


def column(manifest: Manifest, found: dict[str, list[Row]], table: str, name: str) -> dict[str, object]:
    """A column of a table, by id."""
    (held,) = (each for each in manifest.tables if each.table.name == table)
    number = held.table.names.index(name)
    return {str(row[0]): row[number] for row in found[table]}

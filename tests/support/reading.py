"""What the tests of the windows share: a world of odd keys, and a store that counts reads."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

from shared.aggregation import Aggregation, Count, FieldKey, Histogram, Maximum, OneOf, Source, Sum, TimeKey
from shared.store import Document, Query, Store
from shared.windows import Page, Total, proof, total, totals
from tests.support.recomputing import World

ODD = ["Mac/Cheese", "..", "%2F", "🧂", "", "x" * 1_400, "é" * 1_000, "__x__", "a|b", "Rice"]
UTC_ZONE = ZoneInfo("UTC")
SOURCE = Source(
    "libra",
    (
        Aggregation("foods", FieldKey("ingredient")),
        Aggregation("floors", FieldKey("floor", kind=int)),
        Aggregation("novelty", FieldKey("is_new", kind=bool)),
        Aggregation("hours", TimeKey("timestamp", "hour", UTC_ZONE)),
        Aggregation("dates", TimeKey("timestamp", "date", UTC_ZONE)),
        Aggregation("staples", OneOf(FieldKey("ingredient"), ("Rice",), "other")),
        Aggregation(
            "spread",
            (FieldKey("ingredient"), FieldKey("is_new", kind=bool)),
            measures=(
                Count(),
                Sum("amount", "milligrams", 1000),
                Histogram("amount", "grams", (10,)),
                Maximum("amount", "most"),
            ),
        ),
    ),
)


def odd_world() -> World:
    """A world in which each odd ingredient is counted, the later the more often."""
    one = World(source=SOURCE)
    for number, ingredient in enumerate(ODD):
        moment = datetime(2025, 9, 1 + number, 7 + number, tzinfo=UTC)
        one.serve(
            number // 2 + 1,
            f"e{number}-",
            ingredient=ingredient,
            floor=5 - number,
            is_new=number % 2 == 0,
            timestamp=moment,
            amount=number * 2,
        )
    return one


def page(
    world: World, aggregation: str, order: str = "key", after: str | None = None, limit: int = 3
) -> Page[Total]:
    """A page as of now."""
    now = proof(world.store, world.source, world.home)
    return totals(
        world.store, world.source, world.home, aggregation, proven=now, order=order, after=after, limit=limit
    )


def listed(world: World, aggregation: str, order: str = "key", limit: int = 3) -> list[Total]:
    """Every page of a list."""
    found: list[Total] = []
    after = None
    while True:
        one = page(world, aggregation, order, after, limit)
        found += one.items
        after = one.after
        if after is None:
            return found
        assert len(one.items) == limit


def one(world: World, aggregation: str, key: str | dict[str, str]) -> Total:
    """A total as of now."""
    now = proof(world.store, world.source, world.home)
    return total(world.store, world.source, world.home, aggregation, key, proven=now)


@dataclass
class Counting:
    """A store that counts reads: one for each document, and one for a query or a look-up that finds none."""

    store: Store
    reads: int = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.store, name)

    def query(self, query: Query, *, read_time: datetime | None = None) -> Iterator[Document]:
        """See `Store.query`."""
        found = list(self.store.query(query, read_time=read_time))
        self.reads += max(1, len(found))
        return iter(found)

    def get(
        self, paths: Sequence[str], *, read_time: datetime | None = None, bare: bool = False
    ) -> list[Document | None]:
        """See `Store.get`."""
        self.reads += len(paths)
        return self.store.get(paths, read_time=read_time, bare=bare)

    def now(self, paths: Sequence[str]) -> tuple[datetime, list[Document | None]]:
        """See `Store.now`."""
        self.reads += len(paths)
        return self.store.now(paths)

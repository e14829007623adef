"""A source with one bounded key, for the tests of bounds and of the registry."""

from typing import Any

from shared.aggregation import Aggregation, Bounded, Count, FieldKey, Source, Sum
from shared.store import Query
from tests.support.recomputing import World

NAMES = Bounded(FieldKey("ingredient"), 2, other="other")
SIMPLE = Aggregation("simple", NAMES, measures=(Count(), Sum("amount", "grams")))
KEYS = "aggregates/keys-simple"


def bounded() -> World:
    """Nothing is counted yet; two ingredients may have totals of their own."""
    return World(source=Source("libra", (SIMPLE,)))


def counts(world: World) -> dict[str, Any]:
    """What is counted under each key."""
    return {each.fields["key"]: each.fields["count"] for each in world.memory.query(Query("simple"))}  # type: ignore[misc]  # text


def admitted(world: World) -> object:
    """The values that have a place."""
    (document,) = world.memory.get([KEYS])
    return document.fields["admitted"] if document else None

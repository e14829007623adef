"""What the tests of adding, changing and removing aggregations share."""

from dataclasses import replace

from shared.aggregation import Aggregation, Count, Equals, FieldKey, Source, Sum, TimeKey, fold
from shared.recompute.standing import Standing, standings
from shared.settings import UTC
from shared.store import Query
from tests.support.recomputing import World, totals

PLACES = Aggregation("places", FieldKey("location"))
ACTIONS = Aggregation("actions", FieldKey("dataAction"))
HOURS = Aggregation("actions", TimeKey("timestamp", "hour", UTC))
SERVED = replace(ACTIONS, where=Equals("dataAction", "Served"))
GRAMS = replace(ACTIONS, measures=(Count(), Sum("amount", "grams")))
PLACE_ACTIONS = replace(ACTIONS, key=(FieldKey("location"), FieldKey("dataAction")))


def source(*aggregations: Aggregation) -> Source:
    """What is declared."""
    return Source("libra", aggregations)


def known(world: World) -> dict[str, Standing]:
    """How the aggregations stand, by name."""
    found = standings(world.source, world.home, world.state())
    return {each.name: each for each in (*found.declared, *found.orphaned)}


def shown(world: World, collection: str, measure: str = "count") -> dict[str, object]:
    """What a reader sees in a collection, zeros left out."""
    found = {
        each.path.partition("/")[2]: each.fields.get(measure)
        for each in world.memory.query(Query(collection))
    }
    return {key: value for key, value in found.items() if value}


def right(world: World) -> None:
    """Every measure of every declared total is what is true of the entries up to the watermark and after."""
    entries = [each.fields for each in world.memory.query(Query("libra"))]
    exact = {world.home.total(cell): measures for cell, measures in fold(world.source, entries).items()}
    found = {
        path: {each: document.fields.get(each, 0) for each in measures_of(world, path)}
        for path, document in totals(world.memory, world.source).items()
    }
    assert {path: each for path, each in found.items() if any(each.values())} == exact


def measures_of(world: World, path: str) -> list[str]:
    """The measures that are declared for a total."""
    return list(world.source.aggregation(path.partition("/")[0]).columns)

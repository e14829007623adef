"""Least and greatest values: a run alone keeps them, and says at which watermark they were exact."""

from collections.abc import Mapping
from datetime import timedelta

import pytest

from shared.aggregation import (
    Aggregation,
    Cell,
    Count,
    FieldKey,
    Maximum,
    Measure,
    Minimum,
    Source,
    Sum,
    contribution,
    extremes,
)
from shared.counting.index import unsupported
from shared.errors import DeclarationError
from shared.store import Delete
from tests.support.recomputing import Died, World, dying_at

PORTIONS = Aggregation(
    "portions",
    FieldKey("ingredient"),
    measures=(
        Count(),
        Minimum("amount", "least_milligrams", units=1000),
        Maximum("amount", "most_milligrams", units=1000),
    ),
)
NAMES = ("least_milligrams", "most_milligrams")
TOTAL = "portions/Kettle Chips"


@pytest.fixture
def world() -> World:
    """Three portions that the trigger has counted, and a run that is due."""
    world = World(source=Source("libra", (PORTIONS,)))
    for number, amount in enumerate((12.5, -3, 80.0004)):
        world.serve(1, prefix=f"p{number}-", amount=amount)
    world.later(hours=1)
    return world


def stored(world: World) -> Mapping[str, object]:
    """The total's fields."""
    (document,) = world.memory.get([TOTAL])
    return document.fields if document else {}


def said(world: World) -> tuple[object, object]:
    """The least and the greatest value that the total says."""
    return stored(world).get(NAMES[0]), stored(world).get(NAMES[1])


def test_a_run_sets_them_with_its_watermark(world: World) -> None:
    """In whole units; the trigger has not touched them, and that is no drift."""
    assert said(world) == (None, None)
    report = world.run()
    assert said(world) == (-3_000, 80_000)
    assert {stored(world)[f"{name}_at"] for name in NAMES} == {report.watermark}
    assert (report.drift, report.corrections) == (0, ())


def test_a_second_run_that_finds_them_right_writes_no_total(world: World) -> None:
    """Law *idempotent*: the watermark in the total is the one at which the value was set."""
    first = world.run()
    world.later(hours=1)
    second = world.run()
    assert second.watermark > first.watermark
    assert stored(world)["most_milligrams_at"] == first.watermark


def test_an_entry_that_is_deleted_takes_its_value_with_it(world: World) -> None:
    """Only a scan of what is left can say what is the greatest now; without an entry there is none."""
    world.run()
    world.memory.commit([Delete("libra/p2-0")], timeout=10)
    world.later(hours=1)
    lower = world.run()
    assert said(world) == (-3_000, 12_500)
    assert stored(world)["most_milligrams_at"] == lower.watermark > stored(world)["least_milligrams_at"]  # type: ignore[operator]  # times
    world.memory.commit([Delete("libra/p0-0"), Delete("libra/p1-0")], timeout=10)
    world.later(hours=1)
    world.run()
    assert stored(world)["count"] == 0
    assert not [name for name in stored(world) if "milligrams" in name]


def test_an_entry_after_the_watermark_waits_for_the_next_run(world: World) -> None:
    """The trigger counts it meanwhile, also while the run is under way; its event may be lost as well."""
    world.later(minutes=-11)

    def serve(step: str) -> None:
        if step == "compared":
            world.serve(1, prefix="late", amount=500)
            world.write("lost", amount=-500)

    first = world.run(step=serve)
    assert said(world) == (-3_000, 80_000)
    assert stored(world)["count"] == 4
    world.later(hours=1)
    second = world.run()
    assert said(world) == (-500_000, 500_000)
    assert (first.drift, second.drift) == (0, 1)


def test_a_run_that_dies_leaves_what_was_exact_before(world: World) -> None:
    """The watermark beside a value says how far it can be trusted."""
    first = world.run()
    world.serve(1, prefix="more", amount=500)
    world.later(hours=1)
    with pytest.raises(Died):
        world.run(step=dying_at(world, "compared"))
    world.store = world.memory
    assert said(world) == (-3_000, 80_000)
    assert stored(world)["most_milligrams_at"] == first.watermark
    world.later(hours=1)
    world.run()
    assert said(world) == (-3_000, 500_000)


@pytest.mark.parametrize("damage", [7, 80_000.0, "80000", None])
def test_what_something_else_wrote_is_put_right(world: World, damage: object) -> None:
    """Whatever stands there; a value without its watermark is set again, too."""
    world.run()
    world.merge(TOTAL, most_milligrams=damage, least_milligrams_at=None)
    world.later(hours=1)
    report = world.run()
    assert said(world) == (-3_000, 80_000)
    assert stored(world)["least_milligrams_at"] == stored(world)["most_milligrams_at"] == report.watermark


def test_a_total_that_is_rebuilt_gets_them_too(world: World) -> None:
    """In the same write that sets its numbers."""
    world.merge(TOTAL, count=3.5, most_milligrams=1)
    world.memory.commit([Delete("libra/p1-0")], timeout=10)
    world.later(hours=1)
    world.run()
    assert (stored(world)["count"], *said(world)) == (2, 12_500, 80_000)


def test_a_total_that_is_rebuilt_loses_what_no_entry_has(world: World) -> None:
    """Also where its numbers are set in the same write."""
    world.run()
    world.merge(TOTAL, count=3.5)
    world.memory.commit([Delete(f"libra/p{number}-0") for number in range(3)], timeout=10)
    world.later(hours=1)
    world.run()
    assert (stored(world)["count"], *said(world)) == (0, None, None)
    assert "most_milligrams_at" not in stored(world)


def test_a_value_that_can_not_be_read_is_rejected_by_the_trigger() -> None:
    """It is recorded like an amount that cannot be added, and the entry counts."""
    fields: dict[str, object] = {"ingredient": "Rice", "amount": "much"}
    found = contribution(Source("libra", (PORTIONS,)), fields)
    assert found.deltas == {Cell("portions", "Rice"): {"count": 1}}
    assert [(one.field, one.reason) for one in found.rejections] == [
        ("amount", "expected a number, found a string")
    ] * 2
    assert extremes(Source("libra", (PORTIONS,)), fields) == {}


def test_the_indexes_do_not_prove_them() -> None:
    """A run scans instead."""
    assert "portions adds up more than a count" in str(unsupported(Source("libra", (PORTIONS,))))


@pytest.mark.parametrize(
    "measures",
    [
        (Count(), Sum("x", "most"), Maximum("x", "most")),
        (Count(), Sum("x", "most_at"), Maximum("x", "most")),
        (Count(), Maximum("x", "recent")),
        (Count(), Maximum("x", "not a name")),
    ],
)
def test_their_fields_are_their_own(measures: tuple[Measure, ...]) -> None:
    """The value's, and the watermark's."""
    with pytest.raises(DeclarationError, match="`count` comes first, names differ"):
        Aggregation("a", FieldKey("f"), measures=measures)


def test_a_lag_is_no_gap(world: World) -> None:
    """A run whose watermark stands still sets what another one left."""
    world.run()
    world.merge(TOTAL, most_milligrams=1)
    world.later(seconds=1)
    assert world.run().watermark + timedelta(hours=1) > world.clock.now
    assert said(world) == (-3_000, 80_000)

"""When an aggregation is exact, and what a run makes of records that are missing or cannot be read."""

from collections.abc import Mapping
from datetime import timedelta

import pytest

from deploy.lag import DRAIN
from shared.errors import MassLoss
from shared.recompute.standing import OLD_CODE
from shared.store import Delete, Merge
from tests.support.recomputing import BEGIN, World
from tests.support.standing import PLACES, known, source


@pytest.fixture
def world() -> World:
    """Five entries, counted by place and proven; the places are exact."""
    world = World(source=source(PLACES))
    world.serve(3)
    world.serve(2, "refilled", dataAction="Refilled")
    for _ in range(2):
        world.later(hours=1)
        world.run()
    assert known(world)["places"].state == "exact"
    return world


def test_a_first_run_expects_nothing_and_proves_nothing_for_an_hour() -> None:
    """What it corrects is drift: nobody knows how long the aggregations have been declared."""
    world = World(source=source(PLACES))
    world.write("lost")
    world.later(hours=1)
    assert known(world)["places"].state == "unseen"
    report = world.run()
    assert (report.drift, report.filled) == (1, 0)
    (filling,) = report.filling
    assert (filling.why, filling.filled, filling.exact_since) == ("first", 0, None)
    assert filling.exact_from == BEGIN + timedelta(hours=1) + OLD_CODE
    assert known(world)["places"].state == "filling"


def test_it_is_exact_from_the_first_run_whose_watermark_is_behind_the_old_code() -> None:
    """Not a second earlier; then the watermark stands in the state document for good."""
    world = World(source=source(PLACES))
    declared = world.clock.now = BEGIN + timedelta(hours=1)
    world.run()
    assert OLD_CODE % world.settings.bucket == timedelta(0)
    world.clock.now = declared + OLD_CODE + world.settings.lag - timedelta(seconds=1)
    assert world.run().filling[0].exact_since is None
    world.later(seconds=1)
    report = world.run()
    assert report.filling[0].exact_since == report.watermark == declared + OLD_CODE
    world.later(hours=1)
    assert world.run().filling == ()
    assert known(world)["places"].exact_since == declared + OLD_CODE


def test_old_code_is_given_as_long_as_a_deployment_gives_it() -> None:
    """An instance drains, after the trigger has been deployed after the recompute."""
    assert DRAIN + timedelta(minutes=4) <= OLD_CODE


@pytest.mark.parametrize(
    "damage",
    [
        {"aggregations": "junk"},
        {"aggregations": None},
        {"aggregations": {"places": "junk"}},
        {"aggregations": {"places": {}}},
        {"aggregations": {"places": {"digest": 7}}},
    ],
)
def test_a_record_that_cannot_be_read_is_named_and_written_anew(
    world: World, damage: Mapping[str, object]
) -> None:
    """It stops no run, and hides no drift: what was known is gone, so nothing is expected."""
    world.merge(world.home.state, **damage)
    world.merge("places/Caldo Office", count=2_000)
    with pytest.raises(MassLoss):
        world.run()
    dry = world.recompute().verify()
    assert (dry.drift, dry.filled, len(dry.notes)) == (1_995, 0, 1)
    assert dry.notes[0].startswith("aggregates/last_processed: aggregations")
    report = world.recompute().run(accept_loss=True)
    assert (report.drift, report.notes) == (1_995, dry.notes)
    assert (known(world)["places"].why, world.run().notes) == ("first", ())


def test_a_record_of_something_unknown_that_cannot_be_read_is_dropped(world: World) -> None:
    """It names no collection, so nobody could remove it."""
    (state,) = world.memory.get([world.home.state])
    assert state
    world.memory.commit([Merge(world.home.state, {("aggregations", "odd"): 7})], timeout=10)
    report = world.run()
    assert "aggregations.odd is no record of an aggregation" in report.notes[0]
    assert list(known(world)) == ["places"]
    assert known(world)["places"].state == "exact"


@pytest.mark.parametrize(
    "collection", ["libra", "places", "aggregates", "aggregates_seen", "aggregates_runs"]
)
def test_what_a_record_names_as_a_collection_is_no_orphan_if_it_is_used(
    world: World, collection: str
) -> None:
    """A damaged record must not have the entries removed."""
    record = known(world)["places"].as_fields() | {"collection": collection}
    world.memory.commit([Merge(world.home.state, {("aggregations", "odd"): record})], timeout=10)
    assert list(known(world)) == ["places"]


def test_a_deleted_state_document_begins_anew(world: World) -> None:
    """As a first run: nothing is known, nothing is expected, and nothing is lost."""
    world.memory.commit([Delete(world.home.state)], timeout=10)
    report = world.run()
    assert (report.drift, [each.why for each in report.filling]) == (0, ["first"])

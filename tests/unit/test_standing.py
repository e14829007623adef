"""An aggregation is added, changed and removed while triggers and runs go on."""

from dataclasses import replace
from datetime import timedelta

import pytest

from shared.aggregation import Aggregation
from shared.aggregation.digest import digest
from shared.errors import MassLoss
from shared.recompute.standing import OLD_CODE
from shared.status import status
from tests.support.recomputing import BEGIN, World
from tests.support.standing import (
    ACTIONS,
    GRAMS,
    HOURS,
    PLACE_ACTIONS,
    PLACES,
    SERVED,
    known,
    right,
    shown,
    source,
)


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


# --- adding, changing, removing -----------------------------------------------------------------------


def test_a_new_aggregation_is_filled_and_is_no_drift(world: World) -> None:
    """A good night stays a night without drift; the report says what was filled and when it will be exact."""
    world.source = source(PLACES, ACTIONS)
    assert known(world)["actions"].state == "unseen"
    dry = world.recompute().verify()
    assert (dry.drift, dry.corrections, dry.filled, dry.filling[0].exact_from) == (0, (), 5, None)
    report = world.run()
    assert (report.drift, report.corrections, report.filled) == (0, (), 5)
    seen = known(world)["actions"].declared_at
    assert seen
    assert timedelta(0) <= seen - world.clock.now < timedelta(seconds=1)
    assert report.as_json()["filling"] == [
        {
            "aggregation": "actions",
            "why": "new",
            "filled": 5,
            "exact_from": (seen + OLD_CODE).isoformat(),
            "exact_since": None,
        }
    ]
    assert (world.runs()[-1]["filled"], world.runs()[-1]["corrected"]) == (5, 0)
    right(world)
    world.later(hours=1)
    report = world.run()
    assert (report.filled, report.filling[0].exact_since) == (0, report.watermark)
    assert known(world)["actions"].exact_since == report.watermark


def test_drift_beside_a_filling_aggregation_is_still_drift(world: World) -> None:
    """The totals that were there before are no less watched."""
    world.source = source(PLACES, ACTIONS)
    world.write("lost")
    world.later(minutes=30)
    report = world.run()
    assert (report.drift, report.filled) == (1, 6)
    assert [each.document for each in report.corrections] == ["places/Caldo Office"]


@pytest.mark.parametrize(
    ("changed", "readers_see"),
    [
        (HOURS, {"18": 5}),
        (SERVED, {"Served": 3}),
        (GRAMS, {"Served": 3, "Refilled": 2}),
        (PLACE_ACTIONS, {"Caldo Office|Served": 3, "Caldo Office|Refilled": 2}),
    ],
)
def test_a_changed_declaration_is_filled_under_the_same_name(
    world: World, changed: Aggregation, readers_see: dict[str, object]
) -> None:
    """Another key, filter or measure: keys that no entry has any more go to 0, and none of it is drift."""
    world.source = source(PLACES, ACTIONS)
    for _ in range(2):
        world.run()
        world.later(hours=1)
    before = known(world)["actions"]
    assert before.state == "exact"
    world.source = source(PLACES, changed)
    assert (known(world)["actions"].state, known(world)["actions"].why) == ("unseen", "changed")
    report = world.run()
    assert (report.drift, report.filled > 0, report.losses) == (0, True, ())
    assert shown(world, "actions") == readers_see
    right(world)
    assert known(world)["actions"].digest == digest(changed) != before.digest
    world.later(hours=1)
    report = world.run()
    assert (report.drift, report.filled, report.notes) == (0, 0, ())
    assert known(world)["actions"].exact_since == report.watermark
    assert known(world)["places"].exact_since == BEGIN + timedelta(hours=1, minutes=50)


def test_a_changed_aggregation_may_lose_what_it_likes_and_the_others_may_not(world: World) -> None:
    """A filter that admits less is no mass loss. If another one loses too much, nothing is corrected."""
    world.source = source(PLACES, ACTIONS)
    world.run()
    world.source = source(PLACES, SERVED)
    world.merge("actions/Refilled", count=50_000)
    world.merge("places/Gone", count=2_000)
    with pytest.raises(MassLoss, match=r"correct\w+. places says 2,005"):
        world.run()
    assert (world.count("actions/Refilled"), known(world)["actions"].state) == (50_000, "unseen")
    world.merge("places/Gone", count=0)
    assert world.run().filled == 50_000
    world.later(hours=1)
    world.run()
    world.merge("actions/Served", count=9_000)
    with pytest.raises(MassLoss, match="actions says 9,000"):
        world.run()


def test_a_measure_that_is_declared_no_more_is_told(world: World) -> None:
    """Its field stays in the documents; if it is declared again, it is filled like anything else."""
    world.source = source(PLACES, GRAMS)
    world.run()
    world.source = source(PLACES, ACTIONS)
    world.run()
    assert known(world)["actions"].orphaned_fields == ("grams",)
    assert shown(world, "actions", "grams") == {"Served": 36, "Refilled": 24}
    world.serve(1, "more")
    world.later(hours=1)
    world.source = source(PLACES, GRAMS)
    report = world.run()
    assert (known(world)["actions"].orphaned_fields, report.drift, report.filled) == ((), 0, 12)
    right(world)


def test_a_removed_aggregation_is_orphaned_and_not_forgotten(world: World) -> None:
    """With the home of its totals; no run compares them any more."""
    world.home = replace(world.home, totals={"actions": "actions_home"})
    world.source = source(PLACES, ACTIONS)
    world.run()
    world.source = source(PLACES)
    assert (known(world)["actions"].state, known(world)["actions"].orphaned_at) == ("orphaned", None)
    assert world.run().drift == 0
    removed = known(world)["actions"].orphaned_at
    assert removed
    world.later(hours=1)
    world.merge("actions_home/Served", count=7)
    assert world.run().drift == 0
    orphan = known(world)["actions"]
    assert (orphan.orphaned_at, orphan.collection) == (removed, "actions_home")
    found = status(world.store, world.source, world.home, world.clock.now).aggregations
    assert [each.name for each in found.orphaned] == ["actions"]


def test_one_that_is_declared_again_is_new(world: World) -> None:
    """The triggers did not count it in between, although its digest is the same."""
    world.source = source(PLACES, ACTIONS)
    for _ in range(2):
        world.run()
        world.later(hours=1)
    assert known(world)["actions"].state == "exact"
    world.source = source(PLACES)
    world.run()
    world.serve(4, "unseen")
    world.later(hours=1)
    world.source = source(PLACES, ACTIONS)
    assert (known(world)["actions"].state, known(world)["actions"].why) == ("unseen", "new")
    report = world.run()
    assert (report.drift, report.filled) == (0, 4)
    right(world)


def test_one_whose_totals_moved_leaves_its_old_collection_orphaned(world: World) -> None:
    """Under a name of its own; if the totals move back, the collection is used again and is no orphan."""
    world.source = source(PLACES, ACTIONS)
    world.run()
    before, world.home = world.home, replace(world.home, totals={"actions": "elsewhere"})
    assert world.run().filled == 5
    assert (known(world)["actions"].collection, known(world)["actions"].state) == ("elsewhere", "filling")
    orphan = known(world)["actions:actions"]
    assert (orphan.collection, orphan.state) == ("actions", "orphaned")
    world.home = before
    assert world.run().filled == 0
    assert list(known(world)) == ["places", "actions", "actions:elsewhere"]


def test_a_renamed_aggregation_keeps_its_collection(world: World) -> None:
    """If the home says so, the old name is no orphan: its removal would delete the totals of the new one."""
    world.home = replace(world.home, totals={"sites": "places"})
    world.source = source(replace(PLACES, name="sites"))
    report = world.run()
    assert (report.drift, report.filled, list(known(world))) == (0, 0, ["sites"])


def test_a_run_that_fails_has_seen_nothing(world: World) -> None:
    """What it saw is written by the commit that completes a run; the next one takes its place."""
    world.source = source(PLACES, ACTIONS)
    world.merge("places/Gone", count=2_000)
    with pytest.raises(MassLoss):
        world.run()
    assert known(world)["actions"].state == "unseen"
    world.later(hours=2)
    before = world.clock.now
    world.recompute().run(accept_loss=True)
    assert (known(world)["actions"].declared_at or BEGIN) >= before

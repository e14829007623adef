"""Removing the totals of what is declared no more: under the lease, page by page, and only of an orphan."""

from dataclasses import replace
from datetime import timedelta

import pytest

from shared.aggregation import Aggregation, FieldKey, Source
from shared.errors import LeaseHeld, LeaseLost, NotOrphaned
from shared.recompute import LEASE
from shared.recompute.corrections import BATCH_DOCUMENTS
from shared.recompute.removal import of_others, remove
from shared.recompute.standing import OLD_CODE, standings
from shared.settings import Settings
from shared.status import status
from shared.store import Create, Query
from tests.support.recomputing import Died, World, dying_at

PLACES = Aggregation("places", FieldKey("location"))
ACTIONS = Aggregation("actions", FieldKey("dataAction"))
DOCUMENTS = 2 * BATCH_DOCUMENTS + 1


@pytest.fixture
def world() -> World:
    """The actions were removed an hour ago, and a run has seen it; their collection holds three pages."""
    world = World(source=Source("libra", (PLACES, ACTIONS)))
    world.serve(1)
    world.later(hours=1)
    world.run()
    world.source = Source("libra", (PLACES,))
    world.run()
    more = [Create(f"actions/{number:05}", {"count": 0}) for number in range(1, DOCUMENTS)]
    for begin in range(0, len(more), 100):
        world.memory.commit(more[begin : begin + 100], timeout=10)
    world.later(hours=1)
    return world


def removing(world: World, name: str = "actions", **options: object) -> int:
    """Remove an aggregation."""
    options = {"clock": world.clock, "sleep": world.clock.sleep, "of_others": ()} | options
    return remove(world.store, world.source, world.home, name, **options)  # type: ignore[arg-type]  # as named


def left(world: World) -> int:
    """The documents that the orphan still has."""
    return world.memory.count(Query("actions"))


def orphans(world: World) -> list[str]:
    """What the state document knows as orphaned."""
    return [each.name for each in standings(world.source, world.home, world.state()).orphaned]


def test_it_deletes_every_document_and_forgets_the_name(world: World) -> None:
    """Page by page, with its progress; the record of the removal stands among the runs."""
    told: list[tuple[str, int]] = []
    places = world.count("places/Caldo Office")
    assert removing(world, progress=lambda what, number: told.append((what, number))) == DOCUMENTS
    assert told == [("deleted", 200), ("deleted", 400), ("deleted", 401)]
    assert (left(world), orphans(world)) == (0, [])
    assert world.count("places/Caldo Office") == places
    record = world.runs()[-1]
    assert (record["state"], record["removed"], record["strategy"]) == (
        "completed",
        DOCUMENTS,
        "remove actions",
    )
    assert world.run().drift == 0
    with pytest.raises(NotOrphaned, match="knows no orphaned aggregation 'actions': expected one of none"):
        removing(world)


def test_a_removal_proves_no_watermark(world: World) -> None:
    """`libra status` lists it among the runs, and says what the last recompute proved."""
    before = status(world.store, world.source, world.home, world.clock.now).watermark
    removing(world)
    found = status(world.store, world.source, world.home, world.clock.now)
    assert (found.watermark, found.runs[0].strategy, found.runs[0].watermark) == (
        before,
        "remove actions",
        None,
    )
    world.merge(world.home.state, proven=None)
    assert status(world.store, world.source, world.home, world.clock.now).watermark == before


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("places", "places is declared in the source libra: take the declaration out"),
        ("nothing", r"knows no orphaned aggregation 'nothing': expected one of \['actions'\]"),
        ("libra", "knows no orphaned aggregation 'libra'"),
        ("", "knows no orphaned aggregation ''"),
    ],
)
def test_it_refuses_what_is_no_orphan(world: World, name: str, says: str) -> None:
    """What is declared, and what the state document does not know; the record says why."""
    with pytest.raises(NotOrphaned, match=says):
        removing(world, name)
    assert (left(world), orphans(world), world.runs()[-1]["state"]) == (DOCUMENTS, ["actions"], "failed")


def test_it_waits_for_a_run_to_see_the_removal_and_for_the_old_code_to_end() -> None:
    """An instance of the old code would count into documents that are gone, and make new ones."""
    world = World(source=Source("libra", (PLACES, ACTIONS)))
    world.serve(1)
    world.run()
    world.source = Source("libra", (PLACES,))
    with pytest.raises(NotOrphaned, match="no run has seen yet that actions is declared no more"):
        removing(world)
    world.later(hours=1)
    world.run()
    (orphan,) = standings(world.source, world.home, world.state()).orphaned
    assert orphan.orphaned_at
    free = orphan.orphaned_at + OLD_CODE
    world.clock.now = free - timedelta(seconds=1)
    with pytest.raises(
        NotOrphaned, match=f"remove it after {free.isoformat(timespec='seconds')}".replace("+", r"\+")
    ):
        removing(world)
    world.clock.now = free
    assert removing(world) == 1


def test_no_run_is_disturbed(world: World) -> None:
    """While one is under way nothing is removed; and while something is removed none begins."""
    with pytest.raises(LeaseHeld):
        world.run(step=lambda step: removing(world) and None if step == "counted" else None)
    assert left(world) == DOCUMENTS
    tried: list[str] = []

    def interrupt(step: str) -> None:
        if step == "correct committed":
            with pytest.raises(LeaseHeld):
                world.run()
            tried.append(step)

    removing(world, step=interrupt)
    assert (len(tried), left(world)) == (3, 0)


@pytest.mark.parametrize("step", ["process begun", "correct begun", "correct committed", "complete begun"])
def test_killed_anywhere_it_is_started_again(world: World, step: str) -> None:
    """The lease runs out, the record says failed, and the second one deletes what is left."""
    with pytest.raises(Died):
        removing(world, step=dying_at(world, step))
    world.store = world.memory
    assert orphans(world) == ["actions"]
    with pytest.raises(LeaseHeld):
        removing(world)
    world.later(seconds=LEASE.total_seconds())
    remaining = left(world)
    assert removing(world) == remaining
    assert (left(world), orphans(world)) == (0, [])
    assert [run["state"] for run in world.runs()[-2:]] == ["failed", "completed"]


def test_a_removal_that_lost_its_lease_deletes_nothing_more(world: World) -> None:
    """Another run took it over meanwhile."""

    def stall(step: str) -> None:
        if step == "correct committed":
            world.later(seconds=LEASE.total_seconds())
            world.run()

    with pytest.raises(LeaseLost):
        removing(world, step=stall)
    assert (left(world), orphans(world)) == (DOCUMENTS - BATCH_DOCUMENTS, ["actions"])


def test_the_others_in_the_state_document_stay(world: World) -> None:
    """Their records are as they were."""
    world.source = Source("libra", (replace(PLACES, name="sites"),))
    world.run()
    world.later(hours=1)
    removing(world)
    found = standings(world.source, world.home, world.state())
    assert ([each.name for each in found.declared], [each.name for each in found.orphaned]) == (
        ["sites"],
        ["places"],
    )
    assert found.declared[0].state == "filling"


def test_what_another_source_has_taken_over_stays(world: World) -> None:
    """The collection with its living totals, and the list of its bounded key: only the name is forgotten."""
    keys = world.home.registry("actions")
    world.memory.commit([Create(keys, {"admitted": {}})], timeout=10)
    assert removing(world, of_others={"actions", keys}) == 0
    assert (left(world), orphans(world), world.memory.get([keys]) != [None]) == (DOCUMENTS, [], True)


def test_what_other_sources_use_is_what_the_catalog_says() -> None:
    """Each collection of every other source, and each document of its bounded keys, none of its own."""
    found = of_others(Settings(), "libra")
    assert {"analytics_aggregates", "user_events", "aggregates/keys-analytics_aggregates"} <= found
    assert "aggregates_categories" not in found
    assert "aggregates_categories" in of_others(Settings(), "signals")

"""How the totals stand, as `libra status` tells it."""

from datetime import timedelta

import pytest

from shared.errors import MassLoss
from shared.recompute import LEASE
from shared.status import status
from shared.store import Create, Merge
from tests.support.recomputing import BEGIN, World


def test_nothing_is_proven_before_the_first_run() -> None:
    """No watermark, no run, and all that was counted is pending."""
    world = World()
    world.serve(3)
    found = status(world.store, world.source, world.home, world.clock.now)
    assert (found.watermark, found.age, found.lease, found.runs) == (None, None, None, ())
    assert found.sealed is None
    assert set(found.pending.values()) == {3}


def test_what_came_since_the_watermark_is_pending() -> None:
    """Open buckets only; damaged ones are passed over."""
    world = World()
    world.serve(3)
    world.later(minutes=30)
    world.run()
    world.serve(2, "since")
    world.merge("aggregates_categories/Odd", recent="none")
    world.merge("aggregates_categories/Odder", recent={"junk": 5})
    found = status(world.store, world.source, world.home, world.clock.now)
    assert (found.watermark, found.age) == (BEGIN + timedelta(minutes=20), timedelta(minutes=10))
    assert set(found.pending.values()) == {2}


def test_runs_are_told_newest_first_and_no_more_than_asked() -> None:
    """With what each of them found."""
    world = World()
    world.write("lost")
    for _ in range(3):
        world.later(minutes=30)
        world.run()
    found = status(world.store, world.source, world.home, world.clock.now, runs=2)
    assert [(run.state, run.drift, run.corrected) for run in found.runs] == [("completed", 0, 0)] * 2
    assert found.runs[0].started > found.runs[1].started


def test_a_run_that_scanned_for_long_has_a_proposal() -> None:
    """It is made from the entries that its record names, so a run of an older version has one too."""
    world = World()
    world.later(minutes=30)
    report = world.run("scan")
    world.merge(f"{world.home.runs}/{report.run_id}", entries=100_000_000)
    (run,) = status(world.store, world.source, world.home, world.clock.now).runs
    assert "consider the strategy beam" in run.proposal
    world.merge(f"{world.home.runs}/{report.run_id}", strategy="index")
    (run,) = status(world.store, world.source, world.home, world.clock.now).runs
    assert not run.proposal


def test_a_run_shows_as_failed_once_its_lease_is_over() -> None:
    """While it holds the lease it is under way."""
    world = World()
    lease = {"run_id": "r", "token": 1, "expires_at": BEGIN + LEASE}
    world.memory.commit(
        [
            Create("aggregates_runs/r", {"state": "processing", "queued_at": BEGIN}),
            Merge(world.home.state, {("lease",): lease}),
        ],
        timeout=10,
    )
    (run,) = status(world.store, world.source, world.home, BEGIN).runs
    assert (run.state, run.error, run.drift) == ("processing", None, None)
    (run,) = status(world.store, world.source, world.home, BEGIN + LEASE).runs
    assert (run.state, run.error) == ("failed", "it died: its lease is over")


def lost_most(world: World) -> None:
    """A total that says far more than there are entries, half an hour later."""
    world.later(minutes=30)
    world.merge("aggregates_categories/Gone", count=2_000)
    with pytest.raises(MassLoss):
        world.run()


def test_a_run_that_failed_behind_its_seal_proves_nothing() -> None:
    """The watermark of the last completed run is what is proven, and what came since is pending."""
    world = World()
    world.serve(3)
    lost_most(world)
    found = status(world.store, world.source, world.home, world.clock.now)
    assert (found.watermark, found.sealed, found.age) == (None, BEGIN + timedelta(minutes=20), None)
    world.recompute().run(accept_loss=True)
    world.serve(2, "since")
    lost_most(world)
    found = status(world.store, world.source, world.home, world.clock.now)
    assert (found.watermark, found.sealed) == (BEGIN + timedelta(minutes=20), BEGIN + timedelta(minutes=50))
    assert found.pending["aggregates_actions"] == 2
    assert (found.runs[0].state, "aggregates_categories says 2,005" in str(found.runs[0].error)) == (
        "failed",
        True,
    )
    assert found.runs[0].watermark == BEGIN + timedelta(minutes=50)


@pytest.mark.parametrize("noted", [..., "junk", None])
def test_where_no_run_has_noted_what_is_proven_the_records_say_it(noted: object) -> None:
    """A state document of an older version, or a damaged one."""
    world = World()
    world.later(minutes=30)
    world.run()
    lost_most(world)
    if noted is ...:
        world.memory.commit([Merge(world.home.state, deletes=[("proven",)])], timeout=10)
    else:
        world.merge(world.home.state, proven=noted)
    found = status(world.store, world.source, world.home, world.clock.now)
    assert (found.watermark, found.sealed) == (BEGIN + timedelta(minutes=20), BEGIN + timedelta(minutes=50))


def test_nothing_is_proven_behind_a_watermark_that_was_set_back_or_removed() -> None:
    """The triggers apply again what is after it."""
    world = World()
    world.later(minutes=30)
    world.run()
    world.merge(world.home.state, timestamp=BEGIN)
    assert status(world.store, world.source, world.home, world.clock.now).watermark == BEGIN
    world.merge(world.home.state, timestamp=None)
    assert status(world.store, world.source, world.home, world.clock.now).watermark is None

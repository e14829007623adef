"""The recompute over the in-memory store: its lease, and its own crashes and lost replies."""

from collections.abc import Sequence
from datetime import datetime, timedelta

import pytest

from shared.errors import (
    Contention,
    Denied,
    LeaseHeld,
    LeaseLost,
    Transient,
)
from shared.recompute import LEASE, STEPS, Lease, under_way
from shared.settings import Settings
from shared.store import Delete, Query, Write
from tests.support.memory_seams import Call, Fault, Seams
from tests.support.recomputing import BEGIN, Died, World, converged, dying_at, fence_holds, totals

LAG = Settings().lag
CATEGORY = "aggregates_categories/Kettle Chips"


@pytest.fixture
def world() -> World:
    """An empty kitchen at a full hour."""
    return World()


# --- the lease ------------------------------------------------------------------------------------


def test_a_second_run_is_told_who_holds_the_lease_and_does_nothing(world: World) -> None:
    """No record, no write."""
    refused: list[LeaseHeld] = []

    def second(step: str) -> None:
        if step == "counted":
            with pytest.raises(LeaseHeld) as caught:
                world.run()
            refused.append(caught.value)

    report = world.run(step=second)
    assert [error.run_id for error in refused] == [report.run_id]
    assert len(world.runs()) == 1


@pytest.mark.parametrize("step", ["counted", "seal begun", "compared", "correct begun", "complete begun"])
def test_a_run_that_was_overtaken_writes_nothing_more(world: World, step: str) -> None:
    """It pauses until its lease is over and another has run; then its own commits fail."""
    world.serve(3)
    world.write("lost")
    world.later(minutes=30)
    after: list[object] = []

    def overtaken(reported: str) -> None:
        if reported == step:
            world.later(minutes=10)
            world.run()
            after.append(totals(world.memory, world.source))

    with pytest.raises(LeaseLost):
        world.run(step=overtaken)
    assert totals(world.memory, world.source) == after[0]
    assert sorted(str(run["state"]) for run in world.runs()) == ["completed", "failed"]
    fence_holds(world.memory, world.source)


def test_a_run_whose_lease_ran_out_writes_nothing_more_even_if_nobody_took_it(world: World) -> None:
    """Another may be about to."""
    world.write("lost")
    world.later(minutes=30)

    def pause(step: str) -> None:
        if step == "compared":
            world.later(seconds=LEASE.total_seconds())

    with pytest.raises(LeaseLost, match="ran out at"):
        world.run(step=pause)
    assert world.count(CATEGORY) is None


def test_a_long_run_renews_its_lease(world: World) -> None:
    """Signs of life while it counts keep others out, and it completes."""
    for number in range(30):
        world.write(f"e{number}", ingredient=f"Ingredient {number}")
    world.later(minutes=30)
    steps: list[str] = []

    def slow(call: Call) -> Fault | None:
        world.later(seconds=5 if call.method == "count" else 0)
        return None

    world.store = Seams(world.memory, slow)
    report = world.run("index", step=steps.append)
    assert report.seconds > LEASE.total_seconds()
    assert steps.count("renew committed") >= 3
    converged(world.memory, world.source)


@pytest.mark.parametrize(
    "lease", [None, "mine", {}, {"run_id": 1, "token": 1, "expires_at": BEGIN}, {"run_id": "x", "token": "1"}]
)
def test_what_is_no_lease_holds_nobody_off(lease: object) -> None:
    """A damaged one is taken over; run ids tell runs apart."""
    assert Lease.of({"lease": lease}) is None


def test_the_fencing_token_grows_with_every_lease(world: World) -> None:
    """Also after it was released."""
    tokens = [(world.run(), world.state()["lease"])[1] for _ in range(3)]
    assert [token["token"] for token in tokens] == [1, 2, 3]  # type: ignore[index]  # a map


# --- crashes and lost replies ---------------------------------------------------------------------


def troubled() -> World:
    """A world in which a run takes every step: drift, a broken total, a slow count, deleted entries, one of
    which could not be counted."""
    world = World()
    entries = [*world.serve(6), *world.serve(1, "bad", ingredient=None)]
    for number in range(3):
        world.write(f"lost{number}", ingredient="Basil")
    deleted = [entries[0], entries[-1]]
    world.memory.commit([Delete(world.memory.path(entry.path)) for entry in deleted], timeout=10)
    world.merge("aggregates_actions/Served", count=2.5)
    world.later(minutes=30)
    world.serve(2, "open")

    def slow(call: Call) -> Fault | None:
        world.later(seconds=50 if call.method == "scan" else 0)
        return None

    world.store = Seams(world.memory, slow)
    return world


REACHED = [step for step in STEPS if not step.startswith("fail")]


def test_every_step_that_is_named_is_reached() -> None:
    """So that the tests that die at each of them do."""
    reported: list[str] = []
    troubled().run("scan", step=reported.append)
    assert set(reported) == set(REACHED)


def test_the_steps_of_failing_are_told_too(world: World) -> None:
    """A run that cannot go on says so and lets the lease go."""
    reported: list[str] = []

    def deny(step: str) -> None:
        reported.append(step)
        if step == "counted":
            raise Denied("no permission")

    with pytest.raises(Denied):
        world.run(step=deny)
    assert reported[-2:] == ["fail begun", "fail committed"]
    (record,) = world.runs()
    assert (record["state"], record["error"]) == ("failed", "Denied: no permission")
    world.run()  # at once: the lease is free


@pytest.mark.parametrize("step", REACHED)
def test_law_survive_a_kill_at_every_step(step: str) -> None:
    """The next run puts everything right, and the dead run shows as failed."""
    world = troubled()
    with pytest.raises(Died):
        world.run("scan", step=dying_at(world, step))
    world.store = world.memory
    world.later(seconds=LEASE.total_seconds())
    world.run("scan")
    fence_holds(world.memory, world.source)
    assert not any(under_way(run) for run in world.runs())
    assert world.memory.count(Query(world.home.rejected)) == 0
    world.later(minutes=30)
    assert world.run().drift == 0
    converged(world.memory, world.source)


@pytest.mark.parametrize("fault", ["reply lost", "request lost", "contention"])
@pytest.mark.parametrize("number", range(1, 7))
def test_law_survive_a_lost_commit(number: int, fault: Fault) -> None:
    """Any one commit of a run, its reply lost, the request lost, or aborted: done once."""
    world, commits = troubled(), 0

    def lose(call: Call) -> Fault | None:
        nonlocal commits
        commits += call.method == "commit"
        return fault if call.method == "commit" and commits == number else None

    seams = world.store = Seams(world.memory, lose)
    report = world.run("scan")
    assert seams.injected == {fault: 1}
    assert report.drift > 0
    fence_holds(world.memory, world.source)
    world.store = world.memory
    assert world.run("scan").drift == 0
    assert world.runs()[0]["state"] == "completed"


def test_a_commit_still_in_flight_can_not_land_behind_its_successor(world: World) -> None:
    """Its reply is lost, the request is not: it arrives in the instant in which the step was done anew."""
    world.write("lost")
    world.later(minutes=30)
    delayed: list[Sequence[Write]] = []

    class Delaying(Seams):
        def commit(
            self, writes: Sequence[Write], *, transaction: bytes | None = None, timeout: float
        ) -> datetime:
            if not delayed and any(each.path == CATEGORY for each in writes):
                delayed.append(writes)
                raise Transient("nobody knows")
            return super().commit(writes, transaction=transaction, timeout=timeout)

    def arrive(step: str) -> None:
        if step == "correct committed":
            with pytest.raises(Contention):
                world.memory.commit(delayed[0], timeout=10)

    world.store = Delaying(world.memory)
    world.run(step=arrive, sleep=lambda _: None)
    assert (len(delayed), world.count(CATEGORY)) == (1, 1)


def test_a_run_that_can_not_reach_firestore_gives_up_and_says_so(world: World) -> None:
    """After so many attempts; the next one starts afresh."""
    world.serve(2)
    world.later(minutes=30)
    broken = False

    def down(call: Call) -> Fault | None:
        return "request lost" if broken and call.method == "commit" else None

    def breaking(step: str) -> None:
        nonlocal broken
        broken = step == "counted" or broken

    world.store = Seams(world.memory, down)
    with pytest.raises(Transient):
        world.run(step=breaking, lease=timedelta(hours=1))
    broken = False
    world.later(hours=1)
    world.run()
    assert [run["state"] for run in world.runs()] == ["failed", "completed"]


@pytest.mark.parametrize("luck", [0.0, 1.0])
def test_a_run_outlasts_the_lock_of_a_trigger_that_died(
    world: World, monkeypatch: pytest.MonkeyPatch, luck: float
) -> None:
    """It died in its late path a moment ago, and whoever writes to the state document is refused at once."""
    monkeypatch.setattr("random.uniform", lambda low, high: low + luck * (high - low))
    world.memory.locks_win = lambda _: True
    world.run()
    world.serve(2)
    world.write("lost")
    world.later(minutes=30)
    world.memory.begin([world.home.state])
    assert world.run("scan").drift == 4
    assert world.clock.now > BEGIN + timedelta(minutes=31)

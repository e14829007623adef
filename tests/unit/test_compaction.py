"""A compaction makes totals smaller and changes nothing that anybody may rely on."""

from datetime import datetime, timedelta

import pytest

from shared.errors import BucketsStraddle, LeaseHeld, Transient
from shared.recompute.compaction import ATTEMPTS, Compaction
from shared.status import pending_counts
from shared.watermark import WEEK, WORTH, choose_watermark, compacted, parse_label
from tests.support.memory_seams import Call, Fault, Seams
from tests.support.recomputing import World, converged, fence_holds, totals

CATEGORY = "aggregates_categories/Kettle Chips"
TEN_MINUTES = timedelta(minutes=10)


@pytest.fixture
def world() -> World:
    """Two hours of entries after a first run: one in each bucket."""
    world = World()
    world.serve(1, "first")
    world.later(minutes=35)
    world.run()
    for number in range(12):
        world.serve(1, f"in{number}-")
        world.later(minutes=10)
    return world


def recent(world: World, path: str = CATEGORY) -> dict[str, int]:
    """The open buckets of a total."""
    (total,) = world.memory.get([path])
    assert total
    held = total.fields["recent"]
    assert isinstance(held, dict)
    return held


def test_old_buckets_become_one_and_young_ones_stay(world: World) -> None:
    """What each says is kept: its end, what it covers, and the sum."""
    before = recent(world)
    pending = pending_counts(world.memory, world.source, world.home, None, world.clock())
    done = world.recompute().compact()
    after = recent(world)
    assert (len(before), len(after)) == (12, 3)
    assert sum(after.values()) == sum(before.values()) == 12
    (merged,) = after.keys() - before.keys()
    bucket, measure = parse_label(merged)
    assert (bucket.end, bucket.length, measure) == (done.until, 10 * TEN_MINUTES, "count")
    until = choose_watermark(world.clock(), 2 * TEN_MINUTES, TEN_MINUTES)  # a bucket before now - LAG
    proven = world.state()["proven"]
    assert isinstance(proven, datetime)
    behind = int((world.clock() - proven).total_seconds())
    assert done == Compaction(until, reads=1 + 4, writes=4, left=0, unproven_seconds=behind)
    assert pending == pending_counts(world.memory, world.source, world.home, None, world.clock())
    assert world.recompute().compact().writes == 0
    assert recent(world) == after


def test_a_run_afterwards_finds_no_drift(world: World) -> None:
    """And what was lost before it is found as ever."""
    world.write("lost")
    world.recompute().compact()
    world.later(minutes=20)
    assert world.run().drift == 4
    fence_holds(world.memory, world.source)
    converged(world.memory, world.source)


def test_a_raised_lag_is_noticed(world: World) -> None:
    """A watermark inside a merged bucket corrects nothing; a later one proves the totals."""
    world.recompute().compact()
    world.settings = type(world.settings)(lag=timedelta(minutes=45))
    before = totals(world.memory, world.source)
    with pytest.raises(BucketsStraddle):
        world.run()
    assert totals(world.memory, world.source) == before
    world.later(minutes=45)
    assert world.run().drift == 0


@pytest.mark.parametrize("died", [False, True])
def test_it_waits_for_a_run(world: World, *, died: bool) -> None:
    """While the lease is not released: a commit of that run may be in flight, also after it ran out."""
    refused: list[str] = []

    def meanwhile(step: str) -> None:
        if step == "counted":
            world.later(minutes=30 if died else 0)
            with pytest.raises(LeaseHeld, match="the next recompute takes over") as caught:
                world.recompute().compact()
            refused.append(caught.value.run_id)
            if died:
                raise Transient("gone")

    before = recent(world)
    if died:
        with pytest.raises(Transient):
            world.run(step=meanwhile)
    else:
        world.run(step=meanwhile)
    assert len(refused) == 1
    assert not died or recent(world) == before


def test_what_a_trigger_adds_meanwhile_is_kept(world: World) -> None:
    """The total is read again; what keeps changing is left for the next time, and the rest is compacted."""
    ledger, busy = world.ledger(), iter(range(100))

    def between(call: Call) -> Fault | None:
        if call.method == "commit" and any(write.path == CATEGORY for write in call.about):  # type: ignore[attr-defined]  # writes
            ledger.apply(world.write(f"meanwhile{next(busy)}", timestamp=None))
        return None

    world.store = Seams(world.memory, between)
    done = world.recompute().compact()
    assert (done.left, done.writes) == (1, 4 - 1)
    assert world.count(CATEGORY) == 1 + 12 + ATTEMPTS.attempts
    assert sum(recent(world).values()) == 12 + ATTEMPTS.attempts


def test_a_busy_total_keeps_no_other_of_its_page(world: World) -> None:
    """The page is tried first, and then each of its totals by itself."""
    for number in range(12):
        for name in ("Basil", "Corn"):
            world.serve(1, f"{name}{number}-", ingredient=name, dataAction="", timestamp=None)
        world.later(minutes=10)
    ledger, busy, tried = world.ledger(), iter(range(100)), []

    def between(call: Call) -> Fault | None:
        paths = [getattr(write, "path", "") for write in call.about]
        if call.method == "commit" and CATEGORY in paths:
            tried.append(len(paths))
            ledger.apply(world.write(f"meanwhile{next(busy)}", timestamp=None, dataAction=""))
        return None

    world.store = Seams(world.memory, between)
    done = world.recompute().compact()
    assert tried == [3] * ATTEMPTS.attempts + [1] * ATTEMPTS.attempts
    assert done.left == 1
    for name in ("Basil", "Corn"):
        assert len(recent(world, f"aggregates_categories/{name}")) == 3
    assert sum(recent(world).values()) == 12 + 2 * ATTEMPTS.attempts
    world.store = world.memory
    world.later(minutes=30)
    assert world.run().drift == 0


def test_a_lost_reply_is_looked_up(world: World) -> None:
    """The total is compacted already: nothing is written twice."""
    lost: list[Call] = []

    def lose(call: Call) -> Fault | None:
        if call.method == "commit" and not lost:
            lost.append(call)
            return "reply lost"
        return None

    world.store = Seams(world.memory, lose)
    assert world.recompute().compact().left == 0
    assert len(recent(world)) == 3
    world.later(minutes=20)
    assert world.run().drift == 0


def test_what_libra_never_writes_is_left_to_the_run(world: World) -> None:
    """A label that is none, a number that is none, a map that is none."""
    for found in ({"mine": 1}, {next(iter(recent(world))): 1.5}, {"t00010101T000000Z_600": 1}):
        assert compacted(recent(world) | found, None, world.clock()) is None
    assert compacted("mine", None, world.clock()) is None


def test_measures_and_weeks_stay_apart(world: World) -> None:
    """A label has room for six digits of seconds: after a month without a run there are a few of them."""
    month = [world.clock() - TEN_MINUTES * each for each in range(4_000)]
    labels = [f"t{end:%Y%m%dT%H%M%SZ}_600{measure}" for end in month for measure in ("", "_milligrams")]
    found = compacted(dict.fromkeys(labels, 3), None, world.clock())
    assert found
    assert 8 <= len(found) <= 12
    read = {parse_label(label): amount for label, amount in found.items()}
    assert all(bucket.length <= WEEK + timedelta(days=1) for bucket, _ in read)
    for measure in ("count", "milligrams"):
        assert sum(n for (_, each), n in read.items() if each == measure) == 3 * 4_000  # type: ignore[misc]  # numbers


def test_closed_buckets_stay_apart_from_open_ones(world: World) -> None:
    """The stored watermark cuts none."""
    labels = dict.fromkeys(recent(world), 1)
    cut = sorted(labels)[3]
    watermark = parse_label(cut)[0].end
    found = compacted(labels, watermark, world.clock())
    assert found
    assert all(not parse_label(label)[0].straddles(watermark) for label in found)
    assert len(found) == 4 + 1


def test_a_few_buckets_are_not_worth_a_write(world: World) -> None:
    """An hour's compaction of a quiet total would cost more than it saves."""
    few = dict(list(recent(world).items())[:WORTH])
    assert compacted(few, None, world.clock()) is None
    assert compacted(recent(world), None, world.clock())

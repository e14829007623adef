"""The recompute over the in-memory store, where the clock, crashes and lost replies are the test's own."""

from collections.abc import Callable, Sequence
from dataclasses import asdict
from datetime import UTC, datetime, timedelta

import pytest

from shared.aggregation import Aggregation, Count, FieldKey, Sum
from shared.errors import (
    BucketsStraddle,
    Contention,
    Denied,
    LeaseHeld,
    LeaseLost,
    SnapshotTooOld,
    StateError,
    StrategyUnsupported,
    Transient,
    WatermarkAhead,
)
from shared.recompute import LEASE, STEPS, Lease, under_way
from shared.recompute.corrections import BATCH_DOCUMENTS
from shared.settings import Settings
from shared.store import Create, Delete, Merge, Write
from shared.watermark import bucket_of
from tests.support.memory_seams import Call, Fault, Seams
from tests.support.recomputing import BEGIN, World, converged, exact_at, fence_holds, settings_for, totals

LAG = Settings().lag
CATEGORY = "aggregates_categories/Kettle Chips"


class Died(BaseException):
    """The process is killed: nothing may catch this and go on."""


@pytest.fixture
def world() -> World:
    """An empty kitchen at a full hour."""
    return World()


# --- a first run, and what it meets ---------------------------------------------------------------


def test_a_first_run_on_an_empty_database_seals_and_reports_nothing(world: World) -> None:
    """Neither totals nor entries: a watermark, a record, no drift."""
    report = world.run()
    assert (report.entries, report.documents, report.drift, report.corrections) == (0, 0, 0, ())
    assert world.state()["timestamp"] == BEGIN - LAG == report.watermark
    assert [run["state"] for run in world.runs()] == ["completed"]


def test_a_first_run_counts_what_was_there_before_the_triggers(world: World) -> None:
    """An existing collection without totals and without a watermark."""
    for number in range(5):
        world.write(f"old{number}")
    world.later(hours=1)
    report = world.run()
    assert (report.entries, report.drift) == (5, 20)
    converged(world.memory, world.source)


def test_totals_that_something_else_wrote_are_put_right(world: World) -> None:
    """They have a count, and neither `recent` nor `key`."""
    world.serve(3)
    world.memory.commit([Delete(CATEGORY), Create("aggregates_categories/Old", {"count": 9})], timeout=10)
    world.memory.commit([Create(CATEGORY, {"count": 2})], timeout=10)
    world.later(hours=1)
    report = world.run()
    assert {(each.document, each.stored, each.exact) for each in report.corrections} == {
        (CATEGORY, 2, 3),
        ("aggregates_categories/Old", 9, 0),
    }
    assert [
        totals(world.memory, world.source)[path].fields["key"]
        for path in (CATEGORY, "aggregates_categories/Old")
    ] == ["Kettle Chips", "Old"]
    converged(world.memory, world.source)


def test_months_without_a_run_are_tidied_up(world: World) -> None:
    """Hundreds of closed buckets go in one run, and nothing drifts."""
    ledger = world.ledger()
    for number in range(300):
        ledger.apply(world.write(f"e{number}"))
        world.later(hours=1)
    report = world.run()
    assert (report.drift, world.count(CATEGORY)) == (0, 300)
    assert totals(world.memory, world.source)[CATEGORY].fields["recent"] == {}


def test_a_report_says_what_was_wrong(world: World) -> None:
    """Every number that was wrong, by document and measure; the record holds the same."""
    entries = world.serve(4)
    world.memory.commit([Delete(world.memory.path(entries[0].path))], timeout=10)
    world.later(hours=1)
    found = world.run("scan")
    report = found.as_json()
    assert report["corrections"] == [asdict(each) for each in found.corrections]
    assert asdict(found.corrections[0]) == {"document": CATEGORY, "measure": "count", "stored": 4, "exact": 3}
    assert set(report) == {
        *("run_id", "watermark", "strategy", "why", "entries", "documents", "drift", "corrections"),
        *("reads", "writes", "seconds", "notes"),
    }
    (record,) = world.runs()
    assert {name: record[name] for name in ("run_id", "drift", "corrected", "reads", "writes", "why")} == {
        "run_id": report["run_id"],
        "drift": 4,
        "corrected": 4,
        "reads": report["reads"],
        "writes": report["writes"],
        "why": "asked for",
    }


def test_a_record_keeps_to_the_largest_corrections(world: World) -> None:
    """A document holds a megabyte: thousands of corrections do not fit."""
    for number in range(2 * BATCH_DOCUMENTS + 1):
        world.write(f"e{number}", ingredient=f"Ingredient {number}")
    world.later(hours=1)
    report = world.run()
    (record,) = world.runs()
    assert (len(report.corrections), record["corrected"]) == (
        2 * BATCH_DOCUMENTS + 4,
        2 * BATCH_DOCUMENTS + 4,
    )
    assert [each["exact"] for each in record["corrections"]][:4] == [401, 401, 401, 1]  # type: ignore[attr-defined]  # maps
    converged(world.memory, world.source)


# --- laws -----------------------------------------------------------------------------------------


def test_law_fence(world: World) -> None:
    """Entries behind the watermark stay in their buckets, and what is up to it is proven."""
    world.serve(5, "early")
    world.later(minutes=25)
    world.serve(3, "late")
    report = world.run()
    assert report.watermark == BEGIN + timedelta(minutes=10)
    assert world.count(CATEGORY) == 8
    fence_holds(world.memory, world.source, report.watermark)


def test_law_converge(world: World) -> None:
    """Lost events, edits and deletions are right after the next run."""
    entries = world.serve(6)
    world.write("lost")
    world.merge("libra/e0", ingredient="Basil")
    world.memory.commit([Delete(world.memory.path(entries[1].path))], timeout=10)
    world.later(minutes=30)
    assert world.run().drift > 0
    converged(world.memory, world.source)


def test_law_idempotent(world: World) -> None:
    """A second run finds drift 0 and writes no total."""
    world.serve(6)
    world.write("lost")
    world.later(minutes=30)
    world.run()
    before = totals(world.memory, world.source)
    report = world.run()
    assert (report.drift, report.writes) == (0, 6)  # three commits to the state and to its own record
    assert totals(world.memory, world.source) == before


@pytest.mark.parametrize("strategy", ["index", "scan"])
@pytest.mark.parametrize(("micros", "counted"), [(-1, 1), (0, 1), (1, 0)])
def test_an_entry_at_the_watermark_is_counted_and_one_a_microsecond_later_is_not(
    world: World, micros: int, counted: int, strategy: str
) -> None:
    """Committed exactly at W, and a microsecond before and after: counted once, proven or still open."""
    world.clock.now = BEGIN + timedelta(microseconds=micros)
    (entry,) = world.serve(1)
    assert entry.create_time == BEGIN + timedelta(microseconds=micros)
    world.clock.now = BEGIN + LAG
    report = world.run(strategy)
    assert (report.watermark, report.entries) == (BEGIN, counted)
    assert world.count(CATEGORY) == 1
    fence_holds(world.memory, world.source, BEGIN)
    world.later(minutes=10)
    assert world.run(strategy).drift == 0


@pytest.mark.parametrize("skew", [timedelta(minutes=-4, seconds=-49), timedelta(minutes=4, seconds=49)])
def test_a_trigger_whose_clock_is_off_by_less_than_the_margin_counts_once(
    world: World, skew: timedelta
) -> None:
    """It judges freshness by its own clock; whichever path it takes, the fence holds."""
    entries = [world.write(f"e{number}") for number in range(20)]
    ledger = world.ledger(clock=lambda: world.clock.now + skew)
    for entry in entries:
        world.later(seconds=70)
        ledger.apply(entry)
        world.run()
        fence_holds(world.memory, world.source)
    world.later(minutes=30)
    world.run()
    converged(world.memory, world.source)


def test_the_recompute_needs_no_clock_of_its_own_for_the_watermark(world: World) -> None:
    """An instance whose clock is a day fast or slow seals what Firestore's clock says."""
    for days in (1, -1):
        report = world.run(clock=lambda days=days: world.clock.now + timedelta(days=days))
        assert report.watermark == BEGIN - LAG


def test_a_late_delivery_after_the_seal_is_skipped(world: World) -> None:
    """The recompute has counted it."""
    entry = world.write("late")
    world.later(hours=1)
    world.run()
    world.ledger().apply(entry)
    assert world.count(CATEGORY) == 1


def test_a_late_delivery_between_count_and_seal_is_drift_of_nobody(world: World) -> None:
    """It is counted by the trigger, found in its bucket, and not corrected on top."""
    entry = world.write("late")
    world.later(hours=1)

    def deliver(step: str) -> None:
        if step == "counted":
            world.ledger().apply(entry)

    assert world.run(step=deliver).drift == 0
    assert world.count(CATEGORY) == 1
    fence_holds(world.memory, world.source)


@pytest.mark.parametrize(
    "step", ["counted", "seal committed", "compared", "correct begun", "correct committed"]
)
def test_triggers_run_on_at_every_step(world: World, step: str) -> None:
    """New entries, late ones and duplicates that arrive in the middle are neither lost nor doubled."""
    early = world.serve(4, "early")
    late = [world.write(f"late{number}") for number in range(2)]
    world.write("lost")
    world.later(minutes=30)

    def deliver(told: str) -> None:
        if told == step:
            world.serve(3, "fresh")
            for entry in early + late:
                world.ledger().apply(entry)

    world.run(step=deliver)
    fence_holds(world.memory, world.source)
    assert world.count(CATEGORY) == 10


# --- failures of others ---------------------------------------------------------------------------


def test_a_change_during_a_refresh_is_not_lost_to_a_concurrent_refresh(world: World) -> None:
    """Of two that start together one is refused, and what lands in between shows in the next."""
    world.serve(3)
    world.later(minutes=30)

    def interrupt(step: str) -> None:
        if step == "counted":
            world.memory.commit([Delete("libra/e0")], timeout=10)
            with pytest.raises(LeaseHeld):
                world.run()

    world.run(step=interrupt)
    assert world.count(CATEGORY) == 3  # right at the watermark
    world.later(minutes=30)
    world.run()
    assert world.count(CATEGORY) == 2


def test_an_interrupted_run_does_not_report_up_to_date(world: World) -> None:
    """Died after the seal: the watermark is new, and the next run still finds the drift."""
    world.write("lost")
    world.later(minutes=30)
    with pytest.raises(Died):
        world.run(step=dying_at(world, "seal committed"))
    assert under_way(world.runs()[0])
    world.store = world.memory
    world.later(minutes=5)
    report = world.run()
    assert report.drift == 4
    assert [run["state"] for run in world.runs()] == ["failed", "completed"]
    assert "its lease ran out at 2025-09-04T19:32" in str(world.runs()[0]["error"])


def test_late_data_heals_however_late_it_is(world: World) -> None:
    """A device years late, whose event is lost too: there is no window to fall out of."""
    world.run()
    world.later(days=400)
    world.write("lost", timestamp=datetime(1999, 12, 31, 23, 59, tzinfo=UTC))
    world.later(minutes=30)
    world.run()
    assert world.count("aggregates_time_dates/1999-12-31") == 1


def test_a_watermark_in_the_future_is_set_back_and_nothing_stays_lost(world: World) -> None:
    """Late entries were skipped because of it; the next run counts them."""
    world.merge("aggregates/last_processed", timestamp=BEGIN + timedelta(days=365))
    entry = world.write("late")
    world.later(minutes=6)
    world.ledger().apply(entry)
    assert world.count(CATEGORY) is None
    world.later(minutes=30)
    report = world.run()
    assert "lay in the future: set back" in report.notes[0]
    assert report.watermark == world.state()["timestamp"] == BEGIN + timedelta(minutes=20)
    converged(world.memory, world.source)


def test_a_watermark_later_than_the_lag_allows_makes_the_run_wait(world: World) -> None:
    """The lag was raised: nothing is written to a total, and the message says when to come back."""
    world.serve(2)
    world.later(minutes=30)
    world.run()
    world.settings = settings_for(world.settings, lag=timedelta(hours=1))
    with pytest.raises(WatermarkAhead, match="run again after 2025-09-04T20:20:00"):
        world.run()
    assert world.runs()[1]["state"] == "failed"
    world.later(minutes=50)
    assert world.run().drift == 0


def test_a_changed_bucket_length_waits_until_no_bucket_is_cut(world: World) -> None:
    """Nothing is corrected meanwhile, and it heals by itself."""
    world.clock.now = BEGIN - timedelta(minutes=3)
    world.serve(2)
    world.write("lost")
    world.settings = settings_for(world.settings, bucket=timedelta(minutes=6))
    world.clock.now = BEGIN + timedelta(minutes=5)
    with pytest.raises(BucketsStraddle, match="run again when LIBRA_LAG_SECONDS have passed since"):
        world.run()
    assert world.count(CATEGORY) == 2
    world.later(minutes=10)
    assert world.run().drift == 4
    converged(world.memory, world.source)


def test_a_damaged_watermark_stops_the_run(world: World) -> None:
    """Taking it for none could count twice."""
    world.merge("aggregates/last_processed", timestamp="yesterday")
    with pytest.raises(StateError, match="put back the watermark"):
        world.run()
    with pytest.raises(StateError, match="put back the watermark"):
        world.recompute().verify()
    assert world.runs() == []


def test_a_watermark_that_something_else_moves_stops_the_run(world: World) -> None:
    """Between the lease and the seal only this run may move it."""

    def meddle(step: str) -> None:
        if step == "counted":
            world.merge("aggregates/last_processed", timestamp=BEGIN - timedelta(days=1))

    with pytest.raises(StateError, match="something else writes it"):
        world.run(step=meddle)


def test_damaged_totals_are_named_and_repaired(world: World) -> None:
    """Strings, floats, a `recent` that is no map, labels that are none: never a crash of the whole run."""
    world.serve(3)
    world.later(minutes=30)
    world.serve(1, "open")
    world.merge(CATEGORY, count="many")
    world.merge("aggregates_actions/Served", count=4.0)
    world.merge("aggregates_time_hours/18", recent="none")
    world.merge("aggregates_time_dates/2025-09-04", recent={"junk": 1})
    report = world.run()
    assert [note.partition(" holds")[0] for note in report.notes] == [
        f"{CATEGORY}: count",
        "aggregates_actions/Served: count",
        "aggregates_time_hours/18: recent",
        "aggregates_time_dates/2025-09-04: recent.junk",
    ]
    fence_holds(world.memory, world.source)
    world.later(minutes=30)
    world.run()
    converged(world.memory, world.source)
    assert world.run().notes == ()


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

    def overtaken(told: str) -> None:
        if told == step:
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


def dying_at(world: World, step: str) -> Callable[[str], None]:
    """A hook in which the process is killed at a step: nothing of it reaches the store any more."""
    dead = False

    def gone(_: Call) -> Fault | None:
        if dead:
            raise Died(step)
        return None

    def hook(told: str) -> None:
        nonlocal dead
        if told == step:
            dead = True
            raise Died(step)

    world.store = Seams(world.store, gone)
    return hook


def troubled() -> World:
    """A world in which a run takes every step: drift, a broken total, a slow count, a deleted entry."""
    world = World()
    entries = world.serve(6)
    for number in range(3):
        world.write(f"lost{number}", ingredient="Basil")
    world.memory.commit([Delete(world.memory.path(entries[0].path))], timeout=10)
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
    told: list[str] = []
    troubled().run("scan", step=told.append)
    assert set(told) == set(REACHED)


def test_the_steps_of_failing_are_told_too(world: World) -> None:
    """A run that can not go on says so and lets the lease go."""
    told: list[str] = []

    def deny(step: str) -> None:
        told.append(step)
        if step == "counted":
            raise Denied("no permission")

    with pytest.raises(Denied):
        world.run(step=deny)
    assert told[-2:] == ["fail begun", "fail committed"]
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


# --- snapshots, strategies, dry runs --------------------------------------------------------------


@pytest.mark.parametrize("strategy", ["index", "scan"])
def test_a_count_that_outlives_the_snapshot_corrects_nothing_and_says_what_to_do(strategy: str) -> None:
    """Firestore keeps an hour without point-in-time recovery."""
    world = World()
    world.memory.history = timedelta(hours=1)
    world.serve(3)
    world.write("lost")
    world.later(minutes=30)
    before = totals(world.memory, world.source)

    def slow(call: Call) -> Fault | None:
        world.later(minutes=55 if call.method in {"scan", "count"} else 0)
        return None

    world.store = Seams(world.memory, slow)
    with pytest.raises(SnapshotTooOld, match=r"Nothing was corrected.*--enable-pitr"):
        world.run(strategy, lease=timedelta(days=1))
    assert totals(world.memory, world.source) == before
    assert "timestamp" not in world.state()
    world.store = world.memory
    world.later(days=1)
    assert world.run().drift == 4


def test_index_asked_for_where_it_can_not_prove_is_refused(world: World) -> None:
    """A sum is rounded entry by entry; the message names the aggregation."""
    grams = Aggregation(
        "aggregates_grams", FieldKey("ingredient"), measures=(Count(), Sum("amount", "grams"))
    )
    world.source = type(world.source)("libra", (grams,))
    world.serve(3)
    world.later(minutes=30)
    with pytest.raises(StrategyUnsupported, match="aggregates_grams"):
        world.run("index")
    report = world.run("auto")
    assert (report.strategy, report.drift) == ("scan", 0)
    assert report.why == (
        "index can not be used: aggregates_grams adds up more than a count, "
        "and each entry is rounded on its own"
    )


def test_sums_are_proven_by_scan(world: World) -> None:
    """A measure drifts and is corrected like a count."""
    grams = Aggregation(
        "aggregates_grams", FieldKey("ingredient"), measures=(Count(), Sum("amount", "milligrams", 1000))
    )
    world.source = type(world.source)("libra", (grams,))
    world.serve(3)
    world.write("lost", amount=0.5)
    world.later(minutes=30)
    report = world.run()
    assert {(each.measure, each.stored, each.exact) for each in report.corrections} == {
        ("count", 3, 4),
        ("milligrams", 37_500, 38_000),
    }
    assert world.memory.get(["aggregates_grams/Kettle Chips"])[0].fields["milligrams"] == 38_000  # type: ignore[union-attr]  # it is there


def test_auto_takes_the_index_where_it_is_cheaper(world: World) -> None:
    """Many entries of few kinds; the report says why."""
    for number in range(300):
        world.write(f"e{number}")
    world.later(minutes=30)
    report = world.run()
    assert (report.strategy, report.why) == ("index", "about 8 reads in 0 s; scan: about 300 reads in 0 s")
    assert report.reads < 60


def test_auto_gives_the_index_up_where_it_turns_out_dear(world: World) -> None:
    """On a first run nothing tells how many keys there are."""
    for number in range(100):
        world.write(f"e{number}", ingredient=f"Ingredient {number}")
    world.later(minutes=30)
    report = world.run()
    assert report.strategy == "scan"
    assert report.why.startswith(
        "the indexes took as many reads as a scan: there are too many keys (index was"
    )
    converged(world.memory, world.source)


def test_a_value_too_long_for_an_index_is_left_to_the_scan(world: World) -> None:
    """Firestore cuts it off there; auto goes over, and who insists is told."""
    for number in range(100):
        world.write(f"e{number}", ingredient="x" * (1_500 if number else 5))
    world.later(minutes=30)
    with pytest.raises(StrategyUnsupported, match="1500 bytes or more"):
        world.run("index")
    report = world.run()
    assert report.strategy == "scan"
    converged(world.memory, world.source)


def test_a_dry_run_writes_nothing_at_all(world: World) -> None:
    """It finds the drift; there is no lease, no record and no seal."""
    world.serve(3)
    world.write("lost")
    world.later(minutes=30)

    def forbid(call: Call) -> Fault | None:
        assert call.method not in {"commit", "begin"}
        return None

    world.store = Seams(world.memory, forbid)
    report = world.recompute().verify()
    assert (report.run_id, report.drift, report.writes, len(report.corrections)) == (None, 4, 0, 4)
    assert report.watermark == BEGIN + timedelta(minutes=20)


def test_a_dry_run_beside_a_run_sees_no_drift_that_is_not_there(world: World) -> None:
    """A run that seals a later watermark meanwhile removes buckets that the comparison needed."""
    world.serve(3)
    world.later(minutes=15)
    world.serve(2, "second")
    world.later(minutes=5)
    done = False

    def overtake(call: Call) -> Fault | None:
        nonlocal done
        if call.method == "count" and not done:
            done = True
            world.later(minutes=30)
            world.run()
        return None

    seams = Seams(world.memory, overtake)
    report = world.recompute().verify()
    assert report.drift == 0
    world.recompute()
    run = world.recompute()
    run._store = seams
    assert run.verify("index").drift == 0
    assert done


def test_a_dry_run_says_that_the_watermark_lies_in_the_future(world: World) -> None:
    """It repairs nothing, and compares where there is a snapshot."""
    world.merge("aggregates/last_processed", timestamp=BEGIN + timedelta(days=1))
    assert "the next run sets it back" in world.recompute().verify().notes[0]


def test_a_dry_run_compares_at_the_stored_watermark_if_that_is_later(world: World) -> None:
    """The lag was raised since."""
    world.later(minutes=30)
    world.run()
    world.settings = settings_for(world.settings, lag=timedelta(hours=1))
    assert world.recompute().verify().watermark == BEGIN + timedelta(minutes=20)


def test_totals_are_listed_in_pages(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """More of them than one query lists are all compared, and a page that fails is asked for again."""
    monkeypatch.setattr("shared.recompute.comparison.LISTED", 50)
    for number in range(120):
        world.write(f"e{number}", ingredient=f"Ingredient {number}")
    world.later(minutes=30)
    world.run()
    failed = 0

    def stumble(call: Call) -> Fault | None:
        nonlocal failed
        failed += call.method == "query"
        return "reply lost" if call.method == "query" and failed == 2 else None

    world.store = Seams(world.memory, stumble)
    assert (world.run("scan").drift, world.run("scan").documents) == (0, 123)


def test_recent_is_filed_under_the_bucket_that_a_watermark_closes(world: World) -> None:
    """The labels that a run removes are those the ledger wrote."""
    (entry,) = world.serve(1)
    label = bucket_of(entry.create_time, world.settings.bucket).label()
    assert totals(world.memory, world.source)[CATEGORY].fields["recent"] == {label: 1}
    world.later(minutes=30)
    world.run()
    assert totals(world.memory, world.source)[CATEGORY].fields["recent"] == {}
    assert exact_at(world.memory, world.source, world.clock.now)


def test_the_state_keeps_what_others_put_there(world: World) -> None:
    """A lease and a watermark are merged, never set over the rest."""
    world.memory.commit([Merge(world.home.state, {("note",): "ours"})], timeout=10)
    world.run()
    assert world.state()["note"] == "ours"

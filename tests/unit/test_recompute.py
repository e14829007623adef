"""The recompute over the in-memory store: first runs, laws, and other processes that fail.

Over 300 lines because a law stands next to the failures that it outlives.
"""

from dataclasses import asdict
from datetime import UTC, datetime, timedelta

import pytest

from shared.errors import (
    BucketsStraddle,
    LeaseHeld,
    StateError,
    WatermarkAhead,
)
from shared.recompute import under_way
from shared.recompute.corrections import BATCH_DOCUMENTS
from shared.settings import Settings
from shared.store import Create, Delete
from tests.support.recomputing import (
    BEGIN,
    Died,
    World,
    converged,
    dying_at,
    fence_holds,
    settings_for,
    totals,
)

LAG = Settings().lag
CATEGORY = "aggregates_categories/Kettle Chips"


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
        *("reads", "writes", "seconds", "notes", "losses", "filled", "filling", "proposal"),
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
    assert entry.time == BEGIN + timedelta(microseconds=micros)
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


@pytest.mark.parametrize("damaged", [False, True])
@pytest.mark.parametrize("off", [timedelta(days=-2), timedelta(days=2)])
def test_a_clock_that_is_days_off_takes_nothing_from_the_open_buckets(
    world: World, off: timedelta, damaged: bool
) -> None:
    """Firestore's own times tell which bucket cannot be, also where a total is set instead of added to."""
    world.serve(2)
    if damaged:
        world.merge(CATEGORY, count=2.5)
    report = world.run(clock=lambda: world.clock.now + off)
    assert not [note for note in report.notes if "bucket" in note]
    assert world.count(CATEGORY) == 2
    world.later(days=3)
    assert world.run().drift == 0


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

    def deliver(reported: str) -> None:
        if reported == step:
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
    assert "its lease expired at 2025-09-04T19:32" in str(world.runs()[0]["error"])


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


def test_records_of_a_database_that_was_restored_stop_no_run() -> None:
    """A restore goes to another database: its records name entries of the one that was backed up."""
    world = World()
    world.serve(1)
    name = world.memory.name("libra/bad").replace("/databases/(default)/", "/databases/before/")
    record = {"entry": name, "create_time": world.clock(), "rejected_at": world.clock(), "reasons": []}
    world.memory.commit([Create("aggregates_rejected/r", record)], timeout=10)
    world.later(minutes=30)
    assert world.run().drift == 0
    assert world.memory.get(["aggregates_rejected/r"]) != [None]

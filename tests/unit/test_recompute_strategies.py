"""The recompute over the in-memory store: snapshots, strategies, dry runs."""

from datetime import timedelta

import pytest

from shared.aggregation import Aggregation, Count, FieldKey, Sum
from shared.errors import (
    SnapshotTooOld,
    StrategyUnsupported,
)
from shared.settings import Settings
from shared.store import Merge
from shared.watermark import bucket_of
from tests.support.memory_seams import Call, Fault, Seams
from tests.support.recomputing import BEGIN, World, converged, exact_at, settings_for, totals

LAG = Settings().lag
CATEGORY = "aggregates_categories/Kettle Chips"


@pytest.fixture
def world() -> World:
    """An empty kitchen at a full hour."""
    return World()


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
        "index cannot be used: aggregates_grams adds up more than a count, "
        "and each entry is measured on its own"
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
    label = bucket_of(entry.time, world.settings.bucket).label()
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

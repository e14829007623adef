"""A run that would take too much away corrects nothing, says so, and goes on when it is told to."""

from collections.abc import Mapping
from dataclasses import asdict
from datetime import timedelta
from decimal import Decimal

import pytest

from shared.aggregation import Aggregation, Count, Entry, FieldKey, Source, Sum, TimeKey, Version
from shared.errors import MassLoss
from shared.recompute import Loss
from shared.recompute.loss import losses
from shared.settings import UTC
from shared.store import Delete, Query
from tests.support.memory_seams import Call, Fault, Seams
from tests.support.recomputing import BEGIN, World, converged, settings_for

ACTIONS = "aggregates_actions"
GONE = f"{ACTIONS}/Gone"


@pytest.fixture
def world() -> World:
    """Three counted entries, half an hour ago, and a total of two thousand that are gone."""
    world = World()
    world.serve(3)
    world.later(minutes=30)
    world.merge(GONE, count=2_000)
    return world


# --- what is too much --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("stored", "exact", "share", "too_much"),
    [
        (20_000, 19_000, "0.05", False),  # exactly the share, exactly a thousand
        (20_001, 19_000, "0.05", True),  # both passed, by one
        (19_999, 18_999, "0.05", True),  # exactly a thousand, and more than the share
        (19_999, 19_000, "0.05", False),  # 999: never
        (999, 0, "0", False),  # a small installation may lose all that it has
        (1_000, 0, "0.05", True),
        (10_000_000, 9_500_000, "0.05", False),
        (10_000_000, 9_499_999, "0.05", True),
        (60_000, 42_000, "0.3", False),  # 0.3 * 60000 is less than 18,000 in floating point
        (5_000, 5_000, "0", False),
        (5_000, 4_000, "0", True),
        (5_000, 0, "1", False),  # 1 allows everything
        (5_000, 9_000, "0", False),  # a gain
        (0, 9_000, "0", False),  # the first run
        (0, 0, "0", False),
        (-2_000, -9_000, "0", False),  # damaged: there was nothing to lose
    ],
)
def test_a_loss_is_too_much_above_the_share_and_from_a_thousand_on(
    stored: int, exact: int, share: str, too_much: bool
) -> None:
    """More than the share, and a thousand or more."""
    expected = (Loss("a", stored, exact),) if too_much else ()
    assert losses({"a": (stored, exact)}, Decimal(share)) == expected


def test_each_aggregation_is_judged_by_itself() -> None:
    """A gain of one does not hide the loss of another."""
    counts = {"a": (5_000, 0), "b": (0, 50_000), "c": (9_000, 8_900), "d": (4_000, 1_000)}
    assert losses(counts, Decimal("0.05")) == (Loss("a", 5_000, 0), Loss("d", 4_000, 1_000))


# --- what a run does ---------------------------------------------------------------------------------


def test_a_run_that_would_take_too_much_writes_no_total(world: World) -> None:
    """Lease, record and seal; not a total, not even one that lost nothing. The next run may begin at once."""
    world.merge("aggregates_categories/Kettle Chips", count=2)  # an entry was lost, too
    written: list[str] = []

    def note(call: Call) -> Fault | None:
        if call.method == "commit":
            written.extend(str(getattr(write, "path", "")).partition("/")[0] for write in call.about)
        return None

    world.store = Seams(world.memory, note)
    with pytest.raises(MassLoss):
        world.run()
    assert set(written) == {"aggregates", "aggregates_runs"}
    assert (world.count(GONE), world.count("aggregates_categories/Kettle Chips")) == (2_000, 2)
    assert world.state()["timestamp"] == BEGIN + timedelta(minutes=20)
    assert "proven" not in world.state()
    with pytest.raises(MassLoss):
        world.run()
    assert [run["state"] for run in world.runs()] == ["failed", "failed"]


def test_the_refusal_says_what_was_seen_what_may_have_happened_and_how_to_go_on(world: World) -> None:
    """In the error, and in the run's record."""
    with pytest.raises(MassLoss) as caught:
        world.run()
    says = str(caught.value)
    assert world.runs()[0]["error"] == f"MassLoss: {says}"
    for words in (
        "LIBRA_MAX_LOSS=0.05",
        "nothing was corrected",
        "aggregates_actions says 2,003, and 3 were counted (99.85 % less)",
        f"{world.memory.name('libra')} as of 2025-09-04T19:20:00+00:00",
        "time-to-live policy",
        "bulk delete",
        "import",
        "this database is not the one",
        "libra recompute --source libra --accept-loss",
        '{"source": "libra", "accept_loss": true}',
        "restore the entries",
    ):
        assert words in says, says
    assert "aggregates_categories" not in says


def test_the_next_run_that_accepts_the_loss_corrects_it_and_says_so(world: World) -> None:
    """In its report and in its record; the one after has nothing to accept."""
    with pytest.raises(MassLoss):
        world.run()
    report = world.recompute().run(accept_loss=True)
    assert report.losses == (Loss(ACTIONS, 2_003, 3),)
    assert world.runs()[-1]["losses"] == [asdict(report.losses[0])] == report.as_json()["losses"]
    converged(world.memory, world.source)
    assert world.state()["proven"] == report.watermark
    again = world.recompute().run(accept_loss=True)
    assert (again.drift, again.losses) == (0, ())


def test_late_entries_that_a_refused_run_sealed_are_counted_when_a_run_completes(world: World) -> None:
    """Until then the triggers acknowledge them as superseded, and no total has them."""
    late = world.write("late")
    world.later(minutes=30)
    with pytest.raises(MassLoss):
        world.run()
    world.ledger().apply(late)
    assert world.count(f"{ACTIONS}/Served") == 3
    world.recompute().run(accept_loss=True)
    assert world.count(f"{ACTIONS}/Served") == 4
    converged(world.memory, world.source)


def test_a_dry_run_reports_what_a_run_would_refuse(world: World) -> None:
    """It corrects nothing either way, so it does not fail."""
    report = world.recompute().verify()
    assert (report.losses, report.drift) == ((Loss(ACTIONS, 2_003, 3),), 2_000)
    assert world.runs() == []


def test_deletions_that_the_triggers_counted_are_told_the_operator() -> None:
    """A purge that its events took off at once: nothing is refused, nothing drifts, and the run says so."""
    world = World()
    entries = world.serve(1_200)
    world.later(minutes=30)
    assert world.run("scan").notes == ()
    gone = [Entry.deleted(entry.path, Version(entry.time, entry.fields)) for entry in entries[:1_100]]
    for start in range(0, len(gone), 100):
        batch = gone[start : start + 100]
        world.memory.commit([Delete(world.memory.path(entry.path)) for entry in batch], timeout=10)
    ledger = world.ledger()
    for entry in gone:
        ledger.apply(entry)
    world.later(minutes=30)
    report = world.run("scan")
    assert (report.drift, report.losses) == (0, ())
    assert f"{ACTIONS} counts 100, and counted 1,200 at the run before (91.67 % less)" in report.notes[1]
    world.later(minutes=30)
    assert world.run("scan").notes == ()


def test_the_share_is_the_operators(world: World) -> None:
    """1 lets a run do whatever it finds to be right."""
    world.settings = settings_for(world.settings, max_loss=Decimal(1))
    assert (world.run().losses, world.count(GONE)) == ((), 0)


def test_an_open_bucket_is_no_loss(world: World) -> None:
    """Only what the totals say up to the watermark is compared."""
    world.merge(GONE, count=2_000, recent={"t20250904T193000Z_600": 2_000})
    assert (world.run().losses, world.count(GONE)) == ((), 2_000)


# --- what is no loss ---------------------------------------------------------------------------------


def renamed(source: Source, before: Mapping[str, object]) -> World:
    """Two thousand entries that are stored under a key that none of them has any more."""
    world = World(source=source)
    for number in range(3):
        world.write(f"e{number}")
    world.later(minutes=30)
    for path, count in before.items():
        world.merge(path, count=count)
    return world


BY_PLACE_AND_DAY = Aggregation(
    "by_place",
    (FieldKey("location"), TimeKey("timestamp", "date", UTC)),
    measures=(Count(), Sum("amount", "grams")),
)


def test_a_key_that_was_renamed_is_no_loss() -> None:
    """What one total loses another gains: the sum stays."""
    world = renamed(Source("libra", (Aggregation("by_place", FieldKey("location")),)), {})
    world.merge("by_place/Caldo Office", count=-1_997)
    world.merge("by_place/Old Office", count=2_000)
    report = world.run()
    assert (report.drift, report.losses) == (4_000, ())
    assert (world.count("by_place/Caldo Office"), world.count("by_place/Old Office")) == (3, 0)


def test_composite_keys_and_other_measures() -> None:
    """The sum of `count` decides, over all combinations; a sum of grams may shrink as it likes."""
    source = Source("libra", (BY_PLACE_AND_DAY,))
    totals = {"by_place/A|2025-09-03": 900, "by_place/A|2025-09-04": 100}
    world = renamed(source, totals)
    world.merge("by_place/B|2025-09-04", grams=10**9)
    assert world.run().losses == ()  # 1,000 less 3 that were counted: 997
    world = renamed(source, totals | {"by_place/B|2025-09-04": 3})
    with pytest.raises(MassLoss, match=r"by_place says 1,003, and 3 were counted"):
        world.run()


def test_the_first_run_and_a_small_installation_are_never_hindered() -> None:
    """Nothing stored; then everything gone, and less than a thousand of it."""
    world = World()
    for number in range(20):
        world.write(f"e{number}")
    world.later(minutes=30)
    assert world.run().drift == 80
    entries = [document.path for document in world.memory.query(Query("libra"))]
    world.memory.commit([Delete(path) for path in entries], timeout=10)
    world.merge(GONE, count=979)
    world.later(minutes=30)
    assert (world.run().losses, world.count(f"{ACTIONS}/Served"), world.count(GONE)) == ((), 0, 0)

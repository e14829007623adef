"""The recompute of a self-written source, over the emulator and over its in-memory twin."""

from datetime import UTC, datetime, timedelta

import pytest

from shared.aggregation import Cell
from shared.intake import Outcome
from shared.recompute import Recompute
from shared.store import Create, Delete, Merge, Query, Store, Write
from tests.support.admitting import AT, HOME, Desk, click
from tests.support.memory_seams import Call, Seams

DIFFERENT = (Outcome.DUPLICATE, True)


@pytest.fixture
def desk(store: Store) -> Desk:
    """A self-written source in an empty database, of either kind."""
    return Desk(store)


def test_a_run_finds_nothing_where_nobody_else_wrote(desk: Desk) -> None:
    """At once: no lag to wait for. Its watermark is the commit time of its own record."""
    desk.admit(*(click(number) for number in range(5)))
    report = desk.run()
    assert (report.drift, report.entries, report.notes) == (0, 5, ())
    (record,) = desk.store.query(Query(HOME.runs))
    (state,) = desk.store.get([HOME.state])
    assert record.create_time == report.watermark == state.fields["timestamp"] == state.fields["proven"]
    assert desk.exact(report.watermark) == desk.exact() == desk.totals()


def test_a_run_repairs_what_somebody_else_wrote(desk: Desk) -> None:
    """A total that was changed, removed, or made up; an entry that was added, removed or changed."""
    verdicts = desk.admit(*(click(number, type="ab"[number % 2]) for number in range(6)))
    writes: list[Write] = [
        Merge("by_type/a", {("count",): 9}),
        Delete("by_type/b"),
        Merge("by_type/c", {("count",): 4, ("key",): "c", ("recent",): {"t20250904T191000Z_600": 4}}),
        Merge("by_user/u|a", {("n",): "many"}),
        Create("clicks/foreign", {"type": "a", "user": "u", "at": AT, "n": 5}),
        Delete(str(verdicts[0].entry)),
        Merge(str(verdicts[1].entry), {("type",): "z"}),
    ]
    for write in writes:
        desk.store.commit([write], timeout=10)
    dry = desk.recompute().verify()
    report = desk.run()
    assert dry.drift == report.drift > 0
    assert desk.agrees()
    assert desk.run().drift == 0


def test_a_run_counts_and_compares_at_one_instant(desk: Desk) -> None:
    """Events that come between its reads are in neither of them."""
    desk.admit(click(1))
    other = desk.intake()
    numbers = iter(range(100, 1_000))

    def meanwhile(call: Call) -> None:
        if call.method in {"query", "scan", "count", "now", "get"}:
            other.admit(click(next(numbers)))

    for act in (Recompute.run, Recompute.verify):
        report = act(desk.recompute(Seams(desk.store, after=meanwhile)))
        assert (report.drift, report.corrections) == (0, ())
        assert desk.agrees()


def test_the_watermark_is_later_than_every_correction_of_the_run_before(desk: Desk) -> None:
    """However soon one run follows on another, and by whatever clock: nothing is corrected twice."""
    desk.admit(click(1), click(2))
    for number, skew in enumerate((0, -3_600, 3_600)):
        desk.store.commit([Merge("by_type/open", {("count",): 50 + number})], timeout=10)
        clock = lambda skew=skew: datetime.now(UTC) + timedelta(seconds=skew)  # noqa: E731 - bound in the loop
        assert desk.recompute(clock=clock).run().drift == 48 + number
        assert desk.recompute(clock=clock).run().drift == 0
        assert desk.agrees()


def test_a_number_that_is_no_whole_number_is_set_with_what_was_added_since(desk: Desk) -> None:
    """Increments cannot put it right; events that are counted meanwhile are not lost."""
    desk.admit(click(1), click(2))
    desk.store.commit([Merge("by_type/open", {("count",): 2.5})], timeout=10)
    other, numbers = desk.intake(), iter(range(100, 200))

    def step(name: str) -> None:
        if name == "compared":
            for _ in range(3):
                other.admit(click(next(numbers)))

    report = desk.run(step=step)
    assert report.notes == ("by_type/open: count holds a number, which Libra never writes there",)
    assert desk.totals()[Cell("by_type", "open")] == {"count": 5}
    assert desk.agrees()
    assert desk.run().drift == 0

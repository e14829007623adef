"""Laws *once*, *fence*, *converge* and *idempotent* of self-written sources, over drawn histories.

The interleavings of many intakes and runs are the simulation's (`tests/simulation/intakes.py`). Here one
thing happens after another, and whatever dies, dies between two steps.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import count
from typing import Any

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from shared.errors import LeaseHeld, Transient
from shared.intake import Outcome
from shared.recompute import LEASE, STEPS, Report
from shared.store import Create, Delete, Merge, Query, Write
from tests.support.admitting import AT, Desk, click
from tests.support.memory_guardless import Guardless
from tests.support.memory_seams import Call, Fault, Seams
from tests.support.memory_store import MemoryStore
from tests.support.recomputing import Clock, Died

REACHED = [step for step in STEPS if not step.startswith(("fail", "clean"))]
"""What a run of a self-written source goes through. It has no record to clean up."""

numbers = st.integers(0, 7)
damages = st.sampled_from(["raise", "spoil", "split", "drop", "unmake", "make"])
faults = st.sampled_from([None, None, "reply lost", "request lost", "contention"])
operations = st.one_of(
    st.tuples(st.just("send"), numbers, st.booleans(), faults),
    st.tuples(st.just("send"), numbers, st.booleans(), faults),
    st.tuples(st.just("meddle"), damages, numbers),
    st.tuples(st.just("run"), st.sampled_from([None, None, *REACHED])),
    st.tuples(st.just("later"), st.sampled_from([1, 100, 4_000])),
)


def sent(number: int, *, other: bool) -> dict[str, object]:
    """An event of one of eight ids, with one of two contents."""
    return click(number, type="ab"[(number + other) % 2], user=f"u{number % 3}", n=number + other)


@dataclass
class History:
    """What happens to one source, and what must hold after each of it."""

    tap: Any = None
    clock: Clock = field(default_factory=lambda: Clock(AT))
    meddled: int = 0
    """How often somebody else wrote since the last run."""
    foreign: Iterator[int] = field(default_factory=count)
    reached: set[str] = field(default_factory=set)
    """The steps that runs have come to."""

    def __post_init__(self) -> None:
        self.store = MemoryStore(self.clock)
        self.desk = Desk(self.store, clock=self.clock, sleep=self.clock.sleep)

    def do(self, name: str, *arguments: Any) -> None:
        """One operation."""
        getattr(self, name)(*arguments)
        assert self.meddled or self.desk.agrees()

    def send(self, number: int, other: bool, fault: Fault | None) -> None:
        """An event comes; its first commit may lose its way, and its reply."""
        faults = [fault]

        def plan(call: Call) -> Fault | None:
            return faults.pop() if call.method == "commit" and faults else None

        seams: Any = Seams(self.store, plan)
        intake = self.desk.intake(self.tap(seams) if self.tap else seams)
        verdict = intake.admit(sent(number, other=other))
        (entry,) = self.store.get([str(verdict.entry)])
        assert entry
        assert verdict.differs == (entry.fields != sent(number, other=other))
        assert not (verdict.differs and verdict.outcome is Outcome.COUNTED)

    def meddle(self, what: str, number: int) -> None:
        """Somebody else writes to a total, or to the entries."""
        entries = list(self.store.query(Query(self.desk.home.entries)))
        totals = [each for name in ("by_type", "by_user") for each in self.store.query(Query(name))]
        found: Sequence[Any] = entries if what == "unmake" else totals
        if what == "make":
            write: Write = Create(f"clicks/foreign{next(self.foreign)}", sent(number, other=False))
        elif not found:
            return
        else:
            path = found[number % len(found)].path
            changed: dict[str, Write] = {
                "raise": Merge(path, increments={("count",): number - 3}),
                "spoil": Merge(path, {("count",): "many"}),
                "split": Merge(path, {("count",): number + 0.5, ("n",): float("nan")}),
            }
            write = changed.get(what, Delete(path))
        self.store.commit([write], timeout=1)
        self.meddled += 1

    def run(self, dies_at: str | None = None) -> None:
        """A recompute, killed at a step or not. Afterwards the totals are right, whatever was done."""
        if (report := self.recomputed(dies_at)) is None:
            return
        self.meddled = 0
        (state,) = self.store.get([self.desk.home.state])
        assert state
        assert state.fields["timestamp"] == report.watermark
        assert self.desk.agrees()

    def recomputed(self, dies_at: str | None = None) -> Report | None:
        """The report of a run; None if it died, or another one holds the lease."""
        dead: list[str] = []

        def gone(_: Call) -> None:
            if dead:
                raise Died

        def step(name: str) -> None:
            self.reached.add(name)
            if name == dies_at:
                dead.append(name)
                raise Died
            if name == "process committed":
                self.clock.sleep(LEASE.total_seconds() / 2)  # a slow count: a sign of life is due

        try:
            return self.desk.recompute(Seams(self.store, gone), step=step).run()
        except (Died, LeaseHeld):
            return None

    def later(self, seconds: int) -> None:
        """Time passes."""
        self.clock.now += timedelta(seconds=seconds)

    def converge(self) -> None:
        """Two runs after everything: the second finds nothing, and writes to no total."""
        self.later(int(LEASE.total_seconds()) + 1)
        self.run()
        times = [each.update_time for name in ("by_type", "by_date", "by_user") for each in self.totals(name)]
        report = self.recomputed()
        assert report is not None
        assert (report.drift, report.corrections) == (0, ())
        assert times == [
            each.update_time for name in ("by_type", "by_date", "by_user") for each in self.totals(name)
        ]

    def totals(self, name: str) -> list[Any]:
        """The stored totals of an aggregation."""
        return list(self.store.query(Query(name)))


def live_through(history: Sequence[tuple[Any, ...]], tap: Any = None) -> None:
    """Do one thing after another, and let it converge."""
    lived = History(tap)
    for operation in history:
        lived.do(*operation)
    lived.converge()


@settings(max_examples=400)
@given(st.lists(operations, max_size=20))
def test_the_laws_hold(history: Sequence[tuple[Any, ...]]) -> None:
    """Events in any order and number, with lost replies; meddlers; runs that die at any step."""
    live_through(history)


def test_without_the_entry_they_do_not_hold() -> None:
    """The control: with the creation left out of the commits the same property fails."""

    @settings(max_examples=200, database=None, phases=[Phase.generate])
    @given(st.lists(operations, min_size=1, max_size=20))
    def unguarded(history: Sequence[tuple[Any, ...]]) -> None:
        live_through(history, Guardless)

    with pytest.raises((AssertionError, ExceptionGroup)):
        unguarded()


@pytest.mark.parametrize("step", REACHED)
def test_a_run_that_is_killed_at_any_step_is_made_up_for(step: str) -> None:
    """Events come before, in between and after; the next run starts once the lease has run out."""
    lived = History()
    for number in range(5):
        lived.send(number, False, None)
    for number, damage in enumerate(("split", "raise", "drop")):
        lived.meddle(damage, number)
    lived.run(step)
    lived.send(5, False, "reply lost")
    lived.send(0, False, None)
    leased = step not in {"acquire begun", "complete committed"}
    assert (lived.recomputed() is None) == leased
    lived.converge()


def test_a_run_goes_through_every_step_of_the_matrix() -> None:
    """A step that is never reached kills nobody."""
    lived = History()
    lived.send(1, False, None)
    lived.meddle("split", 0)
    lived.meddle("raise", 1)
    lived.run()
    assert lived.reached == set(REACHED)


def test_what_nobody_answers_is_counted_once_when_it_comes_again() -> None:
    """Every reply of a whole delivery is lost; the sender sends again."""
    lived = History()
    lost: Any = Seams(lived.store, lambda call: "reply lost" if call.method in {"commit", "get"} else None)
    with pytest.raises(Transient):
        lived.desk.intake(lost).admit(sent(1, other=False))
    assert lived.desk.agrees()
    lived.send(1, False, None)
    assert lived.desk.agrees()

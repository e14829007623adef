"""The ledger's bounds and its pace, in virtual time and in memory: counts, never the clock of a machine."""

import asyncio
import logging
import threading
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from shared.aggregation import Entry
from shared.catalog import LIBRA_HOME, libra
from shared.errors import Contention, Overloaded, StateError, Transient
from shared.grouping.queue import LONGEST_PACE, MAX_WAIT, MAX_WRITES
from shared.grouping.settling import COMMIT_BUDGET, RETRY
from shared.ledger import COMMIT_TIMEOUT, Ledger, Outcome
from shared.settings import Settings
from shared.store import Create, Merge, Write
from shared.watermark import SAFETY_MARGIN
from tests.support.kitchen import SERVED
from tests.support.memory_store import MemoryStore

START = datetime(2026, 1, 1, 12, tzinfo=UTC)
TRIGGER_TIMEOUT = timedelta(seconds=120)
"""What a deployed trigger has to answer (functions.yaml)."""


class Clock:
    """Virtual time that only moves when something sleeps."""

    def __init__(self) -> None:
        self.now = START
        self.slept: list[float] = []

    def __call__(self) -> datetime:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += timedelta(seconds=seconds)


class Scripted(MemoryStore):
    """Answers commits with these errors first; each commit takes virtual time."""

    def __init__(self, clock: Clock, *errors: Exception, seconds: float = 0.0) -> None:
        super().__init__(clock)
        self.commits: list[list[Write]] = []
        self.errors = list(errors)
        self._virtual = clock
        self._seconds = seconds
        self.gate: threading.Event | None = None

    def commit(self, writes: Sequence[Write], **options: Any) -> datetime:
        if self.gate:
            assert self.gate.wait(30)
        if self._seconds:
            self._virtual.sleep(self._seconds)
        self.commits.append(list(writes))
        if self.errors:
            raise self.errors.pop(0)
        return super().commit(writes, **options)


@pytest.fixture
def clock() -> Clock:
    return Clock()


def make(clock: Clock, store: Scripted, **settings: Any) -> Ledger:
    source = libra(Settings())
    return Ledger(
        store, source, LIBRA_HOME, replace(Settings(test=True), **settings), clock=clock, sleep=clock.sleep
    )


def entry(clock: Clock, number: int, **changed: object) -> Entry:
    return Entry(f"p/libra/{number}", clock.now, SERVED | changed)


def test_an_idle_instance_waits_for_nobody(clock: Clock) -> None:
    """One entry at a time is committed alone, at once: nothing ever sleeps."""
    store = Scripted(clock)
    ledger = make(clock, store)
    for number in range(20):
        assert ledger.apply(entry(clock, number)) is Outcome.COUNTED
    assert (clock.slept, ledger.figures.commits) == ([], 20)


def test_a_linger_does_not_make_an_idle_instance_wait(clock: Clock) -> None:
    """Only an entry that comes within the linger of the last commit waits, for the rest of it."""
    ledger = make(clock, Scripted(clock), linger=timedelta(seconds=2))
    ledger.apply(entry(clock, 1))
    clock.now += timedelta(seconds=3)
    ledger.apply(entry(clock, 2))
    assert clock.slept == []
    clock.now += timedelta(seconds=0.5)
    ledger.apply(entry(clock, 3))
    assert clock.slept == [1.5]


def test_contention_stretches_the_pace_and_success_shortens_it(clock: Clock) -> None:
    """After contention commits are spaced, ever closer, until none waits again."""
    ledger = make(clock, Scripted(clock, Contention("hot"), Contention("hot"), Contention("hot")))
    ledger.apply(entry(clock, 0))
    retries, paces = len(clock.slept), []
    for number in range(1, 40):
        before = len(clock.slept)
        ledger.apply(entry(clock, number))
        paces.append(sum(clock.slept[before:]))
    assert retries == 3
    assert paces[0] > 0
    assert sorted(paces, reverse=True) == paces
    assert paces[-1] == 0


def test_the_pace_is_bounded(clock: Clock) -> None:
    """However long the contention lasts, commits are at most so far apart."""
    ledger = make(clock, Scripted(clock, *[Contention("hot")] * 50))
    for number in range(10):
        with pytest.raises(Contention):
            ledger.apply(entry(clock, number))
    assert max(clock.slept) <= LONGEST_PACE


def test_a_group_is_not_tried_beyond_its_budget(clock: Clock) -> None:
    """Slow failures use the budget up before the attempts."""
    store = Scripted(clock, *[Transient("no answer")] * RETRY.attempts, seconds=COMMIT_BUDGET / 2 + 1)
    with pytest.raises(Transient, match="no answer"):
        make(clock, store).apply(entry(clock, 1))
    assert len(store.commits) == 2 < RETRY.attempts


def test_the_longest_answer_is_within_the_triggers_timeout() -> None:
    """Waiting, pacing, trying and the last attempt: the platform hears before it gives up; and a commit in
    flight is short against the margin that keeps watermarks away from fresh entries."""
    longest = MAX_WAIT + timedelta(seconds=2 * LONGEST_PACE + COMMIT_BUDGET + 2 * COMMIT_TIMEOUT)
    assert longest < TRIGGER_TIMEOUT
    assert timedelta(seconds=COMMIT_TIMEOUT) < SAFETY_MARGIN / 10


def apply_all(ledger: Ledger, store: Scripted, entries: Sequence[Entry]) -> list[object]:
    """All but the first ride together: the first one's commit waits for them."""

    async def together() -> list[object]:
        store.gate = threading.Event()
        first = asyncio.create_task(ledger.apply_async(entries[0]))
        while not ledger._groups.queue._led:
            await asyncio.sleep(0)
        rest = [asyncio.create_task(ledger.apply_async(one)) for one in entries[1:]]
        while len(ledger._groups.queue) < len(rest):
            await asyncio.sleep(0)
        store.gate.set()
        return await asyncio.gather(first, *rest, return_exceptions=True)

    return asyncio.run(together())


def test_a_group_of_one_total_is_bounded_by_entries_alone(clock: Clock) -> None:
    """What a group writes is counted as it is: a marker each, and the totals once."""
    store = Scripted(clock)
    outcomes = apply_all(make(clock, store), store, [entry(clock, number) for number in range(301)])
    assert outcomes == [Outcome.COUNTED] * 301
    assert [len(writes) for writes in store.commits] == [5, 304]


def test_a_group_of_many_totals_is_bounded_by_writes(clock: Clock) -> None:
    """Entries that share only hour and date: three writes each fill a commit long before the group size."""
    store = Scripted(clock)
    entries = [entry(clock, n, ingredient=f"i{n}", dataAction=f"a{n}") for n in range(401)]
    apply_all(make(clock, store, time_action=None), store, entries)
    assert all(len(writes) <= MAX_WRITES for writes in store.commits)
    assert len(store.commits[1]) > MAX_WRITES - 6


def test_a_large_group_size_asks_for_large_commits(clock: Clock) -> None:
    """A thousand entries of one hot total in one commit, where the operator says so."""
    store = Scripted(clock)
    entries = [entry(clock, number) for number in range(1001)]
    apply_all(make(clock, store, group_size=1000), store, entries)
    assert [len(writes) for writes in store.commits] == [5, 1004]
    kinds = [type(write) for write in store.commits[1]]
    assert kinds == [Create] * 1000 + [Merge] * 4


def test_who_waited_too_long_is_refused_and_not_written(clock: Clock) -> None:
    """Its request is over, or nearly: the redelivered event counts it, once."""
    store = Scripted(clock, seconds=MAX_WAIT.total_seconds() + 1)
    ledger = make(clock, store)
    entries = [entry(clock, number) for number in range(3)]
    outcomes = apply_all(ledger, store, entries)
    assert [type(outcome) for outcome in outcomes] == [Outcome, Overloaded, Overloaded]
    assert [ledger.apply(one) for one in entries] == [
        Outcome.DUPLICATE,
        Outcome.COUNTED,
        Outcome.COUNTED,
    ]


def test_a_crowd_is_answered_before_the_loop_takes_breath(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody waits for it: not the crowd itself, and in an idle instance there is none."""
    monkeypatch.setattr("shared.grouping.groups.CROWD_PAUSE", 3600)
    ledger = make(clock, Scripted(clock))

    async def alone_then_crowded() -> list[Outcome]:
        alone = [await ledger.apply_async(entry(clock, number)) for number in range(3)]
        crowd = await asyncio.gather(*(ledger.apply_async(entry(clock, n)) for n in range(3, 20)))
        return alone + crowd

    assert asyncio.run(alone_then_crowded()) == [Outcome.COUNTED] * 20
    assert ledger.figures.commits == 4


def test_a_full_queue_refuses_coroutines_at_once(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """Back-pressure: the one that finds no place raises without anything being sent."""
    monkeypatch.setattr("shared.grouping.queue.MAX_WAITING", 0)
    store = Scripted(clock)
    with pytest.raises(Overloaded):
        asyncio.run(make(clock, store).apply_async(entry(clock, 1)))
    assert store.commits == []


def test_a_request_given_up_takes_nobody_with_it(clock: Clock) -> None:
    """A cancelled coroutine, leader or not: the others are counted, and so is its own entry."""
    store = Scripted(clock)
    ledger = make(clock, store)

    async def give_up_two_of_four() -> list[object]:
        store.gate = threading.Event()
        tasks = [asyncio.create_task(ledger.apply_async(entry(clock, number))) for number in range(4)]
        while len(ledger._groups.queue) < 3:
            await asyncio.sleep(0)
        tasks[0].cancel()
        tasks[1].cancel()
        await asyncio.sleep(0)
        store.gate.set()
        return await asyncio.gather(*tasks[2:])

    assert asyncio.run(give_up_two_of_four()) == [Outcome.COUNTED] * 2
    assert ledger.figures.outcomes[Outcome.COUNTED] == 4


def test_a_crash_in_a_group_is_logged_and_the_next_is_led(
    clock: Clock, logged: list[logging.LogRecord]
) -> None:
    """An unforeseen error: its members are redelivered, those who wait are not stuck."""
    store = Scripted(clock, RuntimeError("unforeseen"))
    ledger = make(clock, store, group_size=1)
    outcomes = apply_all(ledger, store, [entry(clock, number) for number in range(3)])
    assert [type(outcome) for outcome in outcomes] == [Transient, Outcome, Outcome]
    assert [record.getMessage() for record in logged] == ["A group was interrupted"]


def test_a_damaged_watermark_is_told_to_every_member(clock: Clock) -> None:
    """All of a group hear why, not that they were interrupted."""
    store = Scripted(clock)
    store.commit([Merge("aggregates/last_processed", {("timestamp",): "yesterday"})], timeout=1)
    outcomes = apply_all(make(clock, store, lag=timedelta(0)), store, [entry(clock, n) for n in range(3)])
    assert [type(outcome) for outcome in outcomes] == [StateError] * 3

"""What the ledger writes and logs, to the letter, and where exactly its bounds lie.

Over 300 lines because it compares whole commits, field by field.
"""

import asyncio
import logging
import random
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from local.process import wait_until
from shared.aggregation import Cell, Contribution, Entry, contribution
from shared.catalog import LIBRA_HOME, libra
from shared.errors import Contention, Invalid, Transient
from shared.grouping.groups import CROWD
from shared.grouping.queue import FIRST_PACE, MAX_WAIT, bytes_of
from shared.grouping.settling import RETRY
from shared.ledger import COMMIT_TIMEOUT, Ledger, Outcome, marker_id
from shared.log import logger
from shared.settings import Settings
from shared.store import Create, FieldPath, Merge, Query, Store, Write
from shared.watermark import bucket_of
from tests.support.kitchen import SERVED
from tests.support.memory_seams import Call, Seams
from tests.support.memory_store import MemoryStore

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
SOURCE = libra(Settings())
UNTIMED = {name: value for name, value in SERVED.items() if name != "timestamp"}


class Recording(MemoryStore):
    """Keeps every commit, and fails the first ones as it is told."""

    def __init__(self, *errors: Exception) -> None:
        super().__init__(lambda: NOW)
        self.commits: list[list[Write]] = []
        self.timeouts: list[float] = []
        self.errors = list(errors)

    def commit(self, writes: Sequence[Write], **options: Any) -> datetime:
        self.commits.append(list(writes))
        self.timeouts.append(options["timeout"])
        if self.errors:
            raise self.errors.pop(0)
        return super().commit(writes, **options)


def made(store: Store, sleep: Callable[[float], None] = lambda _: None, **settings: Any) -> Ledger:
    return Ledger(store, SOURCE, LIBRA_HOME, replace(Settings(), **settings), clock=lambda: NOW, sleep=sleep)


def entry(number: int, fields: Mapping[str, object] = SERVED) -> Entry:
    return Entry(f"p/libra/{number}", NOW, fields)


def put_aside(one: Entry, **reason: str) -> Merge:
    """The record of an entry that is not counted everywhere."""
    fields: dict[FieldPath, object] = {
        ("entry",): one.path,
        ("create_time",): NOW,
        ("reasons",): [reason],
    }
    return Merge(f"aggregates_rejected/{marker_id(one)}", fields, server_times=(("rejected_at",),))


# --- what is written --------------------------------------------------------------------------------


def test_a_commit_holds_the_marker_then_each_total_once() -> None:
    """The marker with the end of its life; count and bucket alike, the raw key, and when."""
    store, one = Recording(), entry(1)
    made(store).apply(one)
    increments = {("count",): 1, ("recent", bucket_of(NOW, Settings().bucket).label()): 1}
    ids = {"categories": "Kettle Chips", "actions": "Served", "time_hours": 18, "time_dates": "2025-09-04"}
    totals = [
        Merge(f"aggregates_{name}/{key}", {("key",): key}, increments, server_times=(("updated_at",),))
        for name, key in ids.items()
    ]
    marker = Create(f"aggregates_seen/{marker_id(one)}", {"expires_at": NOW + timedelta(days=7)})
    assert store.commits == [[marker, *totals]]


def test_an_entry_that_is_not_counted_everywhere_says_where_and_why(
    logged: list[logging.LogRecord],
) -> None:
    """In the rejected, with the commit that counts the rest; in the log, once; nothing for a good one."""
    store, one = Recording(), entry(1, SERVED | {"ingredient": 7})
    ledger = made(store)
    ledger.apply(entry(2))
    assert ledger.apply(one) is Outcome.COUNTED
    assert len(logged) == 1
    assert ledger.apply(one) is Outcome.DUPLICATE
    (rejection,) = contribution(SOURCE, one.fields).rejections
    where = {"aggregation": "aggregates_categories", "field": "ingredient", "reason": rejection.reason}
    assert store.commits[1][-1] == put_aside(one, **where)
    assert [(each.levelname, each.getMessage()) for each in logged] == [
        ("WARNING", "An entry could not be counted everywhere")
    ]
    reported = {name: vars(logged[0]).get(name) for name in ("entry", "aggregation", "reason")}
    reason = f"ingredient: {rejection.reason}"
    assert reported == {"entry": one.path, "aggregation": "aggregates_categories", "reason": reason}


def test_an_entry_that_firestore_refuses_is_put_aside_and_logged(logged: list[logging.LogRecord]) -> None:
    """Acknowledged: it would be refused as often as it is delivered."""
    store, one = Recording(Invalid("poison")), entry(1)
    assert made(store).apply(one) is Outcome.REJECTED
    assert store.commits[1] == [put_aside(one, reason="Firestore refused its increments: poison")]
    (record,) = store.query(Query(LIBRA_HOME.rejected))
    assert record.fields["rejected_at"] == NOW
    assert [(each.levelname, each.getMessage(), vars(each)["entry"]) for each in logged] == [
        ("ERROR", "Firestore refuses an entry's increments", one.path)
    ]


def test_an_event_without_an_entry_is_put_aside_under_its_id() -> None:
    """Hashed: an event's id is no document id."""
    store = Recording()
    made(store).refuse("event/1", "no entry")
    (write,) = store.commits[0]
    assert isinstance(write, Merge)
    collection, _, document = write.path.partition("/event-")
    assert (collection, len(bytes.fromhex(document))) == ("aggregates_rejected", 16)
    assert write.fields == {("event",): "event/1", ("reasons",): [{"reason": "no entry"}]}
    assert write.server_times == (("rejected_at",),)


def test_no_commit_is_in_flight_for_longer_than_the_margin_allows() -> None:
    """Of an entry, of one that is refused, of an event that is none."""
    store = Recording(Invalid("poison"))
    ledger = made(store)
    ledger.apply(entry(1))
    ledger.refuse("event/1", "no entry")
    assert store.timeouts == [COMMIT_TIMEOUT] * 3


def test_figures_add_up_over_groups() -> None:
    """Commits that landed, what they wrote, markers that were read, attempts after the first."""
    store = Recording()
    ledger = made(store)
    for number in (1, 2, 2, 2):
        ledger.apply(entry(number))
    figures = ledger.figures
    assert (figures.commits, figures.writes, figures.reads, figures.retries) == (2, 10, 2, 0)
    assert figures.outcomes == dict.fromkeys(Outcome, 0) | {
        Outcome.COUNTED: 2,
        Outcome.DUPLICATE: 2,
        Outcome.SUPERSEDED: 0,
        Outcome.REJECTED: 0,
    }
    store.errors = [Contention("busy")]
    ledger.apply(entry(3))
    assert ledger.figures.retries == 1


def test_figures_are_logged_for_whoever_asks(logged: list[logging.LogRecord]) -> None:
    """At the level DEBUG only, after each group."""
    ledger = made(Recording(Contention("busy")))
    ledger.apply(entry(1))
    assert logged == []
    logger.setLevel(logging.DEBUG)
    ledger.apply(entry(1))
    (record,) = logged
    assert (record.levelno, record.getMessage()) == (
        logging.DEBUG,
        "A group is settled; figures since the start",
    )
    figures = {"commits": 1, "writes": 5, "reads": 1, "retries": 1}
    outcomes = {"counted": 1, "duplicate": 1, "superseded": 0, "rejected": 0}
    assert vars(record).items() >= (figures | outcomes).items()


# --- the bounds of a group ----------------------------------------------------------------------------


def queued(ledger: Ledger, *entries: Entry) -> list[Contribution]:
    """Have entries wait in a ledger that nobody leads."""
    ledger._groups.queue._led = True
    for one in entries:
        ledger._groups.queue.enqueue(ledger._member(one))
    return [each.contribution for each in ledger._groups.queue._waiting]


@pytest.mark.parametrize(
    ("fields", "writes"), [(SERVED, 6), (UNTIMED, 6)], ids=["of the same totals", "put aside"]
)
def test_a_group_is_bounded_by_its_writes(fields: Mapping[str, object], writes: int) -> None:
    """A marker each, a total once, a record for each that is put aside: to the last."""
    for bound, taken in ((writes, 2), (writes - 1, 1)):
        ledger = made(Recording())
        queued(ledger, entry(1, fields), entry(2, fields))
        ledger._groups.queue._most_writes = bound
        assert len(ledger._groups.queue.take()) == taken


@pytest.mark.parametrize("fields", [SERVED, UNTIMED], ids=["of the same totals", "put aside"])
def test_a_group_is_bounded_by_its_bytes(
    monkeypatch: pytest.MonkeyPatch, fields: Mapping[str, object]
) -> None:
    """As estimated, to the last."""
    ledger = made(Recording())
    for number, taken in ((0, 2), (-1, 1)):
        first, second = queued(ledger, entry(1, fields), entry(2, fields))
        each = 512 * (2 + len(first.rejections))
        bound = 2 * each + sum(map(bytes_of, first.deltas))
        assert second.deltas.keys() == first.deltas.keys()
        monkeypatch.setattr("shared.grouping.queue.MAX_BYTES", bound + number)
        assert len(ledger._groups.queue.take()) == taken
        ledger._groups.queue._waiting.clear()


def test_what_a_total_adds_to_a_commit_is_estimated_by_its_key() -> None:
    """Its raw key, up to four bytes a character, and its id."""
    assert bytes_of(Cell("aggregates_categories", "Mac/Cheese")) == 512 + 4 * 10 + 12


@pytest.mark.parametrize(("group_size", "writes"), [(1, 500), (400, 500), (402, 502), (1000, 1250)])
def test_a_large_group_may_write_more(group_size: int, writes: int) -> None:
    """A quarter more than its markers."""
    assert made(Recording(), group_size=group_size)._groups.queue._most_writes == writes


def test_a_group_is_full_with_its_last_entry() -> None:
    """Whoever waits for company need not wait any more."""
    ledger = made(Recording(), group_size=2)
    queued(ledger, entry(1))
    assert not ledger._groups.queue.full.is_set()
    queued(ledger, entry(2))
    assert ledger._groups.queue.full.is_set()


def test_an_entry_is_given_up_when_it_has_waited_for_longer_than_it_may() -> None:
    """Not a moment before; it says so."""
    ledger = made(Recording())
    member = ledger._member(entry(1))
    member.since = NOW - MAX_WAIT
    assert not ledger._guard.give_up(member)
    member.since -= timedelta(microseconds=1)
    assert ledger._guard.give_up(member)
    assert str(member.error) == "p/libra/1: waited 30 s and was not committed: deliver it again"


def test_a_group_is_full_while_enough_wait_for_another() -> None:
    """Whoever waits for company goes at once as long as that is so."""
    ledger = made(Recording(), group_size=2)
    queued(ledger, *map(entry, range(4)))
    assert ledger._groups.queue.full.is_set()
    assert (len(ledger._groups.queue.take()), ledger._groups.queue.full.is_set()) == (2, True)
    assert (len(ledger._groups.queue.take()), ledger._groups.queue.full.is_set()) == (2, False)


def test_a_duplicate_in_its_own_group_is_told_apart() -> None:
    """One of the two counted, and the other says so."""
    ledger = made(Recording())

    async def together() -> list[Outcome]:
        return await asyncio.gather(*(ledger.apply_async(entry(1)) for _ in range(2)))

    assert sorted(outcome.value for outcome in asyncio.run(together())) == ["counted", "duplicate"]
    assert ledger.figures.outcomes[Outcome.DUPLICATE] == 1


# --- pace -------------------------------------------------------------------------------------------


def test_attempts_are_ever_further_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each pause is drawn from nothing to twice as much as the last."""
    drawn: list[tuple[float, float]] = []

    def most(low: float, high: float) -> float:
        drawn.append((low, high))
        return high

    monkeypatch.setattr(random, "uniform", most)
    ledger = made(Recording(*[Transient("no answer")] * 5))
    with pytest.raises(Transient, match="no answer"):
        ledger.apply(entry(1))
    assert [low for low, _ in drawn] == [0] * 4
    assert [high for _, high in drawn] == pytest.approx([RETRY.first * times for times in (2, 4, 8, 16)])


def test_contention_doubles_the_pace() -> None:
    """From the first pause on."""
    ledger = made(Recording(*[Contention("busy")] * 5))
    with pytest.raises(Contention):
        ledger.apply(entry(1))
    assert ledger._pace.contended == pytest.approx(FIRST_PACE * 16)


def test_a_pace_wears_off_in_eight_commits() -> None:
    """A tenth less each, until it is not worth keeping."""
    ledger = made(Recording(Contention("busy")))
    paces = []
    for number in range(9):
        ledger.apply(entry(number))
        paces.append(ledger._pace.contended)
    assert paces[:7] == [pytest.approx(FIRST_PACE * 0.9**landed) for landed in range(1, 8)]
    assert paces[7:] == [0.0, 0.0]


def test_a_loop_keeps_the_linger_too() -> None:
    """A commit begins so long after the one before it."""
    slept: list[float] = []
    ledger = made(Recording(), slept.append, linger=timedelta(seconds=2))

    async def one_by_one() -> None:
        for number in range(2):
            await ledger.apply_async(entry(number))

    asyncio.run(one_by_one())
    assert slept == [2.0]


def test_a_full_group_does_not_wait_for_the_linger() -> None:
    """By the clock of the machine, which is what is deployed: an hour would be too long."""
    settings = replace(Settings(), linger=timedelta(hours=1), group_size=2)
    ledger = Ledger(Recording(), SOURCE, LIBRA_HOME, settings)
    ledger.apply(entry(1))
    applied: list[Outcome] = []
    for number in (2, 3):
        threading.Thread(target=lambda n=number: applied.append(ledger.apply(entry(n))), daemon=True).start()
    wait_until(lambda: len(applied) == 2, seconds=30, what="the group, which is full")


@pytest.mark.parametrize(("together", "breaths"), [(CROWD, 0), (CROWD + 1, 1)])
def test_a_loop_takes_breath_after_a_crowd_only(
    monkeypatch: pytest.MonkeyPatch, together: int, breaths: int
) -> None:
    """A few that came together are no sign that more will."""
    monkeypatch.setattr("shared.grouping.groups.CROWD_PAUSE", 0.125)
    taken: list[float] = []
    sleep = asyncio.sleep

    async def breathe(seconds: float) -> None:
        taken.append(seconds)
        await sleep(0)

    async def crowd() -> None:
        with pytest.MonkeyPatch.context() as context:
            context.setattr(asyncio, "sleep", breathe)
            await asyncio.gather(*(ledger.apply_async(entry(number)) for number in range(together)))
            await ledger._groups.leader

    ledger = made(Recording())
    asyncio.run(crowd())
    assert taken.count(0.125) == breaths


def test_whoever_loses_its_leader_is_told_its_own_entry() -> None:
    """The platform's log names what will be delivered again."""
    ledger = made(Recording(RuntimeError("unforeseen")))
    with pytest.raises(Transient, match=r"^p/libra/1: the commit of its group was interrupted$"):
        asyncio.run(ledger.apply_async(entry(1)))


# --- the late path, and what a group's members share --------------------------------------------------


def sealed(store: Recording, watermark: datetime) -> None:
    MemoryStore.commit(store, [Merge(LIBRA_HOME.state, {("timestamp",): watermark})], timeout=1)


def old(number: int, minutes: int) -> Entry:
    return replace(entry(number), time=NOW - timedelta(minutes=minutes))


def together(ledger: Ledger, *entries: Entry) -> list[object]:
    """Apply entries in one group."""

    async def group() -> list[object]:
        return await asyncio.gather(*map(ledger.apply_async, entries), return_exceptions=True)

    return asyncio.run(group())


def test_a_transaction_is_given_up_by_name_wherever_it_ends_without_a_commit() -> None:
    """Its lock would keep the recompute waiting for a minute."""
    store, given_up = Recording(Transient("no answer")), []
    sealed(store, NOW - timedelta(minutes=30))

    def note(call: Call) -> None:
        if call.method == "rollback":
            given_up.append(call.transaction)

    ledger = made(Seams(store, after=note))
    assert ledger.apply(old(1, 20)) is Outcome.COUNTED  # at the second attempt
    assert ledger.apply(old(2, 40)) is Outcome.SUPERSEDED
    assert len(set(given_up)) == 2
    assert all(given_up)
    assert ledger.figures.reads == 3


def test_what_a_recompute_has_counted_is_acknowledged_though_its_group_fails() -> None:
    """Only those who were to be written are delivered again."""
    store = Recording(*[Transient("no answer")] * 5)
    sealed(store, NOW - timedelta(minutes=30))
    behind, late = old(1, 40), old(2, 20)
    answers = together(made(store), behind, late, late, behind)
    assert [each if isinstance(each, Outcome) else str(each) for each in answers] == [
        Outcome.SUPERSEDED,
        "no answer",
        "no answer",
        Outcome.SUPERSEDED,
    ]


def test_a_marker_has_the_id_that_it_always_had(monkeypatch: pytest.MonkeyPatch) -> None:
    """In any zone, in any version: another would count again what is delivered around an update."""
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        assert marker_id(entry(1)) == "fe74379c8489568c2328788e1699e4cc"
    finally:
        monkeypatch.undo()
        time.tzset()

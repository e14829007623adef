"""The ledger over the emulator and over its in-memory twin: guard, late path, group, bad entries.

Over 300 lines because it is one contract: what a ledger does with one entry, with many, and with old ones.
"""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from shared.aggregation import Aggregation, Cell, Count, Entry, FieldKey, Source, Sum, TimeKey
from shared.errors import AlreadyExists, Contention, Denied, Invalid, Overloaded, StateError, Transient
from shared.grouping.queue import MAX_WRITES
from shared.grouping.settling import RETRY
from shared.ledger import Ledger, Outcome, marker_id
from shared.settings import UTC as UTC_ZONE
from shared.settings import Settings
from shared.store import Delete, Merge, Write
from shared.store.client import FirestoreStore
from shared.watermark import bucket_of
from tests.support.kitchen import Kitchen, counts, reasons

LATE = Settings(lag=timedelta(0), test=True)
"""With no lag every entry takes the late path."""


def ledger_of(kitchen: Kitchen, store: Any = None, **settings: Any) -> Ledger:
    return Ledger(
        store or kitchen.store,
        kitchen.source,
        kitchen.home,
        replace(kitchen.settings, test=True, **settings),
        sleep=lambda _: None,
    )


class Watched:
    """The real store, with what was asked of it written down and a hook before each commit."""

    def __init__(self, store: FirestoreStore) -> None:
        self._store = store
        self.calls: list[str] = []
        self.commits: list[list[Write]] = []
        self.before_commit: Callable[[], None] = lambda: None

    def __getattr__(self, name: str) -> Any:
        self.calls.append(name)
        return getattr(self._store, name)

    def commit(self, writes: Sequence[Write], **options: Any) -> datetime:
        self.calls.append("commit")
        self.commits.append(list(writes))
        self.before_commit()
        return self._store.commit(writes, **options)


def apply_together(
    ledger: Ledger, watched: Watched, entries: Sequence[Entry], then: Callable[[], None] = lambda: None
) -> list[Any]:
    """Apply entries so that all but the first ride in one group: the first one's commit waits for them."""
    queue = ledger._groups.queue
    arrived = threading.Event()

    def wait_for_the_others() -> None:
        watched.before_commit = then
        arrived.wait(30)

    watched.before_commit = wait_for_the_others
    with ThreadPoolExecutor(len(entries)) as threads:
        first = threads.submit(ledger.apply, entries[0])
        while not watched.commits:
            threading.Event().wait(0.001)
        rest = [threads.submit(ledger.apply, entry) for entry in entries[1:]]
        while len(queue) < len(rest):
            threading.Event().wait(0.001)
        arrived.set()
        return [future.exception() or future.result() for future in (first, *rest)]


def test_one_entry_moves_four_totals_once(kitchen: Kitchen) -> None:
    """The README's example, with key, count, the bucket it is filed under, and the commit's time."""
    entry = kitchen.write("entry-1")
    assert ledger_of(kitchen).apply(entry) is Outcome.COUNTED
    assert kitchen.totals() == kitchen.exact()
    label = bucket_of(entry.time, kitchen.settings.bucket).label()
    (total,) = kitchen.documents("aggregates_time_hours")
    assert isinstance(total.pop("updated_at"), datetime)  # type: ignore[attr-defined]  # a dict of the test's own
    assert total == {"key": 18, "count": 1, "recent": {label: 1}}


@pytest.mark.parametrize("lag", [timedelta(minutes=10), timedelta(0)], ids=["fresh", "late"])
def test_a_second_delivery_counts_nothing(kitchen: Kitchen, lag: timedelta) -> None:
    """By the same instance and by another one, on either path."""
    entry = kitchen.write("entry-1")
    ledger = ledger_of(kitchen, lag=lag)
    assert ledger.apply(entry) is Outcome.COUNTED
    assert ledger.apply(entry) is Outcome.DUPLICATE
    assert ledger_of(kitchen, lag=lag).apply(entry) is Outcome.DUPLICATE
    assert kitchen.totals() == kitchen.exact()


def test_an_id_created_anew_counts_as_the_new_entry_it_is(kitchen: Kitchen) -> None:
    """The marker knows the create time: deleting an entry does not swallow its successor."""
    first = kitchen.write("entry-1")
    ledger = ledger_of(kitchen)
    ledger.apply(first)
    kitchen.store.commit([Delete("libra/entry-1")], timeout=10)
    second = kitchen.write("entry-1")
    assert marker_id(first) != marker_id(second)
    assert ledger.apply(second) is Outcome.COUNTED
    assert counts(kitchen.totals(), "aggregates_actions") == {"Served": 2}


def test_the_fresh_path_reads_nothing_and_the_late_path_reads_one_document(kitchen: Kitchen) -> None:
    """One RPC for a fresh entry; a transaction over the watermark for a late one."""
    watched = Watched(kitchen.store)
    ledger_of(kitchen, watched).apply(kitchen.write("fresh"))
    assert watched.calls == ["commit"]
    watched.calls.clear()
    ledger_of(kitchen, watched, lag=timedelta(0)).apply(kitchen.write("late"))
    assert watched.calls == ["begin", "commit"]


@pytest.mark.parametrize(
    ("offset", "outcome"),
    [
        (timedelta(microseconds=-1), Outcome.COUNTED),
        (timedelta(0), Outcome.SUPERSEDED),
        (timedelta(microseconds=1), Outcome.SUPERSEDED),
    ],
)
def test_what_a_watermark_has_passed_is_skipped(
    kitchen: Kitchen, offset: timedelta, outcome: Outcome
) -> None:
    """Committed exactly at W: the recompute has counted it. A microsecond after W: it has not."""
    entry = kitchen.write("entry-1")
    watermark = entry.time + offset
    kitchen.store.commit([Merge(kitchen.home.state, {("timestamp",): watermark})], timeout=10)
    assert ledger_of(kitchen, lag=timedelta(0)).apply(entry) is outcome
    assert bool(kitchen.totals()) == (outcome is Outcome.COUNTED)
    assert bool(kitchen.documents(kitchen.home.seen)) == (outcome is Outcome.COUNTED)


def test_a_watermark_that_moves_under_a_late_commit_wins(kitchen: Kitchen) -> None:
    """Sealed between the late path's read and its commit: it starts again and sees the new watermark."""
    entry = kitchen.write("entry-1")
    watched = Watched(kitchen.store)
    sealed = threading.Event()

    def seal() -> None:
        # The emulator locks what a transaction has read: the seal is refused until the transaction ends.
        while not sealed.is_set():
            try:
                state = Merge(kitchen.home.state, {("timestamp",): entry.time})
                kitchen.store.commit([state], timeout=60)
                sealed.set()
            except Transient:
                continue

    def seal_now() -> None:
        watched.before_commit = lambda: None
        sealer.start()
        if not sealed.wait(1):
            raise Contention("the transaction gives way, as Firestore may have it do")

    sealer = threading.Thread(target=seal)
    watched.before_commit = seal_now

    def wait_for_the_seal(_: float) -> None:
        sealed.wait(60)

    late = replace(kitchen.settings, lag=timedelta(0), test=True)
    assert (
        Ledger(watched, kitchen.source, kitchen.home, late, sleep=wait_for_the_seal).apply(entry)
        is Outcome.SUPERSEDED
    )
    sealer.join()
    assert kitchen.totals() == {}


def test_a_damaged_watermark_counts_nothing(kitchen: Kitchen) -> None:
    """Text where the watermark belongs is an operator's problem, not 'no watermark yet'."""
    kitchen.store.commit([Merge(kitchen.home.state, {("timestamp",): "yesterday"})], timeout=10)
    entry = kitchen.write("entry-1")
    with pytest.raises(StateError, match="'yesterday': expected a Timestamp"):
        ledger_of(kitchen, lag=timedelta(0)).apply(entry)
    assert kitchen.totals() == {}


def test_concurrent_events_ride_in_one_commit(kitchen: Kitchen) -> None:
    """Thirty entries that wait together: thirty markers and one write a total, in one commit."""
    watched = Watched(kitchen.store)
    ledger = ledger_of(kitchen, watched)
    entries = [kitchen.write(f"entry-{number}") for number in range(31)]
    outcomes = apply_together(ledger, watched, entries)
    assert outcomes == [Outcome.COUNTED] * 31
    assert [len(writes) for writes in watched.commits] == [5, 34]
    assert kitchen.totals() == kitchen.exact()
    assert (ledger.figures.commits, ledger.figures.writes) == (2, 39)


def test_a_duplicate_in_a_group_costs_its_neighbours_nothing(kitchen: Kitchen) -> None:
    """One applied by another instance, one twice in the group: each is counted once, all are answered."""
    watched = Watched(kitchen.store)
    first, applied, twice, single = (kitchen.write(name) for name in ("first", "applied", "twice", "single"))
    ledger_of(kitchen).apply(applied)
    ledger = ledger_of(kitchen, watched)
    outcomes = apply_together(ledger, watched, [first, applied, twice, twice, single])
    assert outcomes[0] is outcomes[4] is Outcome.COUNTED
    assert outcomes[1] is Outcome.DUPLICATE
    assert sorted(outcome.value for outcome in outcomes[2:4]) == ["counted", "duplicate"]
    assert kitchen.totals() == kitchen.exact()
    assert sum(ledger.figures.outcomes.values()) == 5


def test_a_group_with_late_entries_skips_only_those(kitchen: Kitchen) -> None:
    """Behind the watermark, on it, and after it, in one commit."""
    entries = [kitchen.write(f"entry-{number}") for number in range(4)]
    kitchen.store.commit([Merge(kitchen.home.state, {("timestamp",): entries[1].time})], timeout=10)
    watched = Watched(kitchen.store)
    ledger = ledger_of(kitchen, watched, lag=timedelta(0))
    outcomes = apply_together(ledger, watched, [entries[3], *entries[:3]])
    assert [outcome.value for outcome in outcomes] == ["counted", "superseded", "superseded", "counted"]
    assert counts(kitchen.totals(), "aggregates_actions") == {"Served": 2}


class Full(Watched):
    """A store in which one total's document is full: Firestore calls every commit that adds to it invalid."""

    def commit(self, writes: Sequence[Write], **options: Any) -> datetime:
        if any(write.path == "aggregates_categories/full" for write in writes):
            raise Invalid("commit: INVALID_ARGUMENT: the document is too large")
        return super().commit(writes, **options)


@pytest.mark.parametrize("place", [0, 2, 4])
def test_a_poison_entry_never_fails_its_neighbours(kitchen: Kitchen, place: int) -> None:
    """Wherever it stands in its group, it is recorded with the reason and the others commit."""
    entries = [kitchen.write(f"entry-{number}") for number in range(5)]
    poison = kitchen.write("poison", ingredient="full")
    watched = Full(kitchen.store)
    group = [*entries[1:][:place], poison, *entries[1:][place:]]
    outcomes = apply_together(ledger_of(kitchen, watched), watched, [entries[0], *group])
    assert outcomes.index(Outcome.REJECTED) == place + 1
    assert outcomes.count(Outcome.COUNTED) == 5
    assert counts(kitchen.totals(), "aggregates_actions") == {"Served": 5}
    (rejected,) = kitchen.documents(kitchen.home.rejected)
    assert rejected["entry"] == poison.path
    assert reasons([rejected])[0].startswith("Firestore refused its increments: commit: INVALID_ARGUMENT")


ODD_KEYS = ["Mac/Cheese", "100%", "a%2Fb", "a/b", ".", "..", "__x__", "x" * 2_000, "🥔", "", "é", "e\u0301"]


def test_odd_ingredients_keep_a_total_and_their_name(kitchen: Kitchen) -> None:
    """No collision, no crash, and `key` is the raw value: `Kitchen.totals` compares path and key."""
    ledger = ledger_of(kitchen)
    for number, ingredient in enumerate(ODD_KEYS):
        for copy in range(number + 1):
            ledger.apply(kitchen.write(f"entry-{number}-{copy}", ingredient=ingredient))
    expected = {ingredient: number + 1 for number, ingredient in enumerate(ODD_KEYS)}
    assert counts(kitchen.totals(), "aggregates_categories") == expected


NO_TIMESTAMP = ["expected a Timestamp, found null"] * 2
NO_FIELDS = dict.fromkeys(("ingredient", "dataAction", "timestamp", "device", "location", "amount"), ...)


@pytest.mark.parametrize(
    ("changed", "rejections"),
    [
        ({"timestamp": ...}, ["missing", "missing"]),
        ({"timestamp": "2025-09-04T18:57:29Z"}, ["expected a Timestamp, found a string"] * 2),
        ({"timestamp": None, "ingredient": 7}, [*NO_TIMESTAMP, "expected a string, found an integer"]),
        (NO_FIELDS, ["missing", "missing"]),
        ({"amount": float("nan")}, []),
        ({"device": {"deep": [{"er": ["x" * 1000] * 500}]}}, []),
    ],
)
def test_a_bad_entry_is_counted_where_it_can_be_and_set_aside_where_not(
    kitchen: Kitchen, changed: dict[str, object], rejections: list[str]
) -> None:
    """The reasons are written with the increments, in the same commit."""
    entry = kitchen.write("bad", **changed)
    assert ledger_of(kitchen).apply(entry) is Outcome.COUNTED
    assert kitchen.totals() == kitchen.exact()
    set_aside = kitchen.documents(kitchen.home.rejected)
    assert reasons(set_aside) == sorted(rejections)
    assert all(one["entry"] == entry.path and one["create_time"] == entry.time for one in set_aside)


def test_sums_and_composite_keys_move_with_the_counts(kitchen: Kitchen) -> None:
    """A fifth aggregation needs its declaration and nothing else, and files its sums by bucket too."""
    kitchen.source = Source(
        kitchen.home.entries,
        (
            *kitchen.source.aggregations,
            Aggregation(
                "aggregates_location_days",
                (FieldKey("location"), TimeKey("timestamp", "date", UTC_ZONE)),
                measures=(Count(), Sum("amount", "milligrams", 1000)),
            ),
        ),
    )
    ledger = ledger_of(kitchen)
    entries = [
        kitchen.write(f"entry-{number}", amount=amount) for number, amount in enumerate((12.5, 0.25, "?"))
    ]
    for entry in entries:
        ledger.apply(entry)
    cell = Cell("aggregates_location_days", ("Caldo Office", "2025-09-04"))
    assert kitchen.totals()[cell] == {"count": 3, "milligrams": 12_750} == kitchen.exact()[cell]
    (total,) = kitchen.documents("aggregates_location_days")
    assert total["key"] == {"location": "Caldo Office", "date": "2025-09-04"}
    recent = total["recent"]
    assert sum(amount for label, amount in recent.items() if label.endswith("_milligrams")) == 12_750
    assert sum(amount for label, amount in recent.items() if not label.endswith("_milligrams")) == 3


def test_an_event_without_an_entry_is_recorded_once(kitchen: Kitchen) -> None:
    """A malformed event leaves its id and reason; a redelivery of it leaves nothing more."""
    ledger = ledger_of(kitchen)
    ledger.refuse("event/1", "its data is no Firestore document event")
    ledger.refuse("event/1", "its data is no Firestore document event")
    (record,) = kitchen.documents(kitchen.home.rejected)
    assert record["event"] == "event/1"
    assert reasons([record]) == ["its data is no Firestore document event"]


class Refusing:
    """A store whose commits fail in a given way, some of them after they have landed."""

    def __init__(self, store: FirestoreStore, *failures: Exception | None, landed: bool = False) -> None:
        self._store = store
        self._failures = list(failures)
        self._landed = landed
        self.attempts = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def commit(self, writes: Sequence[Write], **options: Any) -> datetime:
        self.attempts += 1
        failure = self._failures.pop(0) if self._failures else None
        if failure is None or self._landed:
            committed = self._store.commit(writes, **options)
        if failure is not None:
            raise failure
        return committed


@pytest.mark.parametrize("lag", [timedelta(minutes=10), timedelta(0)], ids=["fresh", "late"])
def test_a_lost_reply_is_tried_again_and_counts_once(kitchen: Kitchen, lag: timedelta) -> None:
    """The commit landed and its answer was lost: the retry meets the marker."""
    store = Refusing(kitchen.store, Transient("the answer was lost"), landed=True)
    assert ledger_of(kitchen, store, lag=lag).apply(kitchen.write("entry-1")) is Outcome.DUPLICATE
    assert kitchen.totals() == kitchen.exact()


def test_contention_is_tried_again(kitchen: Kitchen) -> None:
    """Nothing was applied; the next attempt counts."""
    store = Refusing(kitchen.store, Contention("busy"), Contention("busy"))
    ledger = ledger_of(kitchen, store)
    assert ledger.apply(kitchen.write("entry-1")) is Outcome.COUNTED
    assert (store.attempts, ledger.figures.retries) == (3, 2)


@pytest.mark.parametrize("failure", [Transient("no answer"), Denied("no permission")])
def test_what_does_not_go_away_is_raised_for_the_platform_to_redeliver(
    kitchen: Kitchen, failure: Exception
) -> None:
    """Transient failures are tried a few times, a refusal once; nothing is acknowledged; later it counts."""
    store = Refusing(kitchen.store, *[failure] * RETRY.attempts)
    ledger = ledger_of(kitchen, store)
    entry = kitchen.write("entry-1")
    with pytest.raises(type(failure), match=str(failure)):
        ledger.apply(entry)
    assert store.attempts == (RETRY.attempts if isinstance(failure, Transient) else 1)
    if isinstance(failure, Denied):
        store._failures.clear()
    assert ledger.apply(entry) is Outcome.COUNTED
    assert kitchen.totals() == kitchen.exact()


def test_an_entry_that_can_not_even_be_recorded_is_not_acknowledged(kitchen: Kitchen) -> None:
    """If recording a rejection fails, the event is raised, so that it comes again."""
    store = Refusing(kitchen.store, Invalid("poison"), Transient("no answer"))
    with pytest.raises(Transient, match="no answer"):
        ledger_of(kitchen, store).apply(kitchen.write("entry-1"))


def test_markers_that_come_and_go_are_contention(kitchen: Kitchen) -> None:
    """ALREADY_EXISTS for a marker nobody can read is tried again, then raised."""
    store = Refusing(kitchen.store, *[AlreadyExists("there")] * RETRY.attempts)
    with pytest.raises(Contention, match=f"came and went {RETRY.attempts} times"):
        ledger_of(kitchen, store).apply(kitchen.write("entry-1"))


def test_a_leader_that_crashes_answers_its_followers(kitchen: Kitchen) -> None:
    """An unforeseen error in the leader's thread: the followers are redelivered, and the next one leads."""
    watched = Watched(kitchen.store)
    ledger = ledger_of(kitchen, watched)
    entries = [kitchen.write(f"entry-{number}") for number in range(4)]

    def crash_in_the_group() -> None:
        if len(watched.commits) == 2:
            raise RuntimeError("unforeseen")

    outcomes = apply_together(ledger, watched, entries, then=crash_in_the_group)
    assert outcomes[0] is Outcome.COUNTED
    assert sorted(type(outcome).__name__ for outcome in outcomes[1:]) == [
        "RuntimeError",
        "Transient",
        "Transient",
    ]
    assert [ledger.apply(entry) for entry in entries[1:]] == [Outcome.COUNTED] * 3
    assert kitchen.totals() == kitchen.exact()


def test_a_leader_that_dies_while_it_waits_hands_over(kitchen: Kitchen) -> None:
    """Before it has taken a group, too: else nobody would lead in this instance any more."""
    ledger = ledger_of(kitchen, linger=timedelta(seconds=1))
    first, second = kitchen.write("entry-1"), kitchen.write("entry-2")
    assert ledger.apply(first) is Outcome.COUNTED

    def interrupted(_: float) -> None:
        raise KeyboardInterrupt

    wait, ledger._groups.wait_for_company = ledger._groups.wait_for_company, interrupted
    with pytest.raises(KeyboardInterrupt):
        ledger.apply(second)
    ledger._groups.wait_for_company = wait
    assert ledger.apply(second) in {Outcome.COUNTED, Outcome.DUPLICATE}
    assert kitchen.totals() == kitchen.exact()


def test_a_full_queue_refuses_at_once(kitchen: Kitchen, monkeypatch: pytest.MonkeyPatch) -> None:
    """Back-pressure: nothing is sent for an entry that finds no place."""
    monkeypatch.setattr("shared.grouping.queue.MAX_WAITING", 0)
    with pytest.raises(Overloaded, match="are waiting in this instance"):
        ledger_of(kitchen).apply(kitchen.write("entry-1"))
    assert kitchen.totals() == {}


def test_groups_keep_within_their_bounds(kitchen: Kitchen, monkeypatch: pytest.MonkeyPatch) -> None:
    """By entries (the setting), by writes and by bytes: more commits, the same totals."""
    entries = [kitchen.write(f"entry-{number}", ingredient=f"{number}" * 300) for number in range(10)]
    watched = Watched(kitchen.store)
    apply_together(ledger_of(kitchen, watched, group_size=4), watched, entries[:9])
    assert [len(writes) for writes in watched.commits] == [5, 11, 11]
    monkeypatch.setattr("shared.grouping.queue.MAX_BYTES", 1)
    watched = Watched(kitchen.store)
    apply_together(ledger_of(kitchen, watched), watched, entries)
    assert len(watched.commits) >= 2
    assert kitchen.totals() == kitchen.exact()
    assert MAX_WRITES == 500


def test_a_linger_spaces_commits_and_a_full_group_goes_at_once(kitchen: Kitchen) -> None:
    """The first of an idle instance waits for nobody; two of two do not wait for ten seconds more."""
    settings = replace(kitchen.settings, group_size=2, linger=timedelta(seconds=10))
    ledger = Ledger(kitchen.store, kitchen.source, kitchen.home, settings)
    entries = [kitchen.write(f"entry-{number}") for number in range(3)]
    assert ledger.apply(entries[0]) is Outcome.COUNTED
    with ThreadPoolExecutor(2) as threads:
        assert list(threads.map(ledger.apply, entries[1:])) == [Outcome.COUNTED] * 2
    assert ledger.figures.commits == 2


def test_two_hundred_concurrent_events_with_duplicates_are_exact(kitchen: Kitchen) -> None:
    """Two instances, every entry delivered to both, many threads: each is counted once."""
    entries = [kitchen.write(f"entry-{number}", ingredient=f"i{number % 7}") for number in range(100)]
    ledgers = [ledger_of(kitchen), ledger_of(kitchen, lag=timedelta(0))]
    deliveries = [(ledger, entry) for entry in entries for ledger in ledgers]
    with ThreadPoolExecutor(40) as threads:
        outcomes = list(threads.map(lambda one: one[0].apply(one[1]), deliveries))
    assert outcomes.count(Outcome.COUNTED) == 100
    assert kitchen.totals() == kitchen.exact()


def test_marker_ids_are_the_entrys_alone() -> None:
    """The same for any delivery in any zone's spelling; different for another path or microsecond."""
    when = datetime(2025, 9, 4, 18, 57, 30, 1, tzinfo=UTC)
    one = marker_id(Entry("a", when, {}))
    assert one == marker_id(Entry("a", when.astimezone(UTC_ZONE), {"other": 1}))
    assert one != marker_id(Entry("b", when, {}))
    assert one != marker_id(Entry("a", when + timedelta(microseconds=1), {}))

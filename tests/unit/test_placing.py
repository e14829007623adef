"""When a deletion was committed: found among the boundaries of buckets, or left to the next run."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from shared.aggregation import Contribution, Entry, Version
from shared.catalog import LIBRA_HOME
from shared.grouping import Outcome
from shared.ledger.outcome import Member
from shared.ledger.placing import HISTORY, Placing
from shared.ledger.writes import marker_id
from shared.store import Create, Delete, Document, Merge
from shared.watermark import bucket_of
from tests.support.memory_store import MemoryStore

NOON = datetime(2025, 9, 4, 12, tzinfo=UTC)
BUCKET = timedelta(minutes=10)
MICRO = timedelta(microseconds=1)


@dataclass
class Desk:
    """A database with one entry, at a time of its own, and what was read of it."""

    time: datetime = NOON
    history: timedelta = timedelta(hours=1)
    reads: list[datetime | None] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.store = MemoryStore(lambda: self.time, history=self.history)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.store, name)

    def get(
        self, paths: Sequence[str], *, read_time: datetime | None = None, bare: bool = False
    ) -> list[Document | None]:
        self.reads.append(read_time)
        return self.store.get(paths, read_time=read_time, bare=bare)

    def deleted(self, made: datetime, gone: datetime) -> Entry:
        """Create the entry at one time and delete it at another; the deletion, as its event tells it."""
        self.time = made
        version = self.store.commit([Create("libra/e", {"n": 1})], timeout=1)
        self.time = gone
        self.store.commit([Delete("libra/e")], timeout=1)
        return Entry.deleted(self.store.name("libra/e"), Version(version, {"n": 1}))

    def sealed(self, watermark: datetime) -> None:
        """A run has sealed a watermark."""
        self.store.commit([Merge(LIBRA_HOME.state, {("timestamp",): watermark})], timeout=1)

    def place(self, entry: Entry, *, clock: datetime | None = None) -> Member:
        """Place a deletion, by an instance's clock."""
        member = waiting(entry, self.time)
        Placing(self, LIBRA_HOME, BUCKET).place([member], clock or self.time)
        return member


def waiting(entry: Entry, since: datetime) -> Member:
    """A deletion that waits to be placed."""
    return Member(
        path=entry.path,
        once=marker_id(entry),
        contribution=Contribution({}),
        since=since,
        entry=entry,
        place=None,
    )


def minutes(number: float) -> timedelta:
    return timedelta(minutes=number)


@pytest.mark.parametrize("gone", [1, 3, 9.99, 10, 10.01, 25, 30, 30.01, 45])
@pytest.mark.parametrize("waited", [0, 0.01, 2, 12, 13.5])
def test_a_deletion_is_labelled_with_the_bucket_of_its_commit(gone: float, waited: float) -> None:
    """However long its event took, also exactly at a boundary, with and without a watermark before it."""
    for watermark in (None, NOON - minutes(60), NOON, NOON + minutes(10)):
        desk = Desk()
        entry = desk.deleted(NOON + MICRO, NOON + minutes(gone))
        committed = desk.time = NOON + minutes(gone)
        desk.time += minutes(waited)
        if watermark:
            desk.sealed(watermark)
        place = desk.place(entry).place
        assert place is not None
        assert place.after < committed <= place.until or committed <= (watermark or NOON)
        behind = watermark is not None and committed <= watermark
        assert (watermark is not None and place.until <= watermark) == behind
        if not behind:
            assert bucket_of(place.until, BUCKET) == bucket_of(committed, BUCKET)


def test_no_boundary_in_between_needs_no_read() -> None:
    """Created and deleted within a bucket, far enough from its end for any clock."""
    desk = Desk()
    entry = desk.deleted(NOON + minutes(1), NOON + minutes(2))
    place = desk.place(entry).place
    assert place == (entry.time, NOON + minutes(10))
    assert desk.reads == []


def test_a_version_made_at_a_boundary_is_deleted_behind_it() -> None:
    """The bucket that ends with its creation cannot hold its deletion."""
    desk = Desk()
    place = desk.place(desk.deleted(NOON, NOON + minutes(1))).place
    assert place == (NOON, NOON + minutes(10))


def test_an_old_entry_deleted_a_moment_ago_costs_one_look() -> None:
    """The usual deletion: it is fresh, and its commit needs no transaction."""
    desk = Desk()
    entry = desk.deleted(NOON - timedelta(days=90), NOON + minutes(5))
    desk.time += timedelta(seconds=1)
    place = desk.place(entry).place
    assert place == (desk.time - minutes(1), desk.time)
    assert desk.reads == [desk.time - minutes(1)]


def test_a_clock_that_is_behind_labels_nothing_wrongly() -> None:
    """The instance believes it is four minutes earlier, before a boundary that Firestore has passed."""
    desk = Desk()
    entry = desk.deleted(NOON + minutes(5), NOON + minutes(11))
    desk.time += timedelta(seconds=1)
    place = desk.place(entry, clock=NOON + minutes(7)).place
    assert place is not None
    assert bucket_of(place.until, BUCKET).end == NOON + minutes(20)


def test_a_deletion_whose_snapshot_is_gone_is_left_to_the_next_run() -> None:
    """Its event came hours later: what cannot be labelled exactly is not applied."""
    desk = Desk()
    entry = desk.deleted(NOON, NOON + minutes(15))
    desk.time += timedelta(hours=3)
    member = desk.place(entry)
    assert (member.place, member.outcome) == (None, Outcome.LEFT)


def test_a_snapshot_that_is_shorter_than_an_hour_is_not_trusted() -> None:
    """As in the emulator, which keeps five minutes: what cannot be read decides nothing."""
    desk = Desk(history=minutes(5))
    entry = desk.deleted(NOON, NOON + minutes(15))
    desk.time += minutes(9)
    assert desk.place(entry).outcome is Outcome.LEFT
    again = Desk(history=minutes(5))
    entry = again.deleted(NOON, NOON + minutes(21))
    again.time += minutes(3)
    place = again.place(entry).place
    assert place is not None
    assert bucket_of(place.until, BUCKET).end == NOON + minutes(30)


def test_a_late_deletion_behind_the_watermark_is_superseded() -> None:
    """Days later: whether a run has counted it can be told as long as the watermark has a snapshot."""
    desk = Desk()
    entry = desk.deleted(NOON, NOON + minutes(15))
    desk.time += timedelta(hours=3)
    desk.sealed(desk.time - minutes(20))
    place = desk.place(entry).place
    assert place is not None
    assert place.until == desk.time - minutes(20)


def test_a_deletion_that_was_applied_needs_no_look() -> None:
    """Its marker says so, however late the second delivery comes."""
    desk = Desk()
    entry = desk.deleted(NOON, NOON + minutes(15))
    desk.time += timedelta(hours=3)
    desk.store.commit([Create(LIBRA_HOME.marker(marker_id(entry)), {})], timeout=1)
    assert desk.place(entry).outcome is Outcome.DUPLICATE
    assert desk.reads == []


def test_an_id_that_was_created_anew_does_not_hide_the_deletion() -> None:
    """The next version under the same id is another one."""
    desk = Desk()
    entry = desk.deleted(NOON, NOON + minutes(15))
    desk.time += minutes(1)
    desk.store.commit([Create("libra/e", {"n": 2})], timeout=1)
    desk.time += minutes(8)
    place = desk.place(entry).place
    assert place is not None
    assert bucket_of(place.until, BUCKET).end == NOON + minutes(20)


def test_an_hour_of_boundaries_takes_few_looks() -> None:
    """A binary search: twelve looks at most among an hour of buckets of a second."""
    desk = Desk()
    entry = desk.deleted(NOON, NOON + minutes(5))
    desk.time += HISTORY - minutes(6)
    member = waiting(entry, desk.time)
    Placing(desk, LIBRA_HOME, timedelta(seconds=1)).place([member], desk.time)
    assert member.place is not None
    assert member.place.until == NOON + minutes(5)
    assert len(desk.reads) <= 13


def test_deletions_of_a_group_share_their_reads() -> None:
    """Fifty deletions of old entries: one read of watermark and markers, one look."""
    desk = Desk(time=NOON - timedelta(days=2))
    paths = [f"libra/e{number}" for number in range(50)]
    made = desk.store.commit([Create(path, {"n": 1}) for path in paths], timeout=1)
    desk.time = NOON + minutes(5)
    desk.store.commit([Delete(path) for path in paths], timeout=1)
    desk.time += timedelta(seconds=1)
    entries = [Entry.deleted(desk.store.name(path), Version(made, {"n": 1})) for path in paths]
    members = [waiting(each, desk.time) for each in entries]
    read = Placing(desk, LIBRA_HOME, BUCKET).place(members, desk.time)
    assert (read, len(desk.reads)) == (101, 1)
    assert all(member.place for member in members)

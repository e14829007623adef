"""When a deletion was committed, as exactly as its label needs it. Its event does not say.

Firestore says it: the deletion lies after a moment exactly if a read at that moment still finds the version
that was deleted. So a deletion is searched for among the boundaries of buckets between the update time of
that version and now, the latest boundary first: most deletions are a second old.

*Now* is Firestore's own (`Store.now`). An instance whose clock is behind would otherwise take a deletion for
one before a boundary that Firestore had already passed, and file it under a bucket that a run then closes.

What cannot be placed is not applied: Firestore keeps snapshots for an hour, and a deletion whose event comes
later is left to the next run, which is exact without it.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from shared.aggregation import Home
from shared.errors import SnapshotTooOld
from shared.grouping import Outcome
from shared.ledger.outcome import Member, Place
from shared.store import Store
from shared.watermark import MICROSECOND, SAFETY_MARGIN, bucket_of, stored_watermark

HISTORY = timedelta(minutes=59)
"""How far back a deletion is searched for. Firestore keeps snapshots for an hour, unless point-in-time
recovery is on (https://firebase.google.com/docs/firestore/pitr, 2026-11)."""

RECENT = timedelta(minutes=1)
"""A deletion that is younger is fresh, whatever the last boundary: its commit needs no transaction."""


class Placing:
    """Finds out where the deletions of a group lie. Only the leader of a ledger uses it."""

    def __init__(self, store: Store, home: Home, bucket: timedelta) -> None:
        self._store = store
        self._home = home
        self._bucket = bucket

    def place(self, members: Sequence[Member], now: datetime) -> int:
        """Give each deletion its place, or the outcome of one that needs none or can have none.

        The reads of a group ride together: one of the watermark and the markers, then one for each boundary
        that is looked at. A deletion between whose version and ``now`` no boundary can lie needs no read.

        Returns:
            How many documents were read.

        Raises:
            StateError: the watermark's document is damaged.
            StoreError: Firestore cannot be read.
        """
        asked = [member for member in members if member.place is None and not self._obvious(member, now)]
        if not asked:
            return 0
        paths = [self._home.state, *(self._home.marker(member.once) for member in asked)]
        time, (state, *markers) = self._store.now(paths)
        watermark = stored_watermark(state.fields if state else None)
        reads, searches = len(paths), []
        for member, marker in zip(asked, markers, strict=True):
            if marker:
                member.outcome = Outcome.DUPLICATE
            else:
                searches.append(_Search(member, self._bucket, time, watermark))
        while under_way := [search for search in searches if not search.ended]:
            reads += self._look(under_way)
        for search in searches:
            search.settle()
        return reads

    def _obvious(self, member: Member, now: datetime) -> bool:
        """Whether no boundary has passed since the version was made, by any clock."""
        version = member.entry.time
        end = bucket_of(version + MICROSECOND, self._bucket).end
        if now + SAFETY_MARGIN > end:
            return False
        member.place = Place(version, end)
        return True

    def _look(self, searches: Sequence["_Search"]) -> int:
        by_moment: dict[datetime, list[_Search]] = {}
        for search in searches:
            by_moment.setdefault(search.moment, []).append(search)
        for moment, together in by_moment.items():
            paths = [self._store.path(search.member.entry.path) for search in together]
            try:
                found = self._store.get(paths, read_time=moment, bare=True)
            except SnapshotTooOld:
                for search in together:
                    search.unreadable()
                continue
            for search, document in zip(together, found, strict=True):
                there = document is not None and document.update_time == search.member.entry.time
                search.saw(there=there)
        return len(searches)


class _Step(NamedTuple):
    """Between which of the moments of a search the deletion lies: behind ``low``, not behind ``high``."""

    low: int
    high: int


class _Search:
    """The search for one deletion among the moments at which its place would change."""

    def __init__(self, member: Member, bucket: timedelta, time: datetime, watermark: datetime | None) -> None:
        self.member = member
        self._time = time
        self._watermark = watermark
        version = member.entry.time
        passed = watermark is not None and watermark > version
        floor = max(version, time - HISTORY, *([watermark] if watermark and passed else ()))
        moments = [floor] if passed and floor == watermark else []
        boundary = bucket_of(floor + MICROSECOND, bucket).end
        while boundary < time:
            moments.append(boundary)
            boundary += bucket
        if time - RECENT > max([floor, *moments[-1:]]):
            moments.append(time - RECENT)
        self._moments = moments
        self._known = floor == version
        """Whether the version is known to be there at ``low``."""
        self._at = _Step(-1, len(moments))
        self._next = len(moments) - 1

    @property
    def ended(self) -> bool:
        """Whether nothing is left to look at."""
        return self._at.high - self._at.low <= 1

    @property
    def moment(self) -> datetime:
        """Where to look next."""
        return self._moments[self._next]

    def saw(self, *, there: bool) -> None:
        """Take in whether the version was there at `moment`."""
        low, high = self._at
        self._known = there or self._known
        self._go_on(_Step(self._next, high) if there else _Step(low, self._next))

    def unreadable(self) -> None:
        """There is no snapshot at `moment` any more: go on as if the deletion lay behind it."""
        self._known = False
        self._go_on(_Step(self._next, self._at.high))

    def _go_on(self, at: _Step) -> None:
        self._at = at
        self._next = (at.low + at.high) // 2

    def settle(self) -> None:
        """Give the deletion its place; leave it to the next run where it has none."""
        low, high = self._at
        until = self._moments[high] if high < len(self._moments) else self._time
        after = self._moments[low] if low >= 0 else self.member.entry.time
        if self._known or (self._watermark and until <= self._watermark):
            self.member.place = Place(after, until)
        else:
            self.member.outcome = Outcome.LEFT

"""Finds the entries that a total counts: by the fields of its key, and by the stretches of its times.

A query finds more entries than count, never fewer. The pure code of the trigger then says which of them
count.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import NamedTuple

from shared.aggregation import Aggregation, FieldKey, Home, Key, KeyPart, OneOf, Part, TimeKey, look_up
from shared.counting.cells import cell_last, first_instant, last_instant, stretch_of
from shared.counting.index import between, equalities, field_path
from shared.store import DOCUMENT_ID, Document, Filter, Query, Store
from shared.watermark import MICROSECOND
from shared.windows.asking import ask, indexed

_NEAR = timedelta(days=2)


class Place(NamedTuple):
    """Where a search has come to: behind an entry, or at the beginning of a stretch of time."""

    time: datetime | None
    """The event time of that entry, or where the stretch begins; None where times do not lead the search."""
    entry: str | None
    """The entry's id; None: no entry of the stretch has been looked at."""


class Found(NamedTuple):
    """What one step of a search found."""

    documents: list[Document]
    next: Place | None
    """Where to go on. None: that was all."""
    reads: int


@dataclass(frozen=True)
class Search:
    """A search for the entries of one total, as of one instant, step by step."""

    store: Store
    home: Home
    at: datetime
    equal: tuple[Filter, ...]
    """What every entry of the total is equal to, as far as an index can say."""
    times: tuple[tuple[TimeKey, Part], ...] = ()
    """The grains of one time field in one zone that the key has, with the value of each."""

    @classmethod
    def of(cls, store: Store, home: Home, aggregation: Aggregation, key: Key, at: datetime) -> "Search":
        """The search for what is counted under ``key``."""
        values = key if isinstance(key, tuple) else (key,)
        pairs = tuple(zip(aggregation.parts, values, strict=True))
        equal = [Filter(field_path(part.field), "==", value) for part, value in pairs if _exact(part, value)]
        known = {each.field for each in equal}
        equal += [
            each for each in equalities(aggregation.where) if each.field not in known and indexed(each.value)
        ]
        every = [(part, value) for part, value in pairs if isinstance(part, TimeKey)]
        lead = every[:1]
        times = tuple(
            (part, value)
            for part, value in every
            if (part.field, part.zone.key) == (lead[0][0].field, lead[0][0].zone.key)
        )
        return cls(store, home, at, tuple(equal), times)

    def begin(self) -> Place:
        """Where it begins."""
        return Place(self._span()[0] if self.times else None, None)

    def behind(self, document: Document) -> Place:
        """The place behind an entry that a step has found."""
        time = look_up(document.fields, self.times[0][0].field) if self.times else None
        return Place(time, _id(document))  # type: ignore[arg-type]  # a Timestamp, where times lead

    def step(self, place: Place, limit: int) -> Found:
        """Look at the next entries, at most ``limit``.

        Raises:
            IndexMissing: naming the index.
            StoreError: Firestore cannot be read.
        """
        return self._by_time(place, limit) if self.times else self._by_id(place, limit)

    def _by_id(self, place: Place, limit: int) -> Found:
        after = (f"{self.home.entries}/{place.entry}",) if place.entry else ()
        found = self._ask(Query(self.home.entries, self.equal, (DOCUMENT_ID,), after, limit))
        return Found(found, self.behind(found[-1]) if len(found) == limit else None, max(1, len(found)))

    def _by_time(self, place: Place, limit: int) -> Found:
        first = self._span()[0]
        begin = max(place.time or first, first)
        stretch = next(self._stretches(begin), None)
        if stretch is None:
            return Found([], None, 0)
        start, end = stretch
        field = self.times[0][0].field
        order = (field_path(field), DOCUMENT_ID)
        after = (begin, f"{self.home.entries}/{place.entry}") if place.entry else ()
        where = (*self.equal, *between(field, start, end))
        found = self._ask(Query(self.home.entries, where, order, after, limit))
        reads = max(1, len(found))
        if len(found) == limit:
            return Found(found, self.behind(found[-1]), reads)
        following = next(self._stretches(end + MICROSECOND), None) if end < self._span()[1] else None
        if found or following is None:
            return Found(found, Place(following[0], None) if following else None, reads)
        # Nothing is in this stretch: go on at the next entry there is, however far it is.
        where = (*self.equal, *between(field, following[0], self._span()[1]))
        ahead = self._ask(Query(self.home.entries, where, order, limit=1))
        time = look_up(ahead[0].fields, field) if ahead else None
        return Found([], Place(time, None) if ahead else None, reads + 1)  # type: ignore[arg-type]  # a Timestamp

    def _ask(self, query: Query) -> list[Document]:
        return ask(self.store, query, read_time=self.at)

    def _stretches(self, moment: datetime) -> Iterator[tuple[datetime, datetime]]:
        """From ``moment`` on, the stretches in which every grain has its value, both ends included."""
        zone, until = self.times[0][0].zone, self._span()[1]
        kinds = {stretch_of(part.grain) for part, _ in self.times}
        kind = "hour" if "hour" in kinds else "date"
        start = None
        while moment <= until:
            last = min(until, cell_last(moment, kind, zone))  # type: ignore[arg-type]  # one of the two
            if self._has(moment):
                start = start or moment
            elif start:
                yield start, moment - MICROSECOND
                start = None
            if last >= until:
                break
            moment = last + MICROSECOND
        if start:
            yield start, until

    def _has(self, moment: datetime) -> bool:
        return all(part.of(_entry(part.field, moment)) == value for part, value in self.times)

    def _span(self) -> tuple[datetime, datetime]:
        """Between which times the entries lie, roughly and surely."""
        zone = self.times[0][0].zone
        first, last = first_instant(zone), last_instant(zone)
        for part, value in self.times:
            if isinstance(value, str):
                begin, length = _length(part, value)
                first += max(timedelta(0), begin - first - _NEAR)
                last -= max(timedelta(0), last - begin - length - _NEAR)
        return first, last


def _exact(part: KeyPart, value: Part) -> bool:
    """Whether the entries that are counted under ``value`` are found by it."""
    if isinstance(part, OneOf):
        return value != part.other and indexed(value)
    return isinstance(part, FieldKey) and indexed(value)


def _length(part: TimeKey, text: str) -> tuple[datetime, timedelta]:
    """When a grain begins, in UTC, and the longest that it lasts."""
    if part.grain == "week":
        year, week = text.split("-W")
        begin, days = date.fromisocalendar(int(year), int(week), 1), 7
    else:
        numbers = [int(number) for number in text[:10].split("-")]
        year_, month, day = (*numbers, 1, 1)[:3]
        begin, days = date(year_, month, day), {1: 366, 2: 31, 3: 1}[len(numbers)]
    return datetime(begin.year, begin.month, begin.day, tzinfo=UTC), timedelta(days=days)


def _entry(field: str, value: object) -> Mapping[str, object]:
    first, *rest = field.split(".")
    return {first: _entry(".".join(rest), value) if rest else value}


def _id(document: Document) -> str:
    return document.path.rpartition("/")[2]

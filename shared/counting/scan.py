"""Count by reading: the snapshot's entries, projected to what the declarations need, in key ranges.

It counts whatever can be declared, by the same pure code as the trigger, and costs one read an entry.

Most entries look alike to a declaration: a few hundred ingredients, a handful of actions, and times that
fall into the same hour. So entries are first tallied by what each aggregation can see of them, and only
one entry of a kind is taken through `contribution`, times the number of its kind. A tally that holds
`KINDS` kinds is added up and begun anew: memory does not grow with the collection.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from typing import NamedTuple, TypeAlias
from zoneinfo import ZoneInfo

from shared.aggregation import (
    MAX_KEY_BYTES,
    Cell,
    Extremes,
    Range,
    Source,
    TimeKey,
    Totals,
    accumulate,
    contribution,
    extremes,
    widen,
)
from shared.counting.cells import Stretch, cell_last, first_instant, last_instant, stretch_of
from shared.counting.snapshot import Counted, Snapshot, Step
from shared.errors import Transient
from shared.watermark import EPOCH, MICROSECOND

PAGE = 250_000
"""Entries that one request reads: what a stream of five thousand a second sends within `store.READ_TIMEOUT`
(what was received of a request that took longer is kept). The emulator sorts a whole collection anew for
each request, so fewer and larger ones are faster there."""

KINDS = 20_000
"""Kinds of entries that a tally holds at most, a few hundred bytes each."""

RANGES_A_WORKER = 4
"""Key ranges for each worker, so that none is left alone with a large last one."""

KeyRange: TypeAlias = tuple[str | None, str | None]
"""The ids behind the first one and not behind the second one; None: no bound."""

_STRETCHES = (timedelta(hours=1), timedelta(minutes=15))  # of UTC; many zones are off by half an hour


def scan(snapshot: Snapshot, *, page: int = PAGE) -> Counted:
    """Count every total of the source by reading each entry.

    In one range where the server names no cuts: a collection too small for that, or the emulator, where two
    ranges would be sorted twice and read by two threads that wait for each other (`make bench`).
    """
    cuts = cuts_of(snapshot, snapshot.workers * RANGES_A_WORKER) if snapshot.workers > 1 else []
    return scan_ranges(snapshot, between(cuts), page=page)


def cuts_of(snapshot: Snapshot, parts: int) -> list[str]:
    """Ids at which the server cuts the collection into about ``parts`` ranges; none where it cuts nothing."""
    collection, read_time = snapshot.home.entries, snapshot.read_time
    return snapshot.retry(lambda: snapshot.store.cuts(collection, parts, read_time=read_time))


def between(cuts: Sequence[str]) -> list[KeyRange]:
    """The ranges that ascending cuts leave: together they hold every id, and each id once."""
    return list(zip([None, *cuts], [*cuts, None], strict=True))


def scan_ranges(snapshot: Snapshot, ranges: Iterable[KeyRange], *, page: int = PAGE) -> Counted:
    """Count the entries of some ranges of ids by reading each."""
    views = _views(snapshot.source)
    return snapshot.run(partial(_page, snapshot, views, after, until, page) for after, until in ranges)


def _page(
    snapshot: Snapshot, views: Sequence["_View"], after: str | None, until: str | None, limit: int
) -> Step:
    """Read and add up one page of a range; the next page follows from it."""

    tally = Tally(views, settle=snapshot.settle)
    read, last, ended = 0, after, False

    def go_on() -> None:
        """From where the last stream broke off: what was received is counted, and not read again.

        Only one that brought nothing is a failed attempt: a slow stream meets `store.READ_TIMEOUT` as often
        as its page is long.
        """
        nonlocal read, last, ended
        before = read
        try:
            for entry_id, fields in snapshot.page(tally.fields, last, until, limit - read):
                tally.add(fields)
                read, last = read + 1, entry_id
        except Transient:
            if read == before:
                raise
        else:
            ended = True

    while read < limit and not ended:
        snapshot.retry(go_on)
    more = [partial(_page, snapshot, views, last, until, limit)] if read == limit else []
    return Step(tally.totals(), read, more, tally.extremes)


class _View(NamedTuple):
    """What some aggregations of a source read of an entry."""

    source: Source
    """These aggregations only."""
    paths: tuple[tuple[str, ...], ...]
    """The fields, each as its names from the root."""
    times: frozenset[tuple[ZoneInfo, Stretch]]
    """The clocks and calendars that its keys are read from."""
    edges: frozenset[datetime | str]
    """Where its filters begin and cease to admit a time or a string."""


def _views(source: Source) -> tuple[_View, ...]:
    """One for each set of fields that aggregations have in common."""
    by_fields: dict[frozenset[str], list[int]] = {}
    for number, aggregation in enumerate(source.aggregations):
        by_fields.setdefault(aggregation.fields, []).append(number)
    views = []
    for fields, numbers in by_fields.items():
        aggregations = tuple(source.aggregations[number] for number in numbers)
        keys = [part for each in aggregations for part in each.parts if isinstance(part, TimeKey)]
        times = frozenset((key.zone, stretch_of(key.grain)) for key in keys)
        leaves = [leaf for each in aggregations if each.where for leaf in each.where.leaves]
        bounds = [bound for leaf in leaves if isinstance(leaf, Range) for bound in leaf.bounds]
        edges = frozenset(bound for bound in bounds if isinstance(bound, datetime | str))
        paths = tuple(tuple(name.split(".")) for name in sorted(fields))
        views.append(_View(replace(source, aggregations=aggregations), paths, times, edges))
    return tuple(views)


class Tally:
    """Entries, counted by what the aggregations can see of them."""

    def __init__(
        self,
        views: Sequence[_View],
        most: int = KINDS,
        settle: Callable[[Iterable[Cell]], Callable[[Cell], Cell]] = lambda _: lambda cell: cell,
    ) -> None:
        self._settle = settle
        self._views = views
        self._most = most
        self._kinds: list[dict[tuple[object, ...], int]] = [{} for _ in views]
        self._totals: Totals = {}
        self.extremes: Extremes = {}
        """The least and greatest values among what `totals` has added up."""
        self._alike: dict[tuple[datetime, timedelta], bool] = {}
        self._times = tuple({time for view in views for time in view.times})
        edges = {edge for view in views for edge in view.edges}
        self._instants = tuple(edge for edge in edges if isinstance(edge, datetime))
        self._longest = max((len(edge) for edge in edges if isinstance(edge, str)), default=0)
        self.fields = sorted({".".join(path) for view in views for path in view.paths})

    @classmethod
    def of(cls, source: Source, most: int = KINDS) -> "Tally":
        """An empty tally for a source, that holds ``most`` kinds for each set of fields."""
        return cls(_views(source), most)

    def add(self, fields: Mapping[str, object]) -> None:
        """Count an entry."""
        for view, kinds in zip(self._views, self._kinds, strict=True):
            kind = tuple([self._seen(fields, path) for path in view.paths])
            kinds[kind] = kinds.get(kind, 0) + 1
            if len(kinds) >= self._most:
                self._add_up(view, kinds)

    def totals(self) -> Totals:
        """What all of them add up to."""
        for view, kinds in zip(self._views, self._kinds, strict=True):
            self._add_up(view, kinds)
        return self._totals

    def _add_up(self, view: _View, kinds: dict[tuple[object, ...], int]) -> None:
        """Empty a view's kinds into the totals."""
        totals: Totals = {}
        found: Extremes = {}
        for kind, number in kinds.items():
            entry = _entry(view, kind)
            accumulate(totals, contribution(view.source, entry).deltas, number)
            widen(view.source, found, extremes(view.source, entry))
        kinds.clear()
        place = self._settle(totals)
        for cell, added in totals.items():
            accumulate(self._totals, {place(cell): added})
        for cell, values in found.items():
            widen(view.source, self.extremes, {place(cell): values})

    def _seen(self, fields: Mapping[str, object], path: tuple[str, ...]) -> object:
        """The value at a path, boxed where equal Python values are different to a declaration."""
        value: object = fields
        for name in path:
            value = value.get(name, _MISSING) if isinstance(value, Mapping) else _MISSING
        kind = type(value)
        if kind is str:
            return self._string(value)  # type: ignore[arg-type]  # it is one
        if kind is datetime:
            return self._time(value)  # type: ignore[arg-type]  # it is one
        if value is _MISSING or value is None:
            return value
        return _Box(kind, value if isinstance(value, int | float) else None)

    def _string(self, text: str) -> str:
        """A string that no declaration can tell from this one. One that is too long for a key is not held:
        filters tell it from others by its beginning."""
        return text if len(text) <= MAX_KEY_BYTES else text[: self._longest] + _TOO_LONG

    def _time(self, instant: datetime) -> datetime:
        """An instant that no declaration can tell from this one: the start of its hour (or quarter of an
        hour) of UTC, where every key and every filter sees one hour, or date, in all of that."""
        for stretch in _STRETCHES:
            begin = instant - (instant - EPOCH) % stretch
            alike = self._alike.get((begin, stretch))
            if alike is None:
                alike = self._constant(begin, begin + (stretch - MICROSECOND))
                self._alike[begin, stretch] = alike
            if alike:
                return begin
        return instant

    def _constant(self, begin: datetime, last: datetime) -> bool:
        """Whether all instants from ``begin`` to ``last`` look alike.

        That both ends do is not enough: the clock of St. John's went back at 00:01 until 2011, so an hour
        that began and ended before midnight held a minute of the next day.
        """
        if any(begin < edge <= last for edge in self._instants):
            return False
        return all(
            first_instant(zone) <= begin
            and last <= last_instant(zone)
            and last <= cell_last(begin, kind, zone)
            for zone, kind in self._times
        )


_MISSING = object()
_TOO_LONG = "x" * (MAX_KEY_BYTES + 1)
"""Stands for every string that is too long for a key, so that a tally need not hold them."""


class _Box(NamedTuple):
    """A value that is neither a string nor a time: True, 1 and 1.0 are equal and not the same.

    A declaration reads nothing of what is no number: that it is a list, say, is all it can see.
    """

    kind: type
    value: float | None

    @property
    def plain(self) -> object:
        """The value, or what looks as little like a key or a number. A map is made anew: it may be filled."""
        if self.value is not None:
            return self.value
        return {} if self.kind is dict else _OTHER


_OTHER = object()


def _entry(view: _View, kind: tuple[object, ...]) -> dict[str, object]:
    """The smallest entry that looks like this to the view's aggregations."""
    entry: dict[str, object] = {}
    for path, seen in zip(view.paths, kind, strict=True):
        if seen is not _MISSING:
            _put(entry, path, seen.plain if isinstance(seen, _Box) else seen)
    return entry


def _put(entry: dict[str, object], path: Sequence[str], value: object) -> None:
    into = entry
    for name in path[:-1]:
        into = into.setdefault(name, {})  # type: ignore[assignment]  # a map of the entry's own
    into[path[-1]] = value

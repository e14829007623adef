"""Count by the indexes: ``count()`` on the server, a read for each 1,000 entries and no entry transferred.

*Keys that are fields* are found by a loose index scan: order by the field, start behind the last value,
limit 1. Each value found is then counted. *Hours and dates* are counted by the stretches of `cells`:
after one that held entries the next is simply counted, after an empty one the next entry is looked up, so
that empty nights and years cost one query. Long rests are cut in half, so that several are under way.

It proves counts by one field or one time; what it cannot prove it says before it starts
(`unsupported`). One thing shows only in the data: Firestore cuts values off at 1,500 bytes in its
indexes, and queries on such values may be inconsistent
(https://firebase.google.com/docs/firestore/quotas, 'Indexes', 2026-11). The scan for keys meets every
value that long, because it differs in the index from all shorter ones, and gives up there.
"""

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import TypeVar

from shared.aggregation import Aggregation, Cell, Count, Equals, FieldKey, Source, TimeKey, look_up
from shared.counting.cells import Grain, cell_last, first_instant, last_instant
from shared.counting.snapshot import Counted, Snapshot, Step, Task
from shared.errors import IndexMissing, Invalid, StrategyUnsupported
from shared.store import Filter, Query, quote
from shared.watermark import MICROSECOND

INDEXED_BYTES = 1_500
"""A value this long or longer may be cut off in an index."""

_LONG = timedelta(days=1)
"""A rest longer than this is cut in half."""

T = TypeVar("T")


def unsupported(source: Source) -> str | None:
    """Why the indexes cannot prove this source's totals; None if they can."""
    for each in source.aggregations:
        if each.measures != (Count(),):
            return f"{each.name} adds up more than a count, and each entry is rounded on its own"
        if isinstance(each.key, tuple):
            return f"{each.name} has a key of several parts"
        if not isinstance(each.key, FieldKey | TimeKey):
            return f"{each.name} has a key that is neither a field's value nor a time"
        if each.where and len(each.where.value.encode()) >= INDEXED_BYTES:
            return f"{each.name} has a filter on {INDEXED_BYTES} bytes or more"
    return None


def index(snapshot: Snapshot, *, ceiling: float = float("inf")) -> Counted:
    """Count every total of the source by its indexes.

    Raises:
        StrategyUnsupported: a value is too long for an index, or the reads would exceed ``ceiling``.
        IndexMissing: naming the index.
    """
    return snapshot.run(_Index(snapshot, ceiling).tasks())


def time_groups(source: Source) -> list[list[Aggregation]]:
    """Aggregations by time that one sweep serves: the same field, zone and filter."""
    groups: dict[object, list[Aggregation]] = {}
    for each in source.aggregations:
        if isinstance(each.key, TimeKey):
            groups.setdefault((each.key.field, each.key.zone.key, each.where), []).append(each)
    return list(groups.values())


class _Index:
    """The tasks of one count."""

    def __init__(self, snapshot: Snapshot, ceiling: float) -> None:
        self._snapshot = snapshot
        self._ceiling = ceiling
        self._collection = snapshot.home.entries

    def tasks(self) -> Iterator[Task]:
        """What to begin with."""
        yield self._entries
        for each in self._snapshot.source.aggregations:
            if isinstance(each.key, FieldKey):
                yield partial(self._next_key, each, each.key, None)
        for group in time_groups(self._snapshot.source):
            zone = _time(group).zone
            yield partial(self._sweep, group, first_instant(zone), last_instant(zone), False)

    def _entries(self) -> Step:
        return Step(entries=self._count(None, ()))

    # -- keys that are fields

    def _next_key(self, aggregation: Aggregation, key: FieldKey, after: str | None) -> Step:
        # A comparison with a string matches strings only: no other type is met.
        bound = (
            Filter(_path(key.field), ">", after or "")
            if after is not None or not key.allow_empty
            else Filter(_path(key.field), ">=", "")
        )
        value = self._first(aggregation.where, (bound,), key.field)
        if not isinstance(value, str):
            return Step()
        if len(value.encode()) >= INDEXED_BYTES:
            raise StrategyUnsupported(
                f"{self._collection}: an entry's {key.field} has {INDEXED_BYTES} bytes or more, where "
                "Firestore cuts values off in its indexes: use the strategy scan, or auto"
            )
        counted = partial(self._count_key, aggregation, key, value)
        return Step(more=(counted, partial(self._next_key, aggregation, key, value)))

    def _count_key(self, aggregation: Aggregation, key: FieldKey, value: str) -> Step:
        counted = self._count(aggregation.where, (Filter(_path(key.field), "==", value),))
        return Step({Cell(aggregation.name, value): {"count": counted}})

    # -- hours and dates

    def _sweep(self, group: Sequence[Aggregation], start: datetime, end: datetime, near: bool) -> Step:
        """Count one stretch between ``start`` and ``end`` (inclusive); what is behind it follows.

        ``near``: the entry after ``start`` is probably close, so count at once; else look it up and jump.
        """
        key = _time(group)
        if not near:
            found = self._first(group[0].where, _between(key.field, start, end), key.field)
            if not isinstance(found, datetime):
                return Step()
            start = found
        last = min(end, cell_last(start, _grain(group), key.zone))
        counted = self._count(group[0].where, _between(key.field, start, last))
        more = list(self._rest(group, last + MICROSECOND, end, near=counted > 0)) if last < end else []
        if not counted:
            return Step(more=more)
        fields = _entry(key.field, start)
        return Step({Cell(each.name, each.key_of(fields)): {"count": counted} for each in group}, 0, more)

    def _rest(
        self, group: Sequence[Aggregation], start: datetime, end: datetime, *, near: bool
    ) -> Iterator[Task]:
        if near and end - start > _LONG:
            middle = cell_last(start + (end - start) / 2, _grain(group), _time(group).zone)
            if middle < end:
                yield partial(self._sweep, group, middle + MICROSECOND, end, False)
                end = middle
        yield partial(self._sweep, group, start, end, near)

    # -- queries

    def _first(self, where: Equals | None, filters: Sequence[Filter], field: str) -> object:
        """The lowest value of ``field`` among the documents that match; None if there is none."""
        query = Query(
            self._collection, (*_equal(where), *filters), (_path(field),), limit=1, select=(_path(field),)
        )
        found = self._ask(query, lambda: self._snapshot.first(query))
        return look_up(found.fields, field) if found else None

    def _count(self, where: Equals | None, filters: Sequence[Filter]) -> int:
        query = Query(self._collection, (*_equal(where), *filters))
        return self._ask(query, lambda: self._snapshot.count(query))

    def _ask(self, query: Query, ask: Callable[[], T]) -> T:
        if self._snapshot.reads > self._ceiling:
            raise StrategyUnsupported("the indexes took as many reads as a scan: there are too many keys")
        try:
            return ask()
        except Invalid as error:
            if "index" not in str(error).lower():
                raise
            fields = ", ".join(dict.fromkeys(each.field for each in query.where))
            raise IndexMissing(
                f"counting {query.collection} by its indexes needs one on ({fields}), ascending: deploy "
                "firestore.indexes.json (firebase deploy --only firestore:indexes) and wait until it is "
                f"built, or use the strategy scan: {error}"
            ) from error


def _time(group: Sequence[Aggregation]) -> TimeKey:
    key = group[0].key
    assert isinstance(key, TimeKey)  # noqa: S101 - tells the type checker what `time_groups` made sure of
    return key


def _grain(group: Sequence[Aggregation]) -> Grain:
    hours = any(isinstance(each.key, TimeKey) and each.key.grain == "hour" for each in group)
    return "hour" if hours else "date"


def _equal(where: Equals | None) -> tuple[Filter, ...]:
    return (Filter(_path(where.field), "==", where.value),) if where else ()


def _between(field: str, start: datetime, end: datetime) -> tuple[Filter, Filter]:
    return Filter(_path(field), ">=", start), Filter(_path(field), "<=", end)


def _path(field: str) -> str:
    return quote(tuple(field.split(".")))


def _entry(field: str, value: object) -> dict[str, object]:
    """An entry that has only this field."""
    first, *rest = field.split(".")
    return {first: _entry(".".join(rest), value) if rest else value}

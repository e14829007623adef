"""Count by the indexes: ``count()`` on the server, a read for each 1,000 entries and no entry transferred.

*Keys that are string fields* are found by a loose index scan: order by the field, start behind the last
value, limit 1. Each value found is then counted. *Booleans* have two values. *Grains of one time field in one
zone* are counted by the stretches of `cells`, in which each of them has one value: after a stretch that held
entries the next is simply counted, after an empty one the next entry is looked up, so that empty nights and
years cost one query. Long rests are cut in half, so that several are under way.

It proves counts by one field or one time; what it cannot prove it says before it starts
(`unsupported`). One thing shows only in the data: Firestore cuts values off at 1,500 bytes in its
indexes, and queries on such values may be inconsistent
(https://firebase.google.com/docs/firestore/quotas, 'Indexes', 2026-11). The scan for keys meets every
value that long, because it differs in the index from all shorter ones, and gives up there.
"""

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import TypeAlias, TypeVar

from shared.aggregation import (
    Aggregation,
    And,
    Bounded,
    Cell,
    Count,
    Equals,
    FieldKey,
    OneOf,
    Part,
    Source,
    TimeKey,
    Where,
    look_up,
)
from shared.counting.cells import Stretch, cell_last, first_instant, last_instant, stretch_of
from shared.counting.snapshot import Counted, Snapshot, Step, Task
from shared.errors import IndexMissing, Invalid, StrategyUnsupported
from shared.store import Filter, Query, quote
from shared.watermark import MICROSECOND

INDEXED_BYTES = 1_500
"""A value this long or longer may be cut off in an index."""

_LONG = timedelta(days=1)
"""A rest longer than this is cut in half."""

T = TypeVar("T")

ByValue: TypeAlias = FieldKey | OneOf | Bounded
"""Keys that are found by looking for their values."""


def unsupported(source: Source) -> str | None:
    """Why the indexes cannot prove this source's totals; None if they can."""
    for each in source.aggregations:
        if each.measures != (Count(),):
            return f"{each.name} adds up more than a count, and each entry is measured on its own"
        if reason := _unprovable_key(each) or _unprovable_filter(each.where):
            return f"{each.name} {reason}"
    return None


def _unprovable_key(aggregation: Aggregation) -> str | None:
    key = aggregation.key
    if times_of(aggregation):
        return None
    if isinstance(key, tuple):
        return "has a key of several parts that are not all of one time field in one zone"
    if not isinstance(key, ByValue):
        return "has a key that is neither a field's value nor a time"
    if key.kind is int:
        return f"has the integer {key.field} as its key, and the indexes do not tell 1 from 1.0"
    return None


def _unprovable_filter(where: Where | None) -> str | None:
    for leaf in _all_of(where):
        if not isinstance(leaf, Equals):
            return f"has a filter that is more than Equals, or And of several: {type(leaf).__name__}"
        if type(leaf.value) is int:
            return f"has a filter on the integer {leaf.field}, and the indexes do not tell 1 from 1.0"
        if isinstance(leaf.value, str) and len(leaf.value.encode()) >= INDEXED_BYTES:
            return f"has a filter on {INDEXED_BYTES} bytes or more"
    return None


def _all_of(where: Where | None) -> tuple[Where, ...]:
    """The conditions that must all hold."""
    if isinstance(where, And):
        return tuple(each for condition in where.conditions for each in _all_of(condition))
    return (where,) if where else ()


def index(snapshot: Snapshot, *, ceiling: float = float("inf")) -> Counted:
    """Count every total of the source by its indexes.

    Raises:
        StrategyUnsupported: a value is too long for an index, or the reads would exceed ``ceiling``.
        IndexMissing: naming the index.
    """
    return snapshot.run(_Index(snapshot, ceiling).tasks())


def times_of(aggregation: Aggregation) -> tuple[TimeKey, ...]:
    """The parts of a key that is made of grains of one time field in one zone; none of any other key."""
    times = tuple(part for part in aggregation.parts if isinstance(part, TimeKey))
    alike = len({(part.field, part.zone.key) for part in times}) == 1
    return times if alike and len(times) == len(aggregation.parts) else ()


def time_groups(source: Source) -> list[list[Aggregation]]:
    """Aggregations by time that one sweep serves: the same field, zone and filter."""
    groups: dict[object, list[Aggregation]] = {}
    for each in source.aggregations:
        if times := times_of(each):
            groups.setdefault((times[0].field, times[0].zone.key, each.where), []).append(each)
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
            if isinstance(each.key, ByValue) and each.key.kind is bool:
                yield from (partial(self._count_key, each, each.key, value) for value in (False, True))
            elif isinstance(each.key, ByValue):
                yield partial(self._next_key, each, each.key, None)
        for group in time_groups(self._snapshot.source):
            zone = _time(group).zone
            yield partial(self._sweep, group, first_instant(zone), last_instant(zone), False)

    def _entries(self) -> Step:
        return Step(entries=self._count(None, ()))

    # -- keys that are fields

    def _next_key(self, aggregation: Aggregation, key: ByValue, after: str | None) -> Step:
        # A comparison with a string matches strings only: no other type is met.
        bound = (
            Filter(field_path(key.field), ">", after or "")
            if after is not None or not _of_field(key).allow_empty
            else Filter(field_path(key.field), ">=", "")
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

    def _count_key(self, aggregation: Aggregation, key: ByValue, value: Part) -> Step:
        counted = self._count(aggregation.where, (Filter(field_path(key.field), "==", value),))
        if not counted:
            return Step()
        cell = Cell(aggregation.name, key.place(value) if isinstance(key, OneOf) else value)
        return Step({self._snapshot.settle([cell])(cell): {"count": counted}})

    # -- grains of time

    def _sweep(self, group: Sequence[Aggregation], start: datetime, end: datetime, near: bool) -> Step:
        """Count one stretch between ``start`` and ``end`` (inclusive); what is behind it follows.

        ``near``: the entry after ``start`` is probably close, so count at once; else look it up and jump.
        """
        key = _time(group)
        if not near:
            found = self._first(group[0].where, between(key.field, start, end), key.field)
            if not isinstance(found, datetime):
                return Step()
            start = found
        last = min(end, cell_last(start, _stretch(group), key.zone))
        counted = self._count(group[0].where, between(key.field, start, last))
        more = list(self._rest(group, last + MICROSECOND, end, near=counted > 0)) if last < end else []
        if not counted:
            return Step(more=more)
        fields = _entry(key.field, start)
        return Step({Cell(each.name, each.key_of(fields)): {"count": counted} for each in group}, 0, more)

    def _rest(
        self, group: Sequence[Aggregation], start: datetime, end: datetime, *, near: bool
    ) -> Iterator[Task]:
        if near and end - start > _LONG:
            middle = cell_last(start + (end - start) / 2, _stretch(group), _time(group).zone)
            if middle < end:
                yield partial(self._sweep, group, middle + MICROSECOND, end, False)
                end = middle
        yield partial(self._sweep, group, start, end, near)

    # -- queries

    def _first(self, where: Where | None, filters: Sequence[Filter], field: str) -> object:
        """The lowest value of ``field`` among the documents that match; None if there is none."""
        query = Query(
            self._collection,
            (*equalities(where), *filters),
            (field_path(field),),
            limit=1,
            select=(field_path(field),),
        )
        found = self._ask(query, lambda: self._snapshot.first(query))
        return look_up(found.fields, field) if found else None

    def _count(self, where: Where | None, filters: Sequence[Filter]) -> int:
        query = Query(self._collection, (*equalities(where), *filters))
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


def _of_field(key: ByValue) -> FieldKey:
    return key if isinstance(key, FieldKey) else key.key


def _time(group: Sequence[Aggregation]) -> TimeKey:
    return times_of(group[0])[0]


def _stretch(group: Sequence[Aggregation]) -> Stretch:
    kinds = {stretch_of(part.grain) for each in group for part in times_of(each)}
    return "hour" if "hour" in kinds else "date"


def equalities(where: Where | None) -> tuple[Filter, ...]:
    """What every entry that ``where`` admits is equal to."""
    return tuple(
        Filter(field_path(leaf.field), "==", leaf.value)
        for leaf in _all_of(where)
        if isinstance(leaf, Equals)
    )


def between(field: str, start: datetime, end: datetime) -> tuple[Filter, Filter]:
    """From ``start`` to ``end``, both included."""
    return Filter(field_path(field), ">=", start), Filter(field_path(field), "<=", end)


def field_path(field: str) -> str:
    """A dotted path as Firestore spells it."""
    return quote(tuple(field.split(".")))


def _entry(field: str, value: object) -> dict[str, object]:
    """An entry that has only this field."""
    first, *rest = field.split(".")
    return {first: _entry(".".join(rest), value) if rest else value}

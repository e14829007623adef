"""Totals: one, or a page of them in an order."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from shared.aggregation import (
    Aggregation,
    Cell,
    FieldKey,
    Home,
    Key,
    OneOf,
    Source,
    TimeKey,
    decode_id,
    document_id,
)
from shared.drift import whole
from shared.errors import Unanswerable
from shared.store import DOCUMENT_ID, Document, Filter, Query, Store
from shared.windows.paging import Page, check_limit, cursor, position
from shared.windows.proof import Proof
from shared.windows.questions import check_id, named, parse_key

BY_KEY = "key"


@dataclass(frozen=True, slots=True)
class Total:
    """One total, as of the instant of a `Proof`."""

    aggregation: str
    id: str
    """Of its document."""
    key: Key | None
    """What it counts; None for a document that is no total of this aggregation."""
    values: Mapping[str, int]
    """What it says, by column."""
    pending: Mapping[str, int]
    """How much of that came after `exact_through` and no run has proven yet, by column."""
    archived: Mapping[str, int]
    """How much of that is of entries that were archived, by column."""
    extremes: Mapping[str, int]
    """The least and greatest values, by name, as of the last run."""
    updated_at: datetime | None
    exact_through: datetime | None
    """``values`` less ``pending`` is exact for the entries committed at or before this, archived entries
    included; None: nothing is proven."""
    settled: bool = True
    """False: a run is behind its seal and has not completed. ``values`` less ``pending`` may be exact at a
    watermark that was sealed since instead, and is again at `exact_through` once a run has completed."""


class Order(NamedTuple):
    """How a list of totals is sorted."""

    name: str
    """``key`` or a column, with ``-`` in front if it descends."""
    field: str
    """What Firestore sorts by."""
    least: object = None
    """The least value of the field that is in the order; None: every document is."""

    @property
    def direction(self) -> str:
        """What a descending order begins with."""
        return "-" if self.name.startswith("-") else ""

    @property
    def by(self) -> tuple[str, ...]:
        """The order of a query. The document's name decides between equal values."""
        name = f"{self.direction}{DOCUMENT_ID}"
        return (name,) if self.field == DOCUMENT_ID else (f"{self.direction}{self.field}", name)


def totals(
    store: Store,
    source: Source,
    home: Home,
    aggregation: str,
    *,
    proven: Proof,
    order: str = BY_KEY,
    after: str | None = None,
    limit: int = 100,
) -> Page[Total]:
    """A page of an aggregation's totals. It costs a read for each total shown, and one more.

    ``order`` is ``key`` or a column such as ``count``; ``-`` in front turns it around. Times, integers and
    booleans as keys are sorted by their values, other keys by their document ids, as Firestore sorts
    strings. Firestore cannot list ids in the descending order: ``-key`` of such keys is refused.

    **What paging promises** while triggers and runs write: no total comes twice and none is left out that was
    there all the time, in an order by key. In an order by a column, the same holds for the totals whose value
    does not move. A total whose value moves across the place that the paging has reached may come twice, or
    not at all. An order by a column leaves out the totals that hold no number in it: they count 0, or a
    damaged value. An order by keys that are times, integers or booleans leaves out a total without its
    ``key``, which Libra never writes.

    Args:
        store: where the totals are.
        source: what is counted.
        home: where the totals live.
        aggregation: its name.
        proven: how far they are proven. The page is read as of its instant.
        order: how they are sorted.
        after: the cursor of the page before.
        limit: how many totals a page holds.

    Raises:
        NotFound: there is no such aggregation.
        Unanswerable: the order, the cursor or the limit is not allowed.
        StoreError: Firestore cannot be read.
    """
    declared = named(source, aggregation)
    check_limit(limit)
    sort = order_of(declared, order)
    collection, scope = home.collection(aggregation), f"totals of {aggregation} by {order}"
    where = () if sort.least is None else (Filter(sort.field, ">=", sort.least),)
    start: tuple[object, ...] = ()
    if after is not None:
        start = _start(collection, position(scope, after, *_kinds(sort)))
    query = Query(collection, where, sort.by, start, limit + 1)
    found = list(store.query(query, read_time=proven.at))
    shown = tuple(total_of(declared, document, proven) for document in found[:limit])
    more = len(found) > limit
    return Page(shown, cursor(scope, *_place(sort, found[limit - 1])) if more else None)


def total(
    store: Store,
    source: Source,
    home: Home,
    aggregation: str,
    key: str | Mapping[str, str],
    *,
    proven: Proof,
) -> Total:
    """One total. A key that nothing was counted under is zero. It costs one read.

    Args:
        store: where the totals are.
        source: what is counted.
        home: where the totals live.
        aggregation: its name.
        key: as text; see `parse_key`.
        proven: how far it is proven. The total is read as of its instant.

    Raises:
        NotFound: there is no such aggregation.
        Unanswerable: ``key`` is no key of it.
        StoreError: Firestore cannot be read.
    """
    declared = named(source, aggregation)
    parsed = parse_key(declared, key)
    (found,) = store.get([home.total(Cell(aggregation, parsed))], read_time=proven.at)
    return total_of(declared, found, proven) if found else zero(declared, parsed, proven)


def zero(aggregation: Aggregation, key: Key, proven: Proof) -> Total:
    """The total of a key that has no document."""
    document = Document(document_id(key), {"key": aggregation.stored_key(key)}, proven.at, proven.at)
    return total_of(aggregation, document, proven)


def total_of(aggregation: Aggregation, document: Document, proven: Proof) -> Total:
    """A total as it is stored."""
    fields, total_id = document.fields, document.path.rpartition("/")[2]
    columns, pending = aggregation.columns, proven.pending(fields)
    archived, updated = fields.get("archived"), fields.get("updated_at")
    held = archived if isinstance(archived, Mapping) else {}
    return Total(
        aggregation.name,
        total_id,
        _key(aggregation, total_id, fields.get("key")),
        {column: whole(fields.get(column, 0)) for column in columns},
        {column: pending.get(column, 0) for column in columns},
        {column: whole(held.get(column, 0)) for column in columns},
        {each.name: whole(fields[each.name]) for each in aggregation.extremes if each.name in fields},
        updated if isinstance(updated, datetime) else None,
        proven.exact_through(aggregation.name),
        proven.settled,
    )


def _key(aggregation: Aggregation, total_id: str, stored: object) -> Key | None:
    key = aggregation.parse_stored_key(stored)
    if key is not None and document_id(key) == total_id:
        return key
    try:
        return decode_id(total_id, aggregation.parts)
    except ValueError:
        return None


def order_of(aggregation: Aggregation, order: str) -> Order:
    """How to sort an aggregation's totals.

    Raises:
        Unanswerable: saying which orders there are.
    """
    wanted = order.removeprefix("-")
    if wanted == BY_KEY:
        least = _least(aggregation)
        if least is not None:
            return Order(order, "key", least)
        if order == BY_KEY:
            return Order(order, DOCUMENT_ID)
        raise Unanswerable(
            f"{aggregation.name}: order={order}: Firestore lists ids in the ascending order only: use key"
        )
    if wanted in aggregation.columns:
        return Order(order, wanted, -math.inf)
    names = ", ".join((BY_KEY, *aggregation.columns))
    raise Unanswerable(
        f"{aggregation.name}: order={order!r}: expected one of {names}, with - in front to descend"
    )


def _least(aggregation: Aggregation) -> object:
    """The least key, where Firestore can sort by the field ``key``: values that are short and of one type."""
    part = aggregation.key
    if isinstance(part, TimeKey):
        return -math.inf if part.grain in ("hour", "weekday") else ""
    if isinstance(part, FieldKey | OneOf) and part.kind is not str:
        return False if part.kind is bool else -math.inf
    return None


def _kinds(order: Order) -> tuple[type | tuple[type, ...], ...]:
    if order.field == DOCUMENT_ID:
        return (str,)
    least = type(order.least)
    return ((int, float) if least is float else least, str)


def _place(order: Order, last: Document) -> tuple[object, ...]:
    total_id = last.path.rpartition("/")[2]
    return (total_id,) if order.field == DOCUMENT_ID else (last.fields[order.field], total_id)


def _start(collection: str, found: list[object]) -> tuple[object, ...]:
    *value, total_id = found
    check_id("the cursor's document", str(total_id))
    return (*value, f"{collection}/{total_id}")

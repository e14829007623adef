"""Entries by their fields, and the values that a field has."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from shared.aggregation import Home, Source, look_up
from shared.counting.index import field_path
from shared.errors import Unanswerable
from shared.store import DOCUMENT_ID, Document, Filter, Query, Store
from shared.windows.asking import ask, check_indexed
from shared.windows.paging import FIRST, Page, check_limit, cursor, position
from shared.windows.questions import check_id, in_utc

_WHOLE = 1_490
"""Bytes of a string that an index surely holds whole, with a last character behind them."""


@dataclass(frozen=True, slots=True)
class StoredEntry:
    """One entry as it is stored."""

    id: str
    fields: Mapping[str, object]
    created: datetime
    updated: datetime
    """When its current version was committed."""


def entries(
    store: Store,
    source: Source,
    home: Home,
    *,
    equals: Mapping[str, str | int | bool] | None = None,
    start: datetime | None = None,
    end: datetime | None = None,
    newest_first: bool = False,
    after: str | None = None,
    limit: int = 100,
) -> Page[StoredEntry]:
    """A page of the entries whose fields have some values, and whose event time lies in a range.

    With a range, with ``newest_first``, or with no values, they are sorted by event time. An entry without a
    Timestamp there is left out, and values need a composite index of each field and the event time. Otherwise
    they are sorted by their ids, and no index is needed. It costs a read for each entry shown, and one more.

    No entry comes twice and none is left out that was there all the time, unless an edit moves its event
    time.

    Args:
        store: where the entries are.
        source: which field is the event time.
        home: which collection they are in.
        equals: the values, by dotted path.
        start: the first event time.
        end: the event time before which the range ends.
        newest_first: whether the latest event time comes first.
        after: the cursor of the page before.
        limit: how many entries a page holds.

    Raises:
        IndexMissing: naming the index.
        Unanswerable: a value, the range, the cursor or the limit is not allowed.
        StoreError: Firestore cannot be read.
    """
    check_limit(limit)
    wanted = sorted((equals or {}).items())
    check_indexed(wanted)
    where = [Filter(field_path(field), "==", value) for field, value in wanted]
    start, end = (each and in_utc("the time", each) for each in (start, end))
    time = _time(source, start, end) if start or end or newest_first or not wanted else None
    down = "-" if newest_first else ""
    scope = _scope(repr((wanted, start, end, newest_first)))
    order = (f"{down}{field_path(time)}", f"{down}{DOCUMENT_ID}") if time else (DOCUMENT_ID,)
    if time:
        where += [Filter(field_path(time), ">=", start or FIRST)]
        where += [Filter(field_path(time), "<", end)] if end else []
    begin: tuple[object, ...] = ()
    if after is not None:
        *moment, entry_id = position(scope, after, *((datetime, str) if time else (str,)))
        check_id("the cursor's entry", str(entry_id))
        begin = (*moment, f"{home.entries}/{entry_id}")
    found = ask(store, Query(home.entries, tuple(where), order, begin, limit + 1))
    shown = tuple(_stored(document) for document in found[:limit])
    if len(found) <= limit:
        return Page(shown, None)
    last = shown[-1]
    place = (look_up(last.fields, time), last.id) if time else (last.id,)
    return Page(shown, cursor(scope, *place))


def distinct(
    store: Store, home: Home, field: str, *, after: str | None = None, limit: int = 100
) -> Page[str]:
    """A page of the different strings that a field of the entries holds, such as the locations, sorted.

    It finds one after another by the index of the field: a read for each value, and one more, however many
    entries there are.

    Of strings of 1,490 bytes or more, Firestore's index tells no two apart that begin alike: the first is
    shown.

    Args:
        store: where the entries are.
        home: which collection they are in.
        field: a dotted path.
        after: the cursor of the page before.
        limit: how many values a page holds.

    Raises:
        Unanswerable: the cursor or the limit is not allowed.
        StoreError: Firestore cannot be read.
    """
    check_limit(limit)
    scope = _scope(f"values of {field}")
    last = str(position(scope, after, str)[0]) if after is not None else None
    values: list[str] = []
    path = field_path(field)
    while len(values) <= limit:
        bound = Filter(path, ">=", "") if last is None else Filter(path, ">", _past(last))
        found = ask(store, Query(home.entries, (bound,), (path,), limit=1, select=(path,)))
        if not found:
            return Page(tuple(values), None)
        last = str(look_up(found[0].fields, field))
        values.append(last)
    return Page(tuple(values[:limit]), cursor(scope, values[limit - 1]))


def _past(value: str) -> str:
    """What to begin behind after ``value``. Behind a long one, all that an index may take for the same."""
    if len(value.encode()) <= _WHOLE:
        return value
    return value.encode()[:_WHOLE].decode(errors="ignore") + "\U0010ffff"


def _stored(document: Document) -> StoredEntry:
    entry_id = document.path.rpartition("/")[2]
    return StoredEntry(entry_id, document.fields, document.create_time, document.update_time)


def _time(source: Source, start: datetime | None, end: datetime | None) -> str:
    if source.event_time is None:
        raise Unanswerable(f"source {source.name}: no aggregation has a TimeKey, so it has no event time")
    if start and end and start >= end:
        raise Unanswerable(f"from {start.isoformat()} to {end.isoformat()}: expected two ascending times")
    return source.event_time


def _scope(of: str) -> str:
    return hashlib.sha256(of.encode(errors="surrogatepass")).hexdigest()[:16]

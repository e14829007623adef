"""Totals by time, without holes: what a plot needs."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

from shared.aggregation import Cell, Home, Source, TimeKey
from shared.counting.cells import cell_last, first_instant, last_instant, stretch_of
from shared.errors import Unanswerable
from shared.store import DOCUMENT_ID, Filter, Query, Store
from shared.watermark import MICROSECOND
from shared.windows.proof import Proof
from shared.windows.questions import named, parse_key
from shared.windows.totals import Total, total_of, zero

LONGEST_SERIES = 10_000
"""The most totals of a series."""

_DAYS, _YEAR = timedelta(days=2), timedelta(days=368)


def series(
    store: Store, source: Source, home: Home, aggregation: str, *, start: str, end: str, proven: Proof
) -> tuple[Total, ...]:
    """The totals of every hour, date, week, month or year from ``start`` to ``end``, both included.

    A time that nothing was counted under is zero. An hour of a date that the zone's clock skipped is not
    there, and one that it showed twice is there once. It costs a read for each total that there is, or one.

    Args:
        store: where the totals are.
        source: what is counted.
        home: where the totals live.
        aggregation: the name of one whose key is a single grain of time.
        start: the first key as text, such as ``2025-09-04``.
        end: the last key.
        proven: how far they are proven. They are read as of its instant.

    Raises:
        NotFound: there is no such aggregation.
        Unanswerable: its key is not a time, or the range is not one.
        StoreError: Firestore cannot be read.
    """
    declared = named(source, aggregation)
    key = declared.key
    if not isinstance(key, TimeKey):
        times = [each.name for each in source.aggregations if isinstance(each.key, TimeKey)]
        raise Unanswerable(f"{aggregation}: its key is no time: expected one of {', '.join(times) or 'none'}")
    first, last = parse_key(declared, start), parse_key(declared, end)
    if first > last:  # type: ignore[operator]  # two values of one part
        raise Unanswerable(f"{aggregation}: from {start} to {end}: expected two ascending keys")
    keys = list(_keys(key, first, last))  # type: ignore[arg-type]  # a part's value is no tuple
    paths = [home.total(Cell(aggregation, each)) for each in keys]
    if keys and isinstance(keys[0], str):  # their ids sort as they do
        where = (Filter(DOCUMENT_ID, ">=", paths[0]), Filter(DOCUMENT_ID, "<=", paths[-1]))
        query = Query(home.collection(aggregation), where, (DOCUMENT_ID,))
        there = list(store.query(query, read_time=proven.at))
    else:
        there = [each for each in store.get(paths, read_time=proven.at) if each] if keys else []
    found = {each.path: each for each in there}
    return tuple(
        total_of(declared, found[path], proven) if path in found else zero(declared, each, proven)
        for each, path in zip(keys, paths, strict=True)
    )


def _keys(key: TimeKey, first: str | int, last: str | int) -> Iterator[str | int]:
    """Every key from ``first`` to ``last``.

    Raises:
        Unanswerable: they are too many.
    """
    if isinstance(first, int) and isinstance(last, int):
        yield from range(first, last + 1)
        return
    days = _day(key, str(last)) - _day(key, str(first))
    lengths = {"date_hour": timedelta(hours=1), "week": timedelta(days=7), "month": timedelta(days=30)}
    length = lengths.get(key.grain, timedelta(days=365 if key.grain == "year" else 1))
    if days / length >= LONGEST_SERIES:
        raise Unanswerable(
            f"from {first} to {last}: expected at most {LONGEST_SERIES:,} totals, found about "
            f"{days / length:,.0f}"
        )
    bare = replace(key, field="time")
    moment, until = first_instant(key.zone), last_instant(key.zone)
    moment += max(timedelta(0), _day(key, str(first)) - moment - _DAYS)
    until -= max(timedelta(0), until - _day(key, str(last)) - _YEAR)
    given: set[str] = set()
    while moment <= until:
        value = bare.of({"time": moment})
        if str(first) <= str(value) <= str(last):
            given.add(str(value))
        ended = cell_last(moment, stretch_of(key.grain), key.zone)
        if ended >= until:
            break
        moment = ended + MICROSECOND
    yield from sorted(given)


def _day(key: TimeKey, text: str) -> datetime:
    """The first day of a grain, at midnight in UTC."""
    if key.grain == "week":
        year, week = text.split("-W")
        day = date.fromisocalendar(int(year), int(week), 1)
    else:
        year, month, number = (*text[:10].split("-"), "1", "1")[:3]
        day = date(int(year), int(month), int(number))
    return datetime(day.year, day.month, day.day, tzinfo=UTC)

"""Declarations and entries of every kind, drawn by hypothesis: what law *agree* is tried on."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any, TypeVar
from zoneinfo import ZoneInfo

from hypothesis import strategies as st

from shared.aggregation import (
    MAX_KEY_BYTES,
    Aggregation,
    And,
    Count,
    Equals,
    Exists,
    FieldKey,
    Grain,
    Histogram,
    In,
    KeyPart,
    Maximum,
    Measure,
    Minimum,
    Not,
    OneOf,
    Or,
    Part,
    Range,
    Source,
    Sum,
    SumOfSquares,
    TimeKey,
    Where,
)
from shared.aggregation.keys import MAX_INTEGER, MIN_INTEGER
from shared.store import GeoPoint

ZONES = [
    ZoneInfo(name)
    for name in (
        "UTC",
        "Europe/Berlin",
        "Asia/Kathmandu",
        "Australia/Lord_Howe",
        "America/St_Johns",
        "Pacific/Kiritimati",
    )
]
some_zone = st.sampled_from(ZONES)
GRAINS: list[Grain] = ["hour", "weekday", "date", "date_hour", "week", "month", "year"]
OF_TYPE: dict[type, list[str]] = {
    str: ["name", "place", "device.model"],
    int: ["number"],
    bool: ["flag"],
    datetime: ["at", "until"],
}
"""The fields of entries by what they should hold. A declaration may read any of them, whatever it holds."""
FIELDS = [*(name for names in OF_TYPE.values() for name in names), "device"]

T = TypeVar("T")


def mostly(good: st.SearchStrategy[T], other: st.SearchStrategy[T], share: int = 7) -> st.SearchStrategy[T]:
    """What is good, ``share`` times of 8."""
    return st.integers(0, 7).flatmap(lambda number: good if number < share else other)


INSTANTS = [
    datetime(1, 1, 1, tzinfo=UTC),
    datetime(1890, 1, 1, 0, 6, 31, 999_999, tzinfo=UTC),
    datetime(2006, 10, 29, 2, 30, 30, tzinfo=UTC),  # in St. John's a minute past midnight became 23:01
    datetime(2006, 10, 29, 2, 29, tzinfo=UTC),
    datetime(2024, 12, 30, tzinfo=UTC),  # a Monday of week 1 of the year that follows
    datetime(2025, 3, 30, 0, 59, 59, 999_999, tzinfo=UTC),
    datetime(2025, 4, 5, 15, tzinfo=UTC),
    datetime(2025, 10, 26, 0, 30, tzinfo=UTC),
    datetime(2025, 10, 26, 1, 30, tzinfo=UTC),
    datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC),
]
"""The ends of the calendar, of ISO years, and changes of clocks."""

bad_days = st.sampled_from(INSTANTS)
days = st.integers(0, 3 * 86_400 * 4).map(
    lambda quarters: datetime(2025, 10, 24, tzinfo=UTC) + timedelta(seconds=quarters / 4)
)
instants = mostly(days, bad_days, 5)
strings = st.sampled_from(["a", "b", "other"]) | st.sampled_from(
    ["", "a", "A", "b", "other", "true", "1", "/", "%", "a|b", "__x__", "..", "é", "🧂", "\x00"]
)
integers = st.integers(-3, 3) | st.sampled_from([MIN_INTEGER, MAX_INTEGER, 10**6, 10**12])
numbers = integers | st.sampled_from(
    [0.0, -0.0, 1.0, 0.5, 2.5, -1.5, 1e6, 1e300, float("nan"), float("inf"), float("-inf")]
)
long_strings = st.sampled_from(["b" + "x" * MAX_KEY_BYTES, "é" * (MAX_KEY_BYTES // 2), "a" * 1_500])
oddities = st.sampled_from([None, b"a", [], ["a"], {}, {"model": "a"}, GeoPoint(46.9, 7.4)])
values = st.one_of(strings, integers, numbers, st.booleans(), instants, oddities)
any_values = values | long_strings


def entries(of: st.SearchStrategy[object] = any_values) -> st.SearchStrategy[dict[str, object]]:
    """Entries in which most fields hold what they should, and the others anything, or are not there."""

    def field(good: st.SearchStrategy[object]) -> st.SearchStrategy[object]:
        return mostly(good, of | st.just(...))

    device = st.fixed_dictionaries({"model": field(strings)}).map(_without)
    good: dict[str, st.SearchStrategy[object]] = {"name": strings, "place": strings, "device": device}
    good |= {"number": numbers, "flag": st.booleans(), "at": instants, "until": instants}
    return st.fixed_dictionaries({name: field(each) for name, each in good.items()}).map(_without)


def _without(fields: dict[str, Any]) -> dict[str, object]:
    return {name: value for name, value in fields.items() if value is not ...}


fields = st.sampled_from(FIELDS)


def of_type(kind: type) -> st.SearchStrategy[str]:
    """A field that mostly holds this."""
    return mostly(st.sampled_from(OF_TYPE[kind]), fields)


some_time = of_type(datetime)
kinds: st.SearchStrategy[type[Part]] = st.sampled_from([str, int, bool])
field_keys = kinds.flatmap(lambda kind: st.builds(FieldKey, of_type(kind), kind=st.just(kind)))
non_empty = st.builds(FieldKey, of_type(str), allow_empty=st.booleans())


@st.composite
def listed(draw: st.DrawFn) -> OneOf:
    """A key of a list of values."""
    choices: dict[type[Part], st.SearchStrategy[Any]]
    choices = {str: strings, int: integers, bool: st.booleans()}
    kind = draw(kinds)
    most = 5 if kind is not bool else 2
    named = draw(st.lists(choices[kind], min_size=2, max_size=most, unique=True))
    return OneOf(FieldKey(draw(of_type(kind)), kind=kind), tuple(named[1:]), named[0])


def times(
    of: st.SearchStrategy[str] = some_time, zones: st.SearchStrategy[ZoneInfo] = some_zone
) -> st.SearchStrategy[TimeKey]:
    """Grains of a time."""
    return st.builds(TimeKey, of, st.sampled_from(GRAINS), zones)


parts: st.SearchStrategy[KeyPart] = st.one_of(field_keys, non_empty, listed(), times(), times(st.just("at")))


def _apart(drawn: list[KeyPart]) -> KeyPart | tuple[KeyPart, ...]:
    return tuple(drawn) if len(drawn) > 1 else drawn[0]


def keys(of: st.SearchStrategy[KeyPart] = parts) -> st.SearchStrategy[KeyPart | tuple[KeyPart, ...]]:
    """Simple and composite keys."""
    return st.lists(of, min_size=1, max_size=3, unique_by=lambda part: part.name).map(_apart)


comparable: dict[type, st.SearchStrategy[Any]] = {
    str: strings,
    int: st.integers(-3, 3),
    bool: st.booleans(),
    datetime: strings,
}
any_comparable = st.one_of(*comparable.values())
rangeable: dict[type, st.SearchStrategy[Any]] = {
    str: strings | st.sampled_from(["b" + "w" * 9, "b" + "x" * 9]),
    int: st.integers(-3, 3) | st.sampled_from([0.5, 1.0, -1.5]),
    datetime: instants | st.just(datetime(2025, 10, 25, 20, 30, tzinfo=timezone(timedelta(hours=2)))),
}


@st.composite
def ranges(draw: st.DrawFn) -> Range:
    """Between two bounds, or from one, or up to one."""
    kind = draw(st.sampled_from(list(rangeable)))
    low, high = sorted(draw(st.lists(rangeable[kind], min_size=2, max_size=2, unique=True)))
    open_end = draw(st.sampled_from(["low", "high", None, None]))
    return Range(
        draw(of_type(kind)), None if open_end == "low" else low, None if open_end == "high" else high
    )


@st.composite
def comparisons(draw: st.DrawFn) -> Where:
    """With one value, with several, or with none."""
    kind = draw(st.sampled_from(list(comparable)))
    field, value = draw(of_type(kind)), mostly(comparable[kind], any_comparable)
    several = st.lists(value, min_size=1, max_size=4).map(tuple)
    return draw(
        st.one_of(
            st.builds(Equals, st.just(field), value),
            st.builds(In, st.just(field), several),
            st.builds(Exists, st.just(field)),
        )
    )


leaves: st.SearchStrategy[Where] = comparisons() | ranges()


def _joined(of: st.SearchStrategy[Where]) -> st.SearchStrategy[Where]:
    several = st.lists(of, min_size=2, max_size=3)
    return st.one_of(of.map(Not), several.map(lambda them: And(*them)), several.map(lambda them: Or(*them)))


filters = st.none() | st.recursive(leaves, _joined, max_leaves=5)

bounds = st.lists(
    st.integers(-3, 3) | st.sampled_from([0.5, 2.5, 1e6]), min_size=1, max_size=4, unique=True
).map(lambda drawn: tuple(sorted(drawn)))


@st.composite
def measured(draw: st.DrawFn) -> tuple[Measure, ...]:
    """A count, and any of the other measures."""
    others: list[Measure] = [
        Sum(draw(of_type(int)), "sum", draw(st.sampled_from([1, 1000]))),
        SumOfSquares(draw(of_type(int)), "squares", draw(st.sampled_from([1, 1000]))),
        Histogram(draw(of_type(int)), "cells", draw(bounds)),
        Minimum(draw(of_type(int)), "least", draw(st.sampled_from([1, 1000]))),
        Maximum(draw(of_type(int)), "greatest", draw(st.sampled_from([1, 1000]))),
    ]
    return (Count(), *(each for each in others if draw(st.booleans())))


aggregations = st.builds(Aggregation, st.just("a"), keys(), filters, measured())


def sources(of: st.SearchStrategy[Aggregation] = aggregations, most: int = 4) -> st.SearchStrategy[Source]:
    """Sources of several aggregations, which bear different names."""
    return st.lists(of, min_size=1, max_size=most).map(
        lambda drawn: Source(
            "libra", tuple(replace(each, name=f"totals_{number}") for number, each in enumerate(drawn))
        )
    )


provable_keys: st.SearchStrategy[KeyPart | tuple[KeyPart, ...]] = st.one_of(
    non_empty,
    st.builds(FieldKey, of_type(bool), kind=st.just(bool)),
    listed().filter(lambda key: key.kind is not int),
    keys(times(st.just("at"), st.just(ZONES[4]))),
    *(
        keys(times(st.just(field), st.just(zone)))
        for field in ("at", "until")
        for zone in (ZONES[0], ZONES[1], ZONES[4])
    ),
)
equalities = st.builds(Equals, of_type(str), strings) | st.builds(Equals, of_type(bool), st.booleans())
provable = st.builds(
    Aggregation,
    st.just("a"),
    provable_keys,
    st.none() | equalities | st.lists(equalities, min_size=2, max_size=2).map(lambda two: And(*two)),
)
"""What the index strategy proves."""

"""Law *agree*: index count = scan count = the pure fold, over collections with every kind of bad entry."""

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest

from shared.aggregation import (
    MAX_KEY_BYTES,
    Aggregation,
    And,
    Bounded,
    Cell,
    Count,
    Equals,
    FieldKey,
    Grain,
    Histogram,
    In,
    Not,
    OneOf,
    Or,
    Range,
    Source,
    Sum,
    SumOfSquares,
    TimeKey,
)
from shared.catalog import libra
from shared.counting import Counted, Snapshot
from shared.counting.index import index
from shared.counting.scan import scan
from shared.errors import StrategyUnsupported
from shared.registry import Registry
from shared.store import Create, Delete, GeoPoint, Merge, Query, Reference, Write
from tests.support.kitchen import SERVED, Kitchen
from tests.support.recomputing import exact_at

FAR = timezone(timedelta(hours=14))
NO_STRINGS: list[object] = [
    None,
    True,
    False,
    0,
    7,
    1.0,
    1.5,
    float("nan"),
    float("-inf"),
    b"Served",
    [],
    ["Served"],
    {},
]
NO_STRINGS += [
    {"a": "Served"},
    GeoPoint(46.9, 7.4),
    Reference("projects/p/databases/d/documents/libra/x"),
    ...,
]
STRINGS = [
    "Basil",
    "basil",
    "",
    " ",
    "/",
    "%",
    "..",
    "__x__",
    "Crème brûlée",
    "🧂",
    "\x00",
    "\x7f",
    "a" * 1_499,
]
ACTIONS = ["Served", "RanOut", "Heartbeat", "served", "", "Cleaned by hand"]
TIMES = [
    datetime(1, 1, 1, tzinfo=UTC),
    datetime(1, 1, 1, 11, 59, tzinfo=UTC),
    datetime(1890, 1, 1, 0, 6, 31, 999_999, tzinfo=UTC),
    datetime(1970, 1, 1, tzinfo=UTC),
    datetime(2006, 10, 29, 2, 30, 30, tzinfo=UTC),  # past midnight, before the clock of St. John's goes back
    datetime(2025, 3, 30, 0, 59, 59, 999_999, tzinfo=UTC),
    datetime(2025, 3, 30, 1, tzinfo=UTC),
    datetime(2025, 4, 5, 15, tzinfo=UTC),
    datetime(2025, 10, 26, 0, 30, tzinfo=UTC),
    datetime(2025, 10, 26, 1, 30, tzinfo=UTC),
    datetime(9999, 12, 31, 12, tzinfo=UTC),
    datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC),
]
NO_TIMES = ["2025-09-04T18:57:29Z", 1_757_012_249, None, True, [datetime(2025, 9, 4, tzinfo=UTC)], {}, ...]
ZONES = [
    "UTC",
    "Europe/Berlin",
    "Asia/Kathmandu",
    "Australia/Lord_Howe",
    "America/St_Johns",
    "Pacific/Kiritimati",
]


def some_entry(dice: random.Random) -> dict[str, object]:
    """A good entry, or one that is wrong in any way."""
    day = datetime(2025, 9, 4, tzinfo=UTC) + timedelta(seconds=dice.randrange(5 * 86_400))
    fields = SERVED | {
        "ingredient": dice.choice(STRINGS if dice.random() < 0.8 else NO_STRINGS),
        "dataAction": dice.choice(ACTIONS if dice.random() < 0.9 else NO_STRINGS),
        "timestamp": day if dice.random() < 0.6 else dice.choice(TIMES if dice.random() < 0.6 else NO_TIMES),
        "amount": dice.choice([12.5, 3, "12.5", None, float("nan")]),
    }
    return {name: value for name, value in fields.items() if value is not ...}


def fill(kitchen: Kitchen, dice: random.Random, number: int) -> datetime:
    """Create entries, edit some, delete some; the time of the last commit."""
    committed = datetime.min.replace(tzinfo=UTC)
    for first in range(0, number, 100):
        ids = range(first, min(first + 100, number))
        committed = kitchen.store.commit(
            [Create(f"libra/{dice.getrandbits(40):x}-{each}", some_entry(dice)) for each in ids], timeout=30
        )
    paths = [document.path for document in kitchen.store.query(Query("libra", select=()))]
    for path in dice.sample(paths, number // 20):
        edit = Merge(path, {("ingredient",): dice.choice(STRINGS)})
        write: Write = edit if dice.random() < 0.5 else Delete(path)
        committed = kitchen.store.commit([write], timeout=30)
    return committed


@pytest.mark.parametrize("zone", ZONES)
def test_law_agree(kitchen: Kitchen, zone: str) -> None:
    """Every kind of bad entry, edits and deletions, in zones of every kind, filtered and not."""
    dice = random.Random(zone)
    settings = replace(kitchen.settings, time_zone=ZoneInfo(zone), time_action=dice.choice(["Served", None]))
    source = libra(settings)
    at = fill(kitchen, dice, 250)
    fold = exact_at(kitchen.store, source, at)
    counters: list[Callable[[Snapshot], Counted]] = [scan, index]
    for count in counters:
        counted = count(Snapshot(kitchen.store, source, kitchen.home, at, workers=4))
        assert counted.totals == fold, count
        assert counted.entries == kitchen.store.count(Query("libra"))


def test_scan_agrees_on_sums_composite_keys_and_nested_fields(kitchen: Kitchen) -> None:
    """What the index does not offer is counted by the same pure code as the trigger's."""
    source = Source(
        "libra",
        (
            Aggregation(
                "grams", FieldKey("ingredient"), measures=(Count(), Sum("amount", "milligrams", 1000))
            ),
            Aggregation(
                "places", (FieldKey("location"), TimeKey("timestamp", "hour", ZoneInfo("Asia/Kolkata")))
            ),
            Aggregation("devices", FieldKey("device.serialNumber"), Equals("dataAction", "Served")),
            Aggregation("models", FieldKey("device")),
        ),
    )
    at = fill(kitchen, random.Random(7), 200)
    for workers, page in ((1, 7), (4, 50)):
        counted = scan(Snapshot(kitchen.store, source, kitchen.home, at, workers=workers), page=page)
        assert counted.totals == exact_at(kitchen.store, source, at)
        assert counted.entries == kitchen.store.count(Query("libra"))


def test_index_counts_nested_and_filtered_keys(kitchen: Kitchen) -> None:
    """A key in a map, under a filter on another field."""
    served = Equals("dataAction", "Served")
    source = Source("libra", (Aggregation("devices", FieldKey("device.serialNumber"), served),))
    at = fill(kitchen, random.Random(8), 100)
    counted = index(Snapshot(kitchen.store, source, kitchen.home, at, workers=4))
    assert counted.totals == exact_at(kitchen.store, source, at)


def of_every_kind() -> Source:
    """Keys, filters and measures of every kind."""
    lord_howe = ZoneInfo("Australia/Lord_Howe")
    amount = (
        Sum("amount", "milligrams", 1000),
        SumOfSquares("amount", "squares"),
        Histogram("amount", "cells", (1, 10.5)),
    )
    listed = OneOf(FieldKey("dataAction"), ("Served", ""), other="other")
    late = Range("timestamp", at_least=datetime(2025, 9, 6, 12, 30, tzinfo=UTC))
    grains: list[Grain] = ["weekday", "date_hour", "week", "month", "year"]
    return Source(
        "libra",
        (
            Aggregation("measured", FieldKey("ingredient"), measures=(Count(), *amount)),
            Aggregation("floors", FieldKey("ingredient", kind=int), Not(Equals("dataAction", "Served"))),
            Aggregation("late", (listed, TimeKey("timestamp", "date_hour", lord_howe)), late),
            Aggregation("either", listed, Or(Equals("ingredient", True), In("ingredient", ("Basil", 7)))),
            *by_index(grains),
        ),
    )


def by_index(grains: Sequence[Grain]) -> tuple[Aggregation, ...]:
    """What the indexes prove: grains of a time, two of them, a list of values, booleans, equalities."""
    zone = ZoneInfo("America/St_Johns")
    return (
        *(Aggregation(f"by_{grain}", TimeKey("timestamp", grain, zone)) for grain in grains),
        Aggregation("hours", (TimeKey("timestamp", "weekday", zone), TimeKey("timestamp", "hour", zone))),
        Aggregation("listed", OneOf(FieldKey("ingredient"), ("Basil", "", "é"), other="other")),
        Aggregation("flags", FieldKey("ingredient", kind=bool)),
        Aggregation(
            "served",
            FieldKey("ingredient"),
            And(Equals("dataAction", "Served"), Equals("location", "Caldo Office")),
        ),
    )


def test_every_kind_of_declaration_is_counted_alike(kitchen: Kitchen) -> None:
    """On real indexes and real projections, whatever the entries hold."""
    at = fill(kitchen, random.Random(9), 250)
    source = of_every_kind()
    assert scan(Snapshot(kitchen.store, source, kitchen.home, at)).totals == exact_at(
        kitchen.store, source, at
    )
    source = Source("libra", by_index(["weekday", "date_hour", "week", "month", "year"]))
    assert index(Snapshot(kitchen.store, source, kitchen.home, at)).totals == exact_at(
        kitchen.store, source, at
    )


def test_bounded_keys_are_decided_once(kitchen: Kitchen) -> None:
    """The list on real documents: two registries, a part with a dot in its name, and both counters."""
    names = Bounded(FieldKey("device.serialNumber"), 2, other="other")
    source = Source("libra", (Aggregation("devices", names),))
    devices = ["Lib1", "Lib/2", "Lib3", "Lib4", "Lib1"]
    for number, device in enumerate(devices):
        at = kitchen.write(f"e{number}", device={"serialNumber": device}).time
    one, other = (Registry(kitchen.store, source, kitchen.home, sleep=time.sleep) for _ in range(2))
    first = [Cell("devices", device) for device in devices[:1]]
    assert list(map(one.settle(first), first)) == first
    counted = scan(Snapshot(kitchen.store, source, kitchen.home, at, settle=other.settle)).totals
    assert index(Snapshot(kitchen.store, source, kitchen.home, at, settle=one.settle)).totals == counted
    assert counted[Cell("devices", "Lib1")] == {"count": 2}
    assert counted[Cell("devices", "other")] == {"count": 2}
    (stored,) = kitchen.store.get([kitchen.home.registry("devices")])
    assert stored is not None
    assert stored.fields == {"admitted": {"device.serialNumber": ["Lib%2F2", "Lib1"]}}


@pytest.mark.parametrize("length", [1_500, 1_501, MAX_KEY_BYTES, MAX_KEY_BYTES + 1])
def test_values_too_long_for_an_index_are_counted_by_scan_only(kitchen: Kitchen, length: int) -> None:
    """The index gives up on them; scan and fold agree, also that the longest is rejected."""
    kitchen.write("short", ingredient="Basil")
    at = kitchen.write("long", ingredient="é" * (length // 2) + "x" * (length % 2)).time
    with pytest.raises(StrategyUnsupported, match="1500 bytes or more"):
        index(Snapshot(kitchen.store, kitchen.source, kitchen.home, at))
    assert scan(Snapshot(kitchen.store, kitchen.source, kitchen.home, at)).totals == exact_at(
        kitchen.store, kitchen.source, at
    )


@pytest.mark.parametrize("counter", [scan, index])
def test_a_snapshot_ends_with_its_microsecond(
    kitchen: Kitchen, counter: Callable[[Snapshot], Counted]
) -> None:
    """An entry committed exactly at the read time is in, and is not a microsecond earlier."""
    at = kitchen.write("e").time
    for micros, entries in ((-1, 0), (0, 1), (1, 1)):
        snapshot = Snapshot(kitchen.store, kitchen.source, kitchen.home, at + timedelta(microseconds=micros))
        assert counter(snapshot).entries == entries


def test_reads_are_accounted_as_they_are_billed(kitchen: Kitchen) -> None:
    """Scan: one for each entry. Index: one for each query, as few entries are in each."""
    for number in range(12):
        at = kitchen.write(f"e{number}").time
    scanned = Snapshot(kitchen.store, kitchen.source, kitchen.home, at, workers=1)
    scan(scanned, page=100)
    assert scanned.reads == 12
    counted = Snapshot(kitchen.store, kitchen.source, kitchen.home, at, workers=1)
    index(counted)
    # All entries. An ingredient, an action: found, counted, no other. An hour: found and counted, nothing
    # in the next one, nothing behind that, nothing in the later half of the years to come.
    assert counted.reads == 1 + 3 + 3 + 5

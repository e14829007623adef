"""The views over rows that events became, and the fold over the same events: the same totals."""

import json
import random
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from local.bigquery import BigQuery
from shared.aggregation import (
    Aggregation,
    And,
    Bounded,
    Cell,
    Count,
    Equals,
    Exists,
    Extremes,
    FieldKey,
    Histogram,
    In,
    Maximum,
    Minimum,
    Not,
    OneOf,
    Or,
    Range,
    Sum,
    SumOfSquares,
    TimeKey,
    extremes,
    fold,
    widen,
)
from shared.aggregation.bounded import Bounds, moved, name_of
from shared.aggregation.keys import text_of
from shared.events import Boolean, EventSource, Field, Integer, Number, Schema, Text, Timestamp
from shared.judgement import Accepted, judge
from shared.warehouse import Dataset, Message, admitted, row_of
from tests.support.asking import Asked, Told

NOW = datetime.now(UTC)
YEAR = timedelta(days=400)
ZONE = ZoneInfo("America/St_Johns")
"""Half an hour off, and west of Greenwich: dates, weeks and hours all differ from UTC's."""
ODD = [
    "a",
    "b/c",
    "50%",
    ".",
    "..",
    "__x__",
    "___",
    "été",
    "it's",
    "a\\b",
    'q"',
    "x" * 101,
    "%empty",
    "other",
]
SCHEMA = Schema(
    (
        Field("id", Text()),
        Field("name", Text()),
        Field("floor", Integer(), required=False),
        Field("amount", Number(-1e6, 1e6), required=False),
        Field("open", Boolean(), required=False),
        Field("at", Timestamp(YEAR, YEAR)),
        Field("until", Timestamp(YEAR, YEAR), required=False),
    ),
    id="id",
)
FILTERS = {
    "equals": Equals("name", "it's"),
    "among": In("floor", (1, 2, "1", True)),
    "ranged": Range("floor", -1.5, 2.5),
    "amounts": Range("amount", at_least=1),
    "words": Range("name", "b", "x"),
    "times": Range("at", NOW - timedelta(days=100), NOW),
    "negated": Not(Range("amount", 0, 10)),
    "never": Equals("name", 1),
    "mixed": Or(And(Exists("open"), Not(Equals("open", True))), Exists("until")),
}
GRAINS = ("hour", "weekday", "date", "date_hour", "week", "month", "year")
BOUNDED = Bounded(FieldKey("name"), most=6, other="other")
THINGS = EventSource(
    "things",
    aggregations=(
        Aggregation(
            "measured",
            FieldKey("name"),
            measures=(
                Count(),
                Sum("floor", "cents", units=100, limit=50_000),
                SumOfSquares("floor", "squares"),
                Histogram("amount", "cells", (-10, 0, 0.5)),
                Histogram("floor", "floors", (-0.5, 2)),
                Minimum("floor", "least", units=100),
                Maximum("floor", "highest"),
            ),
        ),
        Aggregation("listed", OneOf(FieldKey("name"), ("a", "été"), "rest")),
        Aggregation("bounded", BOUNDED),
        Aggregation("bounded_twice", (BOUNDED, Bounded(FieldKey("floor", kind=int), most=100, other=-9))),
        Aggregation("opened", (FieldKey("open", kind=bool), FieldKey("floor", kind=int))),
        Aggregation("until", TimeKey("until", "date", ZONE)),
        *(Aggregation(f"by_{grain}", TimeKey("at", grain, ZONE)) for grain in GRAINS),  # type: ignore[arg-type]
        *(Aggregation(f"only_{name}", FieldKey("name"), where=it) for name, it in FILTERS.items()),
    ),
    schema=SCHEMA,
)
"""Every kind of key, filter and measure."""
LENIENT = EventSource("things", (Aggregation("all", FieldKey("name")),), SCHEMA)
"""What was declared when the events came: they have less than the aggregations of today count."""


def events(number: int, rng: random.Random) -> list[dict[str, object]]:
    """Events that lack what is optional, at instants around midnights and changes of the clock."""
    found = []
    for n in range(number):
        made: dict[str, object] = {
            "id": f"e{n}",
            "name": rng.choice(ODD),
            "at": (NOW - timedelta(minutes=rng.randrange(365 * 24 * 60))).isoformat(),
        }
        if rng.random() < 0.7:
            made["floor"] = rng.choice((-2, -1, 0, 1, 2, 3, 10**6))
        if rng.random() < 0.7:
            made["amount"] = rng.choice(
                (0.005, 0.015, 0.125, 1, 1.0, -10, 0.1, 12.345, -0.005, 500.01, 499.99)
            )
        if rng.random() < 0.7:
            made["open"] = rng.random() < 0.5
        if rng.random() < 0.3:
            made["until"] = (NOW - timedelta(hours=rng.randrange(8_000))).isoformat()
        found.append(made)
    return found


def folded(source: EventSource, found: list[Mapping[str, object]], listed: set[str]) -> Told:
    """The fold, with each value of a bounded key where it belongs."""
    bounds = Bounds(source)
    names = {"name": listed, "floor": {name_of(n) for n in (-2, -1, 0, 1, 2, 3, 10**6)}}

    def place(cell: Cell) -> Cell:
        return bounds.place(cell, names)

    ends: Extremes = {}
    for each in found:
        widen(source, ends, extremes(source, each))
    told: Told = {}
    for cell, columns in moved(fold(source, found), place).items():
        parts = cell.key if isinstance(cell.key, tuple) else (cell.key,)
        own = dict.fromkeys(source.aggregation(cell.aggregation).columns, 0)
        told[cell.aggregation, *map(text_of, parts)] = own | columns | ends.get(cell, {})
    return told


def test_the_views_are_the_fold_over_every_kind_of_declaration(bigquery: BigQuery, project: str) -> None:
    """Also for events that lack what a newer aggregation counts by, each written one to three times.

    First no bounded key is full, then each is.
    """
    rng = random.Random(5)
    asked, sources = Asked(bigquery, project), {"things": THINGS}
    asked.ensure("UTC", sources)
    accepted, rows = [], []
    for number, event in enumerate(events(400, rng)):
        judged = judge(LENIENT, event, NOW)
        assert isinstance(judged, Accepted)
        accepted.append(judged.event.fields)
        data = json.dumps(event).encode()
        rows += [
            row_of(LENIENT, Message(f"m{number}-{n}", data, {}, NOW + timedelta(seconds=n)))
            for n in range(rng.randint(1, 3))
        ]
    rng.shuffle(rows)
    asked.insert(rows)
    assert asked.number("things") == 400
    assert asked.totals(THINGS) == folded(THINGS, accepted, set(map(name_of, ODD)))
    listed = set(map(name_of, ODD[:6]))
    written = {name: {"name": list(listed), "floor": []} for name in ("bounded", "bounded_twice")}
    for _ in range(2):
        asked.run(admitted(written, Dataset(project, "libra")))
    assert asked.number("bounded_values") == 12
    assert asked.number("things") == 400
    assert asked.totals(THINGS) == folded(THINGS, accepted, listed)


def test_an_id_that_two_events_have_counts_as_the_first_and_is_shown(
    bigquery: BigQuery, project: str
) -> None:
    """The one that was accepted first, whichever was written first."""
    asked = Asked(bigquery, project)
    asked.ensure("UTC", {"things": LENIENT})
    base = {"id": "e1", "at": NOW.isoformat()}
    for name, seconds in (("late", 9), ("first", 1), ("first", 5), ("late", 8)):
        data = json.dumps(base | {"name": name}).encode()
        asked.insert([row_of(LENIENT, Message(f"m{seconds}", data, {}, NOW + timedelta(seconds=seconds)))])
    assert asked.totals(LENIENT) == {("all", "first"): {"count": 1}}
    assert asked.rows("SELECT * FROM `TABLE.things_conflicts`") == [
        {"libra_id": "e1", "events": "2", "deliveries": "4"}
    ]

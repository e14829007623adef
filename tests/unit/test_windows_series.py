"""A series: every hour, date, week, month or year of a range, without holes."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from shared.aggregation import Aggregation, FieldKey, Source, TimeKey
from shared.errors import NotFound, Unanswerable
from shared.windows import Total, proof, series
from tests.support.reading import Counting
from tests.support.recomputing import World

ZURICH, LORD_HOWE = ZoneInfo("Europe/Zurich"), ZoneInfo("Australia/Lord_Howe")
SOURCE = Source(
    "libra",
    (
        *(
            Aggregation(f"{grain}s", TimeKey("timestamp", grain, ZURICH))
            for grain in ("hour", "weekday", "date", "date_hour", "week", "month", "year")
        ),
        Aggregation("island", TimeKey("timestamp", "date_hour", LORD_HOWE)),
        Aggregation("foods", FieldKey("ingredient")),
    ),
)


def told(world: World, aggregation: str, start: str, end: str) -> list[Total]:
    """A series as of now."""
    now = proof(world.store, world.source, world.home)
    return list(series(world.store, world.source, world.home, aggregation, start=start, end=end, proven=now))


def keys(aggregation: str, start: str, end: str) -> list[object]:
    """The keys of a series."""
    return [each.key for each in told(World(source=SOURCE), aggregation, start, end)]


def test_a_series_has_no_holes() -> None:
    """Times without an entry are zero."""
    world = World(source=SOURCE)
    for day in (1, 3, 4):
        world.serve(day, f"d{day}", timestamp=datetime(2025, 9, day, 10, tzinfo=UTC))
    found = told(world, "dates", "2025-08-31", "2025-09-05")
    assert [(each.key, each.values["count"]) for each in found] == [
        ("2025-08-31", 0),
        ("2025-09-01", 1),
        ("2025-09-02", 0),
        ("2025-09-03", 3),
        ("2025-09-04", 4),
        ("2025-09-05", 0),
    ]
    assert [each.values["count"] for each in told(world, "hours", "9", "13")] == [0, 0, 0, 8, 0]
    assert found[0].updated_at is None


@pytest.mark.parametrize(
    ("aggregation", "start", "end", "expected"),
    [
        ("weeks", "2024-W51", "2025-W02", ["2024-W51", "2024-W52", "2025-W01", "2025-W02"]),
        ("months", "2024-11", "2025-02", ["2024-11", "2024-12", "2025-01", "2025-02"]),
        ("years", "0001", "0003", ["0001", "0002", "0003"]),
        ("years", "9997", "9999", ["9997", "9998", "9999"]),
        ("dates", "9999-12-30", "9999-12-31", ["9999-12-30", "9999-12-31"]),
        ("dates", "2024-02-28", "2024-03-01", ["2024-02-28", "2024-02-29", "2024-03-01"]),
        ("weekdays", "6", "7", [6, 7]),
        ("hours", "0", "0", [0]),
        ("date_hours", "2025-03-30T01", "2025-03-30T04", ["2025-03-30T01", "2025-03-30T03", "2025-03-30T04"]),
        ("date_hours", "2025-10-26T01", "2025-10-26T03", ["2025-10-26T01", "2025-10-26T02", "2025-10-26T03"]),
        ("date_hours", "2025-03-30T02", "2025-03-30T02", []),
        ("island", "2025-04-06T00", "2025-04-06T03", [f"2025-04-06T0{hour}" for hour in range(4)]),
    ],
)
def test_the_keys_are_those_that_the_clock_shows(
    aggregation: str, start: str, end: str, expected: list[object]
) -> None:
    """Ends of years, ISO weeks, leap days, the ends of the calendar, hours that are skipped or repeated."""
    assert keys(aggregation, start, end) == expected


def test_a_year_of_dates_and_a_month_of_hours_are_whole() -> None:
    """As many as the calendar has."""
    assert len(keys("dates", "2024-01-01", "2024-12-31")) == 366
    assert len(keys("date_hours", "2025-03-01T00", "2025-03-31T23")) == 31 * 24 - 1
    assert len(keys("date_hours", "2025-10-01T00", "2025-10-31T23")) == 31 * 24
    assert len(keys("months", "1990-01", "2029-12")) == 480


def test_a_series_costs_a_read_for_each_total_that_there_is() -> None:
    """One, if there is none."""
    world = World(source=SOURCE)
    world.serve(3, timestamp=datetime(2025, 9, 4, 10, tzinfo=UTC))
    now, counting = proof(world.store, SOURCE, world.home), Counting(world.memory)
    for start, cost in (("2025-01-01", 1), ("2025-09-04", 1), ("2025-09-05", 1)):
        counting.reads = 0
        series(counting, SOURCE, world.home, "dates", start=start, end="2025-12-31", proven=now)
        assert counting.reads == cost


@pytest.mark.parametrize(
    ("aggregation", "start", "end", "said"),
    [
        ("foods", "a", "b", "foods: its key is no time: expected one of hours, weekdays, dates"),
        ("dates", "2025-09-05", "2025-09-04", "from 2025-09-05 to 2025-09-04: expected two ascending keys"),
        ("dates", "2025-09-05", "soon", "'soon' is not a date such as 2025-09-04"),
        (
            "date_hours",
            "2020-01-01T00",
            "2025-01-01T00",
            "expected at most 10,000 totals, found about 43,848",
        ),
        ("dates", "0001-01-01", "9999-12-31", "expected at most 10,000 totals, found about 3,652,058"),
    ],
)
def test_what_is_no_range_of_times_is_refused(aggregation: str, start: str, end: str, said: str) -> None:
    """Saying what was found and what is allowed."""
    with pytest.raises(Unanswerable, match=said):
        keys(aggregation, start, end)
    with pytest.raises(NotFound, match="no aggregation is called 'food'"):
        keys("food", start, end)

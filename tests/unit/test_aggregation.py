"""What an entry adds to which totals, and what of it is rejected with which reason.

Over 300 lines because most of it is tables of fields and what they count as.
"""

import math
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from shared.aggregation import (
    MAX_KEY_BYTES,
    Aggregation,
    Cell,
    Count,
    Entry,
    Equals,
    FieldKey,
    Home,
    Key,
    Rejection,
    Source,
    Sum,
    TimeKey,
    Unusable,
    add,
    contribution,
    document_id,
    fold,
    look_up,
    type_name,
)
from shared.catalog import LIBRA_HOME, libra
from shared.errors import DeclarationError
from shared.settings import Settings
from shared.store import GeoPoint

SERVED = {
    "device": {"model": "LibraV0", "serialNumber": "Lib298190"},
    "location": "Caldo Office",
    "ingredient": "Kettle Chips",
    "dataAction": "Served",
    "amount": 12.5,
    "timestamp": datetime(2025, 9, 4, 18, 57, 29, tzinfo=UTC),
}
CATALOG = libra(Settings())


def counted(source: Source, fields: dict[str, Any]) -> dict[str, Any]:
    """The keys an entry is counted under, by collection."""
    return {cell.aggregation: cell.key for cell in contribution(source, fields).deltas}


def rejected(source: Source, fields: dict[str, Any]) -> set[tuple[str, str]]:
    """The fields an entry is rejected for, with the reasons."""
    return {(one.field, one.reason) for one in contribution(source, fields).rejections}


def test_a_served_entry_is_counted_by_each_of_the_four() -> None:
    """The README's example: one entry, four totals, one each."""
    assert contribution(CATALOG, SERVED).deltas == {
        Cell("aggregates_categories", "Kettle Chips"): {"count": 1},
        Cell("aggregates_actions", "Served"): {"count": 1},
        Cell("aggregates_time_hours", 18): {"count": 1},
        Cell("aggregates_time_dates", "2025-09-04"): {"count": 1},
    }
    assert contribution(CATALOG, SERVED).rejections == ()


def test_other_actions_are_not_in_the_time_totals() -> None:
    """Hours and dates count one action; an entry of another is no rejection."""
    assert counted(CATALOG, SERVED | {"dataAction": "Heartbeat"}) == {
        "aggregates_categories": "Kettle Chips",
        "aggregates_actions": "Heartbeat",
    }
    assert rejected(CATALOG, SERVED | {"dataAction": "Heartbeat", "timestamp": None}) == set()


def test_the_time_action_is_a_setting() -> None:
    """`*` counts every action by time, even an entry without one."""
    every = libra(Settings(time_action=None))
    assert counted(every, {"timestamp": SERVED["timestamp"]}) == {
        "aggregates_time_hours": 18,
        "aggregates_time_dates": "2025-09-04",
    }
    refilled = libra(Settings(time_action="Refilled"))
    assert "aggregates_time_hours" not in counted(refilled, SERVED)


NAIVE = datetime(2025, 9, 4)  # noqa: DTZ001 - naive on purpose
NO_TIME = {"aggregates_categories", "aggregates_actions"}
ALL = NO_TIME | {"aggregates_time_hours", "aggregates_time_dates"}


@pytest.mark.parametrize(
    ("changed", "still_counted", "reason"),
    [
        ({"timestamp": "2025-09-04"}, NO_TIME, ("timestamp", "expected a Timestamp, found a string")),
        ({"timestamp": None}, NO_TIME, ("timestamp", "expected a Timestamp, found null")),
        ({"timestamp": 1757012249}, NO_TIME, ("timestamp", "expected a Timestamp, found an integer")),
        ({"timestamp": {"seconds": 1}}, NO_TIME, ("timestamp", "expected a Timestamp, found a map")),
        (
            {"timestamp": NAIVE},
            NO_TIME,
            ("timestamp", "expected a Timestamp, found a Timestamp"),
        ),
        (
            {"ingredient": 5},
            ALL - {"aggregates_categories"},
            ("ingredient", "expected a string, found an integer"),
        ),
        (
            {"ingredient": True},
            ALL - {"aggregates_categories"},
            ("ingredient", "expected a string, found a boolean"),
        ),
        (
            {"ingredient": "\ud800"},
            ALL - {"aggregates_categories"},
            ("ingredient", "expected a string, found one that is not valid Unicode"),
        ),
        (
            {"ingredient": "é" * (MAX_KEY_BYTES // 2 + 1)},
            ALL - {"aggregates_categories"},
            ("ingredient", f"expected at most {MAX_KEY_BYTES} bytes, found more"),
        ),
        (
            {"dataAction": ""},
            {"aggregates_categories"},
            ("dataAction", "expected a non-empty string, found an empty one"),
        ),
        ({"dataAction": []}, {"aggregates_categories"}, ("dataAction", "expected a string, found an array")),
    ],
)
def test_a_bad_field_costs_only_what_needs_it(
    changed: dict[str, Any], still_counted: set[str], reason: tuple[str, str]
) -> None:
    """Each aggregation counts an entry if it can derive its key; the others say why not."""
    assert set(counted(CATALOG, SERVED | changed)) == still_counted
    assert rejected(CATALOG, SERVED | changed) == {reason}


def test_an_empty_document_is_rejected_and_crashes_nothing() -> None:
    """No field at all: both aggregations without a filter say what is missing."""
    assert contribution(CATALOG, {}).deltas == {}
    assert contribution(CATALOG, {}).rejections == (
        Rejection("aggregates_categories", "ingredient", "missing"),
        Rejection("aggregates_actions", "dataAction", "missing"),
    )


def test_a_bad_amount_matters_to_nobody_who_does_not_read_it() -> None:
    """The four counts do not read `amount`: a NaN in it is no reason to reject."""
    assert set(counted(CATALOG, SERVED | {"amount": math.nan})) == ALL


def test_huge_nested_data_is_just_another_wrong_type() -> None:
    """Deep nesting is looked at no further than the field that is read."""
    nested: dict[str, Any] = {}
    for _ in range(5_000):
        nested = {"deeper": nested}
    assert rejected(CATALOG, SERVED | {"ingredient": nested}) == {
        ("ingredient", "expected a string, found a map")
    }


NEW_YORK, KATHMANDU, UTC_ZONE = ZoneInfo("America/New_York"), ZoneInfo("Asia/Kathmandu"), ZoneInfo("UTC")


@pytest.mark.parametrize(
    ("zone", "instant", "hour", "date"),
    [
        (UTC_ZONE, datetime(2025, 9, 4, 0, 0, tzinfo=UTC), 0, "2025-09-04"),
        (UTC_ZONE, datetime(2025, 9, 3, 23, 59, 59, 999_999, tzinfo=UTC), 23, "2025-09-03"),
        (UTC_ZONE, datetime(1970, 1, 1, tzinfo=UTC), 0, "1970-01-01"),
        (UTC_ZONE, datetime(2100, 2, 28, 12, 30, tzinfo=UTC), 12, "2100-02-28"),
        (UTC_ZONE, datetime(1, 1, 1, tzinfo=UTC), 0, "0001-01-01"),
        # 2025-03-09: 02:00 EST does not exist, the clock goes from 01:59:59 to 03:00:00.
        (NEW_YORK, datetime(2025, 3, 9, 6, 59, 59, 999_999, tzinfo=UTC), 1, "2025-03-09"),
        (NEW_YORK, datetime(2025, 3, 9, 7, 0, tzinfo=UTC), 3, "2025-03-09"),
        # 2025-11-02: 01:00 comes twice; both are hour 1.
        (NEW_YORK, datetime(2025, 11, 2, 5, 30, tzinfo=UTC), 1, "2025-11-02"),
        (NEW_YORK, datetime(2025, 11, 2, 6, 30, tzinfo=UTC), 1, "2025-11-02"),
        (NEW_YORK, datetime(2025, 11, 2, 7, 0, tzinfo=UTC), 2, "2025-11-02"),
        (NEW_YORK, datetime(2025, 7, 4, 4, 0, tzinfo=UTC), 0, "2025-07-04"),
        (NEW_YORK, datetime(2025, 1, 4, 4, 59, tzinfo=UTC), 23, "2025-01-03"),
        (KATHMANDU, datetime(2025, 9, 4, 18, 14, 59, 999_999, tzinfo=UTC), 23, "2025-09-04"),
        (KATHMANDU, datetime(2025, 9, 4, 18, 15, tzinfo=UTC), 0, "2025-09-05"),
    ],
)
def test_hours_and_dates_follow_the_zone(zone: ZoneInfo, instant: datetime, hour: int, date: str) -> None:
    """Midnight, both changes of daylight saving time, quarter-hour offsets, 1970 and 2100, microseconds."""
    source = libra(Settings(time_zone=zone))
    found = counted(source, SERVED | {"timestamp": instant})
    assert (found["aggregates_time_hours"], found["aggregates_time_dates"]) == (hour, date)


@pytest.mark.parametrize(
    ("zone", "instant"),
    [(NEW_YORK, datetime(1, 1, 1, tzinfo=UTC)), (KATHMANDU, datetime(9999, 12, 31, 23, tzinfo=UTC))],
)
def test_a_time_without_a_local_date_is_rejected(zone: ZoneInfo, instant: datetime) -> None:
    """At the ends of the calendar an instant may have no date in a zone."""
    source = libra(Settings(time_zone=zone))
    reason = ("timestamp", f"has no date in {zone.key}: before year 1 or after 9999")
    assert rejected(source, SERVED | {"timestamp": instant}) == {reason}


LOCATION_DAYS = Aggregation(
    "aggregates_location_days",
    key=(FieldKey("location"), TimeKey("timestamp", "date", ZoneInfo("UTC"))),
    where=Equals("dataAction", "Served"),
    measures=(Count(), Sum("amount", "milligrams", units=1000)),
)


def with_fifth() -> Source:
    """The catalog with the documentation's fifth aggregation."""
    return Source(CATALOG.name, (*CATALOG.aggregations, LOCATION_DAYS))


def test_a_fifth_aggregation_is_one_declaration() -> None:
    """Count and grams by location and date, as docs/aggregations.md shows it."""
    cell = Cell("aggregates_location_days", ("Caldo Office", "2025-09-04"))
    assert contribution(with_fifth(), SERVED).deltas[cell] == {"count": 1, "milligrams": 12_500}
    assert LIBRA_HOME.total(cell) == "aggregates_location_days/Caldo Office|2025-09-04"
    assert LOCATION_DAYS.stored_key(cell.key) == {"location": "Caldo Office", "date": "2025-09-04"}
    assert LOCATION_DAYS.fields == {"location", "timestamp", "dataAction", "amount"}


@pytest.mark.parametrize(
    ("amount", "reason"),
    [
        (math.nan, "expected a finite number"),
        (-math.inf, "expected a finite number"),
        (1e300, "expected at most 1000000000000 milligrams an entry, found more"),
        ("12", "expected a number, found a string"),
        (True, "expected a number, found a boolean"),
        (None, "expected a number, found null"),
    ],
)
def test_a_measure_that_can_not_be_read_leaves_the_count(amount: object, reason: str) -> None:
    """The part that could not be counted is rejected, and only that part."""
    found = contribution(with_fifth(), SERVED | {"amount": amount})
    cell = Cell("aggregates_location_days", ("Caldo Office", "2025-09-04"))
    assert found.deltas[cell] == {"count": 1}
    assert found.rejections == (Rejection("aggregates_location_days", "amount", reason),)


def test_sums_round_each_entry_half_to_even() -> None:
    """Whole units, so that any order of additions gives the same total."""
    whole = Sum("amount", "grams")
    assert [whole.of({"amount": amount})["grams"] for amount in (0.5, 1.5, 2, -2.5, 0.1)] == [0, 2, 2, -2, 0]


def test_totals_of_nothing_are_the_neutral_element() -> None:
    """`add` of no deltas, or of empty ones, is empty."""
    assert add([]) == {} == add([{}, {}])


def test_the_fold_of_entries_is_the_sum_of_their_deltas() -> None:
    """Two servings and a heartbeat of one ingredient."""
    totals = fold(CATALOG, [SERVED, SERVED, SERVED | {"dataAction": "Heartbeat"}])
    assert totals[Cell("aggregates_categories", "Kettle Chips")] == {"count": 3}
    assert totals[Cell("aggregates_time_hours", 18)] == {"count": 2}


def test_nested_fields_are_read_by_dotted_path() -> None:
    """A declaration may count by a field of a map."""
    assert look_up(SERVED, "device.serialNumber") == "Lib298190"
    by_device = Source("libra", (Aggregation("by_device", FieldKey("device.serialNumber")),))
    assert counted(by_device, SERVED) == {"by_device": "Lib298190"}
    assert rejected(by_device, {"device": "Lib"}) == {("device.serialNumber", "missing")}


def test_types_have_firestores_names() -> None:
    """Reasons speak of Firestore's types, not Python's."""
    values = [1.5, b"", datetime.now(UTC), GeoPoint(0, 0), {}, []]
    names = ["a number", "bytes", "a Timestamp", "a GeoPoint", "a map", "an array"]
    assert [type_name(value) for value in values] == names


@pytest.mark.parametrize(
    ("aggregation", "stored", "key"),
    [
        (CATALOG.aggregations[0], "Kettle Chips", "Kettle Chips"),
        (CATALOG.aggregations[2], 18, 18),
        (CATALOG.aggregations[0], None, None),
        (CATALOG.aggregations[0], 1.5, None),
        (LOCATION_DAYS, {"location": "A", "date": "2025-09-04"}, ("A", "2025-09-04")),
        (LOCATION_DAYS, {"location": "A"}, None),
        (LOCATION_DAYS, "A", None),
    ],
)
def test_stored_keys_are_read_back(aggregation: Aggregation, stored: object, key: Key | None) -> None:
    """The raw key that stands beside a total; None where something else stands."""
    assert aggregation.parse_stored_key(stored) == key
    assert key is None or aggregation.stored_key(key) == stored


def test_a_key_takes_its_bytes_and_no_more() -> None:
    """Of UTF-8, to the last."""
    assert FieldKey("f").of({"f": "é" * (MAX_KEY_BYTES // 2)})
    with pytest.raises(Unusable, match="expected at most 65536 bytes, found more"):
        FieldKey("f").of({"f": "é" * (MAX_KEY_BYTES // 2) + "e"})


def test_a_sum_takes_its_limit_and_no_more() -> None:
    """In units, either way."""
    grams = Sum("amount", "grams", limit=100)
    assert [grams.of({"amount": amount})["grams"] for amount in (100, -100)] == [100, -100]
    with pytest.raises(Unusable, match="expected at most 100 grams an entry, found more"):
        grams.of({"amount": 101})


def test_a_source_knows_its_aggregations_and_fields() -> None:
    """What the ledger and the recompute ask of a source."""
    assert CATALOG.aggregation("aggregates_actions").name == "aggregates_actions"
    assert CATALOG.fields == {"ingredient", "dataAction", "timestamp"}
    with pytest.raises(KeyError, match="elsewhere"):
        CATALOG.aggregation("elsewhere")


def test_a_key_of_too_few_parts_is_none() -> None:
    """It would be stored as another."""
    with pytest.raises(ValueError, match="shorter"):
        LOCATION_DAYS.stored_key(("A",))


NAMES = "`count` comes first, names differ, hold letters, digits and _, and none of "
PURPOSES = "each collection serves one purpose"
DIFFER = "it needs an aggregation, and the names of aggregations differ"


@pytest.mark.parametrize(
    ("declare", "why"),
    [
        (lambda: Aggregation("a", FieldKey("f"), measures=()), NAMES),
        (lambda: Aggregation("a", FieldKey("f"), measures=(Sum("x", "grams"), Count())), NAMES),
        (lambda: Aggregation("a", FieldKey("f"), measures=(Count(), Sum("x", "count"))), NAMES),
        (lambda: Aggregation("a", FieldKey("f"), measures=(Count(), Sum("x", "recent"))), NAMES),
        (lambda: Aggregation("a", FieldKey("f"), measures=(Count(), Sum("x", "not a name"))), NAMES),
        (lambda: Aggregation("a", (FieldKey("f"),)), "a composite key has two parts or more"),
        (lambda: Source("libra", ()), DIFFER),
        (
            lambda: Source("libra", (Aggregation("a", FieldKey("f")), Aggregation("a", FieldKey("g")))),
            DIFFER,
        ),
    ],
)
def test_a_wrong_declaration_is_refused_where_it_is_made(declare: Any, why: str) -> None:
    """What could never count exactly does not start, and says why."""
    with pytest.raises(DeclarationError, match=why):
        declare()


@pytest.mark.parametrize(
    ("aggregations", "home"),
    [
        (("libra",), Home("libra")),
        (("b/c/d",), Home("libra", state="b/c/d/state")),
        (("a", "b"), Home("libra", totals={"a": "totals", "b": "totals"})),
        (("a",), Home("libra", seen="runs", runs="runs")),
        (("a",), Home("libra", totals={"a": "aggregates_rejected"})),
    ],
)
def test_a_home_that_mixes_two_purposes_is_refused(aggregations: tuple[str, ...], home: Home) -> None:
    """By the ledger and the recompute, before anything is written."""
    source = Source("libra", tuple(Aggregation(name, FieldKey("f")) for name in aggregations))
    with pytest.raises(DeclarationError, match=PURPOSES):
        home.check(source)


def test_a_home_says_where_totals_live() -> None:
    """In a collection of the aggregation's name, or in the one that is named."""
    home = Home("scales", totals={"days": "totals/by/day"})
    cells = [Cell("days", "2025-09-04"), Cell("hours", 18)]
    assert [home.total(cell) for cell in cells] == ["totals/by/day/2025-09-04", "hours/18"]
    assert (home.marker("m"), home.run("r")) == ("aggregates_seen/m", "aggregates_runs/r")
    assert home.check(CATALOG) is None  # type: ignore[func-returns-value]  # it raises, or says nothing


def test_a_measure_may_have_capitals() -> None:
    """Any name that needs no quotes in a field path."""
    measures = (Count(), Sum("x", "milliGrams_2"))
    assert Aggregation("a", FieldKey("f"), measures=measures).measures == measures


def test_an_entry_refuses_a_naive_time() -> None:
    """A time without a zone would mean whatever zone the machine is in."""
    with pytest.raises(ValueError, match="time of x must carry a time zone"):
        Entry("x", datetime(2025, 1, 1), {})  # noqa: DTZ001 - naive on purpose


def test_document_ids_are_cached_by_value() -> None:
    """One key, one id, however often."""
    assert document_id("Mac/Cheese") is document_id("Mac/Cheese")
    assert LIBRA_HOME.total(Cell("c", "Mac/Cheese")) == "c/Mac%2FCheese"

"""What an entry is counted under: types of fields, lists of values, grains of time."""

from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from shared.aggregation import Aggregation, FieldKey, Grain, KeyPart, OneOf, TimeKey, Unusable, decode_id
from shared.aggregation.keys import MAX_INTEGER, MIN_INTEGER
from shared.errors import DeclarationError

FLOOR = FieldKey("floor", kind=int)
IS_NEW = FieldKey("is_new", kind=bool)
GRAIN_OR_OTHER = OneOf(FieldKey("ingredient"), ("Rice", "Peas"), other="other")
BERLIN, ST_JOHNS = ZoneInfo("Europe/Berlin"), ZoneInfo("America/St_Johns")


@pytest.mark.parametrize(
    ("key", "value", "reason"),
    [
        (FLOOR, True, "expected an integer, found a boolean"),
        (FLOOR, 1.0, "expected an integer, found a number"),
        (FLOOR, "1", "expected an integer, found a string"),
        (FLOOR, MAX_INTEGER + 1, "expected an integer of 64 bits, found a larger one"),
        (FLOOR, MIN_INTEGER - 1, "expected an integer of 64 bits, found a larger one"),
        (IS_NEW, 1, "expected a boolean, found an integer"),
        (IS_NEW, None, "expected a boolean, found null"),
        (GRAIN_OR_OTHER, 1, "expected a string, found an integer"),
    ],
)
def test_a_key_takes_its_own_type_only(key: KeyPart, value: object, reason: str) -> None:
    """A boolean is no integer, and a floating-point number is none."""
    with pytest.raises(Unusable, match=reason):
        key.of({key.field: value})


@pytest.mark.parametrize("value", [0, -5, MIN_INTEGER, MAX_INTEGER])
def test_integers_and_booleans_keep_their_type(value: int) -> None:
    """To the last integer that Firestore has."""
    assert FLOOR.of({"floor": value}) == value
    assert IS_NEW.of({"is_new": value > 0}) is (value > 0)


def test_a_value_that_is_not_listed_is_counted_as_other() -> None:
    """The entry is counted, under a name that was chosen for all the rest."""
    ingredients = ["Rice", "Peas", "Beans", "", "other"]
    found = [GRAIN_OR_OTHER.of({"ingredient": ingredient}) for ingredient in ingredients]
    assert found == ["Rice", "Peas", "other", "other", "other"]


UTC_ZONE = ZoneInfo("UTC")


@pytest.mark.parametrize(
    ("grain", "zone", "instant", "key"),
    [
        ("weekday", UTC_ZONE, datetime(2025, 9, 4, 18, tzinfo=UTC), 4),
        ("weekday", UTC_ZONE, datetime(2025, 9, 7, 23, 59, tzinfo=UTC), 7),
        ("weekday", BERLIN, datetime(2025, 9, 7, 23, 59, tzinfo=UTC), 1),
        ("date_hour", UTC_ZONE, datetime(2025, 9, 4, 18, 57, tzinfo=UTC), "2025-09-04T18"),
        # 2025-10-26: three becomes two again in Berlin; both hours are the clock's hour 2
        ("date_hour", BERLIN, datetime(2025, 10, 26, 0, 30, tzinfo=UTC), "2025-10-26T02"),
        ("date_hour", BERLIN, datetime(2025, 10, 26, 1, 30, tzinfo=UTC), "2025-10-26T02"),
        ("week", UTC_ZONE, datetime(2025, 9, 4, tzinfo=UTC), "2025-W36"),
        ("week", UTC_ZONE, datetime(2024, 12, 30, tzinfo=UTC), "2025-W01"),
        ("week", UTC_ZONE, datetime(2021, 1, 3, tzinfo=UTC), "2020-W53"),
        ("week", UTC_ZONE, datetime(1, 1, 1, tzinfo=UTC), "0001-W01"),
        ("week", UTC_ZONE, datetime(9999, 12, 31, tzinfo=UTC), "9999-W52"),
        ("month", UTC_ZONE, datetime(2025, 9, 4, tzinfo=UTC), "2025-09"),
        ("month", BERLIN, datetime(2025, 9, 30, 22, tzinfo=UTC), "2025-10"),
        ("year", UTC_ZONE, datetime(2025, 9, 4, tzinfo=UTC), "2025"),
        ("year", UTC_ZONE, datetime(476, 9, 4, tzinfo=UTC), "0476"),
        # 2006-10-29: at 00:01 the clock of St. John's went back to 23:01 of the day before
        ("date_hour", ST_JOHNS, datetime(2006, 10, 29, 2, 29, tzinfo=UTC), "2006-10-28T23"),
        ("date_hour", ST_JOHNS, datetime(2006, 10, 29, 2, 30, 30, tzinfo=UTC), "2006-10-29T00"),
        ("date_hour", ST_JOHNS, datetime(2006, 10, 29, 2, 31, tzinfo=UTC), "2006-10-28T23"),
    ],
)
def test_a_grain_is_what_the_clock_and_the_calendar_show(
    grain: Grain, zone: ZoneInfo, instant: datetime, key: object
) -> None:
    """In the zone; ISO weeks belong to the year that holds their Thursday."""
    assert TimeKey("at", grain, zone).of({"at": instant}) == key


@pytest.mark.parametrize(
    ("grain", "text", "why"),
    [
        ("hour", "24", "is not an hour from 0 to 23"),
        ("weekday", "0", "is not a day of the week from 1"),
        ("weekday", "8", "is not a day of the week from 1"),
        ("date", "2025-02-30", "day is out of range"),
        ("date", "20250204", "is not a date such as"),
        ("date_hour", "2025-09-04T24", "is not an hour of a date"),
        ("date_hour", "2025-09-31T10", "day is out of range"),
        ("week", "2025-W53", "Invalid week"),
        ("week", "2025-W00", "Invalid week"),
        ("week", "2025-36", "is not a week such as"),
        ("month", "2025-13", "month must be in"),
        ("month", "2025-9", "is not a month such as"),
        ("year", "0000", "year 0 is out of range"),
        ("year", "25", "is not a year such as"),
    ],
)
def test_what_no_clock_and_no_calendar_shows_is_no_key(grain: Grain, text: str, why: str) -> None:
    """A document with such an id is no total."""
    with pytest.raises(ValueError, match=why):
        TimeKey("at", grain, UTC_ZONE).parse(text)


@pytest.mark.parametrize(
    ("key", "text"),
    [
        *(
            (FLOOR, text)
            for text in ["", "-0", "07", "+7", "1.0", " 1", "٣", "9223372036854775808", "9" * 5_000]
        ),
        *((IS_NEW, text) for text in ["", "True", "1", "yes"]),
        *((GRAIN_OR_OTHER, text) for text in ["", "Beans", "rice"]),
    ],
)
def test_a_text_that_is_no_value_is_not_read_as_one(key: KeyPart, text: str) -> None:
    """One spelling for each value, and no value that cannot be."""
    with pytest.raises(ValueError, match="is n"):
        key.parse(text)


@pytest.mark.parametrize(
    ("key", "stored", "is_one"),
    [
        (FLOOR, 7, True),
        (FLOOR, True, False),
        (FLOOR, "7", False),
        (IS_NEW, True, True),
        (IS_NEW, 1, False),
        (GRAIN_OR_OTHER, "Rice", True),
        (GRAIN_OR_OTHER, "Beans", False),
        (TimeKey("at", "weekday", UTC_ZONE), 7, True),
        (TimeKey("at", "weekday", UTC_ZONE), 8, False),
        (TimeKey("at", "year", UTC_ZONE), 2025, False),
    ],
)
def test_a_stored_key_is_read_back_with_its_type(key: KeyPart, stored: Any, is_one: bool) -> None:
    """A number in place of a boolean is something else's."""
    found = Aggregation("a", key).parse_stored_key(stored)
    assert (found is not None) == is_one == key.holds(stored)
    assert not is_one or (type(found), found) == (type(stored), stored)


def test_two_parts_of_one_time_are_a_key() -> None:
    """Hours of each day of the week: 168 totals."""
    both = Aggregation("a", (TimeKey("at", "weekday", BERLIN), TimeKey("at", "hour", BERLIN)))
    key = both.key_of({"at": datetime(2025, 9, 4, 18, tzinfo=UTC)})
    assert key == (4, 20)
    assert both.stored_key(key) == {"weekday": 4, "hour": 20}
    assert decode_id("4|20", both.parts) == key


def test_the_same_grain_twice_needs_another_name() -> None:
    """Otherwise one of them would be missing in the stored key."""
    begun, ended = TimeKey("begun", "date", BERLIN), TimeKey("ended", "date", BERLIN, called="ended")
    assert Aggregation("a", (begun, ended)).stored_key(("2025-09-04", "2025-09-05")) == {
        "date": "2025-09-04",
        "ended": "2025-09-05",
    }
    with pytest.raises(DeclarationError, match=r"a: parts \['date', 'date'\] of its key: their names differ"):
        Aggregation("a", (begun, TimeKey("ended", "date", BERLIN)))


NAMES = FieldKey("name")


@pytest.mark.parametrize(
    ("declare", "why"),
    [
        (lambda: FieldKey("f", kind=float), "expected str, int or bool"),  # type: ignore[arg-type]
        (lambda: FieldKey("f", kind=int, allow_empty=False), "allow_empty=False for str alone"),
        (lambda: TimeKey("at", "minute", UTC_ZONE), "grain is 'minute': expected one of"),  # type: ignore[arg-type]
        (lambda: OneOf(NAMES, (), "other"), "expected one value or more, all different"),
        (lambda: OneOf(NAMES, ("a", "a"), "other"), "expected one value or more, all different"),
        (lambda: OneOf(NAMES, ("a", "other"), "other"), "expected one value or more, all different"),
        (lambda: OneOf(NAMES, ("a",), 1), "each of them str"),
        (lambda: OneOf(FLOOR, (1, True), -1), "each of them int"),
        (lambda: OneOf(FLOOR, (1,), MAX_INTEGER + 1), "a key by floor: expected an integer of 64 bits"),
        (lambda: OneOf(FieldKey("f", allow_empty=False), ("",), "x"), "a key by f: expected a non-empty"),
    ],
)
def test_a_key_that_could_not_count_is_refused(declare: Any, why: str) -> None:
    """Where it is declared, with what was found and what is allowed."""
    with pytest.raises(DeclarationError, match=why):
        declare()

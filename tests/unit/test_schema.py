"""What a schema admits, and what it says of an event that it refuses.

Over 300 lines because most of them are tables of events, one for each kind of field.
"""

import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from shared.aggregation import document_id
from shared.catalog import sources
from shared.errors import DeclarationError
from shared.events import (
    Admitted,
    Boolean,
    Field,
    Integer,
    Kind,
    Map,
    Number,
    Schema,
    Text,
    Timestamp,
    Violation,
)
from shared.events.schema import MAX_EVENT_ID_BYTES, MOST_UNKNOWN
from shared.schemas import SCHEMAS, self_written
from shared.settings import Settings

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
DAY, HOUR = timedelta(days=1), timedelta(hours=1)
TIME = Timestamp(DAY, HOUR)
BIG = 10**4_000
RFC_3339 = "an RFC 3339 time such as 2025-09-04T18:30:00Z"
SPAN = "a time from 24 hours before now to 60 minutes after it"
NEVER = "a date or a time that there is not"
NO_ARRAYS = "arrays of anything else: Firestore stores no array in one"
NAMES = ("a field name that is not", "field names of 1 to 1500 bytes that do not begin and end with __")

SCHEMA = Schema(
    id="id",
    fields=(
        Field("id", Text(MAX_EVENT_ID_BYTES)),
        Field("at", TIME),
        Field("kind", Text(values=("a", "b"))),
        Field("n", Integer(0, 9), required=False),
        Field("x", Number(-1.5, 1.5), required=False),
        Field("new", Boolean(), required=False),
        Field("more", Map(100, depth=3), required=False),
    ),
)
EVENT: dict[str, object] = {"id": "e", "at": NOW.isoformat(), "kind": "a"}


def test_each_source_that_libra_writes_itself_has_a_schema_and_no_other_has() -> None:
    """The catalog and the schemas are two modules: the functions have only the first."""
    assert list(SCHEMAS) == [name for name, books in sources(Settings()).items() if books.home.self_written]
    for name, (source, home) in self_written(Settings()).items():
        counted = sources(Settings())[name]
        assert (source.aggregations, home) == (counted.source.aggregations, counted.home)
        assert source.top_fields <= {field.name for field in SCHEMAS[name].fields}


def admitted(event: object, schema: Schema = SCHEMA) -> Admitted:
    """An event that is admitted."""
    found = schema.admit(event, NOW)
    assert isinstance(found, Admitted), found
    return found


def refused(event: object, schema: Schema = SCHEMA) -> list[Violation]:
    """What is wrong with an event."""
    found = schema.admit(event, NOW)
    assert isinstance(found, list), found
    return found


@pytest.mark.parametrize(
    ("kind", "given", "stored"),
    [
        (Text(4), "é—"[:1] * 2, "éé"),
        (Integer(), -(2**63), -(2**63)),
        (Number(0, 1), 1, 1),
        (Number(0, 1), 0.5, 0.5),
        (Boolean(), False, False),
        (TIME, "2026-01-01T12:00:00Z", NOW),
        (TIME, "2026-01-01t11:00:00z", NOW - HOUR),
        (TIME, "2026-01-01 13:00:00.000001+01:00", NOW + timedelta(microseconds=1)),
        (TIME, "2026-01-01T12:00:00.1234567Z", NOW + timedelta(microseconds=123_456)),
        (TIME, "2026-01-01T12:00:00-00:00", NOW),
        (TIME, NOW.astimezone(timezone(HOUR)), NOW),
        (TIME, NOW + HOUR, NOW + HOUR),
        (TIME, NOW - DAY, NOW - DAY),
        (Map(), {}, {}),
        (Map(), {"a": [1, {"b": [None, True, 1.5, "x"]}]}, {"a": [1, {"b": [None, True, 1.5, "x"]}]}),
        (Map(depth=2), {"a": {"b": 1}}, {"a": {"b": 1}}),
        (Map(most=1 + 2 + 4), {"a": "xyz"}, {"a": "xyz"}),
    ],
)
def test_what_is_of_its_kind_is_admitted(kind: Kind, given: object, stored: object) -> None:
    """To the last byte, the last microsecond and the last level."""
    assert admitted({"f": given}, Schema((Field("f", kind),))).fields == {"f": stored}


@pytest.mark.parametrize(
    ("kind", "given", "found", "allowed"),
    [
        (Text(4), 7, "an integer", "a string of 1 to 4 bytes"),
        (Text(4), "", "an empty string", "a string of 1 to 4 bytes"),
        (Text(4), "ééé", "6 bytes", "a string of 1 to 4 bytes"),
        (Text(4), "\ud800", "a string that is not valid Unicode", "a string of 1 to 4 bytes"),
        (Text(4), b"x", "bytes", "a string of 1 to 4 bytes"),
        (Text(values=("a", "b")), "c", "another string", "one of a, b"),
        (Integer(0, 9), 10, "one beyond that", "an integer from 0 to 9"),
        (Integer(0, 9), BIG, "one beyond that", "an integer from 0 to 9"),
        (Integer(0, 9), True, "a boolean", "an integer from 0 to 9"),
        (Integer(0, 9), 1.0, "a number", "an integer from 0 to 9"),
        (Integer(0, 9), "1", "a string", "an integer from 0 to 9"),
        (Number(0, 1), float("nan"), "NaN or an infinity", "a number from 0 to 1"),
        (Number(0, 1), float("-inf"), "NaN or an infinity", "a number from 0 to 1"),
        (Number(0, 1), 1.01, "one beyond that", "a number from 0 to 1"),
        (Number(0, 1), BIG, "one beyond that", "a number from 0 to 1"),
        (Number(0, 1), True, "a boolean", "a number from 0 to 1"),
        (Boolean(), 0, "an integer", "true or false"),
        (TIME, 1_767_268_800, "an integer", RFC_3339),
        (TIME, "2026-01-01", "a string that is none", RFC_3339),
        (TIME, "2026-01-01T12:00:00", "a string that is none", RFC_3339),
        (TIME, "2026-W01-4T12:00:00Z", "a string that is none", RFC_3339),
        (TIME, "2026-02-30T12:00:00Z", NEVER, RFC_3339),
        (TIME, "2025-12-31T23:59:60Z", NEVER, RFC_3339),
        (TIME, "0001-01-01T00:00:00+23:59", "one outside years 1 to 9999", RFC_3339),
        (TIME, NOW.replace(tzinfo=None), "one without an offset", RFC_3339),
        (TIME, NOW + HOUR + timedelta(seconds=1), "one 60 minutes after now", SPAN),
        (
            Timestamp(DAY, timedelta(seconds=5)),
            NOW + timedelta(seconds=9),
            "one 9 seconds after now",
            "a time from 24 hours before now to 5 seconds after it",
        ),
        (TIME, NOW - 3 * DAY, "one 3 days before now", SPAN),
        (Map(), [1], "an array", "a map"),
        (Map(), {"a": [[1]]}, "an array in an array", NO_ARRAYS),
        (Map(depth=2), {"a": {"b": {}}}, "more", "at most 2 maps and arrays within each other"),
        (Map(depth=2), {"a": [{}]}, "more", "at most 2 maps and arrays within each other"),
        (Map(most=6), {"a": "xyz"}, "more", "at most 6 bytes"),
        (Map(), {"a": float("inf")}, "NaN or an infinity", "finite numbers"),
        (Map(), {"a": 2**63}, "a larger integer", "integers of 64 bits"),
        (Map(), {"a": "\udfff"}, "a string that is not valid Unicode", "valid Unicode"),
        (Map(), {"a": NOW}, "a Timestamp", "what JSON can hold"),
        (Map(), {"": 1}, *NAMES),
        (Map(), {"__a__": 1}, *NAMES),
        (Map(), {"\ud800": 1}, *NAMES),
        (Map(), {1: 1}, *NAMES),
    ],
)  # fmt: skip
def test_what_is_not_is_refused_with_what_was_found(
    kind: Kind, given: object, found: str, allowed: str
) -> None:
    """By its type or its size, never by its value."""
    assert refused({"f": given}, Schema((Field("f", kind),))) == [Violation("f", found, allowed)]


def test_every_violation_of_an_event_is_told_at_once() -> None:
    """So that its sender mends it once. Fields that nobody declared are named."""
    found = refused({"id": None, "kind": "c", "n": 10, "more": 1, "a\nb": 1, 7: 1, "new": None})
    assert [(each.field, each.found) for each in found] == [
        ("a\\nb", "a field that is not declared"),
        ("7", "a field that is not declared"),
        ("id", "null"),
        ("at", "nothing"),
        ("kind", "another string"),
        ("n", "one beyond that"),
        ("more", "an integer"),
    ]
    assert found[0].allowed == "id, at, kind, n, x, new, more"
    assert str(found[3]) == "at: expected a value, found nothing"


@pytest.mark.parametrize(("event", "found"), [([], "an array"), (None, "null"), ("{}", "a string")])
def test_what_is_no_object_is_refused_as_a_whole(event: object, found: str) -> None:
    """There is no field to name."""
    (violation,) = refused(event)
    assert str(violation) == f"the event: expected an object of fields, found {found}"


def test_null_is_no_value() -> None:
    """A field that need not be there may be null: the entry does not hold it."""
    assert "n" not in admitted(EVENT | {"n": None}).fields


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(categories=None), max_size=9),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9), inner, max_size=4),
)


@given(json_values | st.dictionaries(st.sampled_from([*EVENT, "n", "x", "new", "more"]), json_values))
@example({"id": "\ud800"})
@example({"more": {"a": {"b": {"c": {}}}}})
def test_no_event_makes_a_schema_fail(event: object) -> None:
    """Whatever JSON can spell, and more: a verdict. It can be sent and logged in a line."""
    found = SCHEMA.admit(event, NOW)
    if isinstance(found, list):
        assert found
        assert all(str(each).isprintable() for each in found)
        str(found).encode()


@given(st.text(min_size=1, max_size=MAX_EVENT_ID_BYTES // 4) | st.text("%/._-aé", min_size=1, max_size=6))
@example("/" * MAX_EVENT_ID_BYTES)
@example("a" * MAX_EVENT_ID_BYTES)
@example("..")
@example("__x__")
@example("order-7\n")
@example("Mac/Cheese")
@example("Mac%2FCheese")
def test_any_id_becomes_a_document_id(event_id: str) -> None:
    """Within Firestore's bound, without a slash; two ids never share one."""
    found = admitted(EVENT | {"id": event_id})
    assert found.id == event_id
    assert found.document_id[9:] == document_id(event_id)
    assert "/" not in found.document_id
    assert len(found.document_id.encode()) <= 1_500
    assert (
        found.document_id != admitted(EVENT | {"id": event_id[:-1] + "\x01"}).document_id
        or event_id[-1] == "\x01"
    )


def test_ids_that_follow_one_another_are_spread() -> None:
    """Sequential ids would all be written to the same part of Firestore's index."""
    starts = [admitted(EVENT | {"id": f"{number:08}"}).document_id[0] for number in range(1_000)]
    assert max(starts.count(digit) for digit in set(starts)) < 100
    assert len(set(starts)) == 16


def test_an_event_without_an_id_is_named_by_all_that_it_says() -> None:
    """However its fields are ordered and its time is spelled. 1, 1.0 and true are three values."""
    schema = Schema((Field("at", TIME), Field("x", Number(0, 9)), Field("more", Map(), required=False)))
    one = {"at": "2026-01-01T12:00:00Z", "x": 1, "more": {"a": 1, "b": 2}}
    same = {"more": {"b": 2, "a": 1}, "x": 1, "at": "2026-01-01T13:00:00+01:00"}
    assert admitted(one, schema).id == admitted(same, schema).id
    others: list[dict[str, Any]] = [{"x": 1.0}, {"x": 2}, {"more": {"a": True, "b": 2}}, {"more": None}]
    assert len({admitted(one | other, schema).id for other in ({}, *others)}) == 5


def test_an_entry_says_the_same_or_it_differs() -> None:
    """In value and type."""
    found = admitted(EVENT | {"x": 1, "more": {"a": [1, None]}})
    assert found.same_as({"more": {"a": [1, None]}, "x": 1, "kind": "a", "at": NOW, "id": "e"})
    others: list[dict[str, object]] = [
        {"x": 1.0},
        {"x": True},
        {"at": NOW + HOUR},
        {"more": {"a": [1]}},
        {"added": 1},
        {"id": b"e"},
    ]
    for changed in others:
        assert not found.same_as({**found.fields, **changed})


def test_the_size_is_that_of_the_document() -> None:
    """As Firestore counts it: names, strings and a byte each, eight for a number."""
    assert admitted(EVENT | {"n": 1}).size == (3 + 2) + (3 + 8) + (5 + 2) + (2 + 8)


@pytest.mark.parametrize(
    ("declare", "says"),
    [
        (lambda: Text(0), "Text(most=0): expected a number from 1 to 1500"),
        (lambda: Text(1_501), "expected a number from 1 to 1500"),
        (lambda: Text(2, values=("abc",)), "expected values of 1 to 2 bytes"),
        (lambda: Integer(1, 0), "expected bounds of 64 bits, ascending"),
        (lambda: Number(0, float("inf")), "expected bounds within 2^53, ascending"),
        (lambda: Map(depth=20), "a depth from 1 to 19"),
        (lambda: Schema(()), "it needs fields"),
        (lambda: Schema((Field("a", Text()), Field("a", Text()))), "their names differ"),
        (lambda: Schema((Field("__a__", Text()),)), "allowed in Firestore"),
        (lambda: Schema((Field("a", Map(most=600_000)),)), "expected 524288 at most"),
        (lambda: Schema((Field("a", Text()),), id="b"), "expected the name of a required field"),
        (lambda: Schema((Field("a", Text(), required=False),), id="a"), "a required field"),
        (lambda: Schema((Field("a", Text(481)),), id="a"), "with 480 bytes at most"),
        (lambda: Schema((Field("a", Integer()),), id="a"), "of the kind Text"),
    ],
)  # fmt: skip
def test_a_schema_that_cannot_be_is_refused(declare: Any, says: str) -> None:
    """At the start of the process, by name."""
    with pytest.raises(DeclarationError) as refusal:
        declare()
    assert says in str(refusal.value)


def test_a_naive_now_is_refused() -> None:
    """It would mean whatever zone the machine is in."""
    with pytest.raises(ValueError, match="now must carry a time zone"):
        SCHEMA.admit(EVENT, datetime(2026, 1, 1))  # noqa: DTZ001 - that is the point


def test_what_json_spells_is_read() -> None:
    """As a collector has it: text, parsed."""
    line = (
        '{"id": "a/1", "at": "2026-01-01T12:00:00Z", "kind": "b", "x": -1.5, "new": true, "more": {"k": []}}'
    )
    assert admitted(json.loads(line)).fields == {
        "id": "a/1", "at": NOW, "kind": "b", "x": -1.5, "new": True, "more": {"k": []}
    }  # fmt: skip


def test_a_refusal_stays_small() -> None:
    """Each field that nobody declared repeats what is declared: a small event made an answer of megabytes."""
    found = refused(EVENT | {f"field{number}": 1 for number in range(10_000)})
    assert len(found) == MOST_UNKNOWN + 1
    assert found[-1].found == f"{10_000 - MOST_UNKNOWN} more fields that are not declared"

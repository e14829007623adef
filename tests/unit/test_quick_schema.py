"""The quick check: the same as the schema's, for every event."""

import json
import math
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic_core import to_json

from shared.events import (
    Admitted,
    Boolean,
    Field,
    Integer,
    Kind,
    Map,
    Number,
    QuickSchema,
    Schema,
    Text,
    Timestamp,
)
from shared.schemas import SCHEMAS as CATALOG

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
DAY, HOUR, MICROSECOND = timedelta(days=1), timedelta(hours=1), timedelta(microseconds=1)
KINDS = Schema(
    id="id",
    fields=(
        Field("id", Text(9)),
        Field("at", Timestamp(DAY, HOUR)),
        Field("kind", Text(9, ("a", "b"))),
        Field("n", Integer(-1, 2**63 - 1), required=False),
        Field("x", Number(-1.5, 2**53), required=False),
        Field("new", Boolean(), required=False),
        Field("more", Map(60, depth=2), required=False),
    ),
)
SCHEMAS = [*CATALOG.values(), KINDS]
ORDINARY: dict[type[Kind], object] = {
    Text: "a",
    Timestamp: "2026-01-01T12:00:00.5Z",
    Integer: 1,
    Number: 0.5,
    Boolean: False,
    Map: {"a": [1]},
}

HOSTILE: list[object] = [
    *("", "a", "c", "a\0", "é", "\ud800", "1", "null"),
    *(None, True, False, [], [[]], {}, {"": 1}, {"a": float("nan")}, {"a": {"b": {"c": 1}}}, {"a": "x" * 60}),
    *(0, -0.0, 1.0, 1, -1, 2**53, 2.0**53, 2**53 + 1, 2**63 - 1, 2**63, -(2**63) - 1, 10**400),
    *(math.nan, math.inf, -math.inf, 5e-324, 1e-7, 1e16, 1e400),
    *("2026-01-01", "2026-01-01T12Z", "2026-01-01T12:00Z", "20260101T120000Z", "1767268800"),
    *("2026-W01-4T12:00:00Z", "2026-02-30T12:00:00Z", "2026-01-01T24:00:00Z", "2026-01-01T12:00:60Z"),
    *("0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z", "2026-01-01T12:00:00Z\n", " 2026-01-01T12:00:00Z"),
    "\uff12\uff10\uff12\uff16-01-01T12:00:00Z",  # digits to Python, none to RFC 3339
    *(NOW, NOW.replace(tzinfo=None), datetime.min.replace(tzinfo=UTC)),
]
SPELLINGS = list(
    product(
        "Tt _",
        ["", ".", ".5", ",5", ".123456", ".1234567", ".123456789", ".1234567890"],
        ["Z", "z", "", "+00:00", "-00:00", "+02:00", "+23:59", "+24:00", "+0000", "+00:00:00", "+00"],
    )
)


def hostile(kind: Kind) -> Iterator[object]:
    """What may stand in a field of this kind: what stands nowhere, and what is at its bounds."""
    yield from HOSTILE
    match kind:
        case Text(most):
            yield from ("x" * most, "x" * (most + 1), "é" * (most // 2), "é" * (most // 2 + 1), "é" * most)
        case Integer(low, high) | Number(low, high):
            yield from (low - 1, low, low + 1, high - 1, high, high + 1, float(low), float(high))
            yield from (math.nextafter(low, -math.inf), math.nextafter(high, math.inf))
        case Timestamp(past, future):
            edges = [NOW - past, NOW - past - MICROSECOND, NOW + future, NOW + future + MICROSECOND]
            yield from (edge.isoformat() for edge in edges)
            yield from (f"2026-01-01{sep}12:00:00{rest}{offset}" for sep, rest, offset in SPELLINGS)


def ordinary(schema: Schema) -> dict[str, object]:
    """An event that the quick check takes."""
    return {field.name: ORDINARY[type(field.kind)] for field in schema.fields}


def check(schema: Schema, event: object) -> None:
    """The entry that an event becomes, to the type and the order of its fields, or each of its violations."""
    quick = QuickSchema(schema.fields, schema.id).admit(event, NOW)
    assert repr(quick) == repr(Schema(schema.fields, schema.id).admit(event, NOW)), event


@pytest.mark.parametrize("schema", SCHEMAS, ids=["user_events", "signals", "kinds"])
def test_it_says_what_the_schema_says_of_each_value_in_each_field(schema: Schema) -> None:
    """Beside fields that are right, so that nothing else decides."""
    for field in schema.fields:
        for value in hostile(field.kind):
            check(schema, ordinary(schema) | {field.name: value})
        event = ordinary(schema)
        del event[field.name]
        check(schema, event)


texts = st.text(st.characters(), max_size=12)
plain = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), texts)
json_values = st.recursive(
    plain, lambda some: st.lists(some, max_size=3) | st.dictionaries(texts, some, max_size=3)
)


@st.composite
def events(draw: st.DrawFn, schema: Schema) -> dict[str, object]:
    """Events of which most fields are right, some are not, some are missing, and some are not declared."""
    event = ordinary(schema)
    for field in draw(st.lists(st.sampled_from(schema.fields), max_size=3)):
        event[field.name] = draw(json_values | st.sampled_from(list(hostile(field.kind))))
    for name in draw(st.lists(st.sampled_from([*event, "Id", "", "\ud800"]), max_size=2)):
        if event.pop(name, None) is None:
            event[name] = draw(plain)
    return event


@pytest.mark.parametrize("schema", SCHEMAS, ids=["user_events", "signals", "kinds"])
@given(data=st.data())
@settings(max_examples=200)
def test_it_says_what_the_schema_says_of_each_event(schema: Schema, data: st.DataObject) -> None:
    """Whatever several fields hold at once. And what is published reads as what was sent."""
    event = data.draw(events(schema))
    check(schema, event)
    if isinstance(schema.admit(event, NOW), Admitted) and "datetime" not in repr(event):
        assert repr(json.loads(to_json(event))) == repr(event)


class Named(dict[str, object]):
    """A mapping that JSON does not make."""


@pytest.mark.parametrize("event", [None, 7, "e", [], {}, Named(ordinary(KINDS)), [ordinary(KINDS)], {1: 2}])
def test_it_says_what_the_schema_says_of_what_is_no_event(event: object) -> None:
    """What JSON holds beside objects, and mappings of other kinds."""
    check(KINDS, event)


@pytest.mark.parametrize("schema", SCHEMAS, ids=["user_events", "signals", "kinds"])
def test_an_ordinary_event_does_not_ask_the_schema(schema: Schema, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the quick check would cost more than it saves, and every other test would still pass."""
    monkeypatch.setattr(Schema, "admit", lambda *_: [])
    quick = QuickSchema(schema.fields, schema.id)
    assert isinstance(quick.admit(ordinary(schema), NOW), Admitted)
    assert quick.admit({}, NOW) == []

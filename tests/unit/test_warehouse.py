"""Tables, rows and views of the warehouse: what the declarations become, and what is refused."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from shared.aggregation import Aggregation, FieldKey, TimeKey
from shared.errors import DeclarationError
from shared.events import Boolean, EventSource, Field, Integer, Map, Number, Schema, Text, Timestamp
from shared.schemas import self_written
from shared.settings import Settings
from shared.warehouse import Message, Row, encoded, row_of, tables

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
YEAR = timedelta(days=366)
SOURCES = {name: books.source for name, books in self_written(Settings()).items()}
SCHEMA = Schema(
    (
        Field("name", Text()),
        Field("floor", Integer(), required=False),
        Field("amount", Number(-1e6, 1e6), required=False),
        Field("open", Boolean(), required=False),
        Field("at", Timestamp(YEAR, YEAR)),
        Field("about", Map(), required=False),
    )
)


def source(*aggregations: Aggregation, schema: Schema = SCHEMA) -> EventSource:
    return EventSource("things", aggregations or (Aggregation("names", FieldKey("name")),), schema)


def message(event: object, identity: str = "m1", **attributes: str) -> Message:
    data = event if isinstance(event, bytes) else json.dumps(event).encode()
    return Message(identity, data, attributes, NOW)


def event(**fields: object) -> dict[str, object]:
    base = {"event_id": "e1", "user_id": "ann", "event_type": "view", "timestamp": "2026-11-25T11:00:00Z"}
    return {name: value for name, value in (base | fields).items() if value is not None}


def test_each_kind_has_its_column() -> None:
    """`REQUIRED` exactly where the schema requires it, and a map is JSON."""
    table = tables({"things": source()})[0]
    assert [(it["name"], it["type"], it["mode"]) for it in table.columns] == [
        ("name", "STRING", "REQUIRED"),
        ("floor", "INTEGER", "NULLABLE"),
        ("amount", "FLOAT", "NULLABLE"),
        ("open", "BOOLEAN", "NULLABLE"),
        ("at", "TIMESTAMP", "REQUIRED"),
        ("about", "JSON", "NULLABLE"),
        ("libra_id", "STRING", "REQUIRED"),
        ("libra_accepted", "TIMESTAMP", "REQUIRED"),
        ("libra_message", "STRING", "REQUIRED"),
        ("libra_digest", "STRING", "REQUIRED"),
    ]


@pytest.mark.parametrize(
    ("name", "partition", "cluster"),
    [
        ("user_events_rows", "timestamp", ("event_type", "user_id")),
        ("signals_rows", "timestamp", ("signal_type", "flag_type", "source_platform")),
        ("dead_letters_rows", "libra_accepted", ("source",)),
        ("bounded_values", None, ()),
    ],
)
def test_a_table_is_partitioned_by_event_time_and_clustered_by_keys(
    name: str, partition: str | None, cluster: tuple[str, ...]
) -> None:
    """What totals are asked by."""
    (table,) = (it for it in tables(SOURCES) if it.name == name)
    assert (table.partition, table.cluster) == (partition, cluster)


def test_without_an_event_time_a_table_is_partitioned_by_its_acceptance() -> None:
    """A key by the field of another kind gives none either."""
    assert tables({"things": source()})[0].partition == "libra_accepted"


@pytest.mark.parametrize(
    ("past", "future", "partition"),
    [
        (YEAR, YEAR - timedelta(days=2), "at"),
        (timedelta(days=10 * 365), timedelta(0), "libra_accepted"),
        (YEAR, timedelta(days=366), "libra_accepted"),
    ],
)
def test_a_table_is_partitioned_by_what_bigquery_takes_for_every_event(
    past: timedelta, future: timedelta, partition: str
) -> None:
    """BigQuery refuses a streamed row whose partition is ten years back, or a year ahead."""
    schema = Schema((Field("name", Text()), Field("at", Timestamp(past, future))))
    by_date = Aggregation("dates", TimeKey("at", "date", ZoneInfo("UTC")))
    assert tables({"things": source(by_date, schema=schema)})[0].partition == partition


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (("libra_x",), "'libra_x' is no column"),
        (("_PARTITIONTIME",), "'_PARTITIONTIME' is no column"),
        (("a.b",), "'a.b' is no column"),
        (("1a",), "'1a' is no column"),
        (("page", "Page"), "'page' and 'Page' would be one column"),
    ],
)
def test_a_field_that_can_be_no_column_is_refused(names: tuple[str, ...], said: str) -> None:
    """By its name, before anything is deployed."""
    schema = Schema(tuple(Field(name, Text()) for name in names))
    with pytest.raises(DeclarationError, match=said):
        tables({"things": source(schema=schema)})


def test_an_event_becomes_the_same_row_at_each_delivery() -> None:
    """Of another message too, but for what names the message."""
    row = row_of(SOURCES["user_events"], message(event(value=1.5)))
    again = row_of(SOURCES["user_events"], replace(message(event(value=1.5)), id="m2"))
    assert row.table == "user_events_rows"
    assert row.name == again.name
    assert dict(again.columns) == {**row.columns, "libra_message": "m2"}
    assert row.columns["timestamp"] == datetime(2026, 11, 25, 11, tzinfo=UTC)
    assert row.columns["libra_accepted"] == NOW
    assert row.columns["libra_id"] == "e1"


@pytest.mark.parametrize(
    "other", [event(value=1), event(value=1.0, page="a"), event(value=1.0, user_id="bob")], ids=str
)
def test_another_event_of_the_same_id_has_another_name(other: dict[str, object]) -> None:
    """1 and 1.0 differ, as they do in Firestore."""
    one = row_of(SOURCES["user_events"], message(event(value=1.0)))
    assert row_of(SOURCES["user_events"], message(other)).name != one.name


def test_a_map_is_one_text_whatever_the_order_of_its_fields() -> None:
    """Two deliveries of an event without an id are one."""
    base = {"user_id": "ann", "timestamp": "2026-11-25T11:00:00Z", "signal_type": "x"}
    one = row_of(SOURCES["signals"], message(base | {"event_details": {"b": "é", "a": [1.0, None]}}))
    two = row_of(SOURCES["signals"], message(base | {"event_details": {"a": [1.0, None], "b": "é"}}))
    assert one.columns["event_details"] == '{"a":[1.0,null],"b":"é"}'
    assert one == two


def test_times_are_judged_as_of_the_acceptance() -> None:
    """A replayed message keeps the moment of its first one."""
    old = event(timestamp="2025-11-26T11:00:00Z")
    late = replace(message(old), published=NOW + timedelta(days=30))
    assert row_of(SOURCES["user_events"], late).table == "dead_letters_rows"
    replayed = replace(late, attributes={"accepted": NOW.isoformat()})
    row = row_of(SOURCES["user_events"], replayed)
    assert (row.table, row.columns["libra_accepted"]) == ("user_events_rows", NOW)


@pytest.mark.parametrize(
    ("data", "reasons"),
    [
        (b"\xff", [("", "expected a JSON object in UTF-8, found bytes that are not UTF-8")]),
        (b"[1]", [("", "expected an object of fields, found an array")]),
        (b'{"event_id": NaN}', [("", "expected a JSON object in UTF-8, found text that is not JSON")]),
    ],
)
def test_what_is_no_event_becomes_a_dead_letter(data: bytes, reasons: list[tuple[str, str]]) -> None:
    """With its reasons, its bytes, and how many there were."""
    row = row_of(SOURCES["user_events"], message(data))
    assert (row.table, row.name) == ("dead_letters_rows", "m1")
    assert row.columns["reasons"] == [{"field": field, "reason": reason} for field, reason in reasons]
    assert (row.columns["content"], row.columns["content_bytes"]) == (data, len(data))
    assert (row.columns["source"], row.columns["libra_message"]) == ("user_events", "m1")


def test_an_event_that_an_aggregation_cannot_count_is_a_dead_letter() -> None:
    """As the worker rejects it: the schema alone would let it pass."""
    odd = source(Aggregation("floors", FieldKey("floor", kind=int)))
    row = row_of(odd, message({"name": "a", "at": NOW.isoformat()}))
    assert row.table == "dead_letters_rows"
    assert row.columns["reasons"] == [
        {
            "field": "floor",
            "reason": "expected a value that floors counts, found one that it cannot (missing)",
        }
    ]


def test_a_dead_letter_is_bounded() -> None:
    """A message of 10 MB fits a row, and a hundred reasons are enough."""
    row = row_of(SOURCES["user_events"], message(b"\xff" * 1_000_001))
    assert (len(bytes(row.columns["content"])), row.columns["content_bytes"]) == (1_000_000, 1_000_001)  # type: ignore[call-overload]


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (2**62 + 1, str(2**62 + 1)),
        (True, True),
        (0.1, 0.1),
        (None, None),
        ("é", "é"),
        (b"\xff", "/w=="),
        (NOW, "2026-11-25T12:00:00.000000+00:00"),
    ],
)
def test_a_value_keeps_what_it_says(value: object, told: object) -> None:
    """JSON's numbers are not enough for integers of 64 bits."""
    assert encoded(Row("t", "n", {"x": value})) == {"x": told}

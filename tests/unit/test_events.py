"""CloudEvents of the trigger, in protobuf and in JSON, become entries or a typed error."""

from datetime import UTC, datetime
from typing import Any

import pytest
from cloudevents.http import CloudEvent
from google.events.cloud.firestore import DocumentEventData

from events import CREATED, DELETED, UPDATED, decode_entry
from shared.aggregation import Entry, Version, contribution
from shared.catalog import LIBRA_HOME, libra
from shared.errors import MalformedEventError
from shared.settings import Settings
from shared.store.values import encode_fields, raw, set_instant

SOURCE = libra(Settings())
NAME = "projects/demo-libra/databases/(default)/documents/libra/entry-1"
COMMITTED = datetime(2025, 9, 4, 18, 57, 30, 123_456, tzinfo=UTC)
FIELDS = {
    "ingredient": "Kettle Chips",
    "dataAction": "Served",
    "amount": 12.5,
    "timestamp": datetime(2025, 9, 4, 18, 57, 29, tzinfo=UTC),
    "device": {"model": "LibraV0", "serialNumber": "Lib298190"},
}
READ = {name: FIELDS[name] for name in ("ingredient", "dataAction", "timestamp")}


def protobuf(fields: dict[str, Any] = FIELDS, name: str = NAME) -> bytes:
    """The body that the platform sends."""
    data = raw(DocumentEventData)()
    data.value.name = name
    encode_fields(data.value.fields, fields)
    set_instant(data.value.create_time, COMMITTED)
    body: bytes = data.SerializeToString()
    return body


JSON = {
    "value": {
        "name": NAME,
        "createTime": "2025-09-04T18:57:30.123456Z",
        "fields": {
            "ingredient": {"stringValue": "Kettle Chips"},
            "dataAction": {"stringValue": "Served"},
            "timestamp": {"timestampValue": "2025-09-04T18:57:29Z"},
        },
        "somethingNewer": 1,
    },
    "updateMask": {},
}


def event(data: object, kind: str = CREATED) -> CloudEvent:
    return CloudEvent({"id": "event-1", "source": "//firestore", "type": kind}, data)


@pytest.mark.parametrize("data", [protobuf(), JSON], ids=["protobuf", "json"])
def test_both_bodies_give_the_same_entry(data: object) -> None:
    """Full path, commit time to the microsecond, and the fields that the declarations read."""
    entry = decode_entry(event(data), SOURCE, LIBRA_HOME)
    assert (entry.path, entry.time, entry.fields) == (NAME, COMMITTED, READ)


def test_values_of_every_type_arrive() -> None:
    """What is null, nested or of another type is decoded, and left to the aggregations to judge."""
    odd = {"ingredient": None, "dataAction": [1, {"a": b"x"}], "timestamp": True}
    assert decode_entry(event(protobuf(odd)), SOURCE, LIBRA_HOME).fields == odd


def test_a_time_with_nanoseconds_is_cut_to_microseconds() -> None:
    """Firestore keeps microseconds; the event may carry more digits."""
    json = {"value": JSON["value"] | {"createTime": "2025-09-04T18:57:30.123456789Z"}}
    assert decode_entry(event(json), SOURCE, LIBRA_HOME).time == COMMITTED


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"\xff\xff garbage", "its data is no Firestore document event"),
        (protobuf()[:-7], "its data is no Firestore document event"),
        (b"", "is not one of the collection 'libra'"),
        (None, "its data is NoneType, expected protobuf bytes or a JSON object"),
        ("text", "its data is str, expected protobuf bytes or a JSON object"),
        ({}, "is not one of the collection 'libra'"),
        ({"value": []}, "is not one of the collection 'libra'"),
        ({"value": 5}, "its data is no Firestore document event"),
        ({"value": {"name": 5}}, "its data is no Firestore document event"),
        ({"value": {"name": NAME}}, "has no create time"),
        ({"value": {"name": NAME, "createTime": "yesterday"}}, "its data is no Firestore document event"),
        (
            {"value": {"name": NAME, "createTime": "2025-09-04T18:57:29.1E999Z"}},
            "its data is no Firestore document event",
        ),
        (protobuf(name=NAME.replace("/libra/", "/other/")), "is not one of the collection 'libra'"),
        (protobuf(name=NAME + "/notes/1"), "is not one of the collection 'libra'"),
        (protobuf(name="libra/entry-1"), "is not one of the collection 'libra'"),
    ],
)
def test_a_malformed_event_is_a_typed_error_that_names_it(data: object, reason: str) -> None:
    """Never a crash, and never what the document holds."""
    with pytest.raises(MalformedEventError) as caught:
        decode_entry(event(data), SOURCE, LIBRA_HOME)
    assert str(caught.value).startswith("event event-1: ")
    assert reason in str(caught.value)
    assert "Kettle" not in str(caught.value)


def test_an_event_of_another_type_is_malformed() -> None:
    """An update or deletion that a wrong trigger sends must not count."""
    with pytest.raises(MalformedEventError, match=r"its type is .*v1\.updated"):
        decode_entry(event(protobuf(), CREATED.replace("created", "updated")), SOURCE, LIBRA_HOME)


def test_a_time_out_of_the_calendar_is_malformed() -> None:
    """No Firestore wrote it; the message names the document."""
    data = raw(DocumentEventData).FromString(protobuf())
    data.value.fields["timestamp"].timestamp_value.seconds = 10**15
    with pytest.raises(MalformedEventError, match="holds a time outside years 1 to 9999"):
        decode_entry(event(data.SerializeToString()), SOURCE, LIBRA_HOME)


def test_deep_nesting_does_not_overflow_the_stack() -> None:
    """JSON nested deeper than any document can be is malformed, not a RecursionError."""
    value: dict[str, Any] = {"stringValue": "x"}
    for _ in range(500):
        value = {"mapValue": {"fields": {"deeper": value}}}
    json = {"value": {**JSON["value"], "fields": {"ingredient": value}}}
    with pytest.raises(MalformedEventError):
        decode_entry(event(json), SOURCE, LIBRA_HOME)


def test_what_nobody_reads_is_not_decoded() -> None:
    """A huge field beside the entry costs nothing and rejects nothing."""
    entry = decode_entry(event(protobuf(FIELDS | {"blob": ["x" * 1000] * 900})), SOURCE, LIBRA_HOME)
    assert entry.fields == READ
    assert contribution(SOURCE, entry.fields).rejections == ()


# --- edits and deletions --------------------------------------------------------------------------

EDITED = datetime(2025, 9, 4, 19, 30, 0, 1, tzinfo=UTC)
OLD = READ | {"ingredient": "Rice"}


def change(old: bool = True, new: bool = True, **missing: bool) -> bytes:
    """The body of an edit, or of a deletion: what was there before, and what is there now."""
    data = raw(DocumentEventData)()
    for there, document, fields, time in (
        (old, data.old_value, OLD, COMMITTED),
        (new, data.value, READ, EDITED),
    ):
        if there:
            document.name = NAME
            encode_fields(document.fields, fields)
            set_instant(document.create_time, COMMITTED)
            if not missing.get("untimed"):
                set_instant(document.update_time, time)
    body: bytes = data.SerializeToString()
    return body


def test_an_edit_tells_both_versions() -> None:
    """Named by the new version's update time, with the fields that the declarations read."""
    entry = decode_entry(event(change(), UPDATED), SOURCE, LIBRA_HOME, UPDATED)
    assert entry == Entry(NAME, EDITED, READ, Version(COMMITTED, OLD))


def test_a_deletion_tells_the_version_that_is_gone() -> None:
    """Named by that version's update time: when it was deleted is not told."""
    entry = decode_entry(event(change(new=False), DELETED), SOURCE, LIBRA_HOME, DELETED)
    assert entry == Entry.deleted(NAME, Version(COMMITTED, OLD))


@pytest.mark.parametrize(
    ("body", "kind", "reason"),
    [
        (change(old=False), UPDATED, "tells nothing of what"),
        (change(old=False), DELETED, "is not one of the collection 'libra'"),
        (change(untimed=True), UPDATED, "has no update time"),
        (change(new=False, untimed=True), DELETED, "has no update time"),
        (change(new=False), UPDATED, "is not one of the collection 'libra'"),
    ],
)
def test_a_change_without_its_versions_is_malformed(body: bytes, kind: str, reason: str) -> None:
    """Half a change cannot be counted, and never will."""
    with pytest.raises(MalformedEventError, match=reason):
        decode_entry(event(body, kind), SOURCE, LIBRA_HOME, kind)


@pytest.mark.parametrize("kind", [UPDATED, DELETED])
def test_each_entry_point_takes_its_own_type(kind: str) -> None:
    """A trigger that was set up for another type counts nothing."""
    with pytest.raises(MalformedEventError, match="its type is"):
        decode_entry(event(change(), CREATED), SOURCE, LIBRA_HOME, kind)

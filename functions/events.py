"""A CloudEvent of a Firestore trigger to a change: from protobuf, as the platform sends it, or JSON."""

from typing import Any

from cloudevents.http import CloudEvent
from google.events.cloud.firestore import DocumentEventData
from google.protobuf.json_format import ParseDict, ParseError
from google.protobuf.message import DecodeError

from shared.aggregation import Entry, Home, Source, Version
from shared.errors import MalformedEventError
from shared.store.values import Message, decode_some, instant, raw

CREATED = "google.cloud.firestore.document.v1.created"
UPDATED = "google.cloud.firestore.document.v1.updated"
DELETED = "google.cloud.firestore.document.v1.deleted"

_Data = raw(DocumentEventData)


def decode_entry(event: CloudEvent, source: Source, home: Home, kind: str = CREATED) -> Entry:
    """The change that ``event`` reports, with the fields that ``source`` reads.

    Args:
        event: as it came.
        source: what is counted.
        home: where its entries are.
        kind: the type of event that this entry point is for: `CREATED`, `UPDATED` or `DELETED`.

    Raises:
        MalformedEventError: it reports no such change of a document of ``source``, and never will. The
            message names the event, never what the document holds.
    """
    if event["type"] != kind:
        raise _malformed(event, f"its type is {event['type']!r}, expected {kind!r}")
    data = _parse(event)
    document = data.old_value if kind == DELETED else data.value
    if document.name.partition("/documents/")[2].split("/")[:-1] != [home.entries]:
        raise _malformed(
            event, f"its document {document.name!r} is not one of the collection {home.entries!r}"
        )
    if kind == CREATED:
        new = _version(event, document, "create_time", source)
        return Entry(document.name, new.time, new.fields)
    if data.old_value.name != document.name:
        raise _malformed(event, f"it tells nothing of what {document.name!r} held before")
    old = _version(event, data.old_value, "update_time", source)
    if kind == DELETED:
        return Entry.deleted(document.name, old)
    new = _version(event, document, "update_time", source)
    return Entry(document.name, new.time, new.fields, old)


def _version(event: CloudEvent, document: Message, named_by: str, source: Source) -> Version:
    if not document.HasField(named_by):
        raise _malformed(event, f"its document {document.name!r} has no {named_by.replace('_', ' ')}")
    try:
        time = instant(getattr(document, named_by))
        return Version(time, decode_some(document.fields, source.top_fields))
    except OverflowError:
        raise _malformed(
            event, f"its document {document.name!r} holds a time outside years 1 to 9999"
        ) from None


def _parse(event: CloudEvent) -> Any:
    data = event.data
    try:
        if isinstance(data, bytes):
            return _Data.FromString(data)
        if isinstance(data, dict):
            return ParseDict(data, _Data(), ignore_unknown_fields=True)
    except (
        DecodeError,
        ParseError,
        ArithmeticError,
        AttributeError,
        LookupError,
        RecursionError,
        TypeError,
        ValueError,
    ):
        # ParseDict meets JSON of the wrong shape with more than its own error: 29.1E999 seconds overflow.
        raise _malformed(event, "its data is no Firestore document event") from None
    raise _malformed(event, f"its data is {type(data).__name__}, expected protobuf bytes or a JSON object")


def _malformed(event: CloudEvent, reason: str) -> MalformedEventError:
    return MalformedEventError(f"event {event['id']}: {reason}")

"""A CloudEvent of a Firestore trigger to an `Entry`: from protobuf, as the platform sends it, or JSON."""

from typing import Any

from cloudevents.http import CloudEvent
from google.events.cloud.firestore import DocumentEventData
from google.protobuf.json_format import ParseDict, ParseError
from google.protobuf.message import DecodeError

from shared.aggregation import Entry, Home, Source
from shared.errors import MalformedEventError
from shared.store.values import decode_some, instant, raw

CREATED = "google.cloud.firestore.document.v1.created"

_Data = raw(DocumentEventData)


def decode_entry(event: CloudEvent, source: Source, home: Home) -> Entry:
    """The entry whose creation ``event`` reports, with the fields that ``source`` reads.

    Raises:
        MalformedEventError: it reports no creation of a document of ``source``, and never will. The
            message names the event, never what the document holds.
    """
    if event["type"] != CREATED:
        raise _malformed(event, f"its type is {event['type']!r}, expected {CREATED!r}")
    document = _parse(event).value
    if document.name.partition("/documents/")[2].split("/")[:-1] != [home.entries]:
        raise _malformed(
            event, f"its document {document.name!r} is not one of the collection {home.entries!r}"
        )
    if not document.HasField("create_time"):
        raise _malformed(event, f"its document {document.name!r} has no create time")
    try:
        fields = decode_some(document.fields, source.top_fields)
        return Entry(document.name, instant(document.create_time), fields)
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

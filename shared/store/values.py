"""Firestore's protobuf values to plain Python and back, on the raw messages.

The high-level client spends most of its time in proto-plus wrappers; these functions take the messages
as protobuf itself makes them. They serve `google.firestore.v1.Value` and the event payload's
`google.events.cloud.firestore.v1.Value` alike: the two have the same fields.
"""

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any, TypeAlias

from google.cloud.firestore_v1.types import document as _document

from shared.store.documents import GeoPoint, Reference
from shared.watermark import EPOCH, MICROSECOND

Message: TypeAlias = Any
"""A raw protobuf message. Its classes are made at run time, so a type checker cannot look inside."""


def raw(message_class: Any) -> Any:
    """The protobuf class behind a proto-plus one."""
    return type(message_class.pb(message_class()))


ValueMessage = raw(_document.Value)


def instant(timestamp: Message) -> datetime:
    """A protobuf Timestamp as an aware UTC datetime; what is below a microsecond is cut off, as in Firestore.

    Raises:
        OverflowError: it is before year 1 or after 9999, which no valid Timestamp is.
    """
    return EPOCH + timedelta(0, timestamp.seconds, timestamp.nanos // 1000)


def set_instant(timestamp: Message, value: datetime) -> None:
    """Write an aware datetime into a protobuf Timestamp."""
    seconds, micros = divmod((value - EPOCH) // MICROSECOND, 1_000_000)
    timestamp.seconds, timestamp.nanos = seconds, micros * 1000


_DECODERS: dict[str, Callable[[Message], object]] = {
    "null_value": lambda _: None,
    "boolean_value": lambda value: value.boolean_value,
    "integer_value": lambda value: value.integer_value,
    "double_value": lambda value: value.double_value,
    "timestamp_value": lambda value: instant(value.timestamp_value),
    "string_value": lambda value: value.string_value,
    "bytes_value": lambda value: value.bytes_value,
    "reference_value": lambda value: Reference(value.reference_value),
    "geo_point_value": lambda value: GeoPoint(
        value.geo_point_value.latitude, value.geo_point_value.longitude
    ),
    "array_value": lambda value: [decode(item) for item in value.array_value.values],
    "map_value": lambda value: decode_fields(value.map_value.fields),
}


def decode(value: Message) -> object:
    """A Value as plain Python: str, int, float, bool, None, bytes, aware datetime, list, dict.

    A value with no kind set, which only a newer server could send, is None.

    Raises:
        OverflowError: a Timestamp outside years 1 to 9999.
    """
    decoder = _DECODERS.get(value.WhichOneof("value_type"))
    return decoder(value) if decoder else None


def decode_fields(fields: Mapping[str, Message]) -> dict[str, object]:
    """A whole map of Values as plain Python."""
    return {name: decode(fields[name]) for name in fields}


def decode_some(fields: Mapping[str, Message], wanted: Iterable[str]) -> dict[str, object]:
    """Only the named top-level fields that exist: fields that no declaration reads are not decoded."""
    return {name: decode(fields[name]) for name in wanted if name in fields}


def encode(into: Message, value: object) -> None:  # noqa: PLR0912 - one branch a type of Firestore's
    """Write plain Python into an empty Value.

    Raises:
        TypeError: no Firestore type stands for ``value``.
    """
    if isinstance(value, str):  # first, because most are
        into.string_value = value
    elif value is None:
        into.null_value = 0
    elif isinstance(value, bool):  # before int: a bool is one
        into.boolean_value = value
    elif isinstance(value, int):
        into.integer_value = value
    elif isinstance(value, float):
        into.double_value = value
    elif isinstance(value, datetime):
        into.timestamp_value.SetInParent()
        set_instant(into.timestamp_value, value)
    elif isinstance(value, bytes):
        into.bytes_value = value
    elif isinstance(value, Reference):
        into.reference_value = value.name
    elif isinstance(value, GeoPoint):
        into.geo_point_value.latitude, into.geo_point_value.longitude = value.latitude, value.longitude
    elif isinstance(value, Mapping):
        into.map_value.SetInParent()
        encode_fields(into.map_value.fields, value)
    elif isinstance(value, list | tuple):
        into.array_value.SetInParent()
        for item in value:
            encode(into.array_value.values.add(), item)
    else:
        raise TypeError(f"Firestore has no type for {type(value).__name__}")


def encode_fields(into: Message, fields: Mapping[str, object]) -> None:
    """Write a mapping into a protobuf map of Values."""
    for name, value in fields.items():
        encode(into[name], value)

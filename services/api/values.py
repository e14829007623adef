"""What Firestore stores, as JSON. An answer shows values; it is not a format to read back."""

import math
from base64 import b64encode
from collections.abc import Mapping
from datetime import datetime

from shared.store import GeoPoint, Reference


def as_json(value: object) -> object:  # noqa: PLR0911 - a table of types
    """A stored value: times in RFC 3339, bytes in base64, numbers that JSON lacks as text."""
    match value:
        case datetime():
            return value.isoformat().replace("+00:00", "Z")
        case bytes():
            return b64encode(value).decode()
        case float() if not math.isfinite(value):
            return str(value)
        case Reference(name):
            return name
        case GeoPoint(latitude, longitude):
            return {"latitude": as_json(latitude), "longitude": as_json(longitude)}
        case Mapping():
            return {str(name): as_json(each) for name, each in value.items()}
        case list() | tuple():
            return [as_json(each) for each in value]
    return value


def fields_as_json(fields: Mapping[str, object]) -> dict[str, object]:
    """The fields of a document."""
    return {name: as_json(value) for name, value in fields.items()}

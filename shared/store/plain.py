"""What Firestore stores, as JSON has it: to be shown or exported, not to be read back."""

import math
from base64 import b64encode
from collections.abc import Callable, Mapping
from datetime import datetime

from shared.store.documents import GeoPoint, Reference


def plain(value: object, time: Callable[[datetime], str]) -> object:  # noqa: PLR0911 - a table of types
    """A stored value: bytes in base64, what JSON lacks as text, and times as ``time`` spells them."""
    match value:
        case datetime():
            return time(value)
        case bytes():
            return b64encode(value).decode()
        case float() if not math.isfinite(value):
            return str(value)
        case Reference(name):
            return name
        case GeoPoint(latitude, longitude):
            return {"latitude": plain(latitude, time), "longitude": plain(longitude, time)}
        case Mapping():
            return {str(name): plain(each, time) for name, each in value.items()}
        case list() | tuple():
            return [plain(each, time) for each in value]
    return value

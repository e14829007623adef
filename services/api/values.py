"""What Firestore stores, as JSON. An answer shows values; it is not a format to read back."""

from collections.abc import Mapping
from datetime import datetime

from shared.store.plain import plain


def fields_as_json(fields: Mapping[str, object]) -> dict[str, object]:
    """The fields of a document: times in RFC 3339, bytes in base64, numbers that JSON lacks as text."""
    return {name: plain(value, _rfc_3339) for name, value in fields.items()}


def _rfc_3339(time: datetime) -> str:
    return time.isoformat().replace("+00:00", "Z")

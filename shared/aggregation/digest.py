"""What a declaration says, in 32 characters: declarations that say the same have the same digest. Pure.

It is made of the names and values of the declaration's fields, so it depends neither on Python's ``repr`` nor
on the order of a mapping. A field that has its default is left out: a later version of Libra that gives a
declaration one more field does not change the digest of what was declared before. So never change what a
default is: no digest would show that something else is counted. Give the field a new name instead.
"""

import hashlib
import json
from collections.abc import Mapping, Set
from dataclasses import MISSING, Field, fields, is_dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from zoneinfo import ZoneInfo

from shared.aggregation.declarations import Aggregation
from shared.errors import DeclarationError


def digest(aggregation: Aggregation) -> str:
    """The digest of an aggregation: of its name, key, filter and measures.

    Raises:
        DeclarationError: a field of a key, a filter or a measure holds what has no digest.
    """
    return hashlib.sha256(canonical(aggregation).encode()).hexdigest()[:32]


def canonical(aggregation: Aggregation) -> str:
    """What the digest is made of, as JSON. Raises `DeclarationError` as `digest` does."""
    try:
        return json.dumps(_plain(aggregation), sort_keys=True, separators=(",", ":"))
    except TypeError as error:
        raise DeclarationError(f"{aggregation.name}: {error}") from None


def _plain(value: object) -> object:
    """A value as JSON has it; what JSON would take for the same is told apart by a name in front."""
    if value is None or isinstance(value, bool | int | str):
        return value
    if is_dataclass(value) and not isinstance(value, type):
        said = {
            each.name: getattr(value, each.name) for each in fields(value) if not _has_default(value, each)
        }
        return [type(value).__name__, {name: _plain(each) for name, each in said.items()}]
    return _collected(value)


def _collected(value: object) -> object:
    match value:
        case float() | Decimal() | Fraction() | timedelta() | ZoneInfo():
            return [type(value).__name__, str(value)]
        case datetime():
            return ["datetime", value.astimezone(UTC).isoformat()]
        case type() if value in (str, int, bool):
            return ["type", value.__name__]
        case tuple() | list():
            return ["list", *map(_plain, value)]
        case Set():
            return ["set", *sorted(map(_plain, value), key=json.dumps)]
        case Mapping():
            return ["map", *sorted((list(map(_plain, each)) for each in value.items()), key=json.dumps)]
    raise TypeError(
        f"{value!r} has no digest: expected text, numbers, times, zones, types, dataclasses, or some of them"
    )


def _has_default(value: object, field: Field[object]) -> bool:
    default = field.default_factory() if field.default_factory is not MISSING else field.default
    return bool(getattr(value, field.name) == default)

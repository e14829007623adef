"""Lists in pages: how many, and where the next page begins. Pure."""

import binascii
import json
from base64 import b64decode, urlsafe_b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Generic, TypeVar

from shared.aggregation.keys import MAX_INTEGER, MIN_INTEGER
from shared.errors import Unanswerable

FIRST = datetime.min.replace(tzinfo=UTC)
"""The least Timestamp: a comparison with it finds Timestamps only."""

LONGEST = 1_000
"""The most that a page may hold."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """A part of a list."""

    items: tuple[T, ...]
    after: str | None
    """Ask with it for the next page. None: this is the last one."""


def check_limit(limit: int) -> None:
    """Refuse a page of no size, or of one that no answer should have.

    Raises:
        Unanswerable: saying what is allowed.
    """
    if not 1 <= limit <= LONGEST:
        raise Unanswerable(f"limit={limit}: expected a whole number from 1 to {LONGEST:,}")


def cursor(of: str, *position: object) -> str:
    """An opaque cursor: a place in one list, which ``of`` names."""
    text = json.dumps([of, *position], default=_tagged, separators=(",", ":"))
    return urlsafe_b64encode(text.encode()).decode().rstrip("=")


def position(of: str, after: str, *kinds: type | tuple[type, ...]) -> list[object]:
    """The inverse of `cursor`: where to begin behind.

    Args:
        of: the list that is asked for.
        after: the cursor.
        kinds: of the values that a position in this list consists of.

    Raises:
        Unanswerable: ``after`` is no cursor, or it is one of another list or order.
    """
    try:
        padded = after.encode("ascii") + b"=" * (-len(after) % 4)
        found = json.loads(b64decode(padded, b"-_", validate=True), object_hook=_untagged)
    except (binascii.Error, ValueError, OverflowError):
        raise Unanswerable(f"after={after[:40]!r} is no cursor: use the one that a page came with") from None
    if not isinstance(found, list) or found[:1] != [of] or not _fits(found[1:], kinds):
        raise Unanswerable(f"after={after[:40]!r} is the cursor of another list, or of another order")
    return found[1:]


def _fits(values: Sequence[object], kinds: Sequence[type | tuple[type, ...]]) -> bool:
    return len(values) == len(kinds) and all(
        type(value) in (kind if isinstance(kind, tuple) else (kind,)) and _storable(value)
        for value, kind in zip(values, kinds, strict=True)
    )


def _storable(value: object) -> bool:
    """Whether Firestore could hold it: JSON can spell more."""
    if isinstance(value, dict):
        return all(type(each) is int and _storable(each) for each in value.values())
    if isinstance(value, str):
        return value.isascii() or value == value.encode(errors="ignore").decode()
    return not isinstance(value, int) or MIN_INTEGER <= value <= MAX_INTEGER


def _tagged(value: object) -> object:
    if isinstance(value, datetime):
        return {"time": value.astimezone(UTC).isoformat()}
    raise TypeError(f"a cursor has no place for {value!r}")


def _untagged(value: dict[str, object]) -> object:
    if value.keys() != {"time"}:
        return value
    time = datetime.fromisoformat(str(value["time"]))
    if time.tzinfo is None:
        raise ValueError("a cursor's times carry a zone")
    return time.astimezone(UTC)

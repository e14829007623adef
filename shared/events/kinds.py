"""What the fields of an event may hold: text, numbers, times, maps; each within bounds. Pure."""

import math
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from shared.aggregation.entries import type_name
from shared.aggregation.keys import MAX_INTEGER, MIN_INTEGER
from shared.errors import DeclarationError
from shared.events.plain import INDEXED_BYTES, NUMBER_BYTES, Plain, Unfit, bytes_of

MAX_DEPTH = 19
"""The deepest map in a field: Firestore's bound is 20 levels of a document (the same page, 'Limits')."""

_RFC_3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)", re.ASCII)


class Kind(ABC):
    """What the values of a field are."""

    @abstractmethod
    def read(self, value: object, now: datetime) -> object:
        """The value as it is stored; raises `Unfit`."""

    @property
    @abstractmethod
    def most_bytes(self) -> int:
        """The most that a value takes in a document."""


@dataclass(frozen=True, slots=True)
class Text(Kind):
    """A string that is not empty."""

    most: int = 256
    """Bytes in UTF-8, 1,500 at most."""
    values: tuple[str, ...] = ()
    """The values that are allowed; none: any."""

    def __post_init__(self) -> None:
        if not 1 <= self.most <= INDEXED_BYTES:
            raise DeclarationError(f"Text(most={self.most}): expected a number from 1 to {INDEXED_BYTES}")
        if any(not 1 <= len(value.encode()) <= self.most for value in self.values):
            raise DeclarationError(f"Text({self.values}): expected values of 1 to {self.most} bytes")

    def read(self, value: object, now: datetime) -> str:  # noqa: ARG002 - only times look at it
        if not isinstance(value, str):
            raise Unfit(type_name(value), self._allowed)
        if self.values and value not in self.values:
            raise Unfit("another string", self._allowed)
        size = bytes_of(value)
        if size is None:
            raise Unfit("a string that is not valid Unicode", self._allowed)
        if not 1 <= size <= self.most:
            raise Unfit(f"{size} bytes" if size else "an empty string", self._allowed)
        return value

    @property
    def _allowed(self) -> str:
        return f"one of {', '.join(self.values)}" if self.values else f"a string of 1 to {self.most} bytes"

    @property
    def most_bytes(self) -> int:
        return self.most + 1


@dataclass(frozen=True, slots=True)
class Integer(Kind):
    """A whole number. 1.0 is none: its sender means something else."""

    low: int = MIN_INTEGER
    high: int = MAX_INTEGER

    def __post_init__(self) -> None:
        if not MIN_INTEGER <= self.low <= self.high <= MAX_INTEGER:
            raise DeclarationError(f"Integer({self.low}, {self.high}): expected bounds of 64 bits, ascending")

    def read(self, value: object, now: datetime) -> int:  # noqa: ARG002 - only times look at it
        if isinstance(value, bool) or not isinstance(value, int):
            raise Unfit(type_name(value), self._allowed)
        if not self.low <= value <= self.high:
            raise Unfit("one beyond that", self._allowed)
        return value

    @property
    def _allowed(self) -> str:
        return f"an integer from {self.low} to {self.high}"

    @property
    def most_bytes(self) -> int:
        return NUMBER_BYTES


@dataclass(frozen=True, slots=True)
class Number(Kind):
    """A finite number."""

    low: float
    high: float

    def __post_init__(self) -> None:
        if not (-(2**53) <= self.low <= self.high <= 2**53):
            raise DeclarationError(f"Number({self.low}, {self.high}): expected bounds within 2^53, ascending")

    def read(self, value: object, now: datetime) -> int | float:  # noqa: ARG002 - only times look at it
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise Unfit(type_name(value), self._allowed)
        if isinstance(value, float) and not math.isfinite(value):
            raise Unfit("NaN or an infinity", self._allowed)
        if not self.low <= value <= self.high:
            raise Unfit("one beyond that", self._allowed)
        return value

    @property
    def _allowed(self) -> str:
        return f"a number from {self.low} to {self.high}"

    @property
    def most_bytes(self) -> int:
        return NUMBER_BYTES


@dataclass(frozen=True, slots=True)
class Boolean(Kind):
    """True or false."""

    def read(self, value: object, now: datetime) -> bool:  # noqa: ARG002 - only times look at it
        if not isinstance(value, bool):
            raise Unfit(type_name(value), "true or false")
        return value

    @property
    def most_bytes(self) -> int:
        return 1


@dataclass(frozen=True, slots=True)
class Timestamp(Kind):
    """An instant: text as RFC 3339 has it, with its offset, or an aware datetime.

    It is stored in UTC, to the microsecond. The bounds say how far the sender's clock may be off.
    """

    past: timedelta
    """How long before now it may lie."""
    future: timedelta
    """How long after now it may lie."""

    def read(self, value: object, now: datetime) -> datetime:
        instant = self._instant(value)
        if not -self.past <= instant - now <= self.future:
            where = "before now" if instant < now else "after now"
            raise Unfit(
                f"one {_span(abs(instant - now))} {where}",
                f"a time from {_span(self.past)} before now to {_span(self.future)} after it",
            )
        return instant

    def _instant(self, value: object) -> datetime:
        allowed = "an RFC 3339 time such as 2025-09-04T18:30:00Z"
        if isinstance(value, datetime):
            instant = value
        elif not isinstance(value, str):
            raise Unfit(type_name(value), allowed)
        elif not _RFC_3339.fullmatch(value):
            raise Unfit("a string that is none", allowed)
        else:
            try:
                instant = datetime.fromisoformat(value.upper())
            except ValueError:
                raise Unfit("a date or a time that there is not", allowed) from None
        if instant.tzinfo is None:
            raise Unfit("one without an offset", allowed)
        try:
            return instant.astimezone(UTC)
        except OverflowError:
            raise Unfit("one outside years 1 to 9999", allowed) from None

    @property
    def most_bytes(self) -> int:
        return NUMBER_BYTES


@dataclass(frozen=True, slots=True)
class Map(Kind):
    """Whatever a JSON object may hold that Firestore can store."""

    most: int = 16_384
    """Bytes, as Firestore counts them."""
    depth: int = 8
    """How many maps and arrays may lie within each other, `MAX_DEPTH` at most."""

    def __post_init__(self) -> None:
        if not (self.most >= 1 and 1 <= self.depth <= MAX_DEPTH):
            raise DeclarationError(
                f"Map(most={self.most}, depth={self.depth}): expected 1 byte or more, and a depth from 1 "
                f"to {MAX_DEPTH}"
            )

    def read(self, value: object, now: datetime) -> object:  # noqa: ARG002 - only times look at it
        if not isinstance(value, Mapping):
            raise Unfit(type_name(value), "a map")
        return Plain(self.most, self.depth).of(value, 1)

    @property
    def most_bytes(self) -> int:
        return self.most


def _span(length: timedelta) -> str:
    """A length of time for a message, in the largest unit that fits."""
    seconds = int(length.total_seconds())
    for name, unit in (("days", 86_400), ("hours", 3_600), ("minutes", 60)):
        if seconds >= 2 * unit:
            return f"{seconds // unit} {name}"
    return f"{seconds} seconds"

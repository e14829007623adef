"""What an entry is counted under: the value of a field, or a grain of time in a zone. Pure."""

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Literal, TypeAlias
from zoneinfo import ZoneInfo

from shared.aggregation.entries import Unusable, look_up, type_name
from shared.errors import DeclarationError

Part: TypeAlias = str | int | bool
Key: TypeAlias = Part | tuple[Part, ...]
"""What an entry is counted under: one raw value, or one for each part of a composite key."""

MAX_KEY_BYTES = 65_536
"""The longest string an entry is counted under. A longer one is rejected: otherwise a device could write a
value that fits an entry but not, with what stands beside it, a total (1 MiB a document,
https://firebase.google.com/docs/firestore/quotas, 2026-11)."""

MIN_INTEGER, MAX_INTEGER = -(2**63), 2**63 - 1
"""What Firestore calls an integer: 64 bits."""


def text_of(part: Part) -> str:
    """A part as text, as it stands in a document id."""
    return str(part).lower() if isinstance(part, bool) else str(part)


class KeyPart(ABC):
    """One value that an entry is counted under."""

    field: str
    """The entry's field it is derived from."""

    @property
    @abstractmethod
    def name(self) -> str:
        """What the part is called in a composite key's stored map."""

    @abstractmethod
    def of(self, fields: Mapping[str, object]) -> Part:
        """Derive the value; raises `Unusable`."""

    @abstractmethod
    def parse(self, text: str) -> Part:
        """The value that ``text`` (a decoded document id) stands for; raises ValueError."""

    def holds(self, stored: object) -> bool:
        """Whether ``stored`` is a value of this part, of its very type."""
        try:
            return isinstance(stored, str | int) and self.parse(text_of(stored)) == stored
        except ValueError:
            return False


@dataclass(frozen=True, slots=True)
class FieldKey(KeyPart):
    """The value of a field of one type, as it is: a string, an integer or a boolean."""

    field: str
    allow_empty: bool = True
    """Whether an entry with an empty string counts."""
    kind: type[Part] = str
    """The type. A value of another type is rejected: True is no 1, and neither is 1.0."""

    def __post_init__(self) -> None:
        if self.kind not in (str, int, bool) or not (self.allow_empty or self.kind is str):
            raise DeclarationError(
                f"a key by {self.field}: kind is {self.kind.__name__} with allow_empty={self.allow_empty}: "
                "expected str, int or bool, and allow_empty=False for str alone"
            )

    @property
    def name(self) -> str:
        return self.field

    def of(self, fields: Mapping[str, object]) -> Part:
        return self.usable(look_up(fields, self.field))

    def usable(self, value: object) -> Part:
        """``value``, if an entry that holds it is counted under it; raises `Unusable`."""
        if self.kind is not str:
            return self._number(value)
        if not isinstance(value, str):
            raise Unusable(self.field, f"expected a string, found {type_name(value)}")
        if not value and not self.allow_empty:
            raise Unusable(self.field, "expected a non-empty string, found an empty one")
        try:
            size = len(value.encode())
        except UnicodeEncodeError:  # a lone surrogate, which JSON can spell and Firestore cannot store
            raise Unusable(self.field, "expected a string, found one that is not valid Unicode") from None
        if size > MAX_KEY_BYTES:
            raise Unusable(self.field, f"expected at most {MAX_KEY_BYTES} bytes, found more")
        return value

    def _number(self, value: object) -> int:
        if not isinstance(value, int) or type(value) is not self.kind:
            expected = "an integer" if self.kind is int else "a boolean"
            raise Unusable(self.field, f"expected {expected}, found {type_name(value)}")
        if not MIN_INTEGER <= value <= MAX_INTEGER:  # JSON can spell it, Firestore cannot store it
            raise Unusable(self.field, "expected an integer of 64 bits, found a larger one")
        return value

    def parse(self, text: str) -> Part:
        if self.kind is str:
            return text
        if self.kind is bool:
            return _BOOLEANS[text]
        if not re.fullmatch(r"0|-?[1-9][0-9]{0,18}", text) or not MIN_INTEGER <= int(text) <= MAX_INTEGER:
            raise ValueError(f"{text!r} is not an integer of 64 bits")
        return int(text)


class _Booleans(dict[str, bool]):
    def __missing__(self, text: str) -> bool:
        raise ValueError(f"{text!r} is neither true nor false")


_BOOLEANS = _Booleans(true=True, false=False)


Grain: TypeAlias = Literal["hour", "weekday", "date", "date_hour", "week", "month", "year"]


@dataclass(frozen=True, slots=True)
class TimeKey(KeyPart):
    """A grain of a time field in a zone, as the zone's clock and calendar show it.

    ======= ===== ============
    hour    0-23  ``18``
    weekday 1-7   ``4``: ISO 8601, Monday is 1
    date          ``2025-09-04``
    date_hour     ``2025-09-04T18``
    week          ``2025-W36``: ISO 8601, in the year that holds the week's Thursday
    month         ``2025-09``
    year          ``2025``
    ======= ===== ============

    Where a clock goes back, it shows one hour twice. Entries of both are counted under that hour, as the
    clock shows it: such a ``date_hour`` is two hours long. In the zone UTC each is one hour.
    """

    field: str
    grain: Grain
    zone: ZoneInfo
    called: str | None = None
    """The part's name in a composite key's stored map, if not the grain: for two time fields or zones."""

    def __post_init__(self) -> None:
        if self.grain not in _GRAINS:
            raise DeclarationError(
                f"a key by {self.field}: grain is {self.grain!r}: expected one of {sorted(_GRAINS)}"
            )

    @property
    def name(self) -> str:
        return self.called or self.grain

    def of(self, fields: Mapping[str, object]) -> Part:
        value = look_up(fields, self.field)
        if not isinstance(value, datetime) or value.tzinfo is None:
            raise Unusable(self.field, f"expected a Timestamp, found {type_name(value)}")
        try:
            local = value.astimezone(self.zone)
        except OverflowError:
            raise Unusable(
                self.field, f"has no date in {self.zone.key}: before year 1 or after 9999"
            ) from None
        return _GRAINS[self.grain](local)

    def parse(self, text: str) -> Part:
        pattern, example = _TEXTS[self.grain]
        found = re.fullmatch(pattern, text)
        if not found:
            raise ValueError(f"{text!r} is not {example}")
        numbers = [int(number) for number in found.groups()]
        if self.grain in ("hour", "weekday"):
            return numbers[0]
        if self.grain == "week":
            date.fromisocalendar(numbers[0], numbers[1], 1)
        else:
            year, month, day, *_ = (*numbers, 1, 1)
            date(year, month, day)
        return text


def _week(local: datetime) -> str:
    year, week, _ = local.isocalendar()
    return f"{year:04}-W{week:02}"


_GRAINS: dict[str, Callable[[datetime], Part]] = {
    "hour": lambda local: local.hour,
    "weekday": lambda local: local.isoweekday(),
    "date": lambda local: local.date().isoformat(),
    "date_hour": lambda local: f"{local.date().isoformat()}T{local.hour:02}",
    "week": _week,
    "month": lambda local: f"{local.year:04}-{local.month:02}",
    "year": lambda local: f"{local.year:04}",
}

_HOUR = "1?[0-9]|2[0-3]"
_TEXTS = {
    "hour": (f"({_HOUR})", "an hour from 0 to 23"),
    "weekday": ("([1-7])", "a day of the week from 1 (Monday) to 7"),
    "date": ("([0-9]{4})-([0-9]{2})-([0-9]{2})", "a date such as 2025-09-04"),
    "date_hour": (
        "([0-9]{4})-([0-9]{2})-([0-9]{2})T(?:[01][0-9]|2[0-3])",
        "an hour of a date, such as 2025-09-04T18",
    ),
    "week": ("([0-9]{4})-W([0-9]{2})", "a week such as 2025-W36"),
    "month": ("([0-9]{4})-([0-9]{2})", "a month such as 2025-09"),
    "year": ("([0-9]{4})", "a year such as 2025"),
}

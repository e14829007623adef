"""What an entry is counted under: the value of a field, or a grain of time in a zone. Pure."""

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, TypeAlias
from zoneinfo import ZoneInfo

from shared.aggregation.entries import Unusable, look_up, type_name

Part: TypeAlias = str | int
Key: TypeAlias = Part | tuple[Part, ...]
"""What an entry is counted under: one raw value, or one for each part of a composite key."""

MAX_KEY_BYTES = 65_536
"""The longest string an entry is counted under. A longer one is rejected: otherwise a device could write a
value that fits an entry but not, with what stands beside it, a total (1 MiB a document,
https://firebase.google.com/docs/firestore/quotas, 2026-11)."""


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


@dataclass(frozen=True, slots=True)
class FieldKey(KeyPart):
    """The value of a string field, as it is."""

    field: str
    allow_empty: bool = True

    @property
    def name(self) -> str:
        return self.field

    def of(self, fields: Mapping[str, object]) -> str:
        value = look_up(fields, self.field)
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

    def parse(self, text: str) -> str:
        return text


@dataclass(frozen=True, slots=True)
class TimeKey(KeyPart):
    """The hour of day (0 to 23) or the date (``YYYY-MM-DD``) of a time field, in a zone."""

    field: str
    grain: Literal["hour", "date"]
    zone: ZoneInfo

    @property
    def name(self) -> str:
        return self.grain

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
        return local.hour if self.grain == "hour" else local.date().isoformat()

    def parse(self, text: str) -> Part:
        if self.grain == "date":
            return datetime.strptime(text, "%Y-%m-%d").date().isoformat()  # noqa: DTZ007 - a date has no zone
        if not re.fullmatch(r"1?[0-9]|2[0-3]", text):
            raise ValueError(f"{text!r} is not an hour from 0 to 23")
        return int(text)

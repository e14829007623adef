"""What is counted, declared once; how an entry becomes increments. Pure: entries in, deltas out.

A `Source` is an event collection with its `Aggregation`s. Each aggregation names the collection its
results live in, the key an entry is counted under, an optional filter, and the measures. The trigger
and both recompute strategies read the same declarations, so that they can not disagree.

Deltas are integers by cell and add up in any order and grouping (a commutative monoid). That is why a
`Sum` counts in whole units: adding floating-point numbers in another order gives another total, and a
recompute could never prove it.

No I/O, no clock, no environment, nothing of Google's in here.
"""

import hashlib
import math
import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from fractions import Fraction
from functools import lru_cache
from typing import Literal, NamedTuple, TypeAlias
from zoneinfo import ZoneInfo

from shared.errors import DeclarationError
from shared.watermark import check_aware

Part: TypeAlias = str | int
Key: TypeAlias = Part | tuple[Part, ...]
"""What an entry is counted under: one raw value, or one for each part of a composite key."""

MAX_ID_BYTES = 1_500
"""The longest document id (https://firebase.google.com/docs/firestore/quotas, 'Limits', 2026-11)."""

MAX_KEY_BYTES = 65_536
"""The longest string an entry is counted under. Longer ones are rejected, so that no device can write a
value that fits an entry but not, with what stands beside it, a total (1 MiB a document, same source)."""

RESERVED_FIELDS = frozenset({"key", "recent", "updated_at"})
"""Fields of a total that no measure may be named after."""


# --- entries ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Entry:
    """One document of a source, as it was created."""

    path: str
    """The full document name, ``projects/P/databases/D/documents/libra/ID``."""
    create_time: datetime
    """Commit time: when Firestore created the document (aware; microseconds)."""
    fields: Mapping[str, object]
    """At least the fields that the source's declarations read; event time is one of them."""

    def __post_init__(self) -> None:
        check_aware(self.create_time, f"the create_time of {self.path}")


@dataclass(frozen=True, slots=True)
class Rejection:
    """Why one aggregation could not count an entry, or one measure could not add it up.

    It names the field and the type found, never the value: reasons are logged and grouped.
    """

    aggregation: str
    field: str
    reason: str


class Unusable(Exception):  # noqa: N818 - control flow between a declaration and `contribution`
    """A field does not hold what the declaration needs. Never leaves this module's callers in `shared`."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"{field}: {reason}")
        self.field = field
        self.reason = reason


_MISSING = object()


def type_name(value: object) -> str:
    """Firestore's word for the type of ``value``, with its article."""
    if value is None:
        return "null"
    names = {bool: "a boolean", int: "an integer", float: "a number", str: "a string", bytes: "bytes"}
    names |= {list: "an array", datetime: "a Timestamp"}
    if type(value) in names:
        return names[type(value)]
    return "a map" if isinstance(value, Mapping) else f"a {type(value).__name__}"


def look_up(fields: Mapping[str, object], path: str) -> object:
    """The value at a dotted path, such as ``device.serialNumber``.

    Raises:
        Unusable: some part of the path is not there.
    """
    value: object = fields
    for name in path.split("."):
        value = value.get(name, _MISSING) if isinstance(value, Mapping) else _MISSING
        if value is _MISSING:
            raise Unusable(path, "missing")
    return value


# --- keys ---------------------------------------------------------------------------------------


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
        if not _is_unicode(value):
            raise Unusable(self.field, "expected a string, found one that is not valid Unicode")
        if len(value.encode()) > MAX_KEY_BYTES:
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


# --- document ids -------------------------------------------------------------------------------

# `%` in an encoded id is always followed by one of these, so the forms below can not collide with a value.
_ESCAPES = {"%": "%25", "/": "%2F", ".": "%2E", "_": "%5F", "|": "%7C"}
_UNESCAPES = {escape: character for character, escape in _ESCAPES.items()}
_EMPTY = "%empty"
_HASHED = "%sha256-"
_RESERVED_ID = re.compile(r"\.{1,2}|__.*__", re.DOTALL)


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:  # a lone surrogate, which JSON can spell and Firestore can not store
        return False
    return True


def _escape(text: str, characters: str) -> str:
    return re.sub(f"[{re.escape(characters)}]", lambda found: _ESCAPES[found[0]], text)


def _shorten(encoded: str) -> str:
    raw = encoded.encode()
    return encoded if len(raw) <= MAX_ID_BYTES else _HASHED + hashlib.sha256(raw).hexdigest()


def _encode_part(part: Part) -> str:
    return _escape(str(part), "%/|") or _EMPTY


@lru_cache(maxsize=65_536)
def document_id(key: Key) -> str:
    """The document id of a key: the value itself where Firestore allows it, else an injective encoding.

    ``%`` and ``/`` are percent-encoded, and so is the first character of ``.``, ``..`` and ``__x__``;
    the empty string is ``%empty``; what is over 1,500 bytes is ``%sha256-`` and the digest. The parts of
    a composite key are joined by ``|``, which is percent-encoded inside them.
    """
    if isinstance(key, tuple):
        encoded = "|".join(map(_encode_part, key))
    else:
        encoded = _escape(str(key), "%/") or _EMPTY
    if _RESERVED_ID.fullmatch(encoded):
        encoded = _ESCAPES[encoded[0]] + encoded[1:]
    return _shorten(encoded)


def _unescape(encoded: str) -> str:
    if encoded == _EMPTY:
        return ""
    return re.sub("%..", lambda found: _UNESCAPES[found[0]], encoded)


def decode_id(encoded: str, parts: tuple[KeyPart, ...]) -> Key:
    """The inverse of `document_id` for keys of these parts.

    Raises:
        ValueError: ``encoded`` is hashed (the raw value stands in the document's ``key``), or it is the
            id of no such key.
    """
    try:
        texts = [_unescape(text) for text in (encoded.split("|") if len(parts) > 1 else [encoded])]
        values = tuple(part.parse(text) for part, text in zip(parts, texts, strict=True))
    except (ValueError, KeyError):
        raise ValueError(f"{encoded!r} is not the id of a key, or it is a hashed one") from None
    key: Key = values if len(parts) > 1 else values[0]
    if document_id(key) != encoded:
        raise ValueError(f"{encoded!r} is not the id of a key: {key!r} would be {document_id(key)!r}")
    return key


# --- filters and measures -----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Equals:
    """Count only entries whose ``field`` is exactly the string ``value``."""

    field: str
    value: str

    def admits(self, fields: Mapping[str, object]) -> bool:
        """False also if the field is missing: whoever counts by that field rejects it."""
        try:
            return look_up(fields, self.field) == self.value
        except Unusable:
            return False


class Measure(ABC):
    """A whole number that each entry adds to a total."""

    name: str
    """The total's field."""
    field: str | None
    """The entry's field it reads, if any."""

    @abstractmethod
    def of(self, fields: Mapping[str, object]) -> int:
        """What one entry adds; raises `Unusable`."""


@dataclass(frozen=True, slots=True)
class Count(Measure):
    """One for each entry."""

    name: str = "count"
    field: None = None

    def of(self, fields: Mapping[str, object]) -> int:  # noqa: ARG002 - every measure is asked alike
        return 1


@dataclass(frozen=True, slots=True)
class Sum(Measure):
    """The sum of a numeric field in whole units, each entry rounded half to even on its own.

    ``Sum("amount", "milligrams", units=1000)`` adds 12.5 (grams) as 12,500 milligrams.
    """

    field: str
    name: str
    units: int = 1
    """How many units of the total make one of the field."""
    limit: int = 10**12
    """The largest magnitude, in units, that one entry may add: 9 million such entries fit a total."""

    def of(self, fields: Mapping[str, object]) -> int:
        value = look_up(fields, self.field)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise Unusable(self.field, f"expected a number, found {type_name(value)}")
        if not math.isfinite(value):
            raise Unusable(self.field, "expected a finite number")
        units = round(Fraction(value) * self.units)
        if abs(units) > self.limit:
            raise Unusable(self.field, f"expected at most {self.limit} {self.name} an entry, found more")
        return units


# --- aggregations and sources -------------------------------------------------------------------


@dataclass(frozen=True)
class Aggregation:
    """One set of totals: ``measures`` of the entries that ``where`` admits, by ``key``."""

    collection: str
    """Where the totals live, one document a key."""
    key: KeyPart | tuple[KeyPart, ...]
    where: Equals | None = None
    measures: tuple[Measure, ...] = (Count(),)

    def __post_init__(self) -> None:
        names = [measure.name for measure in self.measures]
        plain = all(re.fullmatch(r"[A-Za-z_][A-Za-z_0-9]*", name) for name in names)
        if (
            names[:1] != ["count"]
            or len(set(names)) < len(names)
            or RESERVED_FIELDS & set(names)
            or not plain
        ):
            raise DeclarationError(
                f"{self.collection}: measures {names}: `count` comes first, names differ, hold letters, "
                f"digits and _, and none of {sorted(RESERVED_FIELDS)} is one"
            )
        if isinstance(self.key, tuple) and len(self.key) < 2:
            raise DeclarationError(f"{self.collection}: a composite key has two parts or more")

    @property
    def parts(self) -> tuple[KeyPart, ...]:
        """The key's parts; one of them for a simple key."""
        return self.key if isinstance(self.key, tuple) else (self.key,)

    @property
    def fields(self) -> frozenset[str]:
        """Dotted paths of every entry field that this declaration reads."""
        read = {part.field for part in self.parts} | {m.field for m in self.measures if m.field}
        return frozenset(read | ({self.where.field} if self.where else set()))

    def key_of(self, fields: Mapping[str, object]) -> Key:
        """The key an entry is counted under; raises `Unusable`."""
        if isinstance(self.key, tuple):
            return tuple(part.of(fields) for part in self.key)
        return self.key.of(fields)

    def stored_key(self, key: Key) -> Part | dict[str, Part]:
        """What a total's ``key`` field holds: the raw value, or a map by part for a composite key."""
        if isinstance(key, tuple):
            return {part.name: value for part, value in zip(self.parts, key, strict=True)}
        return key

    def parse_stored_key(self, stored: object) -> Key | None:
        """The inverse of `stored_key`; None if ``stored`` is no key of this aggregation."""
        if not isinstance(self.key, tuple):
            return stored if isinstance(stored, str | int) else None
        if not isinstance(stored, Mapping):
            return None
        found = (stored.get(part.name) for part in self.parts)
        values = tuple(value for value in found if isinstance(value, str | int))
        return values if len(values) == len(self.parts) else None


@dataclass(frozen=True)
class Source:
    """An event collection, what is counted of it, and where the book-keeping lives."""

    collection: str
    aggregations: tuple[Aggregation, ...]
    state: str = "aggregates/last_processed"
    """The document that holds the watermark and the lease."""
    seen: str = "aggregates_seen"
    """The collection of markers, one for each applied entry."""
    rejected: str = "aggregates_rejected"
    """The collection of what could not be counted, with the reasons."""
    runs: str = "aggregates_runs"
    """The collection of recompute runs."""

    def __post_init__(self) -> None:
        homes = [a.collection for a in self.aggregations] + [self.collection, self.seen, self.rejected]
        homes += [self.runs, self.state.rpartition("/")[0]]
        if not self.aggregations or len(set(homes)) < len(homes):
            raise DeclarationError(
                f"source {self.collection}: it needs an aggregation, and each collection serves one purpose: "
                f"{homes}"
            )

    @property
    def fields(self) -> frozenset[str]:
        """Dotted paths of every entry field that any declaration reads."""
        return frozenset().union(*(aggregation.fields for aggregation in self.aggregations))

    def aggregation(self, collection: str) -> Aggregation:
        """The aggregation whose totals live in ``collection``; raises KeyError."""
        for aggregation in self.aggregations:
            if aggregation.collection == collection:
                return aggregation
        raise KeyError(collection)


# --- from entries to deltas ---------------------------------------------------------------------


class Cell(NamedTuple):
    """One total: a document of an aggregation."""

    collection: str
    key: Key

    @property
    def path(self) -> str:
        """The document's path below the database root."""
        return f"{self.collection}/{document_id(self.key)}"


Deltas: TypeAlias = Mapping[Cell, Mapping[str, int]]
"""What to add, by cell and measure. ``{}`` is the neutral element of `add`."""


@dataclass(frozen=True, slots=True)
class Contribution:
    """What one entry adds, and what of it could not be counted."""

    deltas: Deltas
    rejections: tuple[Rejection, ...] = ()


def contribution(source: Source, fields: Mapping[str, object]) -> Contribution:
    """What an entry with these fields adds to the source's totals. Never raises for any fields.

    An aggregation counts the entry if it can derive its key; a measure that can not be read is
    rejected by itself and the others still count.
    """
    deltas: dict[Cell, dict[str, int]] = {}
    rejections: list[Rejection] = []
    for aggregation in source.aggregations:
        if aggregation.where and not aggregation.where.admits(fields):
            continue
        try:
            cell = Cell(aggregation.collection, aggregation.key_of(fields))
        except Unusable as unusable:
            rejections.append(Rejection(aggregation.collection, unusable.field, unusable.reason))
            continue
        deltas[cell] = _measure(aggregation, fields, rejections)
    return Contribution(deltas, tuple(rejections))


def _measure(
    aggregation: Aggregation, fields: Mapping[str, object], rejections: list[Rejection]
) -> dict[str, int]:
    added: dict[str, int] = {}
    for measure in aggregation.measures:
        try:
            added[measure.name] = measure.of(fields)
        except Unusable as unusable:
            rejections.append(Rejection(aggregation.collection, unusable.field, unusable.reason))
    return added


def add(deltas: Iterable[Deltas]) -> dict[Cell, dict[str, int]]:
    """The sum of many deltas. Associative, commutative, ``{}`` neutral."""
    total: dict[Cell, dict[str, int]] = {}
    for each in deltas:
        for cell, measures in each.items():
            into = total.setdefault(cell, {})
            for name, amount in measures.items():
                into[name] = into.get(name, 0) + amount
    return total


def fold(source: Source, entries: Iterable[Mapping[str, object]]) -> dict[Cell, dict[str, int]]:
    """The totals of a whole collection, from the fields of its entries: what every strategy must give."""
    return add(contribution(source, fields).deltas for fields in entries)

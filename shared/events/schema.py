"""What an event must hold to become an entry that Libra writes itself. Pure: now is an argument."""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property

from shared.aggregation.declarations import Source
from shared.aggregation.entries import type_name
from shared.aggregation.ids import document_id
from shared.errors import DeclarationError
from shared.events.kinds import Kind, Text
from shared.events.plain import Unfit, is_name, stored_bytes
from shared.watermark import check_aware

MAX_EVENT_ID_BYTES = 480
"""The longest id of an event. Percent-encoded, with a hash in front, it still is a document's id."""

MOST_UNKNOWN = 20
"""Fields that nobody declared and that a refusal names. The others are counted: an answer stays small."""

MAX_EVENT_BYTES = 512 * 1024
"""What the fields of a schema may take together: half of what a Firestore document holds."""

_SPREAD = 8
"""Hexadecimal digits in front of an entry's id."""

_PLAIN = re.compile(r"[0-9A-Za-z][0-9A-Za-z_.:-]{,479}").fullmatch
"""Whether `document_id` leaves an id as it is. Each event has another one: they are not worth its cache."""


@dataclass(frozen=True, slots=True)
class Violation:
    """What is wrong with one field of an event. It says the type or size that was found, not the value."""

    field: str
    """The field's name; empty where the event as a whole is meant."""
    found: str
    allowed: str

    def __str__(self) -> str:
        return f"{self.field or 'the event'}: expected {self.allowed}, found {self.found}"


@dataclass(frozen=True, slots=True)
class Admitted:
    """An event that may become an entry."""

    id: str
    """What names the event: each delivery has the same one."""
    fields: Mapping[str, object]
    """What the entry holds: values that Firestore can store."""

    @property
    def document_id(self) -> str:
        """The id of the entry. The hash in front spreads ids that follow one another."""
        own = self.id if _PLAIN(self.id) else document_id(self.id)
        return f"{hashlib.sha256(self.id.encode()).hexdigest()[:_SPREAD]}-{own}"

    @property
    def size(self) -> int:
        """Bytes that the entry takes, as Firestore counts them."""
        return stored_bytes(self.fields)

    def same_as(self, stored: Mapping[str, object]) -> bool:
        """Whether an entry that is stored says exactly this."""
        return stored is self.fields or _canonical(self.fields) == _canonical(stored)


@dataclass(frozen=True, slots=True)
class Field:
    """One field of an event."""

    name: str
    kind: Kind
    required: bool = True
    """Whether an event without it is refused. Null is no value."""


@dataclass(frozen=True)
class Schema:
    """The fields of a source's events. An event with any other field is refused."""

    fields: tuple[Field, ...]
    id: str | None = None
    """The field whose text names an event. None: all that an event says names it, so two events that say
    exactly the same are one."""

    def __post_init__(self) -> None:
        names = [field.name for field in self.fields]
        if not names or len(set(names)) < len(names) or not all(map(is_name, names)):
            raise DeclarationError(
                f"a schema of {names}: it needs fields, and their names differ and are allowed in Firestore"
            )
        size = sum(len(field.name.encode()) + 1 + field.kind.most_bytes for field in self.fields)
        if size > MAX_EVENT_BYTES:
            raise DeclarationError(
                f"a schema of {names}: an event may take {size} bytes: expected {MAX_EVENT_BYTES} at most"
            )
        if self.id is not None:
            self._check_id(self._by_name.get(self.id))

    def _check_id(self, field: Field | None) -> None:
        kind = field.kind if field and field.required else None
        if not isinstance(kind, Text) or kind.most > MAX_EVENT_ID_BYTES:
            raise DeclarationError(
                f"a schema with the id {self.id!r}: expected the name of a required field of the kind Text, "
                f"with {MAX_EVENT_ID_BYTES} bytes at most"
            )

    @cached_property
    def _by_name(self) -> dict[str, Field]:
        return {field.name: field for field in self.fields}

    @cached_property
    def _declared(self) -> str:
        return ", ".join(self._by_name)

    def admit(self, event: object, now: datetime) -> Admitted | list[Violation]:
        """What the event becomes; or everything that is wrong with it. Never raises for any event.

        Args:
            event: a mapping of fields, as JSON has them; a time may be an aware datetime, too.
            now: to judge how far a time is off.
        """
        check_aware(now, "now")
        if not isinstance(event, Mapping):
            return [Violation("", type_name(event), "an object of fields")]
        unknown = [name for name in event if name not in self._by_name]
        wrong = [
            Violation(_shown(name), "a field that is not declared", self._declared)
            for name in unknown[:MOST_UNKNOWN]
        ]
        if (more := len(unknown) - MOST_UNKNOWN) > 0:
            wrong.append(Violation("", f"{more} more fields that are not declared", self._declared))
        fields: dict[str, object] = {}
        for field in self.fields:
            value = event.get(field.name)
            if value is None and field.required:
                wrong.append(Violation(field.name, "null" if field.name in event else "nothing", "a value"))
            elif value is not None:
                try:
                    fields[field.name] = field.kind.read(value, now)
                except Unfit as unfit:
                    wrong.append(Violation(field.name, unfit.found, unfit.allowed))
        if wrong:
            return wrong
        return self._admitted(fields)

    def _admitted(self, fields: Mapping[str, object]) -> Admitted:
        return Admitted(str(fields[self.id]) if self.id else _digest(fields), fields)


@dataclass(frozen=True)
class EventSource(Source):
    """A source whose entries Libra writes itself, from events (`shared.intake`)."""

    schema: Schema
    """What its events must hold."""


def _digest(fields: Mapping[str, object]) -> str:
    return hashlib.sha256(_canonical(fields).encode()).hexdigest()[:32]


def _canonical(fields: Mapping[str, object]) -> str:
    """Text that is the same exactly for the same fields: 1, 1.0 and true are three values."""
    return json.dumps(fields, sort_keys=True, separators=(",", ":"), default=_spelled)


def _spelled(value: object) -> str:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="microseconds")
    return repr(value)


def _shown(name: object) -> str:
    """The name of a field that a caller made up, for a message: short, and on one line."""
    return ascii(str(name)[:100])[1:-1]

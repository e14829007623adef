"""What an entry is, how its fields are read, and why a field cannot be used. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from shared.watermark import check_aware


@dataclass(frozen=True, slots=True)
class Version:
    """What a document held from one commit on."""

    time: datetime
    """The document's update time: when Firestore committed this version (aware; microseconds)."""
    fields: Mapping[str, object]
    """At least the fields that the source's declarations read."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One change of one document of a source: its creation, an edit, or its deletion."""

    path: str
    """The full document name, ``projects/P/databases/D/documents/libra/ID``."""
    time: datetime
    """The update time of the version that the change made, which is its commit time (aware; microseconds). Of
    a deletion, the update time of the version that was deleted: its own commit time is not told."""
    fields: Mapping[str, object] = field(default_factory=dict)
    """At least the fields that the source's declarations read; event time is one of them. None are left after
    a deletion."""
    old: Version | None = None
    """The version that an edit replaced, or that a deletion took away. None: this is a creation."""
    gone: bool = False
    """Whether this is a deletion."""

    def __post_init__(self) -> None:
        check_aware(self.time, f"the time of {self.path}")

    @classmethod
    def deleted(cls, path: str, old: Version) -> "Entry":
        """The deletion of a document whose last version was ``old``."""
        return cls(path, old.time, old=old, gone=True)


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
        # `type` first: to ask an abstract class takes longer than all the rest of this.
        a_map = type(value) is dict or isinstance(value, Mapping)
        value = value.get(name, _MISSING) if a_map else _MISSING  # type: ignore[attr-defined]  # it is one
        if value is _MISSING:
            raise Unusable(path, "missing")
    return value

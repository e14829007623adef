"""An aggregation and a source, as they are declared. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from shared.aggregation.filters import Where
from shared.aggregation.keys import Key, KeyPart, Part, TimeKey
from shared.aggregation.lists import MAX_VALUES, Bounded
from shared.aggregation.measures import Count, Extreme, Measure, is_column
from shared.errors import DeclarationError

RESERVED_FIELDS = frozenset({"archived", "archived_page", "key", "recent", "updated_at"})
"""Fields of a total that no measure may be named after."""


@dataclass(frozen=True)
class Aggregation:
    """One set of totals: ``measures`` of the entries that ``where`` admits, by ``key``."""

    name: str
    """What the set of totals is called. It is also their collection, unless the `Home` says otherwise."""
    key: KeyPart | tuple[KeyPart, ...]
    where: Where | None = None
    measures: tuple[Measure, ...] = (Count(),)

    def __post_init__(self) -> None:
        names = list(self.stored_fields)
        if (
            self.measures[:1] != (Count(),)
            or len(set(names)) < len(names)
            or RESERVED_FIELDS & set(names)
            or not all(map(is_column, names))
        ):
            raise DeclarationError(
                f"{self.name}: measures {names}: `count` comes first, names differ, hold letters, "
                f"digits and _, and none of {sorted(RESERVED_FIELDS)} is one"
            )
        if isinstance(self.key, tuple) and len(self.key) < 2:
            raise DeclarationError(f"{self.name}: a composite key has two parts or more")
        bounded = sum(part.most for part in self.parts if isinstance(part, Bounded))
        if bounded > MAX_VALUES:
            raise DeclarationError(
                f"{self.name}: its bounded keys have {bounded} values: expected {MAX_VALUES} at most"
            )
        parts = [part.name for part in self.parts]
        if len(set(parts)) < len(parts):
            raise DeclarationError(
                f"{self.name}: parts {parts} of its key: their names differ; "
                "TimeKey(..., called=NAME) gives one another name"
            )

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """The fields of a total that the measures add to, in their order."""
        return tuple(column for measure in self.measures for column in measure.columns)

    @property
    def stored_fields(self) -> tuple[str, ...]:
        """The fields of a total that hold what is measured."""
        return (*self.columns, *(name for each in self.extremes for name in (each.name, each.at)))

    @cached_property
    def extremes(self) -> tuple[Extreme, ...]:
        """The measures that do not add up."""
        return tuple(measure for measure in self.measures if isinstance(measure, Extreme))

    @property
    def parts(self) -> tuple[KeyPart, ...]:
        """The key's parts; one of them for a simple key."""
        return self.key if isinstance(self.key, tuple) else (self.key,)

    @property
    def fields(self) -> frozenset[str]:
        """Dotted paths of every entry field that this declaration reads."""
        read = {part.field for part in self.parts} | {m.field for m in self.measures if m.field}
        return frozenset(read | (self.where.fields if self.where else frozenset()))

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
            return stored if isinstance(stored, str | int) and self.key.holds(stored) else None
        if not isinstance(stored, Mapping):
            return None
        found = [(part, stored.get(part.name)) for part in self.parts]
        values = tuple(v for part, v in found if isinstance(v, str | int) and part.holds(v))
        return values if len(values) == len(self.parts) else None


@dataclass(frozen=True)
class Source:
    """A kind of entry, and what is counted of it. A `Home` names the collections it is kept in."""

    name: str
    aggregations: tuple[Aggregation, ...]

    def __post_init__(self) -> None:
        names = [aggregation.name for aggregation in self.aggregations]
        if not names or len(set(names)) < len(names):
            raise DeclarationError(
                f"source {self.name}: it needs an aggregation, and the names of aggregations differ: {names}"
            )

    @cached_property
    def fields(self) -> frozenset[str]:
        """Dotted paths of every entry field that any declaration reads."""
        return frozenset().union(*(aggregation.fields for aggregation in self.aggregations))

    @cached_property
    def top_fields(self) -> frozenset[str]:
        """The top-level fields that hold `fields`."""
        return frozenset(path.partition(".")[0] for path in self.fields)

    @cached_property
    def event_time(self) -> str | None:
        """The field of the entries' event time: the first that a `TimeKey` reads. None if none does."""
        parts = (part for aggregation in self.aggregations for part in aggregation.parts)
        return next((part.field for part in parts if isinstance(part, TimeKey)), None)

    def aggregation(self, name: str) -> Aggregation:
        """The aggregation of this name; raises KeyError."""
        for aggregation in self.aggregations:
            if aggregation.name == name:
                return aggregation
        raise KeyError(name)

"""Which entries an aggregation counts. Pure.

A filter reads the entry alone and never raises: a field that is missing, or of another type, is not what the
filter asks for. Types are exact: True, 1, 1.0 and "1" are four values.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import TypeAlias

from shared.aggregation.entries import Unusable, look_up
from shared.aggregation.keys import MAX_KEY_BYTES
from shared.errors import DeclarationError

Value: TypeAlias = str | int | bool
"""What a field is compared with. A floating-point number or a time is compared by `Range`."""

Bound: TypeAlias = int | float | str | datetime


class Where(ABC):
    """A condition on one entry."""

    @property
    @abstractmethod
    def leaves(self) -> tuple["Leaf", ...]:
        """The conditions on one field that it is made of."""

    @abstractmethod
    def admits(self, fields: Mapping[str, object]) -> bool:
        """Whether an entry with these fields is counted. Never raises."""

    @property
    def fields(self) -> frozenset[str]:
        """Dotted paths of every field that it reads."""
        return frozenset(leaf.field for leaf in self.leaves)


class Leaf(Where):
    """A condition on one field."""

    field: str

    @property
    def leaves(self) -> tuple["Leaf", ...]:
        return (self,)


@dataclass(frozen=True, slots=True)
class Equals(Leaf):
    """Count only entries whose ``field`` is exactly ``value``: a string, an integer or a boolean."""

    field: str
    value: Value

    def __post_init__(self) -> None:
        _check(self.field, self.value)

    def admits(self, fields: Mapping[str, object]) -> bool:
        """False also if the field is missing: an aggregation whose key is that field rejects it."""
        try:
            found = look_up(fields, self.field)
        except Unusable:
            return False
        return found == self.value and type(found) is type(self.value)


@dataclass(frozen=True)
class In(Leaf):
    """Count only entries whose ``field`` is exactly one of ``values``, which may be of different types."""

    field: str
    values: tuple[Value, ...]

    def __post_init__(self) -> None:
        for value in self.values:
            _check(self.field, value)
        if not self.values:
            raise DeclarationError(f"a filter on {self.field}: In has no value: expected one or more")

    def admits(self, fields: Mapping[str, object]) -> bool:
        try:
            found = look_up(fields, self.field)
        except Unusable:
            return False
        return isinstance(found, str | int) and (type(found), found) in self._typed

    @cached_property
    def _typed(self) -> frozenset[tuple[type, Value]]:
        return frozenset((type(value), value) for value in self.values)


@dataclass(frozen=True, slots=True)
class Exists(Leaf):
    """Count only entries that have ``field``, whatever it holds: null too."""

    field: str

    def admits(self, fields: Mapping[str, object]) -> bool:
        try:
            look_up(fields, self.field)
        except Unusable:
            return False
        return True


@dataclass(frozen=True, slots=True)
class Range(Leaf):
    """Count only entries with ``at_least <= field < below``; None: no bound on that side.

    Half-open, so that ranges that follow on one another have no entry in common and leave none out. The
    bounds are finite numbers, strings (ordered by code point, as in Firestore) or aware datetimes. A field
    of another type is outside. Integers and floating-point numbers are one type here. NaN is outside.
    """

    field: str
    at_least: Bound | None = None
    below: Bound | None = None

    def __post_init__(self) -> None:
        bounds = self.bounds
        orders = {_order(bound) for bound in bounds}
        alike = all(map(_usable, bounds)) and len(orders) == 1 and None not in orders
        if not alike or list(bounds) != sorted(set(bounds)):
            raise DeclarationError(
                f"a filter on {self.field}: Range from {self.at_least!r:.50} to {self.below!r:.50}: expected "
                "one bound or two ascending ones, both finite numbers, strings of at most "
                f"{MAX_KEY_BYTES} bytes, or aware datetimes"
            )

    @property
    def bounds(self) -> tuple[Bound, ...]:
        """The bounds there are, the lower one first."""
        return tuple(bound for bound in (self.at_least, self.below) if bound is not None)

    def admits(self, fields: Mapping[str, object]) -> bool:
        try:
            found = look_up(fields, self.field)
        except Unusable:
            return False
        if _order(found) != _order(self.bounds[0]):
            return False
        return (self.at_least is None or self.at_least <= found) and (  # type: ignore[operator]  # one kind
            self.below is None or found < self.below  # type: ignore[operator]
        )


@dataclass(frozen=True, slots=True)
class Not(Where):
    """Count every entry that ``condition`` does not admit, also one in which a field is missing."""

    condition: Where

    @property
    def leaves(self) -> tuple[Leaf, ...]:
        return self.condition.leaves

    def admits(self, fields: Mapping[str, object]) -> bool:
        return not self.condition.admits(fields)


@dataclass(frozen=True, slots=True, init=False)
class _Many(Where):
    conditions: tuple[Where, ...]

    def __init__(self, *conditions: Where) -> None:
        if len(conditions) < 2:
            name = type(self).__name__
            raise DeclarationError(f"a filter: {name} of {conditions!r}: expected two conditions or more")
        object.__setattr__(self, "conditions", conditions)

    @property
    def leaves(self) -> tuple[Leaf, ...]:
        return tuple(leaf for condition in self.conditions for leaf in condition.leaves)


class And(_Many):
    """Count only entries that every condition admits: ``And(Equals("a", 1), Exists("b"))``."""

    __slots__ = ()

    def admits(self, fields: Mapping[str, object]) -> bool:
        return all(condition.admits(fields) for condition in self.conditions)


class Or(_Many):
    """Count only entries that at least one condition admits."""

    __slots__ = ()

    def admits(self, fields: Mapping[str, object]) -> bool:
        return any(condition.admits(fields) for condition in self.conditions)


def _check(field: str, value: object) -> None:
    """Refuse what no field can be compared with exactly."""
    if not isinstance(value, str | int) or not _usable(value):
        raise DeclarationError(
            f"a filter on {field}: the value {value!r:.50}: expected a string of at most {MAX_KEY_BYTES} "
            "bytes, an integer or a boolean; a Range takes other numbers, and times"
        )


def _usable(value: object) -> bool:
    """Whether a declaration may name ``value``."""
    if isinstance(value, str):
        try:
            return len(value.encode()) <= MAX_KEY_BYTES
        except UnicodeEncodeError:
            return False
    if isinstance(value, float):
        return math.isfinite(value)
    return isinstance(value, int) or _order(value) is not None


def _order(value: object) -> str | None:
    """The name of the order that a value stands in; None if it stands in none."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        return "number" if value == value else None  # noqa: PLR0124 - NaN is not equal to itself
    if isinstance(value, str):
        return "string"
    return "time" if isinstance(value, datetime) and value.tzinfo is not None else None

"""Which entries an aggregation counts, and the whole numbers that each of them adds. Pure."""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction

from shared.aggregation.entries import Unusable, look_up, type_name


@dataclass(frozen=True, slots=True)
class Equals:
    """Count only entries whose ``field`` is exactly the string ``value``."""

    field: str
    value: str

    def admits(self, fields: Mapping[str, object]) -> bool:
        """False also if the field is missing: an aggregation whose key is that field rejects it."""
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

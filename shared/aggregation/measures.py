"""The whole numbers that each entry adds to a total. Pure."""

import math
import re
from abc import ABC, abstractmethod
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property

from shared.aggregation.entries import Unusable, look_up, type_name
from shared.errors import DeclarationError

LARGEST = 10**12
"""The largest magnitude that one entry may add to a column. Firestore's integers end at 2^63: more than nine
million entries fit a total even if each of them adds this much."""

MAX_CELLS = 32
"""The most cells of a histogram. Each bucket of commit times has a number for each cell that was added to in
it, of about 50 bytes: a day of 10-minute buckets takes 230 kB of a total, and a document holds 1 MiB."""


class Measure(ABC):
    """What each entry adds to a total: whole numbers, in one column or more."""

    name: str
    """The total's field, or what the names of its columns begin with."""
    field: str | None
    """The entry's field it reads, if any."""

    @property
    @abstractmethod
    def columns(self) -> tuple[str, ...]:
        """The total's fields that it adds to."""

    @abstractmethod
    def of(self, fields: Mapping[str, object]) -> Mapping[str, int]:
        """What one entry adds, by column; a column that is not in it gets nothing. Raises `Unusable`."""


@dataclass(frozen=True, slots=True)
class Count(Measure):
    """One for each entry."""

    name: str = "count"
    field: None = None

    @property
    def columns(self) -> tuple[str, ...]:
        return (self.name,)

    def of(self, fields: Mapping[str, object]) -> Mapping[str, int]:  # noqa: ARG002 - every measure is asked alike
        return {self.name: 1}


@dataclass(frozen=True, slots=True)
class Sum(Measure):
    """The sum of a numeric field in whole units, each entry rounded half to even on its own.

    ``Sum("amount", "milligrams", units=1000)`` adds 12.5 (grams) as 12,500 milligrams.
    """

    field: str
    name: str
    units: int = 1
    """How many units of the total make one of the field."""
    limit: int = LARGEST
    """The largest magnitude, in units, that one entry may add: `LARGEST` or less."""

    def __post_init__(self) -> None:
        _check(self.name, self.units, self.limit, LARGEST)

    @property
    def columns(self) -> tuple[str, ...]:
        return (self.name,)

    def of(self, fields: Mapping[str, object]) -> Mapping[str, int]:
        return {self.name: _whole(fields, self.field, self.units, self.limit, self.name)}


@dataclass(frozen=True, slots=True)
class SumOfSquares(Measure):
    """The sum of the squares of a numeric field in whole units. With `Sum` and `Count` it gives the variance.

    Each entry is rounded as by a `Sum` of the same units, and then squared. Squares grow fast: the limit is
    a million units, so that a square is `LARGEST` or less.
    """

    field: str
    name: str
    units: int = 1
    """How many units make one of the field; the total is in units squared."""
    limit: int = math.isqrt(LARGEST)
    """The largest magnitude, in units, whose square one entry may add: a million or less."""

    def __post_init__(self) -> None:
        _check(self.name, self.units, self.limit, math.isqrt(LARGEST))

    @property
    def columns(self) -> tuple[str, ...]:
        return (self.name,)

    def of(self, fields: Mapping[str, object]) -> Mapping[str, int]:
        return {self.name: _whole(fields, self.field, self.units, self.limit, "units") ** 2}


@dataclass(frozen=True, slots=True)
class Extreme(Measure):
    """The least or the greatest value of a numeric field in whole units. A run alone keeps it.

    It does not add up, and nothing takes it back: when the entry that holds it is deleted, only the other
    entries can say what is the least or the greatest now. So the trigger does not touch it. A run finds it by
    a scan and sets it, with the watermark at which it was exact in the field `at`.
    """

    field: str
    name: str
    units: int = 1
    """How many units of the stored value make one of the field."""
    limit: int = LARGEST
    """The largest magnitude, in units, that an entry may have; a larger one is rejected for this measure."""

    def __post_init__(self) -> None:
        _check(self.name, self.units, self.limit, LARGEST)

    @property
    def columns(self) -> tuple[str, ...]:
        """None: nothing is added up."""
        return ()

    @property
    def at(self) -> str:
        """The total's field that says at which watermark the value was exact."""
        return f"{self.name}_at"

    def of(self, fields: Mapping[str, object]) -> Mapping[str, int]:
        """Adds nothing; raises `Unusable` as the others do, so that the trigger records it."""
        self.value(fields)
        return {}

    def value(self, fields: Mapping[str, object]) -> int:
        """The entry's value; raises `Unusable`."""
        return _whole(fields, self.field, self.units, self.limit, self.name)

    @abstractmethod
    def of_two(self, one: int, other: int) -> int:
        """The one of two values that is kept."""


class Minimum(Extreme):
    """The least value of a numeric field, as of the last run."""

    __slots__ = ()

    def of_two(self, one: int, other: int) -> int:
        return min(one, other)


class Maximum(Extreme):
    """The greatest value of a numeric field, as of the last run."""

    __slots__ = ()

    def of_two(self, one: int, other: int) -> int:
        return max(one, other)


@dataclass(frozen=True)
class Histogram(Measure):
    """How many entries have a numeric field in each of some fixed cells: one column for each cell.

    ``Histogram("amount", "grams", (10, 100))`` has three: ``grams_0`` counts entries below 10, ``grams_1``
    those from 10 to below 100, and ``grams_2`` those from 100 on. The cells add up to the number of entries
    whose field is a number. Give a histogram with other bounds another name: the columns would mean
    something else.
    """

    field: str
    name: str
    bounds: tuple[int | float, ...]
    """Where a cell ends and the next begins, ascending: 1 to 31 finite numbers."""

    def __post_init__(self) -> None:
        numbers = all(type(bound) in (int, float) and abs(bound) <= LARGEST for bound in self.bounds)
        if not (
            numbers and 0 < len(self.bounds) < MAX_CELLS and list(self.bounds) == sorted(set(self.bounds))
        ):
            raise DeclarationError(
                f"histogram {self.name}: bounds {self.bounds!r}: expected 1 to {MAX_CELLS - 1} ascending "
                f"numbers, none beyond {LARGEST}"
            )

    @cached_property
    def columns(self) -> tuple[str, ...]:
        return tuple(f"{self.name}_{cell}" for cell in range(len(self.bounds) + 1))

    def of(self, fields: Mapping[str, object]) -> Mapping[str, int]:
        return {self.columns[bisect_right(self.bounds, _number(fields, self.field))]: 1}


def is_column(name: str) -> bool:
    """Whether a total may have a field of this name, and a bucket's label may end with it."""
    return bool(re.fullmatch(r"[A-Za-z_][A-Za-z_0-9]*", name)) and not re.fullmatch(r"__.*__", name)


def _check(name: str, units: int, limit: int, most: int) -> None:
    if units < 1 or not 1 <= limit <= most:
        raise DeclarationError(
            f"measure {name}: units={units}, limit={limit}: expected units of 1 or more, and a limit from 1 "
            f"to {most}, so that millions of entries fit a total"
        )


def _number(fields: Mapping[str, object], field: str) -> int | float:
    value = look_up(fields, field)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise Unusable(field, f"expected a number, found {type_name(value)}")
    if isinstance(value, float) and not math.isfinite(value):
        raise Unusable(field, "expected a finite number")
    return value


def _whole(fields: Mapping[str, object], field: str, units: int, limit: int, name: str) -> int:
    """The field in whole units, rounded half to even."""
    amount = round(Fraction(_number(fields, field)) * units)
    if abs(amount) > limit:
        raise Unusable(field, f"expected at most {limit} {name} an entry, found more")
    return amount

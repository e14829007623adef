"""What the API answers, as frozen records. Times have a zone. `docs/api.md` says what each means."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Self, TypeAlias, get_args, get_type_hints

Part: TypeAlias = str | bool | int
Values: TypeAlias = Mapping[str, int]
"""By measure."""


class Record:
    """What every answer is. It is read from the API's JSON by the types of its fields."""

    __slots__ = ()

    @classmethod
    def of(cls, body: Mapping[str, Any]) -> Self:
        """From JSON. What a newer API says besides is left out.

        Raises:
            KeyError: a field is missing.
        """
        return cls(**{name: _value(hint, body[name]) for name, hint in get_type_hints(cls).items()})


def _value(hint: Any, value: Any) -> Any:
    kinds = (hint, *get_args(hint))
    if isinstance(value, list):
        return tuple(_value(kinds[1], each) for each in value)
    if isinstance(value, str) and datetime in kinds:
        return datetime.fromisoformat(value)
    return hint.of(value) if isinstance(hint, type) and issubclass(hint, Record) else value


@dataclass(frozen=True, slots=True)
class KeyPart(Record):
    """A part of a key."""

    name: str
    field: str
    kind: str
    """``string``, ``integer``, ``boolean``, or the grain of time."""
    zone: str | None


@dataclass(frozen=True, slots=True)
class Aggregation(Record):
    """One set of totals."""

    name: str
    key: tuple[KeyPart, ...]
    measures: tuple[str, ...]
    where: str | None
    """Which entries are counted; None: all."""


@dataclass(frozen=True, slots=True)
class Total(Record):
    """A total, and how far it is proven."""

    aggregation: str
    id: str
    key: Part | tuple[Part, ...] | None
    """One value for each part of a composite key; None: it is no total of its aggregation."""
    values: Values
    pending: Values
    """What `values` hold of changes after `exact_through`."""
    archived: Values
    """What `values` hold of archived entries."""
    extremes: Values
    """Least and greatest values, by name, as of the last recompute."""
    exact_through: datetime | None
    """`values` less `pending` is exact up to this time; None: for none."""
    settled: bool
    """False: it may be exact at a later time instead, until a recompute has completed."""
    updated_at: datetime | None


@dataclass(frozen=True, slots=True)
class Piece(Record):
    """An entry that lives, and what it adds to a total."""

    id: str
    adds: Values
    running: Values
    """What this entry and those before it add, of all pages."""
    committed: datetime
    state: str


@dataclass(frozen=True, slots=True)
class Explanation(Record):
    """A page of what makes a total."""

    total: Total
    at: datetime
    """All pages are as of this instant."""
    entries: tuple[Piece, ...]
    reads: int
    waiting: Values
    """What the entries so far add that no trigger has counted yet."""
    unexplained: Values | None
    """What neither living nor archived entries explain; None: only the last page can say."""
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Rejection(Record):
    """Why an aggregation could not count an entry."""

    reason: str
    aggregation: str | None
    field: str | None


@dataclass(frozen=True, slots=True)
class EntryStatus(Record):
    """What became of an entry."""

    id: str
    state: str
    created: datetime | None
    updated: datetime | None
    """When its current version was committed."""
    rejections: tuple[Rejection, ...]
    recorded: tuple[Rejection, ...]
    exact_through: datetime | None


@dataclass(frozen=True, slots=True)
class Entry(Record):
    """An entry as it is stored."""

    id: str
    fields: Mapping[str, Any]
    created: datetime
    updated: datetime


@dataclass(frozen=True, slots=True)
class AggregationFreshness(Record):
    """How one aggregation stands."""

    name: str
    state: str
    exact_through: datetime | None
    pending: int


@dataclass(frozen=True, slots=True)
class SourceFreshness(Record):
    """How fresh and how certain the totals of a source are."""

    source: str
    at: datetime
    watermark: datetime | None
    lag_seconds: float | None
    sealed: datetime | None
    run_id: str | None
    """The recompute that is under way."""
    aggregations: tuple[AggregationFreshness, ...]


@dataclass(frozen=True, slots=True)
class Freshness(Record):
    """How fresh and how certain the totals are."""

    sources: tuple[SourceFreshness, ...]


@dataclass(frozen=True, slots=True)
class Run(Record):
    """A recompute."""

    run_id: str
    state: str
    started: datetime
    watermark: datetime | None
    strategy: str | None
    entries: int | None
    drift: int | None
    corrected: int | None
    seconds: float | None
    error: str | None


@dataclass(frozen=True, slots=True)
class RunDetail(Record):
    """A recompute with its whole record."""

    run: Run
    record: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Rejected(Record):
    """A version of an entry that could not be counted, or an event that describes none."""

    id: str
    entry: str | None
    event: str | None
    version: datetime | None
    reasons: tuple[Rejection, ...]
    rejected_at: datetime | None


@dataclass(frozen=True, slots=True)
class Retried(Record):
    """What a second look at something rejected found."""

    verdict: str
    removed: bool
    reasons: tuple[Rejection, ...]


@dataclass(frozen=True, slots=True)
class UsageWindow(Record):
    """What a merchant has used of a metric in one window."""

    begin: str
    """The first date, or the instant at which the hour begins."""
    metric: str
    value: int
    sealed: bool
    """Whether every hour of it that has usage is sealed."""


@dataclass(frozen=True, slots=True)
class Usage(Record):
    """What a merchant has used."""

    exact_through: datetime | None
    """Hours that ended by then are sealed; None: no hour is."""
    windows: tuple[UsageWindow, ...]

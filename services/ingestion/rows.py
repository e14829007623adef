"""What a source hands over and what a table takes. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from typing import Literal, LiteralString, Protocol

from services.ingestion.errors import PartError
from services.ingestion.requests import Part

LONGEST_RAW = 10_000
"""Characters of a rejected row that are kept."""


@dataclass(frozen=True, slots=True)
class Rejected:
    """A row of the source that cannot be loaded.

    Attributes:
        line: its number in the source, from 1: of the file, or in the order in which BigQuery sent it.
        reason: names the column, what was found and what is allowed.
        raw: the row as it was, cut where it is long.
        key: of a file's row: the key that it has; empty: it has none; None: nobody can tell.
    """

    line: int
    reason: str
    raw: str
    key: str | None = ""


@dataclass(frozen=True, slots=True)
class Batch:
    """A few rows of a source: those that can be loaded, by the target's columns, and the others."""

    rows: Sequence[tuple[object, ...]]
    rejected: Sequence[Rejected] = ()


@dataclass(frozen=True, slots=True)
class Target:
    """A table, and how a part gets into it.

    Attributes:
        table: its name.
        columns: what a row of a batch holds, in this order. The tenant and the day are added.
        sums: columns of whole numbers whose sums are asserted and kept in the book.
        key: None: the part is a day, and replaces what the day held. A column: the part is everything
            there is, and is merged by this column; what is not in it is marked with `left_on`.
    """

    table: LiteralString
    columns: tuple[LiteralString, ...]
    sums: tuple[LiteralString, ...] = ()
    key: LiteralString | None = None


class Reading(Protocol):
    """One part of a source, opened to be read once from its beginning to its end."""

    source: str
    """The table or file, for messages and the book."""
    day: date
    modified_at: datetime | None
    """When the source last changed."""
    sha256: str | None
    """Of a file."""
    provisional: bool
    """Whether the source will still change."""

    def batches(self) -> Iterator[Batch]:
        """The rows. Raises PartError where they end before their end."""

    def check(self, rows: int) -> None:
        """Compare how many rows were read with a count that the reader did not make; `same_rows`.

        Raises:
            PartError: the source holds another number.
        """

    def close(self) -> None:
        """Let go of what is open, whether it was read or not."""


@dataclass(frozen=True, slots=True)
class Ceilings:
    """What may be wrong with a part that is loaded all the same, as shares."""

    rejected: Decimal = Decimal("0.01")
    """Of the rows of the source."""
    left: Decimal = Decimal("0.2")
    """Of the rows that the latest file had: how many the next one may lack."""


class Sources(Protocol):
    """The sources of one tenant."""

    @property
    def ceilings(self) -> Ceilings:
        """What may be wrong with a part of this tenant."""

    def target(self, kind: str) -> Target:
        """Where a kind of rows goes."""

    def open(self, part: Part) -> Reading | Literal["absent", "same"]:
        """A part, ready to be read; or why there is nothing to load: its source is not there, or it is
        the one that is loaded.

        Raises:
            PartError: it cannot be read.
        """

    def close(self) -> None:
        """Close the connections."""


@dataclass(slots=True)
class Tally:
    """What was read of a part so far."""

    target: Target
    loaded: int = 0
    rejected: int = 0
    unknown: bool = False
    """Whether a rejected row does not say whose it is."""
    sums: dict[str, int] = field(default_factory=dict)

    def add(self, batch: Batch) -> None:
        """Count a batch."""
        self.loaded += len(batch.rows)
        self.rejected += len(batch.rejected)
        self.unknown = self.unknown or any(it.key is None for it in batch.rejected)
        for name in self.target.sums:
            place = self.target.columns.index(name)
            self.sums[name] = self.sums.get(name, 0) + sum(_whole(row[place]) for row in batch.rows)

    @property
    def rows(self) -> int:
        """Rows of the source."""
        return self.loaded + self.rejected

    @property
    def counts(self) -> Mapping[str, int]:
        """What a job adds up."""
        return {"rows": self.rows, "loaded": self.loaded, "rejected": self.rejected, "parts": 1}


def _whole(value: object) -> int:
    assert isinstance(value, int)  # noqa: S101 - a summed column holds whole numbers
    return value


def same_rows(source: str, counted: int, read: int) -> None:
    """Raises PartError where a source holds another number of rows than were read."""
    if counted != read:
        raise PartError("sums", f"{source} has {counted} rows, {read} were read: start again, and report it")


def above(tally: Tally, ceiling: Decimal) -> bool:
    """Whether more rows were rejected than may be."""
    return tally.rejected > ceiling * tally.rows

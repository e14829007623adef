"""Are the tables what the sources hold? BigQuery and PostgreSQL count, and the books are compared.

Rows of the source = rows of the book = loaded + rejected, and loaded = rows of the table.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Protocol, cast

from services.ingestion import ga4
from services.ingestion.availability import Booked, booked
from services.ingestion.books import Books
from services.ingestion.requests import EVENTS
from shared.postgres import Cursor


class Counting(Protocol):
    """Counts a day's events by their names."""

    def count(self, day: date) -> dict[str, int] | None:
        """None: there is no table. Raises PartError."""


@dataclass(frozen=True, slots=True)
class Checked:
    """A day of a type, counted in three places; None: it is not there.

    Attributes:
        source: rows in BigQuery.
        booked: rows of the source by the book, or None: the day was not loaded.
        loaded: rows that the book says were loaded.
        rejected: rows that the book says were rejected.
        table: rows in PostgreSQL.
    """

    kind: str
    day: date
    source: int | None
    booked: int | None
    loaded: int
    rejected: int
    table: int

    @property
    def equal(self) -> bool:
        """Whether all agree. Where the source is gone, what was loaded before stays and is compared alone."""
        source = self.booked if self.source is None else self.source
        return (source or 0) == (
            self.booked or 0
        ) == self.loaded + self.rejected and self.loaded == self.table


def verify(books: Books, tenant: str, counting: Counting, first: date, last: date) -> Iterator[Checked]:
    """Each day of each type from first to last. It changes nothing. Raises PartError."""
    known = {(each.kind, each.day): each for each in booked(books, tenant, first=first, last=last)}
    for number in range((last - first).days + 1):
        day = first + timedelta(days=number)
        counts = counting.count(day)
        for kind in EVENTS:
            book: Booked | None = known.get((kind, day))
            yield Checked(
                kind,
                day,
                source=None if counts is None else counts.get(kind, 0),
                booked=book.source_rows if book else None,
                loaded=book.loaded if book else 0,
                rejected=book.rejected if book else 0,
                table=_held(books, tenant, kind, day),
            )


def _held(books: Books, tenant: str, kind: str, day: date) -> int:
    table = ga4.target(kind).table

    def read(cursor: Cursor) -> int:
        cursor.execute(f"SELECT count(*) FROM {table} WHERE tenant = %s AND day = %s", (tenant, day))
        (number,) = cast("tuple[int]", cursor.fetchone())
        return number

    return books.of(tenant, read)

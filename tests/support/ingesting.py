"""A source in memory for jobs of ingestion, and what the tables hold."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any, Literal

from services.ingestion.books import Books
from services.ingestion.errors import PartError
from services.ingestion.requests import Part, Request
from services.ingestion.rows import Batch, Ceilings, Rejected, Target, same_rows
from services.ingestion.worker import Worker

DAY = date(2026, 1, 5)
LONG = timedelta(hours=1)
PAST = "UPDATE ingest_job SET lease_until = now() - interval '1 second'"
TARGET = Target(
    "ga4_page_view",
    ("event_timestamp", "user_pseudo_id", "params", "user_properties", "items"),
    sums=("event_timestamp",),
)
AT = datetime(2026, 1, 5, 12, tzinfo=UTC)


@dataclass(slots=True)
class Memory:
    """A reading of rows that are numbers; a negative one is rejected."""

    source: str
    day: date
    numbers: list[int]
    size: int
    between: Callable[[], None]
    more: int = 0
    modified_at: datetime | None = AT
    sha256: str | None = None
    provisional: bool = False

    def close(self) -> None:
        """See `Reading`."""

    def check(self, rows: int) -> None:
        """See `Reading`."""
        same_rows(self.source, len(self.numbers) + self.more, rows)

    def batches(self) -> Iterator[Batch]:
        """The rows, a few at a time."""
        for begin in range(0, len(self.numbers), self.size):
            few = list(enumerate(self.numbers[begin : begin + self.size], begin + 1))
            self.between()
            yield Batch(
                [(it, f"u{it}", "{}", "{}", "[]") for _, it in few if it >= 0],
                [Rejected(line, "it is negative", str(it)) for line, it in few if it < 0],
            )


@dataclass(slots=True)
class Shelf:
    """What a source holds by part; a part that is not there is absent, an error is raised.

    ``more``: how many rows its own count has more.
    """

    held: dict[Part, list[int] | PartError] = field(default_factory=dict)
    size: int = 3
    between: Callable[[], None] = lambda: None
    opened: list[Part] = field(default_factory=list)
    ceilings: Ceilings = field(default_factory=Ceilings)
    more: int = 0

    def close(self) -> None:
        """See `Sources`."""

    def target(self, kind: str) -> Target:  # noqa: ARG002 - a protocol's
        """One table for all kinds of the tests."""
        return TARGET

    def open(self, part: Part) -> Memory | Literal["absent", "same"]:
        """See `Sources`."""
        self.opened.append(part)
        found = self.held.get(part)
        if found is None:
            return "absent"
        if isinstance(found, PartError):
            raise found
        assert part.day
        return Memory(f"events_{part.day:%Y%m%d}", part.day, found, self.size, self.between, self.more)


def week(days: int = 3, rows: int = 7, first: int = 0) -> tuple[Request, dict[Part, list[int] | PartError]]:
    """Page views of some days: what to ask for, and what the source holds."""
    request = Request(("page_view",), DAY, date(2026, 1, 4 + days))
    return request, {it: [first + 100 * n + row for row in range(rows)] for n, it in enumerate(request.parts)}


def add_tenant(books: Books, tenant: str) -> None:
    """A tenant with no settings."""
    books.of_all(lambda it: it.execute("INSERT INTO tenant_config (tenant) VALUES (%s)", (tenant,)))


def rows(books: Books, tenant: str, statement: str, *values: Any) -> list[tuple[Any, ...]]:
    """What a statement finds of a tenant."""
    return books.of(tenant, lambda it: it.execute(statement, values).fetchall())


def held(books: Books, tenant: str) -> dict[date, list[int]]:
    """The page views of a tenant, by day."""
    found = rows(
        books, tenant, "SELECT day, array_agg(event_timestamp ORDER BY 1) FROM ga4_page_view GROUP BY day"
    )
    return {day: sorted(numbers) for day, numbers in found}


def worker(books: Books, shelf: Shelf, *, parallel: int = 1) -> Worker:
    """One that waits for nothing."""
    return Worker(books, lambda _: shelf, name="w", parallel=parallel, length=LONG, sleep=lambda _: None)


def expire(books: Books) -> None:
    """As if every worker had been silent for a minute."""
    books.of_all(lambda it: it.execute(PAST))

"""What is loaded, from the books: no table of rows is counted. Pure but for `booked`."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from itertools import pairwise
from typing import cast

from services.ingestion.books import Books
from shared.postgres import Cursor


@dataclass(frozen=True, slots=True)
class Booked:
    """A part that is loaded."""

    kind: str
    day: date
    source: str
    source_rows: int
    loaded: int
    rejected: int
    provisional: bool
    loaded_at: datetime
    job_id: str


@dataclass(frozen=True, slots=True)
class Availability:
    """What is there of a kind.

    Attributes:
        gaps: ranges of days, both ends included, between the earliest and the latest that are not loaded.
        provisional: days that the source may still change.
    """

    kind: str
    earliest: date
    latest: date
    days: int
    loaded: int
    rejected: int
    gaps: tuple[tuple[date, date], ...]
    provisional: tuple[date, ...]
    loaded_at: datetime
    job_id: str


def booked(
    books: Books, tenant: str, *, kind: str | None = None, first: date | None = None, last: date | None = None
) -> list[Booked]:
    """The books of a tenant, by kind and day."""

    def read(cursor: Cursor) -> list[Booked]:
        cursor.execute(
            "SELECT kind, day, source, source_rows, loaded, rejected, provisional, loaded_at, job_id::text"
            " FROM ingest_book WHERE (%(kind)s::text IS NULL OR kind = %(kind)s)"
            " AND day BETWEEN coalesce(%(first)s, '-infinity'::date) AND coalesce(%(last)s, 'infinity'::date)"
            " ORDER BY kind, day",
            {"kind": kind, "first": first, "last": last},
        )
        rows = cast("list[tuple[str, date, str, int, int, int, bool, datetime, str]]", cursor.fetchall())
        return [Booked(*row) for row in rows]

    return books.of(tenant, read)


def available(books: Iterable[Booked], gapless: frozenset[str]) -> list[Availability]:
    """What is there, by kind.

    Args:
        books: in any order.
        gapless: kinds whose days should follow one another; a file may come on any day.
    """
    by_kind: dict[str, list[Booked]] = {}
    for each in sorted(books, key=lambda it: it.day):
        by_kind.setdefault(each.kind, []).append(each)
    return [_of(kind, found, gaps=kind in gapless) for kind, found in sorted(by_kind.items())]


def _of(kind: str, found: list[Booked], *, gaps: bool) -> Availability:
    latest = max(found, key=lambda it: it.loaded_at)
    days = [each.day for each in found]
    return Availability(
        kind,
        earliest=days[0],
        latest=days[-1],
        days=len(days),
        loaded=sum(each.loaded for each in found),
        rejected=sum(each.rejected for each in found),
        gaps=tuple(_gaps(days)) if gaps else (),
        provisional=tuple(each.day for each in found if each.provisional),
        loaded_at=latest.loaded_at,
        job_id=latest.job_id,
    )


def _gaps(days: list[date]) -> Iterator[tuple[date, date]]:
    one = timedelta(days=1)
    for before, after in pairwise(days):
        if after - before > one:
            yield before + one, after - one

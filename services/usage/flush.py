"""The flush: parts go from Redis into the books, hours are sealed, what is booked is deleted from Redis.

Flushes may run at once, twice, late, or die anywhere: a part enters by a join. A run

1. scans Redis for the hashes of parts, page by page, and reads them,
2. joins what it read into the books, a batch in a transaction, and sets aside what cannot be read,
3. deletes from Redis what is sealed, older than any application keeps it, and read back from the books,
4. seals the hours that have been over for long enough, where it scanned all of Redis.
"""

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any, Protocol

from services.usage.books import Booked
from services.usage.counters import Fields
from shared.errors import Invalid, LibraError
from shared.log import logger
from shared.parts import (
    HOUR,
    KEEP,
    Hour,
    Name,
    Part,
    Place,
    Unreadable,
    closed_through,
    join,
    part_field,
    parts_key,
    place,
    read,
    sealed,
)

BATCH = 10_000
"""Parts in one transaction."""
READ = 500
"""Hashes in one message to Redis."""
SLOW_SECONDS = 300
"""A run that takes longer says so: it should end well before the next one begins."""


class CountersLike(Protocol):
    """What the flush needs of `Counters`."""

    def scan(self, merchant: str | None = None, day: date | None = None) -> Iterator[list[bytes]]:
        """See `Counters.scan`."""

    def read(self, keys: Sequence[bytes]) -> Iterable[tuple[bytes, Fields | Unreadable]]:
        """See `Counters.read`."""

    def forget(self, read: Iterable[tuple[bytes, Fields]]) -> int:
        """See `Counters.forget`."""


class BooksLike(Protocol):
    """What the flush needs of `Books`."""

    def sealed_through(self) -> datetime | None:
        """See `Books.sealed_through`."""

    def join(self, parts: Sequence[Part]) -> Booked:
        """See `Books.join`."""

    def set_aside(self, rows: Iterable[Unreadable]) -> None:
        """See `Books.set_aside`."""

    def seal(self, through: datetime) -> datetime:
        """See `Books.seal`."""

    def read_back(self, parts: Sequence[Part]) -> list[Part]:
        """See `Books.read_back`."""

    def record(self, kind: str, started: datetime, figures: dict[str, Any]) -> None:
        """See `Books.record`."""


@dataclass(slots=True)
class Result:
    """What a run came to."""

    records: int = 0
    """Parts that were read."""
    raised: int = 0
    """Rows that are new or larger."""
    gained: int = 0
    """What was added to `merchant_usage`."""
    late: int = 0
    """Parts of sealed hours that were set aside: `libra usage admit` books them."""
    errors: int = 0
    """Rows of Redis that were set aside, because they cannot be read."""
    forgotten: int = 0
    """Parts that were deleted from Redis."""
    sealed_through: datetime | None = None
    """The instant through which hours are sealed."""
    seconds: float = 0.0

    def plain(self) -> dict[str, Any]:
        """As JSON has it."""
        through = self.sealed_through
        return {name: getattr(self, name) for name in self.__slots__} | {
            "sealed_through": through and through.isoformat()
        }


@dataclass(frozen=True, slots=True)
class Asked:
    """Which parts a run is asked for; all of them, where nothing is said."""

    merchant: str | None = None
    first: date | None = None
    last: date | None = None

    @property
    def everything(self) -> bool:
        """Whether it is all of Redis: only such a run may seal."""
        return self == Asked()

    def wants(self, at: Place) -> bool:
        """Whether a hash is meant."""
        return (
            self.merchant in {None, at.merchant}
            and (self.first is None or self.first <= at.date)
            and (self.last is None or at.date <= self.last)
        )


class Flush:
    """Runs, one after the other. Several of these may run at once, on one machine or many."""

    def __init__(
        self,
        counters: CountersLike,
        books: BooksLike,
        *,
        close_after: timedelta,
        metrics: frozenset[str] | None = None,
        batch: int = BATCH,
    ) -> None:
        """Nothing is asked of either yet.

        Args:
            counters: Redis.
            books: PostgreSQL.
            close_after: how long after its end an hour is sealed.
            metrics: the metrics that are declared; None: any.
            batch: parts in one transaction.
        """
        self._counters = counters
        self._books = books
        self._close_after = close_after
        self._metrics = metrics
        self._batch = batch

    def run(self, asked: Asked = Asked(), *, now: datetime | None = None, keys: Sequence[str] = ()) -> Result:
        """Book what is in Redis.

        Args:
            asked: which parts.
            now: this instant, for tests.
            keys: read only these hashes, as a retry of what was set aside.

        Raises:
            StoreError: Redis or PostgreSQL does not answer. What was booked before stays booked.
        """
        now = now or datetime.now(UTC)
        started, clock = now, time.monotonic()
        result = Result()
        pages: Iterable[list[bytes]]
        if keys:
            pages = [[key.encode() for key in keys]]
        else:
            day = asked.first if asked.first == asked.last else None
            pages = self._counters.scan(asked.merchant, day)
        try:
            result.sealed_through = self._books.sealed_through()
            pending: dict[Name, int] = {}
            for page in pages:
                self._page(page, asked, now, pending, result)
            self._book(pending, now, result)
            if asked.everything and not keys:
                result.sealed_through = self._books.seal(closed_through(now, self._close_after))
            result.seconds = round(time.monotonic() - clock, 3)
            self._books.record("flush", started, result.plain())
        except LibraError as error:
            result.seconds = round(time.monotonic() - clock, 3)
            logger.error("Usage flush failed", extra=result.plain() | {"error": str(error)})
            raise
        _say(result)
        return result

    def _page(
        self, page: list[bytes], asked: Asked, now: datetime, pending: dict[Name, int], result: Result
    ) -> None:
        places: dict[bytes, Place] = {}
        aside: list[Unreadable] = []
        for key in dict.fromkeys(page):
            at = place(key)
            if isinstance(at, Unreadable):
                aside.append(at)
            elif asked.wants(at):
                places[key] = at
        wanted = list(places)
        for begin in range(0, len(wanted), READ):
            for key, fields in self._counters.read(wanted[begin : begin + READ]):
                if isinstance(fields, Unreadable):
                    aside.append(fields)
                    continue
                for field, raw in fields:
                    found = read(places[key], field, raw, now=now, metrics=self._metrics)
                    if isinstance(found, Unreadable):
                        aside.append(found)
                    else:
                        name, value = found
                        pending[name] = join(pending[name], value).value if name in pending else value
                if len(pending) >= self._batch:
                    self._book(pending, now, result)
        self._set_aside(aside, result)

    def _set_aside(self, rows: Sequence[Unreadable], result: Result) -> None:
        if not rows:
            return
        self._books.set_aside(rows)
        result.errors += len(rows)
        for row in rows[:10]:
            logger.warning(
                "A usage count was set aside",
                extra={"key": row.key[:300], "field": row.field, "reason": row.reason},
            )

    def _book(self, pending: dict[Name, int], now: datetime, result: Result) -> None:
        parts = [Part(name, value) for name, value in pending.items()]
        pending.clear()
        result.records += len(parts)
        self._join(parts, result)
        old = [
            it
            for it in parts
            if sealed(it.name.hour, result.sealed_through) and it.name.hour + 2 * HOUR + KEEP < now
        ]
        if old:
            self._forget(self._books.read_back(old), result)

    def _join(self, parts: Sequence[Part], result: Result) -> None:
        """One that PostgreSQL can never take is found by halves, and set aside: the others are booked."""
        if not parts:
            return
        try:
            booked = self._books.join(parts)
        except Invalid as error:
            if len(parts) > 1:
                half = len(parts) // 2
                self._join(parts[:half], result)
                self._join(parts[half:], result)
                return
            ((name, value),) = parts
            key, field = (
                parts_key(name.merchant, Hour(name.hour, name.date)),
                part_field(name.metric, name.incarnation),
            )
            self._set_aside([Unreadable(key, field, str(value), str(error))], result)
            return
        result.raised += booked.raised
        result.gained += booked.gained
        result.late += booked.late

    def _forget(self, parts: Iterable[Part], result: Result) -> None:
        fields: dict[bytes, Fields] = {}
        for name, value in parts:
            key = parts_key(name.merchant, Hour(name.hour, name.date)).encode()
            field = part_field(name.metric, name.incarnation).encode()
            fields.setdefault(key, []).append((field, str(value).encode()))
        if fields:
            result.forgotten += self._counters.forget(fields.items())


def _say(result: Result) -> None:
    logger.info("Usage flush completed", extra=result.plain())
    if result.late:
        logger.warning(
            "Usage came after its hour was sealed: libra usage admit books it", extra={"late": result.late}
        )
    if result.seconds > SLOW_SECONDS:
        logger.warning("The usage flush is slow", extra={"seconds": result.seconds})

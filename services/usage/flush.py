"""The flush: parts go from Redis into the books, hours are sealed, what is booked is deleted from Redis.

Flushes may run at once, twice, late, or die anywhere: a part enters by a join. A run

1. scans Redis for the hashes of parts, page by page, and reads them,
2. joins what it read into the books, a batch in a transaction, and sets aside what cannot be read: beside
   the reading, one batch at a time (`booking.py`),
3. deletes from Redis what is sealed, older than any application keeps it, and read back from the books,
4. seals the hours that have been over for long enough, where it scanned all of Redis.
"""

import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from services.usage.booking import Beside, Booking, BooksLike, CountersLike, Result
from shared.errors import LibraError
from shared.log import logger
from shared.parts import Place, Unreadable, closed_through, place, read

BATCH = 10_000
"""Parts in one transaction."""
READ = 500
"""Hashes in one message to Redis."""
SLOW_SECONDS = 300
"""A run that takes longer says so: it should end well before the next one begins."""


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

    booking = Booking

    def __init__(
        self,
        counters: CountersLike,
        books: BooksLike,
        *,
        close_after: timedelta,
        metrics: frozenset[str] | None = None,
        batch: int = BATCH,
        beside: Callable[[], Beside] = lambda: ThreadPoolExecutor(1),
    ) -> None:
        """Nothing is asked of either yet.

        Args:
            counters: Redis.
            books: PostgreSQL.
            close_after: how long after its end an hour is sealed.
            metrics: the metrics that are declared; None: any.
            batch: parts in one transaction.
            beside: what books a batch while the next one is read: a thread.
        """
        self._counters = counters
        self._books = books
        self._close_after = close_after
        self._metrics = metrics
        self._batch = batch
        self._beside = beside

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
            with self._beside() as beside:
                booking = self.booking(self._counters, self._books, now, result, beside)
                for page in pages:
                    self._page(page, asked, now, booking)
                booking.end()
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

    def _page(self, page: list[bytes], asked: Asked, now: datetime, booking: Booking) -> None:
        places: dict[bytes, Place] = {}
        for key in dict.fromkeys(page):
            at = place(key)
            if isinstance(at, Unreadable):
                booking.take(at)
            elif asked.wants(at):
                places[key] = at
        wanted = list(places)
        for begin in range(0, len(wanted), READ):
            for key, fields in self._counters.read(wanted[begin : begin + READ]):
                if isinstance(fields, Unreadable):
                    booking.take(fields)
                    continue
                for field, raw in fields:
                    booking.take(read(places[key], field, raw, now=now, metrics=self._metrics))
                if booking.taken >= self._batch:
                    booking.begin()
        if booking.taken >= self._batch:  # a page may hold nothing but what cannot be read
            booking.begin()


def _say(result: Result) -> None:
    logger.info("Usage flush completed", extra=result.plain())
    if result.late:
        logger.warning(
            "Usage came after its hour was sealed: libra usage admit books it", extra={"late": result.late}
        )
    if result.seconds > SLOW_SECONDS:
        logger.warning("The usage flush is slow", extra={"seconds": result.seconds})

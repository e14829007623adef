"""What a run needs, opened and closed; the scheduler that runs it again and again."""

import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

from services.usage.booking import Result
from services.usage.books import Books
from services.usage.counters import Counters
from services.usage.flush import Flush
from services.usage.settings import UsageSettings
from shared.errors import StoreError
from shared.log import logger
from shared.postgres import Postgres

JITTER = 0.1
"""The share of an interval by which a run may begin later, so that not all processes run at the same time."""

POLL_SECONDS = 0.2


@dataclass(frozen=True, slots=True)
class Opened:
    """Redis, the books, and the flush between them."""

    postgres: Postgres
    counters: Counters
    books: Books
    flush: Flush


@contextmanager
def opened(settings: UsageSettings) -> Iterator[Opened]:
    """Connect, and bring the tables up to date.

    Raises:
        SettingError: an address is none, or PostgreSQL is too old.
        MigrationError: a table that is there cannot be taken over; nothing was changed.
        StoreError: a server does not answer or refuses.
    """
    with Postgres.connect(settings.postgres_url) as postgres:
        counters = Counters.connect(settings.redis_url)
        try:
            books = Books(postgres)
            books.migrate()
            flush = Flush(counters, books, close_after=settings.close_after, metrics=settings.metrics)
            yield Opened(postgres, counters, books, flush)
        finally:
            counters.close()


class Scheduler:
    """Runs a flush at intervals, in the thread that calls `loop`: no run overlaps another one of its own."""

    def __init__(
        self,
        run: Callable[[], Result],
        *,
        every: timedelta,
        spread: Callable[[], float] = random.random,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Nothing runs yet.

        Args:
            run: the flush.
            every: how long from the beginning of a run to the beginning of the next one; a run that takes
                longer is followed at once.
            spread: a number from 0 to 1, for the jitter.
            clock: seconds that only go on.
        """
        self._run = run
        self._every = every.total_seconds()
        self._spread = spread
        self._clock = clock
        self._stopped = False

    def stop(self) -> None:
        """End after the run that is under way. A signal's handler may call it: it takes no lock."""
        self._stopped = True

    def loop(self) -> None:
        """Run until `stop`. A run that fails is logged, and the next one books what it left."""
        pause = self._every * JITTER * self._spread()
        while self._wait(pause):
            begun = self._clock()
            try:
                self._run()
            except StoreError as error:
                logger.error("The next run books what this one left", extra={"error": str(error)})
            due = self._every * (1 + JITTER * self._spread())
            pause = max(0.0, due - (self._clock() - begun))

    def _wait(self, seconds: float) -> bool:
        """Wait, unless it is to stop; whether to go on."""
        until = self._clock() + seconds
        while not self._stopped and (left := until - self._clock()) > 0:
            time.sleep(min(left, POLL_SECONDS))
        return not self._stopped

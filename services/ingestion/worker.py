"""The worker: claims a job, loads its parts, ends it.

It may be killed anywhere. The job is claimed again when its lease is over, by any worker, which loads the
parts that the books lack.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from datetime import timedelta

from services.ingestion import parts
from services.ingestion.books import Books
from services.ingestion.errors import Cancelled, PartError, Stopped, TimedOut, Unavailable
from services.ingestion.forgetting import KEPT, forget
from services.ingestion.leases import LEASE, Lease, claim
from services.ingestion.requests import Part
from services.ingestion.rows import Sources
from shared.errors import StoreError
from shared.log import logger
from shared.retry import Retry

IDLE_SECONDS = 2.0
"""How long a worker waits when there is nothing to do."""
TOLD_SECONDS = 1.0
"""How soon a worker that was told to stop says so: the platform may kill it ten seconds later."""
FORGET_SECONDS = 3_600.0
"""How often a worker deletes old rejected rows."""
RETRY = Retry(attempts=3, first=1.0, longest=10.0)
"""How often a source is asked for a part that it did not give."""


class _Leaving(Stopped):
    """The worker itself is asked to stop."""


class Worker:
    """Works on one job at a time, and on some of its parts at once."""

    def __init__(
        self,
        books: Books,
        sources: Callable[[Lease], Sources],
        *,
        name: str,
        parallel: int = 4,
        length: timedelta = LEASE,
        kept: timedelta = KEPT,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Nothing is claimed yet.

        Args:
            books: the tables; each part that is loaded takes two connections.
            sources: the sources of a job's tenant. Raises PartError where its settings cannot be used.
            name: what tells this worker from others.
            parallel: parts at once.
            length: how long a job is the worker's without a sign of life.
            kept: how long rejected rows are kept; older ones are deleted each hour.
            sleep: what waits between two tries.
        """
        self._books = books
        self._sources = sources
        self._name = name
        self._parallel = parallel
        self._length = length
        self._kept = kept
        self._sleep = sleep
        self._stop = threading.Event()

    def stop(self) -> None:
        """Put the job down after its parts under way, and claim no other. For a signal's handler."""
        self._stop.set()

    def run(self, *, until_idle: bool = False) -> None:
        """Work until `stop`, or until there is nothing to do.

        Raises:
            StoreError: the database cannot be used, and another try cannot go better.
        """
        logger.info("The worker looks for jobs", extra={"worker": self._name})
        forgotten = -FORGET_SECONDS
        while not self._stop.is_set():
            if time.monotonic() - forgotten >= FORGET_SECONDS:
                self._forget()
                forgotten = time.monotonic()
            if not self.once():
                if until_idle:
                    return
                self._stop.wait(IDLE_SECONDS)

    def once(self) -> bool:
        """Claim a job and work on it; whether there was one. Raises StoreError."""
        lease = claim(self._books, self._name, self._length)
        if lease is None:
            return False
        said = {"job": str(lease.job_id), "tenant": lease.tenant, "attempt": lease.attempt}
        logger.info("A job was claimed", extra=said)
        try:
            state, code, message = self._work(lease)
            lease.end(state, code, message)
        except Cancelled:
            with suppress(Stopped):
                lease.end("cancelled")
            logger.info("A job was cancelled", extra=said)
        except TimedOut as error:
            with suppress(Stopped):
                lease.end("failed", "timeout", str(error))
            logger.error("A job took too long", extra=said)
        except _Leaving:
            lease.release()
            logger.info("A job was put down", extra=said)
        except Stopped:
            logger.warning("A job was lost to another worker", extra=said)
        else:
            logger.log(
                logging.ERROR if code else logging.INFO,
                "A job ended",
                extra=said | {"state": state, "code": code},
            )
        return True

    def _forget(self) -> None:
        if number := forget(self._books, self._kept):
            logger.info("Old rejected rows were deleted", extra={"worker": self._name, "rows": number})

    def _work(self, lease: Lease) -> tuple[str, str | None, str | None]:
        """Load what the books lack; how the job ends."""
        try:
            sources = self._sources(lease)
        except PartError as error:
            return "failed", error.code, str(error)
        with closing(sources):
            self._parts(lease, sources)
        return lease.outcome()

    def _parts(self, lease: Lease, sources: Sources) -> None:
        waiting = lease.waiting()
        with self._beating(lease) as stopped, ThreadPoolExecutor(self._parallel) as pool:
            futures = [pool.submit(self._settled, lease, sources, part, stopped) for part in waiting]
            try:
                for future in futures:
                    future.result()
            except BaseException:
                stopped.set()
                pool.shutdown(cancel_futures=True)
                raise
        if stopped.is_set():
            lease.beat()  # says why

    def _settled(self, lease: Lease, sources: Sources, part: Part, stopped: threading.Event) -> None:
        """Load a part, or note why it is not loaded."""
        if self._stop.is_set():
            raise _Leaving
        if stopped.is_set():
            return
        try:
            for attempt in RETRY.each(self._sleep, retried=Unavailable):
                with attempt:
                    parts.load(lease, part, sources)
                    return
        except PartError as error:
            said = {"job": str(lease.job_id), "tenant": lease.tenant, "part": str(part), "code": error.code}
            logger.error("A part failed", extra=said)
            parts.fail(lease, part, error)
        except Stopped:
            stopped.set()
            raise

    @contextmanager
    def _beating(self, lease: Lease) -> Iterator[threading.Event]:
        """Says that the worker lives while a source is slow, and that it was told to stop. The event is set
        where it is to stop."""
        stopped, over = threading.Event(), threading.Event()
        pause = self._length.total_seconds() / 4

        def beat() -> None:
            due, told = time.monotonic() + pause, False
            while not over.wait(min(pause, TOLD_SECONDS)):
                leaving = self._stop.is_set()
                if leaving == told and time.monotonic() < due:
                    continue
                try:
                    lease.beat(leaving=leaving)
                    due, told = time.monotonic() + pause, leaving
                except Stopped:
                    stopped.set()
                    return
                except StoreError as error:
                    logger.warning("A sign of life was not written", extra={"reason": str(error)})

        thread = threading.Thread(target=beat, name="heartbeat", daemon=True)
        thread.start()
        try:
            yield stopped
        finally:
            over.set()
            thread.join()

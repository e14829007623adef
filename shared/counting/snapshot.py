"""The reading side that both strategies share: one source at one read time, retried, bounded, accounted."""

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from datetime import datetime
from threading import Lock
from typing import TypeAlias, TypeVar

from shared.aggregation import Cell, Deltas, Extremes, Home, Source, Totals, accumulate, widen
from shared.counting.billing import ENTRIES_A_READ
from shared.retry import Retry
from shared.store import Document, Query, Store

RETRY = Retry(attempts=6, first=0.1)
"""How often a read is tried, and the pauses in seconds."""

BEAT = 2.0
"""Seconds after which `Snapshot.run` looks up from waiting, so that the lease is renewed in time."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Step:
    """What one task found, and the tasks that follow from it."""

    deltas: Deltas = field(default_factory=dict)
    entries: int = 0
    more: Sequence["Task"] = ()
    extremes: Extremes = field(default_factory=dict)


Task: TypeAlias = Callable[[], Step]


@dataclass(frozen=True, slots=True)
class Counted:
    """Every total of a source, exactly as of a read time."""

    totals: Mapping[Cell, Mapping[str, int]]
    """No cell is missing; one that is not there is 0."""
    entries: int
    """How many documents the source's collection held."""
    extremes: Mapping[Cell, Mapping[str, int]] = field(default_factory=dict)
    """The least and greatest values that are declared, by cell; one that is not there has no value."""


class Snapshot:
    """A source as of ``read_time``. Every read is retried while it may help, and accounted as it is billed.

    Reads run in at most ``workers`` threads; with one, in the caller's own, in an order that repeats.
    ``beat`` is called by the caller's thread between results, with the number of entries covered so far:
    a run renews its lease there, and an exception from it ends the work.
    """

    def __init__(
        self,
        store: Store,
        source: Source,
        home: Home,
        read_time: datetime,
        *,
        workers: int = 8,
        beat: Callable[[int], None] = lambda _: None,
        sleep: Callable[[float], None] = time.sleep,
        settle: Callable[[Iterable[Cell]], Callable[[Cell], Cell]] = lambda _: lambda cell: cell,
    ) -> None:
        self.store = store
        self.source = source
        self.home = home
        self.read_time = read_time
        self.workers = workers
        self.settle = settle
        """Decides where raw cells belong, and returns what says it: see `shared.registry`."""
        self.reads = 0
        """Documents and index entries read so far, as Firestore bills them; retries are billed too."""
        self.beat = beat
        self._sleep = sleep
        self._lock = Lock()

    # -- reads

    def count(self, query: Query, *, now: bool = False) -> int:
        """How many documents match at the read time, or ``now``, where a guess will do."""

        def once() -> int:
            counted = self.store.count(query, read_time=None if now else self.read_time)
            self.bill(-(-counted // ENTRIES_A_READ))
            return counted

        return self.retry(once)

    def first(self, query: Query) -> Document | None:
        """The first document of a query whose limit is 1."""

        def once() -> Document | None:
            self.bill(1)
            # To the end of its stream: gRPC never frees what it holds of a stream that is left before its end
            # (with ChannelOptions.SingleThreadedUnaryStream; seen with grpcio 1.85.1; docs/recompute.md).
            found = list(self.store.query(query, read_time=self.read_time))
            return found[0] if found else None

        return self.retry(once)

    def page(
        self, fields: Sequence[str], after: str | None, until: str | None, limit: int
    ) -> Iterator[tuple[str, Mapping[str, object]]]:
        """See `Store.scan`. Not retried: the caller knows where to resume."""
        read = 0
        try:
            for found in self.store.scan(
                self.home.entries,
                fields,
                after=after,
                until=until,
                limit=limit,
                read_time=self.read_time,
            ):
                read += 1
                yield found
        finally:
            self.bill(read)

    def bill(self, reads: int) -> None:
        """Account for a query; Firestore bills one read at least."""
        with self._lock:
            self.reads += max(1, reads)

    def retry(self, once: Callable[[], T]) -> T:
        """Call ``once`` again, with pauses, as long as it fails with `Transient` and attempts are left."""
        return RETRY.call(once, self._sleep)

    # -- tasks

    def run(self, tasks: Iterable[Task]) -> Counted:
        """Work off ``tasks`` and what follows from them; the sum of what they found."""
        totals: Totals = {}
        found: Extremes = {}
        entries = 0
        steps = self._threaded(deque(tasks)) if self.workers > 1 else self._inline(deque(tasks))
        for step in steps:
            entries += step.entries
            accumulate(totals, step.deltas)
            widen(self.source, found, step.extremes)
            self.beat(entries)
        return Counted(totals, entries, found)

    def _inline(self, waiting: deque[Task]) -> Iterator[Step]:
        while waiting:
            step = waiting.popleft()()
            waiting.extend(step.more)
            yield step

    def _threaded(self, waiting: deque[Task]) -> Iterator[Step]:
        running: set[Future[Step]] = set()
        pool = ThreadPoolExecutor(self.workers)
        try:
            while waiting or running:
                while waiting and len(running) < self.workers:
                    running.add(pool.submit(waiting.popleft()))
                done, running = wait(running, timeout=BEAT, return_when=FIRST_COMPLETED)
                if not done:
                    yield Step()  # nothing yet: time to beat
                for future in done:
                    step = future.result()
                    waiting.extend(step.more)
                    yield step
        finally:
            pool.shutdown(cancel_futures=True)

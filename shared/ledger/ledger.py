"""The ledger: one source's changes in, outcomes out, for threads and for an event loop."""

import asyncio
import threading
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from shared.aggregation import Entry, Home, Source, change
from shared.ledger.guard import COMMIT_TIMEOUT, Guard
from shared.ledger.outcome import Figures, Member, Outcome, Place
from shared.ledger.queue import Pace, Queue
from shared.ledger.writes import Writes, marker_id
from shared.log import logger
from shared.registry import Registry
from shared.retry import Retry
from shared.settings import Settings
from shared.store import Store
from shared.watermark import check_lag

CROWD = 8
"""After a group larger than this, more events are expected at once."""

CROWD_PAUSE = 0.01
"""Seconds between the answers to a large group and the next group. The events that follow on those answers
then join the next group. Without the pause two half groups take turns (docs/decisions)."""


class Ledger:
    """Applies each change of an entry once to the totals of a source. `Guard` says why once.

    **The group.** A caller becomes the leader if there is none. The leader takes the waiting entries,
    within bounds, commits them once, and answers every member. So an instance has one commit under way at a
    time and writes a hot document once per commit. An idle instance adds no wait. The ledger buffers
    nothing beyond the requests that wait for it, so a server that finishes its requests on SIGTERM has
    drained it. Only the leader uses the store and the figures. Callers are threads (`apply`) or the
    coroutines of one event loop (`apply_async`), not both at once. A leading thread hands over to the first
    caller that came during its commit. In a loop, a task leads until no entry waits, and makes its calls in
    the loop's executor: a request that is given up takes no other with it.

    **The pace.** An idle instance commits immediately. Under load, the entries that arrive during a commit
    are the next group. A commit begins at least the `Pace` after the commit before it, or once a group is
    full.

    An entry is never acknowledged before the commit that holds it is known to have landed. A group whose
    commit Firestore calls invalid is split until the poisonous entry stands alone; that one is recorded
    among the rejected.

    Raises:
        SettingError: the lag is shorter than is safe, and the settings do not say that this is a test.
        DeclarationError: two things would share a collection of the home.
    """

    def __init__(
        self,
        store: Store,
        source: Source,
        home: Home,
        settings: Settings,
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        check_lag(settings.lag, test=settings.test)
        home.check(source)
        self._store = store
        self._source = source
        self._clock = clock
        self._queue = Queue(settings.group_size)
        self._pace = Pace(settings.linger, clock)
        self._writes = Writes(source, home, settings.bucket)
        registry = Registry(store, source, home, sleep=sleep, retry=Retry(attempts=3, first=0.05))
        self._guard = Guard(
            store, home, self._writes, self._pace, settings, registry=registry, clock=clock, sleep=sleep
        )
        self._wait_for_company = self._queue.full.wait if sleep is time.sleep else sleep

    @property
    def figures(self) -> Figures:
        """What this ledger has done since it was made."""
        return self._guard.figures

    def apply(self, entry: Entry) -> Outcome:
        """Count a creation, an edit or a deletion from a thread, and return once that is certain.

        The trigger uses `apply_async`. This is for callers that are threads: the worker that admits events
        from Pub/Sub, whose client calls back in threads.

        Raises:
            Overloaded: too many entries wait in this instance; nothing was sent.
            Transient: it is not known to be counted; deliver it again.
            Denied: Firestore refuses this instance; deliver it again once that is mended.
            StateError: the watermark's document is damaged; deliver it again once that is mended.
        """
        turn = threading.Lock()
        turn.acquire()
        own = self._member(entry, turn.release)
        if own.outcome:
            return own.outcome
        if not self._queue.enqueue(own):
            turn.acquire()
        if not own.answered:
            self._lead()
        return own.answer()

    async def apply_async(self, entry: Entry) -> Outcome:
        """Count a change from a coroutine, and return once that is certain. Raises as `apply`."""
        answered: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def wake() -> None:
            if not answered.done():  # it is, where the request was given up
                answered.set_result(None)

        own = self._member(entry, wake)
        if own.outcome:
            return own.outcome
        if self._queue.enqueue(own):
            self._leader = asyncio.create_task(self._lead_in_loop())
        await answered
        return own.answer()

    def refuse(self, event_id: str, reason: str) -> None:
        """Record an event that describes no entry, so that it does not vanish with its acknowledgement.

        Raises:
            StoreError: it could not be recorded.
        """
        self._store.commit([self._writes.malformed(event_id, reason)], timeout=COMMIT_TIMEOUT)

    def _member(self, entry: Entry, wake: Callable[[], object]) -> Member:
        counted = change(self._source, entry)
        place = None if entry.gone else Place(entry.time, entry.time)
        unchanged = None if counted or entry.old is None else Outcome.UNCHANGED
        return Member(entry, marker_id(entry), counted, self._clock(), wake, place, unchanged)

    def _lead(self) -> None:
        if wait := self._pace.ahead_of_time():
            self._wait_for_company(wait)
        group = self._queue.take()
        try:
            self._guard.settle(group)
        finally:
            if heir := self._queue.done():
                heir.wake()
            _wake(group)

    async def _lead_in_loop(self) -> None:
        in_executor = asyncio.get_running_loop().run_in_executor
        leading = True
        while leading:
            if wait := self._pace.ahead_of_time():
                await in_executor(None, self._wait_for_company, wait)
            group = self._queue.take()
            try:
                await in_executor(None, self._guard.settle, group)
            except Exception:  # noqa: BLE001 - logged; a thread would raise it, but a task has no caller to raise it to
                logger.exception("A group was interrupted")
            finally:
                _wake(group)
            if len(group) > CROWD:
                await asyncio.sleep(CROWD_PAUSE)
            leading = self._queue.done() is not None


def _wake(group: Sequence[Member]) -> None:
    for member in group:
        member.answered = True
        member.wake()

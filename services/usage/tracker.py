"""`UsageTracker`: an application counts what its merchants use. Counting costs a few steps in memory.

::

    tracker = UsageTracker()                     # LIBRA_REDIS_URL
    tracker.track("acme", "requests")            # from any thread, or from a coroutine: it never waits
    tracker.close()                              # or `with`, `async with`; the end of the process does it too

A thread sends what was counted, ten times a second: absolute values, so that a lost reply and its retry
change nothing. While Redis is down the process counts on, and says so. Everything that is kept is sent again
from time to time, and at once when a reply shows that Redis has lost something.

**What may be lost.** A process that is killed outright loses what it counted since the last batch that Redis
confirmed: at most one interval, while Redis answers. The end of the process and SIGTERM send what is left.
"""

import asyncio
import atexit
import multiprocessing
import os
import signal
import threading
import time
import weakref
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from multiprocessing.util import Finalize
from types import FrameType
from typing import Self
from zoneinfo import ZoneInfo

from services.usage.counters import VARIABLE, Counters
from services.usage.counts import Counts
from services.usage.sending import Sender
from shared.errors import Invalid, SettingError
from shared.log import logger
from shared.retry import Retry
from shared.settings import UTC

INTERVAL = timedelta(seconds=0.1)
AGAIN = timedelta(seconds=30)
"""How often everything that is kept is sent again."""
MOST = 1_000_000
"""Counts in memory: some 400 bytes each."""
CLOSE_SECONDS = 10.0
PAUSES = Retry(attempts=1, first=0.1, longest=5.0, least=0.5)
"""The pauses while Redis does not answer."""


_ending: list[int] = []
"""The signal that ends the process, once it came. A handler may do no more than note it: the thread that it
interrupts may hold any lock."""
_alive: set[threading.Thread] = set()
"""The threads that send. The last one to end lets the signal end the process."""


class UsageTracker:
    """Counts for one process and its forks. Threads and coroutines may use it at once.

    A fork counts for itself from zero, under a name of its own: what its parent has counted is the parent's.
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        counters: Counters | None = None,
        zone: ZoneInfo = UTC,
        interval: timedelta = INTERVAL,
        again: timedelta = AGAIN,
        most: int = MOST,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Nothing is asked of Redis yet.

        Args:
            url: where Redis is; `LIBRA_REDIS_URL` by default.
            counters: a client of the application's own in place of an address.
            zone: the time zone of dates and hours.
            interval: how long a count waits to be sent, at most.
            again: how often everything that is kept is sent again.
            most: how many counts are kept, at most; each of a merchant, a metric and an hour.
            clock: seconds since 1970.

        Raises:
            SettingError: there is no address, or it is none.
        """
        if counters is None:
            found = url or os.environ.get(VARIABLE, "")
            if not found:
                raise SettingError(VARIABLE, found, "where Redis is, such as redis://127.0.0.1:6379/0")
            counters = Counters.connect(found)
        self._counters = counters
        self._interval = interval.total_seconds()
        self._again = again.total_seconds()
        self._new_counts = partial(Counts, zone, clock, most=most)
        self._closed = False
        self._begin()
        _after_fork(weakref.ref(self))
        if threading.current_thread() is threading.main_thread():
            _send_before_sigterm()

    def _begin(self) -> None:
        """Count from zero; also in the child of a fork, where the parent's locks and thread mean nothing."""
        self._counts = self._new_counts()
        self._sender = Sender(self._counts, self._counters)
        self._sending = threading.Lock()
        self._starting = threading.Lock()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def track(self, merchant: str, metric: str, amount: int = 1) -> None:
        """Count an amount of a metric for a merchant. It never waits for Redis.

        Raises:
            Invalid: the amount or a name cannot be counted; the message says what is allowed.
            Overloaded: Redis was away for so long that no new count fits into memory.
        """
        if _ending:
            time.sleep(CLOSE_SECONDS)  # the process is about to end, and what is counted now would be lost
        self._counts.add(merchant, metric, amount)
        if self._thread is None:
            self._start()

    @property
    def unconfirmed(self) -> int:
        """What was counted and Redis has not confirmed: what a kill would lose now."""
        return self._counts.unconfirmed

    @property
    def kept(self) -> int:
        """The counts in memory."""
        return self._counts.kept

    def flush(self, timeout: float = CLOSE_SECONDS) -> bool:
        """Send what is due, and wait for it; whether all that was counted before was confirmed in time."""
        deadline = time.monotonic() + timeout
        failures = 0
        while True:
            with self._sending:
                failed = self._sender.send()
            if not failed or isinstance(failed, Invalid):  # a key is no hash: somebody must act
                return not failed
            failures += 1
            pause = PAUSES.pause(failures)
            if time.monotonic() + pause >= deadline:
                return False
            time.sleep(pause)

    def close(self, timeout: float = CLOSE_SECONDS) -> bool:
        """Send everything that is kept, and stop the thread; whether all of it was confirmed in time.

        What is counted afterwards is sent by the next `flush` or `close`.
        """
        self._closed = True
        self._stop.set()
        if self._thread and self._thread is not threading.current_thread():
            self._thread.join(timeout)
        self._counts.send_all_again()
        if sent := self.flush(timeout):
            return sent
        logger.error(
            "Counts were not confirmed by Redis before the process ended",
            extra={"unconfirmed": self.unconfirmed},
        )
        return False

    def __enter__(self) -> Self:
        """Itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close it."""
        self.close()

    async def __aenter__(self) -> Self:
        """Itself."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close it, while the loop goes on."""
        await asyncio.to_thread(self.close)

    def _start(self) -> None:
        with self._starting:
            if self._thread or self._closed:
                return
            _at_exit(weakref.ref(self))
            if threading.current_thread() is threading.main_thread():
                _send_before_sigterm()
            thread = threading.Thread(target=self._run, name="libra-usage", daemon=True)
            _alive.add(thread)
            try:
                thread.start()
            except RuntimeError:  # no more threads: the next count tries again
                _alive.discard(thread)
                raise
            self._thread = thread

    def _run(self) -> None:
        try:
            self._send_on()
            if _ending:
                self.close()
        finally:
            _alive.discard(threading.current_thread())
            if _ending and not _alive:
                signal.raise_signal(_ending[0])
                os._exit(128 + _ending[0])  # it is process 1, which no signal of its own ends

    def _send_on(self) -> None:
        failed: Exception | None = None
        failures, due, again = 0, 0.0, time.monotonic() + self._again
        while not self._stop.wait(self._interval) and not _ending:
            now = time.monotonic()
            if now >= again:
                self._counts.send_all_again()
                again = now + self._again
            if now >= due:
                failed = self._attempt(failed)
                failures = 0 if failed is None or isinstance(failed, Invalid) else failures + 1
                due = now + (PAUSES.pause(failures) if failures else 0)

    def _attempt(self, before: Exception | None) -> Exception | None:
        try:
            with self._sending:
                failed: Exception | None = self._sender.send()
        except Exception as error:  # noqa: BLE001 - a thread that ends would leave a process counting unseen
            failed = error
        if failed and type(failed) is not type(before):
            logger.warning(
                "Redis does not take counts: this process counts on",
                extra={"error": str(failed), "unconfirmed": self.unconfirmed},
            )
        elif before and not failed:
            logger.info("Redis takes counts again", extra={"unconfirmed": self.unconfirmed})
        return failed


def _send_before_sigterm() -> None:
    """Send what is left before SIGTERM ends the process, where nothing of the application handles it."""
    if signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        return

    def end(number: int, _: FrameType | None) -> None:
        signal.signal(number, signal.SIG_DFL)
        if _alive:
            _ending.append(number)
        else:
            signal.raise_signal(number)

    signal.signal(signal.SIGTERM, end)


def _after_fork(tracker: "weakref.ref[UsageTracker]") -> None:
    def begin() -> None:
        _alive.clear()
        _ending.clear()
        if found := tracker():
            found._begin()

    os.register_at_fork(after_in_child=begin)


def _at_exit(tracker: "weakref.ref[UsageTracker]") -> None:
    """A worker of `multiprocessing` ends without `atexit`, and with its finalizers."""
    if multiprocessing.parent_process():
        Finalize(None, _close, (tracker, os.getpid()), exitpriority=1)
    else:
        atexit.register(_close, tracker, os.getpid())


def _close(tracker: "weakref.ref[UsageTracker]", process: int) -> None:
    found = tracker()
    if found and os.getpid() == process:
        found.close()

"""Virtual time: events in order, and threads of which exactly one runs at a time.

The ledger's code blocks, so each instance of it is a thread; it sleeps in virtual time and hands the
baton back. Nothing depends on the machine: a run is the same for the same seed.
"""

import heapq
import itertools
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

_EPOCH = datetime(2026, 1, 1, tzinfo=UTC)


class World:
    """The clock and what is to happen."""

    def __init__(self) -> None:
        self.now = 0.0
        self._agenda: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()

    def datetime(self) -> datetime:
        """Virtual now."""
        return _EPOCH + timedelta(seconds=self.now)

    def after(self, seconds: float, action: Callable[[], None]) -> None:
        """Have something happen later; what is due at the same time happens in the order it was asked for."""
        heapq.heappush(self._agenda, (self.now + seconds, next(self._order), action))

    def run(self, until: float) -> None:
        """Let time pass."""
        while self._agenda and self._agenda[0][0] <= until:
            self.now, _, action = heapq.heappop(self._agenda)
            action()
        self.now = until


class Blocking:
    """A thread for blocking code in virtual time. `do` runs one piece of it; the world waits meanwhile."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._go = threading.Semaphore(0)
        self._back = threading.Semaphore(0)
        self._work: Callable[[], None] | None = None
        self._sleep = 0
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def do(self, work: Callable[[], None]) -> None:
        """Start a piece of blocking code; called by the world, while no other piece is under way here."""
        self._work = work
        self._resume()

    def sleep(self, seconds: float) -> None:
        """Block the code that calls this for that long."""
        self._sleep += 1
        self._world.after(seconds, lambda current=self._sleep: self._wake(current))  # type: ignore[misc]
        self._back.release()
        self._go.acquire()

    def interrupt(self) -> None:
        """End the sleep under way at once."""
        self._world.after(0, lambda current=self._sleep: self._wake(current))  # type: ignore[misc]

    def close(self) -> None:
        """End the thread, once its code has come to its end."""
        self._work = None
        self._go.release()
        self._thread.join(10)

    def _wake(self, sleep: int) -> None:
        if sleep == self._sleep:
            self._sleep += 1
            self._resume()

    def _resume(self) -> None:
        self._go.release()
        self._back.acquire()

    def _run(self) -> None:
        self._go.acquire()
        while self._work:
            self._work()
            self._back.release()
            self._go.acquire()

"""A world in which nothing happens by chance: one thread runs at a time, and a heap of moments says which.

Threads are greenlets, the clock is virtual, and the locks and events that the ledger asks `threading` for
are the world's own. Whatever would block goes back to the hub, which runs what is due next; moments that
fall together are put in an order by the seed. So a seed is a whole history, and replays exactly.
"""

import heapq
import random
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from types import ModuleType, SimpleNamespace
from typing import Any, TypeAlias
from unittest.mock import patch

import greenlet  # type: ignore[import-untyped]  # it ships none

BEGINNING = datetime(2025, 9, 4, 12, tzinfo=UTC)
MAX_MOMENTS = 50_000
"""Moments after which a world counts as stuck: hundreds of times what a schedule takes."""

Action: TypeAlias = Callable[[], None]


class Died(BaseException):
    """Thrown into every thread of an instance that was killed; no handler for errors may stop it."""


class Violation(AssertionError):  # noqa: N818 - says what it is
    """A law does not hold."""


@dataclass(slots=True, eq=False)
class Process:
    """One instance of a component: what dies together, and has one clock."""

    name: str
    skew: timedelta = timedelta(0)
    dead: bool = False


@dataclass(slots=True, eq=False)
class Thread:
    """One thread of control. `process` is the instance it runs in; None: outside all of them."""

    name: str
    rng: random.Random
    body: greenlet.greenlet | None = None
    process: Process | None = None
    waits: int = 0
    """Counts its waits, so that a wake-up meant for an earlier one is known for what it is."""
    blocked: bool = False


@dataclass(slots=True)
class World:
    """Virtual time, and who runs when."""

    seed: str
    now: datetime = BEGINNING
    trace: list[str] | None = None
    threads: list[Thread] = field(default_factory=list)
    moments: int = 0
    _heap: list[tuple[datetime, float, int, Action]] = field(default_factory=list)
    _planned: int = 0
    _hub: greenlet.greenlet = field(default_factory=greenlet.getcurrent)
    _rng: random.Random = field(default_factory=random.Random)
    _running: Thread | None = None

    def __post_init__(self) -> None:
        self._rng.seed(f"{self.seed}/world")

    def tell(self, who: str, what: str) -> None:
        """Add a line to the trace, if one is kept."""
        if self.trace is not None:
            seconds = (self.now - BEGINNING).total_seconds()
            self.trace.append(f"{seconds:12.3f}s  {who:<14} {what}")

    # -- for whoever is outside

    def at(self, when: datetime, action: Action) -> None:
        """Have something done at a moment, by nobody in particular."""
        self._planned += 1
        heapq.heappush(self._heap, (max(when, self.now), self._rng.random(), self._planned, action))

    def spawn(self, name: str, body: Action) -> None:
        """Start a thread."""
        thread = Thread(name, random.Random(f"{self.seed}/{name}"))
        thread.body = greenlet.greenlet(body, parent=self._hub)
        self.threads.append(thread)
        self.at(self.now, lambda: self._resume(thread, thread.waits))

    def alone(self, act: Callable[[], Any]) -> Any:
        """Do something by itself, long after everything else; what it answers."""
        answers: list[Any] = []
        self.now += timedelta(hours=2)
        self.spawn(f"epilogue {len(self.threads)}", lambda: answers.append(act()))
        self.run()
        return answers[0]

    def run(self) -> None:
        """Let happen whatever there is to happen.

        Raises:
            Violation: threads are left that nobody will ever wake, or it does not end.
        """
        while self._heap:
            self.moments += 1
            if self.moments > MAX_MOMENTS:
                raise Violation(f"no end after {MAX_MOMENTS} moments: something tries for ever")
            when, _, _, action = heapq.heappop(self._heap)
            self.now = when
            action()
        stuck = [thread.name for thread in self.threads if thread.body and not thread.body.dead]
        if stuck:
            raise Violation(f"nobody will ever wake {', '.join(stuck)}")

    def kill(self, process: Process) -> None:
        """End a process as SIGKILL does: whatever its threads wait for, they wake up dead."""
        self.tell(process.name, "KILLED")
        process.dead = True
        for thread in self.threads:
            if thread.process is process and thread is not self._running:
                self._wake(thread)

    def abandon(self) -> None:
        """Unwind every thread that is left, after a violation."""
        for thread in self.threads:
            if thread.body and not thread.body.dead:
                thread.process, self._running = Process("abandoned", dead=True), thread
                with suppress(Died):
                    thread.body.throw(Died)

    # -- for threads

    @property
    def thread(self) -> Thread:
        """Whoever is running."""
        assert self._running is not None
        return self._running

    def sleep(self, seconds: float) -> None:
        """Let `seconds` pass for the running thread."""
        thread = self.thread
        thread.waits += 1
        number = thread.waits
        self.at(self.now + timedelta(seconds=seconds), lambda: self._resume(thread, number))
        self._switch()

    def block(self) -> None:
        """Wait until somebody wakes the running thread."""
        self.thread.waits += 1
        self._switch()

    def wake(self, thread: Thread) -> None:
        """End the wait of a thread."""
        self._wake(thread)

    @contextmanager
    def inside(self, process: Process) -> Iterator[None]:
        """The running thread serves a process, and dies with it."""
        thread = self.thread
        thread.process = process
        try:
            self.check_alive()
            yield
        finally:
            thread.process = None

    def check_alive(self) -> None:
        """Raise `Died` in a thread whose process is dead."""
        process = self.thread.process
        if process and process.dead:
            raise Died(process.name)

    def _wake(self, thread: Thread) -> None:
        number = thread.waits
        self.at(self.now, lambda: self._resume(thread, number))

    def _switch(self) -> None:
        self.check_alive()
        self._hub.switch()
        self.check_alive()

    def _resume(self, thread: Thread, number: int) -> None:
        body = thread.body
        if body is None or body.dead or thread.waits != number:
            return  # it has been woken before
        thread.waits += 1
        self._running = thread
        try:
            body.switch()
        finally:
            self._running = None

    # -- what stands in for `threading`

    @contextmanager
    def threading(self, *modules: ModuleType) -> Iterator[None]:
        """Give modules the world's locks and events instead of the system's."""
        own = SimpleNamespace(Lock=lambda: Lock(self), Event=lambda: Event(self))
        patches = [patch.object(module, "threading", own) for module in modules]
        for each in patches:
            each.start()
        try:
            yield
        finally:
            for each in patches:
                each.stop()


@dataclass(slots=True, eq=False)
class Lock:
    """`threading.Lock`, of a world."""

    world: World
    held: bool = False
    waiting: deque[Thread] = field(default_factory=deque)

    def acquire(self) -> bool:
        while self.held:
            self.waiting.append(self.world.thread)
            self.world.block()
        self.held = True
        return True

    def release(self) -> None:
        if not self.held:
            raise RuntimeError("release unlocked lock")
        self.held = False
        if self.waiting:
            self.world.wake(self.waiting.popleft())

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(self, *_: object) -> None:
        self.release()


@dataclass(slots=True, eq=False)
class Event:
    """`threading.Event`, of a world."""

    world: World
    flag: bool = False
    waiting: list[Thread] = field(default_factory=list)

    def set(self) -> None:
        self.flag = True
        for thread in self.waiting:
            self.world.wake(thread)
        self.waiting.clear()

    def clear(self) -> None:
        self.flag = False

    def wait(self, timeout: float) -> bool:
        if not self.flag:
            self.waiting.append(self.world.thread)
            self.world.sleep(timeout)
        return self.flag

"""Actors that take turns: what each call to a server may meet, and who goes on after it."""

import random
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Self

from greenlet import (  # type: ignore[import-untyped]  # it ships none
    GreenletExit,
    getcurrent,
    greenlet,
)

from shared.errors import StoreError, Transient


@dataclass(slots=True)
class Faults:
    """How often a call goes wrong, and which steps a history may take."""

    lost_request: float = 0.05
    lost_reply: float = 0.05
    twice: float = 0.05
    without: frozenset[str] = frozenset()
    """Steps that are left out."""
    always: bool = False
    """Whether every history may lose what is in Redis; otherwise two in five lose nothing."""
    memory: tuple[int, ...] = (6, 1_000)
    """Counts that an application may keep, one of these. A small memory forgets what is confirmed early."""
    minutes: tuple[int, ...] = (1, 5, 20, 50, 130, 400)
    """How far time goes on, one of these at a step."""


@dataclass(slots=True)
class Task:
    """Something that an actor is in the middle of."""

    thread: greenlet
    owner: object


class Beside:
    """Where an actor lets something be done beside it: another task. It may go on after the actor's end."""

    def __init__(self, hub: "Hub") -> None:
        self._hub = hub
        self.actor = getcurrent()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Wait for nothing: what was begun goes on, as a message that was sent does."""

    def submit(self, work: Callable[[], None]) -> "Beside":
        """Begin it; in calm times, do it."""
        self._failed: StoreError | None = None
        self._task: Task | None = None
        if self._hub.calm:
            work()
            return self

        def body() -> None:
            try:
                work()
            except StoreError as error:
                self._failed = error

        self._task = self._hub.prepare(body, self)
        return self

    def result(self) -> None:
        """Let others go on until it is done; raises what it raised."""
        while self._task and not self._task.thread.dead:
            self._hub.pause()
        if self._failed:
            raise self._failed


def actor_of(task: Task) -> Any:
    """Who something is done beside; None: it is an actor's own."""
    return task.owner.actor if isinstance(task.owner, Beside) else None


class Wire:
    """A server, as an actor reaches it."""

    def __init__(self, hub: "Hub", server: Any) -> None:
        self._hub = hub
        self._server = server

    def __getattr__(self, name: str) -> Callable[..., Any]:
        return lambda *arguments: self._hub.call(getattr(self._server, name), name, arguments)


class Hub:
    """Who is in the middle of what. The seed decides who goes on."""

    def __init__(self, seed: str, faults: Faults) -> None:
        self.rng = random.Random(seed)
        self.faults = faults
        self.calm = False
        self.tasks: list[Task] = []
        self.twice: list[Callable[[], Any]] = []
        self._main = getcurrent()

    def wire(self, server: Any) -> Any:
        """What an actor is given in place of a server."""
        return Wire(self, server)

    def call(self, function: Callable[..., Any], name: str, arguments: tuple[Any, ...]) -> Any:
        """A call to a server, with what may go wrong."""
        if self.calm:
            return function(*arguments)
        self.pause()
        chance = self.rng.random
        if chance() < self.faults.lost_request:
            raise Transient(f"{name}: the request was lost")
        answer = function(*arguments)
        if not isinstance(answer, list | tuple | int | datetime | None):
            answer = list(answer)
        if name in {"raise_to", "join"} and chance() < self.faults.twice:
            self.twice.append(lambda: function(*arguments))
        self.pause()
        if chance() < self.faults.lost_reply:
            raise Transient(f"{name}: the reply was lost")
        return answer

    def pause(self) -> None:
        """Let others go on."""
        if getcurrent() is not self._main:
            self._main.switch()

    def begin(self, work: Callable[[], Any], owner: object) -> None:
        """Let an actor begin something, and go on to its first call."""

        self.go_on(self.prepare(work, owner))

    def prepare(self, work: Callable[[], Any], owner: object) -> Task:
        """Something that begins when it is its turn."""

        def body() -> None:
            with suppress(StoreError, GreenletExit):
                work()

        task = Task(greenlet(body, self._main), owner)
        self.tasks.append(task)
        return task

    def go_on(self, task: Task) -> None:
        """Go on to the next call."""
        task.thread.switch()
        if task.thread.dead:
            self.tasks.remove(task)

    def kill(self, tasks: list[Task]) -> None:
        """Let them go on no more."""
        for task in tasks:
            task.thread.throw(GreenletExit)
            self.tasks.remove(task)

"""An event loop of a world's own: what `Ledger.apply_async` knows of `asyncio`.

A coroutine runs in the thread of whoever drives it, a task in one of its own, and what they await blocks
that thread of the world instead of yielding. Threads of a world give way nowhere else, so whatever an event
loop promises its coroutines between two awaits holds here too, while the seed decides who is next.
"""

from collections.abc import Callable, Coroutine, Generator
from contextlib import closing, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, TypeVar

from shared.errors import Transient
from tests.simulation.world import Died, Thread, World

T = TypeVar("T")

IMPATIENT = 0.03
"""How many requests are given up by their callers, while the loop goes on."""


def drive(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end in the running thread."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]  # it is what the coroutine returns
    raise AssertionError(f"{coroutine} awaits something of another world")


@dataclass(slots=True)
class Future:
    """`asyncio.Future`, without a result."""

    world: World
    flag: bool = False
    waiting: list[Thread] = field(default_factory=list)

    def done(self) -> bool:
        """Whether it has been set."""
        return self.flag

    def set_result(self, _: None) -> None:
        """Let those go on who wait for it."""
        self.flag = True
        for thread in self.waiting:
            self.world.wake(thread)

    def __await__(self) -> Generator[None, None, None]:
        """Block until it is set, or until the caller has lost patience."""
        yield from ()
        thread = self.world.thread
        patience = self.world.now + timedelta(seconds=thread.rng.choice((0.001, 0.01, 5.0)))
        impatient = thread.rng.random() < IMPATIENT
        self.waiting.append(thread)
        while not self.flag:
            if not impatient:
                self.world.block()
            elif self.world.now < patience:
                self.world.sleep((patience - self.world.now).total_seconds())
            else:
                raise Transient("the request was given up")


@dataclass(slots=True)
class Loop:
    """Stands in for the module `asyncio`, and for the loop that runs."""

    world: World
    tasks: int = 0

    def get_running_loop(self) -> "Loop":
        """Itself."""
        return self

    def create_future(self) -> Future:
        """One that nobody has set."""
        return Future(self.world)

    def create_task(self, coroutine: Coroutine[Any, Any, None]) -> None:
        """Run a coroutine in a thread of its own, that dies with the process it was made in."""
        process = self.world.thread.process
        assert process
        self.tasks += 1

        def body() -> None:
            with suppress(Died), closing(coroutine), self.world.inside(process):
                drive(coroutine)

        self.world.spawn(f"task {self.tasks}", body)

    async def run_in_executor(self, _: None, function: Callable[..., T], *arguments: Any) -> T:
        """Call a function: as nobody else's thread is blocked by it, in the thread that awaits it."""
        return function(*arguments)

    async def sleep(self, seconds: float) -> None:
        """Let others go on for a while."""
        self.world.sleep(seconds)

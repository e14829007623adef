"""A worker in a process of its own that kills itself at a call (`run`): POINT, or `early` and POINT.

It is the real worker, which takes one message at a time. A point is a number of a call to Firestore or of an
answer to Pub/Sub, and whether it is before or after it. With `early` it acknowledges a message on arrival,
which is the mistake that the tests have to notice.
"""

import asyncio
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from services.worker import worker as worker_module
from services.worker.__main__ import main
from services.worker.door import Door, Message
from shared.store.client import FirestoreStore

Tell = Callable[[str], None]


class Calls:
    """Numbers the calls of a worker, and tells of each before and after it."""

    def __init__(self, tell: Tell) -> None:
        self._tell = tell
        self._made = 0

    def watch(self, inner: Any, names: Sequence[str]) -> Any:
        """The same object, of whose calls by these names is told."""
        return _Watched(inner, names, self)

    def make(self, call: Callable[[], Any]) -> Any:
        """Make one call."""
        self._made += 1
        number = self._made
        self._tell(f"{number} before")
        made = call()
        self._tell(f"{number} after")
        return made


class _Watched:
    def __init__(self, inner: Any, names: Sequence[str], calls: Calls) -> None:
        self._inner = inner
        self._names = names
        self._calls = calls

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._inner, name)
        if name not in self._names:
            return found
        return lambda *arguments, **options: self._calls.make(lambda: found(*arguments, **options))


def watched(calls: Calls, *, early: bool = False) -> type[Door]:
    """A door whose answers are watched."""

    class Watching(Door):
        async def take(self, message: Message) -> None:
            told = calls.watch(message, ("ack", "nack"))
            if early:
                told.ack()
                await asyncio.sleep(1)  # the acknowledgement leaves, and the commit is slow
            await super().take(told)

    return Watching


def run(arguments: Sequence[str], environment: Mapping[str, str]) -> None:
    """Run the worker until the deadly point."""
    *how, deadly = arguments
    os.environ.update(environment)

    def tell(point: str) -> None:
        if point == deadly:
            os.kill(os.getpid(), signal.SIGKILL)

    calls = Calls(tell)
    connect = FirestoreStore.connect
    setattr(worker_module, "Door", watched(calls, early="early" in how))  # noqa: B010 - a name of another module
    setattr(  # noqa: B010 - the same
        worker_module,
        "FirestoreStore",
        type("Store", (), {"connect": lambda settings: calls.watch(connect(settings), ("commit", "get"))}),
    )
    os.environ["LIBRA_WORKER_MESSAGES"] = "1"
    sys.exit(main())

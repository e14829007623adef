"""A relay that kills itself at a step: STEP, then the arguments of `local.relay`.

Its steps are the methods of `Relay` that an event comes through, before and after each: read off the class,
so that one that is added is a step by itself.
"""

import inspect
import os
import signal
import sys
from collections.abc import Callable
from typing import Any

from local.relay import Relay, main

BESIDE = {"start", "stop", "application", "state", "_deliver", "_work", "_tell", "_latency", "_set_faults"}
"""What no event comes through: the loops that never end, and questions about the relay itself."""

METHODS = [
    name
    for name, member in vars(Relay).items()
    if inspect.isfunction(member) and not name.startswith("__") and name not in BESIDE
]
STEPS = [f"{moment} {name}" for name in METHODS for moment in ("before", "after")]


def deadly(step: str) -> None:
    """Have the relay die at a step, the first time that it comes to it."""
    moment, name = step.split()
    method: Callable[..., Any] = getattr(Relay, name)

    def die() -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def plain(*arguments: Any) -> Any:
        if moment == "before":
            die()
        method(*arguments)
        die()

    async def awaited(*arguments: Any) -> Any:
        if moment == "before":
            die()
        await method(*arguments)
        die()

    setattr(Relay, name, awaited if inspect.iscoroutinefunction(method) else plain)


if __name__ == "__main__":
    deadly(sys.argv[1])
    sys.exit(main(sys.argv[2:]))

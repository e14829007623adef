"""Whether the process runs, and whether it can work. The platform asks; nobody has to be signed in."""

import asyncio
import time
from collections.abc import Callable
from typing import Annotated

from fastapi import APIRouter, Depends
from pydantic import BaseModel, Field
from starlette.requests import Request

from shared.errors import LibraError
from shared.http.responses import problems

router = APIRouter(tags=["health"])

REMEMBERED = 5.0
"""Seconds that an answer is good for. Anybody may ask, so what it costs must not depend on who does."""


class Health(BaseModel):
    """It is well."""

    status: str = Field(examples=["ok"])


class Readiness:
    """Whether what a service works with answers, asked once in a while. Of one event loop.

    Those who ask meanwhile wait for the same answer, and hold no thread while they wait.
    """

    def __init__(self, ask: Callable[[], object], clock: Callable[[], float] = time.monotonic) -> None:
        """``ask``: called in a thread; it raises if the answer is no."""
        self._ask = ask
        self._clock = clock
        self._asked: asyncio.Task[LibraError | None] | None = None
        self._until = 0.0

    async def check(self) -> None:
        """Return if the last answer, or a new one, is yes.

        Raises:
            LibraError: it is no.
        """
        if self._asked is None or self._asked.cancelled() or (self._asked.done() and self._is_old()):
            self._asked = asyncio.create_task(asyncio.to_thread(self._answer))
        if error := await asyncio.shield(self._asked):
            raise error.with_traceback(None)

    def _is_old(self) -> bool:
        return self._clock() >= self._until

    def _answer(self) -> LibraError | None:
        try:
            self._ask()
        except LibraError as error:
            return error
        finally:
            self._until = self._clock() + REMEMBERED
        return None


def _ready(request: Request) -> Readiness:
    ready: Readiness = request.app.state.ready
    return ready


@router.get("/healthz")
async def healthz() -> Health:
    """Whether the process answers. It reads nothing, so a Firestore that is down restarts no process."""
    return Health(status="ok")


@router.get("/readyz", responses=problems(503))
async def readyz(ready: Annotated[Readiness, Depends(_ready)]) -> Health:
    """Whether what the service works with answers. It costs one document read in five seconds at most."""
    await ready.check()
    return Health(status="ok")

"""The API keys as one instance knows them: read when they are first used, and again after a minute."""

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from services.collector.throttle import Throttle
from shared.api_keys import ApiKey, key_id
from shared.errors import LibraError
from shared.http.problems import Problem

KEPT_SECONDS = 60.0
"""How long what was read is believed, from before the read began: a revoked key stops within this."""
REMEMBERED = 10_000
"""Ids that are kept."""
STRANGERS_A_SECOND = 10.0
STRANGERS_AT_ONCE = 100
"""Ids that are not known to be keys are looked up at this rate: each guess costs a document read."""

Look = Callable[[str], ApiKey | None]
"""Reads a key by its id; None: there is none. Blocks."""


@dataclass(frozen=True, slots=True)
class _Read:
    until: float
    found: "asyncio.Task[ApiKey | LibraError | None]"
    known: bool
    """Whether the read before it found a key."""


class Keyring:
    """The keys that were used of late. Of one event loop."""

    def __init__(self, look: Look, clock: Callable[[], float]) -> None:
        """``clock``: seconds, monotonic."""
        self._look = look
        self._clock = clock
        self._reads: OrderedDict[str, _Read] = OrderedDict()
        self._strangers = Throttle(clock, burst=STRANGERS_AT_ONCE)

    async def find(self, key: str) -> ApiKey | None:
        """What is stored of a key; None: it is none, or it was revoked.

        Raises:
            Problem: 503, too many unknown keys at once.
            LibraError: the key cannot be read.
        """
        found_id = key_id(key)
        if found_id is None:
            return None
        # Shielded: others wait for the same read, also where this request ends before it.
        stored = await asyncio.shield(self._read(found_id))
        if isinstance(stored, LibraError):
            raise type(stored)(*stored.args) from stored
        return stored if stored and stored.revoked_at is None and stored.is_of(key) else None

    def _read(self, found_id: str) -> "asyncio.Task[ApiKey | LibraError | None]":
        now, read = self._clock(), self._reads.get(found_id)
        if read and now < read.until and not _failed(read.found):
            return read.found
        known = read is not None and _known(read)
        if not known:
            self._allow_stranger()
        task = asyncio.create_task(self._looked(found_id))
        self._reads[found_id] = _Read(now + KEPT_SECONDS, task, known)
        self._reads.move_to_end(found_id)
        if len(self._reads) > REMEMBERED:
            self._reads.popitem(last=False)
        return task

    async def _looked(self, found_id: str) -> ApiKey | LibraError | None:
        try:
            return await asyncio.to_thread(self._look, found_id)
        except LibraError as error:
            return error

    def _allow_stranger(self) -> None:
        if self._strangers.wait("", STRANGERS_A_SECOND):
            detail = "too many API keys that are not known here were tried: try again"
            raise Problem(503, detail, headers={"Retry-After": "1"})
        self._strangers.take("", STRANGERS_A_SECOND, 1)


def _failed(task: "asyncio.Task[ApiKey | LibraError | None]") -> bool:
    broken = task.done() and (task.cancelled() or task.exception() is not None)
    return broken or (task.done() and isinstance(task.result(), LibraError))


def _known(read: _Read) -> bool:
    """Whether a key is known by what was read last: a read that failed, or is not over, says nothing."""
    if not read.found.done() or _failed(read.found):
        return read.known
    return read.found.result() is not None

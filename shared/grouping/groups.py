"""Who leads: groups of what waits, one after another, for threads and for an event loop."""

import asyncio
import threading
import time
from collections.abc import Callable, Sequence
from typing import Generic

from shared.grouping.queue import M, Pace, Queue
from shared.log import logger

CROWD = 8
"""After a group larger than this, more events are expected at once."""

CROWD_PAUSE = 0.01
"""Seconds between the answers to a large group and the next group. The events that follow on those answers
then join the next group. Without the pause two half groups take turns (docs/decisions)."""


class Groups(Generic[M]):
    """Has what waits settled in groups, by one leader at a time.

    **The group.** A caller becomes the leader if there is none. The leader takes the waiting members,
    within bounds, has them settled, and answers every one. So an instance has one commit under way at a
    time and writes a hot document once per commit. An idle instance adds no wait. Nothing is buffered beyond
    the requests that wait, so a server that finishes its requests on SIGTERM has drained it. Only the leader
    settles. Callers are threads (`ride`) or the coroutines of one event loop (`ride_async`), not both at
    once. A leading thread hands over to the first caller that came during its commit. In a loop, a task leads
    until nothing waits, and settles in the loop's executor: a request that is given up takes no other with
    it.

    **The pace.** An idle instance commits immediately. Under load, what arrives during a commit is the next
    group. A commit begins at least the `Pace` after the commit before it, or once a group is full.
    """

    def __init__(
        self,
        settle: Callable[[Sequence[M]], None],
        pace: Pace,
        group_size: int,
        *,
        sleep: Callable[[float], None],
    ) -> None:
        self._settle = settle
        self._pace = pace
        self.queue = Queue[M](group_size)
        self.wait_for_company = self.queue.full.wait if sleep is time.sleep else sleep

    def ride(self, own: M) -> None:
        """Have a member settled from a thread; returns once it is answered.

        Raises:
            Overloaded: too many wait in this instance; nothing was sent.
        """
        turn = threading.Lock()
        turn.acquire()
        own.wake = turn.release
        if not self.queue.enqueue(own):
            turn.acquire()
        if not own.answered:
            self.lead()

    async def ride_async(self, own: M) -> None:
        """Have a member settled from a coroutine; returns once it is answered. Raises as `ride`."""
        answered: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def wake() -> None:
            if not answered.done():  # it is, where the request was given up
                answered.set_result(None)

        own.wake = wake
        if self.queue.enqueue(own):
            self.leader = asyncio.create_task(self._lead_in_loop())
        await answered

    def lead(self) -> None:
        """Settle one group, and hand over."""
        group: Sequence[M] = ()
        try:
            try:
                if wait := self._pace.ahead_of_time():
                    self.wait_for_company(wait)
            finally:  # also where the wait was interrupted: nobody else answers its group
                group = self.queue.take()
            self._settle(group)
        finally:
            if heir := self.queue.done():
                heir.wake()
            _wake(group)

    async def _lead_in_loop(self) -> None:
        in_executor = asyncio.get_running_loop().run_in_executor
        leading = True
        while leading:
            group: Sequence[M] = ()
            try:
                try:
                    if wait := self._pace.ahead_of_time():
                        await in_executor(None, self.wait_for_company, wait)
                finally:
                    group = self.queue.take()
                await in_executor(None, self._settle, group)
            except Exception:  # noqa: BLE001 - logged; a thread would raise it, but a task has no caller to raise it to
                logger.exception("A group was interrupted")
            finally:
                _wake(group)
            if len(group) > CROWD:
                await asyncio.sleep(CROWD_PAUSE)
            leading = self.queue.done() is not None


def _wake(group: Sequence[M]) -> None:
    for member in group:
        member.answered = True
        member.wake()

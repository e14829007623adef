"""The worker's tasks: each message that the client's thread hands over is taken once, and waited for."""

import asyncio
import threading
from types import SimpleNamespace
from typing import Any

from services.worker.pulling import Tasks

MESSAGES = 500


def test_every_message_is_taken_once_and_a_burst_wakes_the_loop_once() -> None:
    """What comes while the loop is busy comes in with one call. What comes later is not left behind."""
    taken: list[Any] = []
    woken = 0

    async def run() -> None:
        loop, going = asyncio.get_running_loop(), asyncio.Event()

        async def take(message: Any) -> None:
            taken.append(message)
            await going.wait()

        def wake(start: Any) -> None:
            nonlocal woken
            woken += 1
            loop.call_soon_threadsafe(start)

        tasks = Tasks(SimpleNamespace(call_soon_threadsafe=wake, create_task=loop.create_task), take)  # type: ignore[arg-type] # a loop, as far as it is used
        burst = threading.Thread(target=lambda: [tasks.begin(each) for each in range(MESSAGES)])  # type: ignore[func-returns-value] # for its effect
        burst.start()
        burst.join()  # the loop is busy meanwhile
        assert woken == 1
        async with asyncio.timeout(60):
            while len(taken) < MESSAGES:
                await asyncio.sleep(0)
        tasks.begin(MESSAGES)  # while all others are under way
        assert woken == 2
        going.set()
        await asyncio.to_thread(tasks.shutdown, True)

    asyncio.run(run())
    assert taken == list(range(MESSAGES + 1))


def test_a_shutdown_waits_for_messages_under_way_and_for_those_that_have_just_come() -> None:
    """Nothing that the client handed over is left when the client sends its acknowledgements."""

    async def run() -> None:
        going, settled = asyncio.Event(), 0

        async def take(_: Any) -> None:
            nonlocal settled
            await going.wait()
            settled += 1

        tasks = Tasks(asyncio.get_running_loop(), take)
        for number in range(3):
            tasks.begin(number)
        stopping = asyncio.create_task(asyncio.to_thread(tasks.shutdown, True))
        done, _ = await asyncio.wait({stopping}, timeout=0.2)
        assert not done
        going.set()
        assert await stopping == []
        assert settled == 3

    asyncio.run(run())

"""Pub/Sub's streaming pull of one subscription, with every message a task of one event loop."""

import asyncio
import queue
from collections.abc import Callable, Coroutine
from concurrent.futures import Future, wait
from typing import Any

from google.cloud.pubsub_v1 import SubscriberClient
from google.cloud.pubsub_v1.subscriber.futures import StreamingPullFuture
from google.cloud.pubsub_v1.subscriber.message import Message
from google.cloud.pubsub_v1.subscriber.scheduler import Scheduler
from google.cloud.pubsub_v1.types import FlowControl

MOST_BYTES = 50 * 1024 * 1024
"""Bytes of messages under way in one process, for each source."""

LEASE_SECONDS = 10
"""How long a message stays with a worker that has died; the shortest that Pub/Sub allows. The client extends
it while the worker lives."""

Take = Callable[[Message], Coroutine[Any, Any, None]]


class Tasks(Scheduler):  # type: ignore[misc] # the client has no types
    """Runs what the client schedules as tasks of a loop: a thousand messages need no thousand threads.

    The client stops in this order: it pulls no more, waits here for what is under way, sends the
    acknowledgements, and hangs up.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, take: Take) -> None:
        self._queue: queue.Queue[object] = queue.Queue()
        self._loop = loop
        self._take = take
        self._under_way: set[Future[None]] = set()

    @property
    def queue(self) -> "queue.Queue[object]":
        """Where the client's own threads put their requests."""
        return self._queue

    def schedule(self, callback: Callable[..., object], *args: Any, **kwargs: Any) -> None:
        """Called by the client's thread for each message."""
        callback(*args, **kwargs)

    def begin(self, message: Message) -> None:
        """Start the task of a message: this is the client's callback."""
        task = asyncio.run_coroutine_threadsafe(self._take(message), self._loop)
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)

    def shutdown(self, await_msg_callbacks: bool = False) -> list[Message]:
        """Wait for what is under way; nothing is dropped."""
        if await_msg_callbacks:
            wait(set(self._under_way))
        return []


def pull(
    client: SubscriberClient, path: str, messages: int, take: Take, loop: asyncio.AbstractEventLoop
) -> StreamingPullFuture:
    """Pull a subscription until the future is cancelled; the future then ends once all is answered.

    Args:
        client: Pub/Sub's.
        path: the subscription's full name.
        messages: the most messages under way at once.
        take: settles a message and answers it.
        loop: where it runs.
    """
    tasks = Tasks(loop, take)
    return client.subscribe(
        path,
        callback=tasks.begin,
        flow_control=FlowControl(
            max_messages=messages, max_bytes=MOST_BYTES, max_duration_per_lease_extension=LEASE_SECONDS
        ),
        scheduler=tasks,
        await_callbacks_on_shutdown=True,
    )

"""The load generator: a process of its own, so that what it spends is not taken for the function's.

`python -m tests.bench.load PORT PROJECT SHAPE CONCURRENCY SECONDS MOST` sends events over kept-alive
connections, each with one event under way (a closed loop), for that long or that many, waits for the
last answer, and prints a `Result` as JSON. Requests are built before the clock starts. An answer other
than 2xx is an error, and the event is sent again, as the platform would; its latency runs from its
first sending.
"""

import asyncio
import json
import sys
import time
from collections import deque
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from typing import Protocol, get_args

from tests.bench.events import Feed, Shape, http_request

DEADLINE_SECONDS = 5.0
"""How long the last answers are waited for; what is not answered by then is told as such."""


@dataclass
class Result:
    """What a run saw. Seconds."""

    sent: int = 0
    """Different events."""
    acknowledged: int = 0
    unanswered: int = 0
    """Sent, and neither acknowledged nor given up when the time was over."""
    seconds: float = 0.0
    """From the first sending to the last answer."""
    errors: dict[str, int] = field(default_factory=dict)
    """Answers other than 2xx, by status."""
    latencies: list[float] = field(default_factory=list)


class Run:
    """The events still to send, and what came of the others. One event loop, no locks."""

    def __init__(self, requests: deque[bytes], seconds: float) -> None:
        self.result = Result()
        self.finished = asyncio.get_running_loop().create_future()
        self._requests = requests
        self._again: deque[tuple[bytes, float]] = deque()
        self._seconds = seconds
        self._started = 0.0
        self._under_way = 0

    def start(self) -> None:
        """Start the clock."""
        self._started = time.perf_counter()

    def next(self) -> tuple[bytes, float] | None:
        """The next request and when it was first sent; None: there is no more for this connection."""
        now = time.perf_counter()
        if self._again:
            self._under_way += 1
            return self._again.popleft()
        if self._requests and now - self._started < self._seconds:
            self._under_way += 1
            self.result.sent += 1
            return self._requests.popleft(), now
        return None

    def answered(self, request: bytes, first_sent: float, status: bytes) -> None:
        """Note an answer."""
        self._under_way -= 1
        now = time.perf_counter()
        self.result.seconds = now - self._started
        if status.startswith(b"2"):
            self.result.acknowledged += 1
            self.result.latencies.append(now - first_sent)
        else:
            name = status.decode()
            self.result.errors[name] = self.result.errors.get(name, 0) + 1
            self._again.append((request, first_sent))

    def rest(self, _: "Connection") -> None:
        """A connection has nothing to send: it is over when none has."""
        if not self._under_way and not self._again and not self.finished.done():
            self.finished.set_result(None)


class Requests(Protocol):
    """What a connection sends, and whom it tells. `Run` says what each is for."""

    def next(self) -> tuple[bytes, float] | None: ...

    def answered(self, request: bytes, first_sent: float, status: bytes) -> None: ...

    def rest(self, connection: "Connection") -> None: ...


class Connection(asyncio.Protocol):
    """One connection: sends, waits for the answer, sends the next."""

    def __init__(self, run: Requests) -> None:
        self._run = run
        self._current: tuple[bytes, float] | None = None
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See `asyncio.Protocol`."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    @property
    def closed(self) -> bool:
        """Whether the server has hung up."""
        return self._transport.is_closing()

    def go(self) -> None:
        """Send the next event, if there is one."""
        self._current = self._run.next()
        if self._current:
            self._transport.write(self._current[0])
        else:
            self._run.rest(self)

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol`."""
        self._received += data
        head, found, body = self._received.partition(b"\r\n\r\n")
        if found and len(body) >= _length(head) and self._current:
            self._received = b""
            self._run.answered(*self._current, head[9:12])
            self.go()


def _length(head: bytes) -> int:
    lower = head.lower()
    at = lower.find(b"content-length:")
    return int(lower[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0


async def send(port: int, requests: deque[bytes], concurrency: int, seconds: float) -> Result:
    """Send the requests with that many under way."""
    loop = asyncio.get_running_loop()
    run = Run(requests, seconds)
    connections = []
    for _ in range(concurrency):
        _, connection = await loop.create_connection(lambda: Connection(run), "127.0.0.1", port)
        connections.append(connection)
    run.start()
    for connection in connections:
        connection.go()
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds + DEADLINE_SECONDS):
            await run.finished
    run.result.unanswered = run.result.sent - run.result.acknowledged
    return run.result


def main() -> None:
    """See the module."""
    port, project, shape, concurrency, seconds, most = sys.argv[1:]
    assert shape in get_args(Shape)
    feed = Feed(project, shape)  # type: ignore[arg-type]  # one of its values, as just asserted
    requests = deque(http_request(entry, f"127.0.0.1:{port}") for entry in feed.entries(int(most)))
    result = asyncio.run(send(int(port), requests, int(concurrency), float(seconds)))
    json.dump(asdict(result), sys.stdout)


if __name__ == "__main__":
    main()

"""The senders of the doors' benchmark, and a reader who watches the totals.

The senders hold kept-alive connections, each with one request under way. They send either as fast as the
events become visible, with a bounded number that is not visible yet, or at a fixed rate, whatever comes back.
The reader reads the totals again and again. The n-th event is visible once the reader has seen a sum of n.
"""

import asyncio
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

import grpc.aio

from tests.bench.load import Connection

CONNECTIONS = 100
COMMIT = "/google.firestore.v1.Firestore/Commit"
DRAIN_SECONDS = 120.0


class Sending(NamedTuple):
    """A request, and what follows on its answer."""

    request: bytes
    events: int
    then: tuple[bytes, ...] = ()
    """Requests to the second server: the events that the platform sends once the write has landed."""


class Load(NamedTuple):
    """How much is sent, and for how long."""

    seconds: float
    waiting: int = 2_000
    """Events that may be sent and not be visible yet."""
    rate: float | None = None
    """Events a second; None: as many as become visible."""

    @property
    def pause(self) -> float:
        """Seconds between two looks at the totals: a look costs the emulator as much as an event."""
        return 0.05 if self.rate is None else 0.005


@dataclass
class Seen:
    """What senders and reader saw. Seconds."""

    sent: int = 0
    visible: int = 0
    seconds: float = 0.0
    """From the first request until all were visible."""
    errors: Counter[str] = field(default_factory=Counter)
    """Answers other than 2xx, by status: those requests were sent again."""
    latencies: list[float] = field(default_factory=list)


class Server:
    """The connections to one server, and what waits for one of them. See `load.Requests`."""

    def __init__(self, errors: Counter[str], answered: Callable[[bytes], None]) -> None:
        self._errors = errors
        self._tell = answered
        self._waiting: deque[bytes] = deque()
        self._free: list[Connection] = []
        self._opening: set[asyncio.Task[None]] = set()
        self._port = 0

    async def connect(self, port: int) -> None:
        """Open the connections."""
        self._port = port
        for _ in range(CONNECTIONS):
            self._free.append(await self._open())

    def put(self, request: bytes) -> None:
        """Send a request on the connection that was used last, or as soon as one is free."""
        self._waiting.append(request)
        if self._free and not self._free[-1].closed:
            self._free.pop().go()
        elif self._free:  # its server does not wait for long
            self._free.pop()
            task = asyncio.create_task(self._reopen())
            self._opening.add(task)
            task.add_done_callback(self._opening.discard)

    async def _open(self) -> Connection:
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_connection(lambda: Connection(self), "127.0.0.1", self._port)
        return connection

    async def _reopen(self) -> None:
        (await self._open()).go()

    def next(self) -> tuple[bytes, float] | None:
        """See `load.Run`."""
        return (self._waiting.popleft(), 0.0) if self._waiting else None

    def answered(self, request: bytes, _: float, status: bytes) -> None:
        """See `load.Run`."""
        if status.startswith(b"2"):
            self._tell(request)
        else:
            self._errors[status.decode()] += 1
            self._waiting.append(request)

    def rest(self, connection: Connection) -> None:
        """See `load.Run`."""
        self._free.append(connection)


class Writers:
    """Commits to Firestore, as many under way as there are connections."""

    def __init__(self, errors: Counter[str], answered: Callable[[bytes], None]) -> None:
        self._errors = errors
        self._tell = answered
        self._waiting: deque[bytes] = deque()
        self._tasks: set[asyncio.Task[None]] = set()

    async def connect(self, port: int) -> None:
        """Open the channel."""
        self._commit = grpc.aio.insecure_channel(f"127.0.0.1:{port}").unary_unary(COMMIT, None, None)

    def put(self, request: bytes) -> None:
        """Send a request as soon as another one is answered."""
        self._waiting.append(request)
        if len(self._tasks) < CONNECTIONS:
            task = asyncio.create_task(self._work())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _work(self) -> None:
        while self._waiting:
            request = self._waiting.popleft()
            try:
                await self._commit(request)
            except grpc.aio.AioRpcError as error:
                self._errors[error.code().name] += 1
                self._waiting.append(request)
            else:
                self._tell(request)


class Crowd:
    """One run: senders and reader, in one event loop."""

    def __init__(self, read: Callable[[], int], load: Load) -> None:
        """``read``: the sum of the totals that are watched; it blocks."""
        self.seen = Seen()
        self._read = read
        self._load = load
        self._sent_at: list[float] = []
        self._follows: dict[bytes, tuple[bytes, ...]] = {}
        self._moved = asyncio.Event()
        self._sending = True

    async def run(self, ports: tuple[int, ...], sendings: Iterator[Sending]) -> Seen:
        """Send until the time is over, and wait until all is visible.

        Args:
            ports: of the server that takes the requests, and of the one that takes what follows on them.
            sendings: as many as may be needed, ready to go.

        Raises:
            TimeoutError: not everything became visible in time.
        """
        second = Server(self.seen.errors, lambda _: None)
        kind = Writers if len(ports) > 1 else Server
        first = kind(self.seen.errors, lambda request: self._follow(request, second))
        for server, port in zip((first, second), ports, strict=False):
            await server.connect(port)
        began = time.perf_counter()
        async with asyncio.timeout(self._load.seconds + DRAIN_SECONDS):
            watching = asyncio.create_task(self._watch())
            await self._send(first, sendings)
            self._sending = False
            await watching
        self.seen.seconds = time.perf_counter() - began
        return self.seen

    async def _send(self, server: Server | Writers, sendings: Iterator[Sending]) -> None:
        began = time.perf_counter()
        while (passed := time.perf_counter() - began) < self._load.seconds:
            if self._due(passed):
                if (sending := next(sendings, None)) is None:
                    return
                self._follows[sending.request] = sending.then
                self._sent_at += [time.perf_counter()] * sending.events
                server.put(sending.request)
                if self.seen.sent % 50 == 0:
                    await asyncio.sleep(0)
                self.seen.sent += sending.events
            elif self._load.rate:
                await asyncio.sleep(0.001)
            else:
                self._moved.clear()
                await self._moved.wait()

    def _due(self, passed: float) -> bool:
        if self._load.rate:
            return self.seen.sent < passed * self._load.rate
        return self.seen.sent - self.seen.visible < self._load.waiting

    def _follow(self, request: bytes, second: Server) -> None:
        for each in self._follows.pop(request):
            second.put(each)

    async def _watch(self) -> None:
        while self._sending or self.seen.visible < self.seen.sent:
            visible = await asyncio.to_thread(self._read)
            now = time.perf_counter()
            newly = self._sent_at[self.seen.visible : visible]
            self.seen.latencies += [now - sent for sent in newly]
            self.seen.visible = visible
            self._moved.set()
            await asyncio.sleep(self._load.pause)

"""The relay: stands in the local stack where Eventarc stands on the platform.

The emulator delivers each event once, in order, one at a time, waiting for an answer before the next,
and never again. So the relay answers it at once, then delivers as Eventarc does: concurrently, without
order, and again, with a growing and random pause, until the function acknowledges or the event is too
old. On demand it also loses, repeats, delays and reorders events, the same ones for the same seed.

`GET /relay` tells its counters and faults, `PUT /relay/faults` changes the faults; every other POST is
an event.
"""

import argparse
import asyncio
import base64
import binascii
import json
import random
import signal
import sys
import time
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import asdict

from aiohttp import ClientError, ClientSession, ClientTimeout, DummyCookieJar, TCPConnector, web

from local.deliveries import Counters, Delivering, Delivery
from local.faults import Faults

NO_ANSWER = 0
LARGEST_EVENT = 16 << 20  # a document is at most 1 MiB, an event's body twice that before base64
KEEP_SECONDS = 1.0  # gunicorn closes an idle connection after 2 seconds (its setting `keepalive`)
# Eventarc pushes through Pub/Sub, for which these acknowledge and every other status, 4xx too, is a
# reason to deliver again: https://cloud.google.com/pubsub/docs/push
ACKNOWLEDGED = frozenset({102, 200, 201, 202, 204})
HELD_SECONDS = 0.05
PROBE = "libra-probe"  # a trigger of this name only shows that events arrive
LATENCIES_KEPT = 20_000
UNDELIVERED_NAMED = 20


class Relay:
    """Takes events, delivers them. Everything happens in one event loop, so nothing is locked.

    A delivery is in `_live` from its acceptance until it is acknowledged or given up: that set is
    what "in flight" counts, and what is named when the relay stops too early.
    """

    def __init__(self, delivering: Delivering, faults: Faults) -> None:
        """Deliver with these faults; `start` starts."""
        self.faults = faults
        self.counters = Counters()
        self._delivering = delivering
        self._changes: Counter[str] = Counter()
        self._queue: asyncio.Queue[Delivery] = asyncio.Queue()
        self._live: set[Delivery] = set()
        self._held: list[Delivery] = []
        self._release: asyncio.TimerHandle | None = None
        self._latencies: deque[float] = deque(maxlen=LATENCIES_KEPT)
        self._chance = random.Random(faults.seed)
        self._deliveries: asyncio.Task[None] | None = None

    def start(self) -> asyncio.Task[None]:
        """Start the deliveries, in the event loop. The task ends only if something unforeseen ends it."""
        self._deliveries = asyncio.create_task(self._deliver())
        return self._deliveries

    async def _deliver(self) -> None:
        async with ClientSession(
            connector=TCPConnector(limit=0, keepalive_timeout=KEEP_SECONDS),
            cookie_jar=DummyCookieJar(),
            timeout=ClientTimeout(total=self._delivering.timeout_seconds),
        ) as session:
            await asyncio.gather(*(self._work(session) for _ in range(self._delivering.concurrency)))

    async def stop(self, *, drain_seconds: float) -> list[str]:
        """Deliver what is left for that long, then stop; returns the events that were not delivered."""
        deadline = time.monotonic() + drain_seconds
        while self._live and time.monotonic() < deadline:
            await asyncio.sleep(0.02)
        if self._deliveries:
            self._deliveries.cancel()
            await asyncio.gather(self._deliveries, return_exceptions=True)
        return sorted(delivery.event for delivery in self._live)

    def application(self) -> web.Application:
        """What it answers: events, and questions about itself."""
        application = web.Application(client_max_size=LARGEST_EVENT)
        application.router.add_get("/relay", self._tell)
        application.router.add_put("/relay/faults", self._set_faults)
        application.router.add_post("/{event:.*}", self._take)
        return application

    async def _tell(self, _: web.Request) -> web.Response:
        return web.json_response(self.state())

    def state(self) -> dict[str, object]:
        """The counters, how many deliveries are in flight, latencies in milliseconds, and the faults."""
        return {
            **asdict(self.counters),
            "in_flight": len(self._live),
            "latency_ms": {"p50": self._latency(0.50), "p99": self._latency(0.99)},
            "faults": asdict(self.faults),
        }

    def _latency(self, share: float) -> float:
        ordered = sorted(self._latencies)
        return round(ordered[int(share * (len(ordered) - 1))] * 1000, 1) if ordered else 0.0

    async def _set_faults(self, request: web.Request) -> web.Response:
        try:
            self.faults = self.faults.changed(await request.json())
        except ValueError as error:
            return web.json_response({"error": str(error)}, status=400)
        return web.json_response(asdict(self.faults))

    async def _take(self, request: web.Request) -> web.Response:
        if request.path.endswith(f"/triggers/{PROBE}"):
            self.counters.probes += 1
            return web.json_response({})
        try:
            body = base64.b64decode(await request.read(), validate=True)
        except binascii.Error as error:
            self.counters.refused += 1
            return web.json_response({"error": f"the body is not base64: {error}"}, status=400)
        self.counters.received += 1
        event = self._name(request.headers)
        kept = {name: value for name, value in request.headers.items() if name.lower().startswith("ce-")}
        kept["content-type"] = request.headers.get("content-type", "application/protobuf")
        self._plan(event, kept, body)
        return web.json_response({})

    def _name(self, headers: Mapping[str, str]) -> str:
        """What an event is called, in every run alike: its document; which change of it, after the first."""
        document = headers.get("ce-document", "") or headers.get("ce-id", "")
        kind = headers.get("ce-type", "").rpartition(".")[2]
        if kind not in {"updated", "deleted"}:
            return document
        self._changes[document] += 1
        return f"{document} {kind} {self._changes[document]}"

    def _plan(self, event: str, headers: dict[str, str], body: bytes) -> None:
        delays = self.faults.plan(event)
        self.counters.dropped += not delays
        self.counters.duplicated += max(0, len(delays) - 1)
        for delay in delays:
            delivery = Delivery(event, headers, body, time.monotonic())
            self._live.add(delivery)
            if delay:
                asyncio.get_running_loop().call_later(delay, self._hold, delivery)
            else:
                self._hold(delivery)

    def _hold(self, delivery: Delivery) -> None:
        """Keep `reorder` deliveries back and let a random one go for each that comes; all when none comes."""
        if not self.faults.reorder and not self._held:
            self._queue.put_nowait(delivery)
            return
        self._held.append(delivery)
        if self._release:
            self._release.cancel()
        self._release = asyncio.get_running_loop().call_later(HELD_SECONDS, self._let_go, 0)
        self._let_go(self.faults.reorder)

    def _let_go(self, kept: int) -> None:
        while len(self._held) > kept:
            at = self._chance.randrange(len(self._held))
            self._held[at], self._held[-1] = self._held[-1], self._held[at]
            self._queue.put_nowait(self._held.pop())

    async def _work(self, session: ClientSession) -> None:
        while True:
            delivery = await self._queue.get()
            self._settle(delivery, await self._send(session, delivery))

    async def _send(self, session: ClientSession, delivery: Delivery) -> int:
        """Deliver once; the answer's status, `NO_ANSWER` if there was none in time."""
        try:
            async with session.post(
                self._delivering.url(delivery.headers.get("ce-type", "")),
                data=delivery.body,
                headers=delivery.headers,
                allow_redirects=False,
            ) as answer:
                await answer.read()
                return answer.status
        except (ClientError, OSError):  # TimeoutError is an OSError
            return NO_ANSWER

    def _settle(self, delivery: Delivery, status: int) -> None:
        now = time.monotonic()
        if status in ACKNOWLEDGED:
            self.counters.delivered += 1
            self._latencies.append(now - delivery.since)
            self._live.discard(delivery)
            return
        failure = "no answer" if status == NO_ANSWER else str(status)
        self.counters.failed[failure] = self.counters.failed.get(failure, 0) + 1
        if now - delivery.since > self._delivering.oldest_seconds:
            self.counters.expired += 1
            self._live.discard(delivery)
            return
        delivery.attempts += 1
        pause = self._delivering.pause(delivery.attempts, self._chance.random())
        asyncio.get_running_loop().call_later(pause, self._again, delivery)

    def _again(self, delivery: Delivery) -> None:
        self.counters.redelivered += 1
        self._queue.put_nowait(delivery)


async def run(port: int, delivering: Delivering, faults: Faults, drain_seconds: float) -> int:
    """Serve on 127.0.0.1 until SIGTERM or SIGINT; returns how many events were left undelivered."""
    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    relay = Relay(delivering, faults)
    runner = web.AppRunner(relay.application(), access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port, backlog=1024).start()
    deliveries = relay.start()
    deliveries.add_done_callback(lambda _: ended.set())
    await ended.wait()
    if deliveries.done():  # better to be missed at once than to take events and keep them
        await deliveries
    await runner.cleanup()
    left = await relay.stop(drain_seconds=drain_seconds)
    summary = {"message": "relay stopped", "undelivered": len(left), "events": left[:UNDELIVERED_NAMED]}
    print(json.dumps({"severity": "WARNING" if left else "INFO", **summary, **relay.state()}), flush=True)  # noqa: T201 - its log is its output
    return len(left)


def main(arguments: Sequence[str]) -> int:
    """Run the relay; the exit status is 1 if events were left undelivered."""
    options = _parser().parse_args(arguments)
    try:
        faults = Faults().changed({name: getattr(options, name) for name in asdict(Faults())})
    except ValueError as error:
        _parser().error(str(error))
    delivering = Delivering(
        targets=dict(_target(given) for given in options.target),
        concurrency=options.concurrency,
        timeout_seconds=options.timeout,
        backoff_seconds=options.backoff,
        longest_backoff_seconds=options.longest_backoff,
        oldest_seconds=options.oldest,
    )
    return 1 if asyncio.run(run(options.port, delivering, faults, options.drain)) else 0


def _target(given: str) -> tuple[str, str]:
    kind, _, address = given.rpartition("=")
    return kind, address


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m local.relay",
        description="Stands where Eventarc stands.",
    )
    parser.add_argument("--port", type=int, required=True, help="where the emulator sends events")
    parser.add_argument(
        "--target",
        action="append",
        required=True,
        help="host:port of the function; KIND=host:port for events of one kind (created, updated, deleted)",
    )
    defaults = Delivering()
    parser.add_argument("--concurrency", type=int, default=defaults.concurrency)
    parser.add_argument("--timeout", type=float, default=defaults.timeout_seconds, help="seconds")
    parser.add_argument("--backoff", type=float, default=defaults.backoff_seconds, help="seconds")
    parser.add_argument("--longest-backoff", type=float, default=defaults.longest_backoff_seconds)
    parser.add_argument("--oldest", type=float, default=defaults.oldest_seconds, help="seconds")
    parser.add_argument("--drain", type=float, default=10.0, help="seconds to go on after SIGTERM")
    for name, value in asdict(Faults()).items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=type(value), default=value)
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

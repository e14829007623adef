"""What the doors' benchmark measures: the collector's two modes, the trigger, and the recipes' worker.

Each has a project of its own on the same two emulators, and every server is a process of its own.
"""

import asyncio
import json
import os
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import httpx
from google.cloud.firestore_v1.types import CommitRequest

from local.emulator import Emulator
from local.process import Child, free_port
from local.pubsub import PubSub
from local.served import answers
from shared import api_keys
from shared.settings import Settings
from shared.store import Create
from shared.store.client import FirestoreStore
from shared.store.values import encode_fields, raw
from tests.bench.crowd import Crowd, Load, Seen, Sending
from tests.bench.events import ACTIONS, EVENT_TYPES, Feed, Shape, http_request, user_events
from tests.bench.meter import Meter
from tests.bench.systems import LIBRA, ROOT, cpu_of

SOURCE = "user_events"
PATH = f"/v1/events/{SOURCE}"
WORKERS = 3
"""Pub/Sub's emulator delivers 100 messages in 50 ms to a stream, and no more (seen in 2026-11 in 0.8.20).
With two workers that bound, and not the CPU, ends what `queue` can do with large bodies."""
MOST_A_SECOND = (4_000, 12_000)
"""Events that are ready for each second, one in a body and many: more than any way has been seen to take."""
_Commit = raw(CommitRequest)


class Where(NamedTuple):
    """What all ways share."""

    firestore: Emulator
    pubsub: PubSub
    folder: Path

    @property
    def pids(self) -> dict[str, int]:
        """The emulators' processes."""
        emulators = {"Firestore": self.firestore, "Pub/Sub": self.pubsub}
        return {name: each.pid for name, each in emulators.items() if each.pid}


def post(path: str, port: int, body: bytes, headers: Mapping[str, str]) -> bytes:
    """A request as it goes over the wire."""
    lines = {"Host": f"127.0.0.1:{port}", "Content-Type": "application/json", **headers}
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return f"POST {path} HTTP/1.1\r\n{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


@dataclass(frozen=True)
class Measured:
    """One run of one way. Times in milliseconds, from the request until a reader saw the event counted."""

    shape: Shape
    body: int
    """Events in a request."""
    rate: float | None
    """Events a second that were sent; None: as many as became visible."""
    way: str
    events: int
    per_second: float
    p50: float
    p99: float
    commits: float
    """An event, as are the writes."""
    writes: float
    refused: int
    """Answers other than 2xx."""
    exact: bool
    cpu: dict[str, float]
    """Microseconds an event, by process."""


class Way:
    """A way for events to come in and to be counted, up from `start` to the end of the stack.

    Attributes:
        name: what tables call it.
        project: whose documents it writes.
        totals: the documents whose `count` sums to the number of events.
        ports: of the server that takes the requests, and of the one that takes what follows on them.
        children: its processes, by what they are.
    """

    ports: tuple[int, ...]

    def __init__(self, name: str, where: Where, totals: Sequence[str], **environment: str) -> None:
        """``environment``: what its processes are given beside the addresses of the emulators."""
        self.name = name
        self.project = f"demo-doors-{name}"
        self.totals = totals
        self.children: dict[str, Child] = {}
        self._meters: list[Meter] = []
        self._where = where
        self._environment = {
            **os.environ,
            "FIRESTORE_EMULATOR_HOST": where.firestore.address,
            "GOOGLE_CLOUD_PROJECT": self.project,
            "THREADS": "80",
            "PYTHONPATH": str(ROOT),
            **environment,
        }
        self.store = FirestoreStore.connect(Settings.from_environment(self._environment))

    def start(self, stack: ExitStack) -> None:
        """Start its servers, which end with the stack."""
        raise NotImplementedError

    def reset(self) -> None:
        """Delete its documents."""
        self._where.firestore.reset(self.project)

    def sendings(self, shape: Shape, body: int, number: int) -> Iterator[Sending]:
        """So many events in requests of `body` events."""
        raise NotImplementedError

    def by_sender(self, seen: Seen, body: int) -> Counter[str]:  # noqa: ARG002 - where the sender writes itself
        """What the sender itself commits and writes, which no meter sees."""
        return Counter()

    def visible(self) -> int:
        """The sum of the totals, as a reader sees it now."""
        found = self.store.get(self.totals)
        return sum(each.fields["count"] for each in found if each)  # type: ignore[misc] # a whole number

    def measure(self, shape: Shape, body: int, load: Load) -> "Measured":
        """One run on empty totals."""
        self.reset()
        a_second = 2 * load.rate if load.rate else MOST_A_SECOND[body > 1]
        ready = list(self.sendings(shape, body, int(a_second * (load.seconds + 1))))
        asked, spent = self._metered(), self._spent()
        seen = asyncio.run(Crowd(self.visible, load).run(self.ports, iter(ready)))
        now, asked = self._spent(), self._metered() - asked + self.by_sender(seen, body)
        return Measured(
            shape,
            body,
            load.rate,
            self.name,
            events=seen.sent,
            per_second=seen.sent / seen.seconds,
            p50=1e3 * share_of(seen.latencies, 0.5),
            p99=1e3 * share_of(seen.latencies, 0.99),
            commits=asked["commits"] / seen.sent,
            writes=asked["writes"] / seen.sent,
            refused=seen.errors.total(),
            exact=seen.visible == seen.sent,
            cpu={what: 1e6 * (now[what] - spent[what]) / seen.sent for what in now},
        )

    def _spent(self) -> dict[str, float]:
        """CPU seconds so far, by process; this one sends and reads."""
        pids = {what: child.pid for what, child in self.children.items()} | self._where.pids
        spent = Counter[str]()
        for what, pid in pids.items():
            spent[what.partition(" ")[0]] += cpu_of(pid)  # type: ignore[assignment] # no whole number
        return {**spent, "senders": time.process_time()}

    def _metered(self) -> Counter[str]:
        return sum((Counter(meter.read()) for meter in self._meters), Counter())

    def _launch(self, what: str, stack: ExitStack, module: str, *arguments: str) -> Child:
        meter = self._where.folder / f"{self.name}-{what}.meter"
        self._meters.append(Meter(meter))
        command = [sys.executable, "-m", "tests.bench.serve", str(meter), module, *arguments]
        child = Child(what, command, meter.with_suffix(".txt"), self._environment)
        stack.callback(child.stop)
        self.children[what] = child
        return child

    def _serve(self, what: str, stack: ExitStack, module: str, *arguments: str) -> int:
        """Start a server and wait until it answers; its port."""
        port = free_port()
        child = self._launch(what, stack, module, *arguments, "--host", "127.0.0.1", "--port", str(port))
        child.wait_healthy(lambda: answers(f"http://127.0.0.1:{port}/robots.txt"), seconds=60)
        return port


class Doors(Way):
    """The collector, and in mode `queue` a worker behind Pub/Sub: Libra's, or the one of the recipes."""

    def __init__(self, name: str, where: Where, mode: str, worker: str = "") -> None:
        """``worker``: its module; empty: nobody subscribes."""
        # The emulator's own address: no worker is killed here, so nothing needs what stands in front of it.
        pubsub = where.pubsub.url.removeprefix("http://")
        totals = [f"analytics_aggregates/{each}" for each in EVENT_TYPES]
        super().__init__(name, where, totals, PUBSUB_EMULATOR_HOST=pubsub, LIBRA_COLLECTOR_MODE=mode)
        self._worker = worker

    def start(self, stack: ExitStack) -> None:
        """See `Way.start`."""
        topic = f"{self._where.pubsub.url}/v1/projects/{self.project}/topics/{SOURCE}"
        httpx.put(topic, json={}, timeout=60).raise_for_status()
        rate = api_keys.HIGHEST_RATE
        stored, key = api_keys.create(self.store, "bench", [SOURCE], [SOURCE], rate=rate)
        (self._document,) = self.store.get([f"{api_keys.COLLECTION}/{stored.id}"])
        self.headers = {"X-Api-Key": key}
        self.ports = (self._serve("collector", stack, "uvicorn", "services.collector.main:app"),)
        if self._worker:
            self._where.pubsub.create(self.project, [SOURCE, "signals"])
            for number in range(WORKERS):
                child = self._launch(f"worker {number}", stack, self._worker)
                child.wait_healthy(partial(_pulls, child), seconds=60)

    def reset(self) -> None:
        """See `Way.reset`. The key stays."""
        super().reset()
        assert self._document
        self.store.commit([Create(self._document.path, self._document.fields)], timeout=30)

    def sendings(self, shape: Shape, body: int, number: int) -> Iterator[Sending]:
        """See `Way.sendings`."""
        fresh = user_events(shape, number)
        while some := list(islice(fresh, body)):
            yield Sending(post(PATH, self.ports[0], encoded(some), self.headers), len(some))


class Dropping(Way):
    """An endpoint of FastAPI that validates what the collector takes, and drops it."""

    headers: Mapping[str, str] = {}

    def __init__(self, where: Where) -> None:
        super().__init__("fastapi", where, ())

    def start(self, stack: ExitStack) -> None:
        """See `Way.start`."""
        self.ports = (self._serve("collector", stack, "uvicorn", "tests.bench.baselines.validated:app"),)


class Trigger(Way):
    """Writes to Firestore, and the event of each, sent when its write has landed.

    The sender stands where the platform stands. So the emulator's own delivery, one event at a time, is no
    part of it.
    """

    def __init__(self, where: Where) -> None:
        super().__init__("trigger", where, [f"aggregates_actions/{each}" for each in {*ACTIONS}])

    def start(self, stack: ExitStack) -> None:
        """See `Way.start`."""
        function = ("--source", str(ROOT / LIBRA.source), "--target", LIBRA.target)
        served = self._serve("function", stack, "functions_framework", *function)
        self.ports = (self._where.firestore.port, served)

    def sendings(self, shape: Shape, body: int, number: int) -> Iterator[Sending]:
        """See `Way.sendings`: a commit for each request."""
        database = f"projects/{self.project}/databases/(default)"
        host = f"127.0.0.1:{self.ports[1]}"
        fresh = Feed(self.project, shape).entries(number)
        while some := list(islice(fresh, body)):
            commit = _Commit(database=database)
            for entry in some:
                write = commit.writes.add()
                write.update.name = entry.path
                encode_fields(write.update.fields, entry.fields)
                write.current_document.exists = False
            then = tuple(http_request(entry, host) for entry in some)
            yield Sending(commit.SerializeToString(), len(some), then)

    def by_sender(self, seen: Seen, body: int) -> Counter[str]:
        """See `Way.by_sender`: the entries."""
        return Counter(writes=seen.sent, commits=seen.sent // body)


def _pulls(worker: Child) -> bool:
    return "pull" in worker.log.read_text("utf-8")


def share_of(values: Sequence[float], share: float) -> float:
    """The value that this share of them does not exceed."""
    return sorted(values)[int(share * (len(values) - 1))]


def encoded(some: Sequence[Mapping[str, Any]]) -> bytes:
    """A body: one event as an object, more as an array."""
    return json.dumps(some[0] if len(some) == 1 else some, separators=(",", ":")).encode()

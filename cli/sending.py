"""Sending events: to a collector over HTTP, or straight to Pub/Sub."""

import asyncio
import json
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Any, Protocol

import httpx

from cli.writing import credentials_for, refuse_other
from local.errors import StackError
from shared.errors import PublishError
from shared.publishing import Publisher, message
from shared.retry import Retry
from shared.settings import Settings
from shared.topics import Topics

BATCH = 500
"""Events of a request; the collector takes 1,000."""
ATTEMPTS = 8
RETRY = Retry(ATTEMPTS, 0.2, longest=10.0)
AGAIN = frozenset({429, 500, 502, 503, 504})
"""What a collector answers, or a load balancer in front of it, to what may go better next time."""
REQUEST_SECONDS = 60


class RefusedError(StackError):
    """Pub/Sub will never take these messages as they are, such as one that is too large."""


Outcomes = Counter[str]
"""How many events became what: `accepted`, `counted`, `duplicate`, `invalid`, as the collector says."""


class Sender(Protocol):
    """Where events go."""

    def send(self, events: Sequence[object]) -> Outcomes:
        """Send a batch until it is taken. Raises StackError."""

    def close(self) -> None:
        """Hang up."""


def send(
    events: Iterator[object],
    sender: Sender,
    *,
    rate: float = 0,
    progress: Callable[[int], None] = lambda _: None,
) -> Outcomes:
    """Send events in batches.

    Args:
        events: taken as they are needed.
        sender: where to.
        rate: events a second at most; 0 for no bound.
        progress: called with the number of events after each batch.

    Raises:
        StackError: they are refused, or nobody takes them.
    """
    tally: Outcomes = Counter()
    size = max(1, min(BATCH, int(rate / 5))) if rate else BATCH
    started, sent = time.monotonic(), 0
    while part := list(islice(events, size)):
        tally += sender.send(part)
        sent += len(part)
        progress(len(part))
        if rate:
            time.sleep(max(0.0, started + sent / rate - time.monotonic()))
    return tally


class Collector:
    """A collector, to which events are sent over HTTP. What it did not take is sent again."""

    def __init__(self, url: str, key: str, source: str) -> None:
        """``key``: an API key, or an ID token."""
        self._url = f"{url.rstrip('/')}/v1/events/{source}"
        headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/x-ndjson"}
        self._client = httpx.Client(headers=headers, timeout=REQUEST_SECONDS)

    def close(self) -> None:
        """Hang up."""
        self._client.close()

    def send(self, events: Sequence[object]) -> Outcomes:
        """Send a batch; see `Sender`."""
        tally: Outcomes = Counter()
        problem = ""
        for attempt in range(1, ATTEMPTS + 1):
            try:
                answer = self._client.post(self._url, content="\n".join(map(json.dumps, events)))
            except httpx.TransportError as error:
                wait, problem = RETRY.pause(attempt), f"{type(error).__name__}: {error}"
            else:
                became = _became(answer)
                if not became and answer.status_code not in AGAIN:
                    raise StackError(f"{self._url} answered {answer.status_code}: {answer.text[:500]}")
                tally += Counter(it["outcome"] for it in became if it["outcome"] != "unavailable")
                if became:
                    events = [events[it["index"]] for it in became if it["outcome"] == "unavailable"]
                if not events:
                    return tally
                wait = float(answer.headers.get("Retry-After", RETRY.pause(attempt)))
                problem = f"{answer.status_code}: {answer.text[:500]}"
            time.sleep(wait)
        raise StackError(f"{self._url} did not take {len(events)} events in {ATTEMPTS} attempts: {problem}")


def _became(answer: httpx.Response) -> list[dict[str, Any]]:
    """What became of each event, where the answer says so."""
    try:
        found = answer.json()
    except ValueError:
        return []
    events = found.get("events") if isinstance(found, dict) else None
    return events if isinstance(events, list) else []


class Topic:
    """The topic of a source, to which events are published. Nothing is checked: the worker sets aside what is
    wrong."""

    def __init__(self, project: str, emulator_host: str | None, source: str) -> None:
        """``emulator_host``: the emulator's address; None: the real service."""
        self._topic = Topics(source).topic
        self._loop = asyncio.Runner()
        with credentials_for("Pub/Sub", "PUBSUB_EMULATOR_HOST"):
            self._publisher = self._loop.run(_connected(project, emulator_host))

    def close(self) -> None:
        """Hang up."""
        self._loop.close()

    def send(self, events: Sequence[object]) -> Outcomes:
        """Publish a batch; see `Sender`."""
        self.publish([message(json.dumps(event, ensure_ascii=False).encode()) for event in events])
        return Counter({"accepted": len(events)})

    def publish(self, messages: Sequence[bytes]) -> None:
        """Publish messages, `BATCH` at most, and return once Pub/Sub has acknowledged them.

        Raises:
            RefusedError: it never will.
            StackError: it has not. They may be published all the same.
        """
        try:
            self._loop.run(self._publisher.publish(self._topic, messages))
        except PublishError as error:
            kind = RefusedError if error.refused else StackError
            raise kind(f"not acknowledged by Pub/Sub: {error}") from error


def named_pubsub(real_project: str | None, *, reading: bool = False) -> tuple[str, str | None]:
    """The project of the topics that the environment names, and the emulator's address.

    Args:
        real_project: the project that may be published to although it is a real one.
        reading: whether nothing is to be published.

    Raises:
        SettingError: a variable cannot be used.
        StackError: no project is named, or it is a real one and not the one named.
    """
    project = Settings.from_environment(os.environ).project
    emulator = os.environ.get("PUBSUB_EMULATOR_HOST")
    if project is None:
        raise StackError("GOOGLE_CLOUD_PROJECT is not set: it names the project of the topics")
    if not reading:
        refuse_other(project, real_project, "PUBSUB_EMULATOR_HOST")
    return project, emulator or None


async def _connected(project: str, emulator_host: str | None) -> Publisher:
    return Publisher.connect(project, emulator_host)

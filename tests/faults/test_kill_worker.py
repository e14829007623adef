"""kill -9 of a worker before and after every call to Firestore and every answer to Pub/Sub: exact.

The points are not written down but recorded from a run, so a call that is added is in the matrix by itself.
"""

import asyncio
import json
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime

import pytest

from local.emulator import Emulator
from local.process import wait_until
from local.pubsub import PubSub
from shared.intake import Intake
from shared.schemas import self_written
from shared.settings import Settings
from tests.faults.killed_worker import Calls, run, watched
from tests.support.forked import forked
from tests.support.memory_store import MemoryStore
from tests.support.queue import EventQueue, event
from tests.unit.test_worker_door import Delivery

EVENTS: list[object] = [event("a"), event("a"), event("b"), b"nonsense", event("a", event_type="buy")]
"""Two of one event, another one, one that can never be counted, and another event with a known id."""
AT_ONCE = 6
SECONDS = 150


def points() -> list[str]:
    """Every moment before or after a call, as a run on the in-memory twin comes by them."""
    store = MemoryStore(lambda: datetime.now(UTC))
    reported: list[str] = []
    calls = Calls(reported.append)
    settings = Settings()
    intake = Intake(calls.watch(store, ("commit", "get")), *self_written(settings)["user_events"], settings)
    door = watched(calls)("user_events", intake)

    async def one_after_the_other() -> None:
        for number, each in enumerate(EVENTS):
            data = each if isinstance(each, bytes) else json.dumps(each).encode()
            await door.take(Delivery(store, data, f"m{number}", publish_time=datetime.now(UTC)))

    asyncio.run(one_after_the_other())
    return reported


POINTS = points()


@dataclass
class Died:
    """A worker that killed itself, and the queue that it pulled."""

    queue: EventQueue
    status: int | None
    log: str


def killed(emulator: Emulator, pubsub: PubSub, events: list[object], *point: str) -> Died:
    """Have a worker settle events in a project of its own until it kills itself."""
    project = f"demo-{uuid.uuid4().hex[:12]}"
    queue = EventQueue(pubsub, project, emulator.address)
    pubsub.create(project, ["signals"])
    queue.publish(events)
    environment = {
        "GOOGLE_CLOUD_PROJECT": project,
        "FIRESTORE_EMULATOR_HOST": emulator.address,
        "PUBSUB_EMULATOR_HOST": pubsub.address,
    }
    died = forked(run, point, environment, seconds=SECONDS)
    return Died(queue, died.status, died.out + died.err)


@pytest.fixture(scope="module")
def all_died(emulator: Emulator, pubsub: PubSub) -> Iterator[dict[str, Died]]:
    """A worker for each point, some at a time: Pub/Sub waits before it delivers again what the dead held."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        started = {point: pool.submit(killed, emulator, pubsub, EVENTS, point) for point in POINTS}
    died = {point: each.result() for point, each in started.items()}
    yield died
    for each in died.values():
        each.queue.store.close()


def test_the_matrix_has_every_kind_of_call() -> None:
    """A commit for each of two events and two records, what a duplicate reads, and an answer for each."""
    assert len(POINTS) >= 2 * (4 + 3 + len(EVENTS))


@pytest.mark.parametrize("point", POINTS)
def test_law_once_survives_kill_9_of_a_worker(all_died: dict[str, Died], point: str) -> None:
    """What it acknowledged is there, the rest is delivered again, and nothing counts twice."""
    died = all_died[point]
    assert died.status == -9, died.log

    def settled() -> bool:
        died.queue.settle()
        return died.queue.ids() == ["a", "b"] and died.queue.rejected() >= 2

    wait_until(settled, seconds=SECONDS, what="every event")
    assert died.queue.exact()
    assert sum(died.queue.counts().values()) == 2


def test_a_worker_that_acknowledges_too_early_loses_an_event(emulator: Emulator, pubsub: PubSub) -> None:
    """The control: the same kill, before the first commit, of a worker with that mistake."""
    died = killed(emulator, pubsub, [event("lost"), event("kept")], "early", "2 before")
    assert died.status == -9, died.log

    def settled() -> bool:
        died.queue.settle()
        return "kept" in died.queue.ids()

    wait_until(settled, seconds=SECONDS, what="the event that was not acknowledged")
    assert died.queue.ids() == ["kept"]
    died.queue.store.close()

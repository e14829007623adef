"""The worker on real Pub/Sub and Firestore emulators: an event is counted once, whatever breaks."""

import os
import random
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from local.doors import Workers
from local.emulator import QUICK, Emulator
from local.process import wait_until
from local.pubsub import PubSub
from local.stack import ROOT
from tests.support.grpc_proxy import GrpcProxy
from tests.support.queue import EventQueue, event

EVENTS = 600
SECONDS = 170


@pytest.fixture
def queue(emulator: Emulator, pubsub: PubSub, project: str) -> Iterator[EventQueue]:
    """The topic of `user_events`, empty."""
    with EventQueue(pubsub, project, emulator.address) as made:
        pubsub.create(project, ["signals"])
        yield made


@pytest.fixture
def proxy(emulator: Emulator) -> Iterator[GrpcProxy]:
    """What stands between the workers and Firestore."""
    with GrpcProxy(emulator.address) as started:
        yield started


@pytest.fixture
def workers(pubsub: PubSub, project: str, proxy: GrpcProxy, tmp_path: Path) -> Iterator[Workers]:
    """Workers of this project; none is started."""
    made = Workers(variables(pubsub, project, proxy.address), tmp_path)
    yield made
    made.stop()


def variables(pubsub: PubSub, project: str, firestore: str) -> dict[str, str]:
    """The environment of a worker."""
    return dict(os.environ) | {
        "PYTHONPATH": str(ROOT),
        "GOOGLE_CLOUD_PROJECT": project,
        "FIRESTORE_EMULATOR_HOST": firestore,
        "PUBSUB_EMULATOR_HOST": pubsub.address,
    }


def crowd(number: int, rng: random.Random) -> list[dict[str, object]]:
    """Events of some users."""
    types = ("view", "view", "view", "add", "buy")
    return [
        event(f"e{n:04}", user_id=f"u{rng.randrange(20)}", event_type=rng.choice(types))
        for n in range(number)
    ]


def ids_of(events: list[dict[str, object]]) -> list[str]:
    """Their ids, sorted."""
    return sorted(str(each["event_id"]) for each in events)


def test_law_once_through_the_queue(queue: EventQueue, workers: Workers, proxy: GrpcProxy) -> None:
    """Published up to five times, to three workers, with lost replies, cut connections and kill -9."""
    rng = random.Random(7)
    events = crowd(EVENTS, rng)
    wrong: list[object] = [b"nonsense", {"event_id": "x"}, event("y", page=7), [1]]
    messages = [each for each in events for _ in range(rng.randint(1, 5))] + wrong * 3
    rng.shuffle(messages)
    for _ in range(3):
        workers.start()
    for part in range(6):
        proxy.swallow_replies("Commit", 2)
        proxy.fail("Commit", 2)
        queue.publish(messages[part::6])
        wait_until(lambda: queue.ids() != [], seconds=SECONDS, what="the first event")
        if part % 2:
            workers.kill(rng.choice(workers.children))
            proxy.hang_up()
            workers.start()
    wait_until(lambda: queue.ids() == ids_of(events), seconds=SECONDS, what="every event stored")
    wait_until(lambda: queue.rejected() == len(wrong) * 3, seconds=SECONDS, what="every wrong one set aside")
    workers.stop()
    assert proxy.struck["Commit", "swallow"] > 0
    assert sum(queue.counts().values()) == EVENTS
    assert queue.exact()


def test_sigterm_finishes_what_is_under_way(queue: EventQueue, workers: Workers, proxy: GrpcProxy) -> None:
    """Slow commits are waited for, within ten seconds; nothing that was taken is left for the next worker."""
    events = crowd(EVENTS, random.Random(1))
    worker = workers.start(LIBRA_WORKER_MESSAGES="50")
    proxy.delay("Commit", 1, times=float("inf"))
    queue.publish(events)
    wait_until(lambda: queue.ids() != [], seconds=SECONDS, what="the first event")
    started = time.monotonic()
    worker.stop(seconds=60)
    assert time.monotonic() - started < 10
    assert '"message": "The worker stops"' in worker.tail()
    assert "still under way" not in worker.tail()
    assert queue.exact()
    proxy.clear()
    workers.start()
    wait_until(lambda: queue.ids() == ids_of(events), seconds=SECONDS, what="every event stored")
    assert queue.exact()


def test_sigterm_does_not_wait_for_a_firestore_that_is_silent(
    queue: EventQueue, workers: Workers, proxy: GrpcProxy
) -> None:
    """The platform would kill it: it leaves by itself, and Pub/Sub delivers again what it held."""
    worker = workers.start()
    proxy.stall("Commit", times=float("inf"))
    queue.publish([event("a")])
    wait_until(lambda: proxy.struck["Commit", "stall"] > 0, seconds=SECONDS, what="a commit under way")
    started = time.monotonic()
    worker.stop(seconds=60)
    assert time.monotonic() - started < 10
    assert "still under way" in worker.tail()
    proxy.clear()
    workers.start()
    wait_until(lambda: queue.ids() == ["a"], seconds=SECONDS, what="the event stored")
    wait_until(lambda: queue.counts() == {"view": 1}, seconds=SECONDS, what="the event counted")


def test_a_pubsub_that_has_forgotten_everything(emulator: Emulator, project: str, tmp_path: Path) -> None:
    """The emulator keeps nothing over a restart: the worker ends and says so, the sender sends again."""
    events = crowd(100, random.Random(2))
    with PubSub.prepare(os.environ, tmp_path / "pubsub.txt", java=QUICK) as own:
        workers = Workers(variables(own, project, emulator.address), tmp_path)
        with EventQueue(own, project, emulator.address) as queue:
            own.create(project, ["signals"])
            worker = workers.start()
            queue.publish(events[:50])
            wait_until(lambda: queue.ids() != [], seconds=SECONDS, what="the first event")
            own.restart()
            wait_until(lambda: not worker.running, seconds=SECONDS, what="the worker ended")
            assert "cannot be pulled" in worker.tail()
            assert "deploy.sh up" in worker.tail()
            own.create(project, ["user_events", "signals"])
            queue.publish(events)
            workers.start()
            wait_until(lambda: queue.ids() == ids_of(events), seconds=SECONDS, what="every event stored")
            workers.stop()
            assert queue.exact()
            assert sum(queue.counts().values()) == len(events)

"""Events through the worker into Firestore and through the pipeline into BigQuery: both agree."""

import os
import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from local.bigquery import BigQuery
from local.doors import Workers
from local.emulator import Emulator
from local.process import wait_until
from local.pubsub import PubSub
from local.stack import ROOT
from local.warehouse import Streaming
from tests.support.asking import Asked, Told
from tests.support.queue import EventQueue, event

EVENTS = 300
NOW = datetime.now(UTC)
LATE = (NOW - timedelta(days=3)).replace(hour=23, minute=30)
"""Another date in Zurich than in UTC."""
SECONDS = 170
pytestmark = pytest.mark.timeout(600)


@pytest.fixture
def queues(emulator: Emulator, pubsub: PubSub, project: str) -> Iterator[dict[str, EventQueue]]:
    """The topics of both sources, empty."""
    with (
        EventQueue(pubsub, project, emulator.address) as events,
        EventQueue(pubsub, project, emulator.address, "signals") as signals,
    ):
        yield {"user_events": events, "signals": signals}


@pytest.fixture
def variables(emulator: Emulator, pubsub: PubSub, project: str) -> dict[str, str]:
    """The environment of the processes. The zone has another date than UTC for two hours of the day."""
    return dict(os.environ) | {
        "PYTHONPATH": str(ROOT),
        "GOOGLE_CLOUD_PROJECT": project,
        "FIRESTORE_EMULATOR_HOST": emulator.address,
        "PUBSUB_EMULATOR_HOST": pubsub.address,
        "LIBRA_TIME_ZONE": "Europe/Zurich",
    }


@pytest.fixture
def worker(
    variables: dict[str, str],
    queues: dict[str, EventQueue],  # noqa: ARG001 - the topics are there
    tmp_path: Path,
) -> Iterator[Workers]:
    """A worker that pulls."""
    made = Workers(variables, tmp_path)
    made.start()
    yield made
    made.stop()


@pytest.fixture
def stream(
    pubsub: PubSub,
    bigquery: BigQuery,
    variables: dict[str, str],
    queues: dict[str, EventQueue],  # noqa: ARG001 - the topics are there
    tmp_path: Path,
) -> Iterator[Streaming]:
    """The dataset and the subscriptions; the pipeline is not started."""
    made = Streaming(pubsub, bigquery, variables, tmp_path)
    made.prepare()
    yield made
    made.stop()


def stored(queue: EventQueue) -> Told:
    """What Firestore says, likewise."""
    found: Told = {}
    for each in queue.books.source.aggregations:
        for total in queue.books.documents(each.name):
            raw = total["key"]
            key = [raw[part.name] for part in each.parts] if isinstance(raw, dict) else [raw]
            found[each.name, *map(str, key)] = {column: int(str(total[column])) for column in each.columns}
    return found


def crowd(rng: random.Random) -> list[dict[str, object]]:
    """Events of some users at all hours of the last year, with odd names."""
    types = ("view", "Mac/Cheese", "50% off", "__x__", "..", "été", "it's")
    return [
        event(
            f"e{number:04}",
            user_id=f"u/{rng.randrange(9)}",
            event_type=rng.choice(types),
            timestamp=(NOW - timedelta(days=rng.randrange(300), hours=rng.randrange(24))).isoformat(),
        )
        | ({"value": rng.choice((1, 1.0, 0.1))} if rng.random() < 0.5 else {})
        for number in range(EVENTS)
    ]


def signals(rng: random.Random) -> list[dict[str, object]]:
    """Signals with and without what is optional; none has an id of its own."""
    return [
        {"user_id": f"u{number}", "timestamp": LATE.isoformat(), "signal_type": "flag"}
        | ({"flag_type": rng.choice("ab")} if number % 2 else {})
        | (
            {"source_platform": "web", "event_details": {"n": 1.0, "deep": {"é": [None, True]}}}
            if number % 3
            else {}
        )
        for number in range(60)
    ]


@pytest.mark.usefixtures("worker")
def test_every_accepted_event_is_one_row_and_the_views_equal_the_totals(
    queues: dict[str, EventQueue], stream: Streaming, bigquery: BigQuery, project: str
) -> None:
    """Published up to three times and out of order, with wrong ones, while the pipeline is killed."""
    rng = random.Random(3)
    sent = {"user_events": crowd(rng), "signals": signals(rng)}
    wrong: list[object] = [b"nonsense", {"event_id": "x"}, event("y", page=7), [1]]
    messages = {
        name: [it for it in found for _ in range(rng.randint(1, 3))] + wrong for name, found in sent.items()
    }
    asked = Asked(bigquery, project)
    for found in messages.values():
        rng.shuffle(found)
    stream.start()
    for part in range(2):
        for name, queue in queues.items():
            queue.publish(messages[name][part::2])
        already = asked.number("user_events_rows")
        queues["user_events"].publish(
            sent["user_events"][:1], attributes={"accepted": "1970-01-01T00:00:00Z"}
        )
        wait_until(lambda: asked.number("user_events_rows") > already, seconds=SECONDS, what="a row")  # noqa: B023
        assert stream.child
        stream.child.kill()
        stream.start()
    for name, queue in queues.items():
        number = len(sent[name])
        wait_until(lambda: asked.number(name) == number, seconds=SECONDS, what=f"every row of {name}")  # noqa: B023
        wait_until(lambda: sum(queue.counts().values()) == number, seconds=SECONDS, what="every entry")  # noqa: B023
        assert asked.totals(queue.books.source) == stored(queue)
    wait_until(
        lambda: asked.number("dead_letters") == 2 * len(wrong), seconds=SECONDS, what="the dead letters"
    )
    details = asked.rows("SELECT event_details FROM `TABLE.signals` WHERE event_details IS NOT NULL LIMIT 1")
    assert details == [{"event_details": '{"deep":{"é":[null,true]},"n":1.0}'}]

"""The Pub/Sub emulator of the local stack: what it promises, and what the platform does beyond it."""

import itertools
import os
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest

from local.emulator import QUICK, Emulator
from local.errors import StackError
from local.process import wait_until
from local.pubsub import PubSub
from shared.recompute import Recompute
from shared.store import Delete, Query
from shared.topics import Topics
from tests.support.queue import EventQueue, event

NAMES = Topics("user_events")


def call(pubsub: PubSub, path: str, body: dict[str, object]) -> dict[str, object]:
    """One request to the emulator."""
    answer = httpx.post(f"{pubsub.url}/v1/{path}", json=body, timeout=30)
    answer.raise_for_status()
    return dict(answer.json())


def publish(pubsub: PubSub, project: str, data: str = "e30=") -> None:
    """One message to the source's topic."""
    call(pubsub, f"projects/{project}/topics/{NAMES.topic}:publish", {"messages": [{"data": data}]})


def pull(pubsub: PubSub, project: str, subscription: str) -> list[dict[str, object]]:
    """What a subscription has now."""
    path = f"projects/{project}/subscriptions/{subscription}:pull"
    answer = call(pubsub, path, {"maxMessages": 10, "returnImmediately": True})
    found = answer.get("receivedMessages", [])
    assert isinstance(found, list)
    return found


def test_a_source_has_what_the_deployment_makes(pubsub: PubSub, project: str) -> None:
    """The same topics, subscriptions and policies; made twice, nothing changes."""
    pubsub.create(project, ["user_events"])
    pubsub.create(project, ["user_events"])
    found = httpx.get(f"{pubsub.url}/v1/projects/{project}/subscriptions/{NAMES.subscription}").json()
    assert found["topic"] == f"projects/{project}/topics/user_events"
    assert found["deadLetterPolicy"] == {
        "deadLetterTopic": f"projects/{project}/topics/user_events-dead",
        "maxDeliveryAttempts": 30,
    }
    assert found["retryPolicy"] == {"minimumBackoff": "1s", "maximumBackoff": "600s"}
    assert found["messageRetentionDuration"] == "604800s"
    assert found["expirationPolicy"] == {}


def test_what_is_refused_again_and_again_becomes_a_dead_letter(pubsub: PubSub, project: str) -> None:
    """The emulator counts deliveries and moves the message, as the platform does."""
    pubsub.create(project, ["user_events"])
    policy = {"deadLetterTopic": f"projects/{project}/topics/{NAMES.dead}", "maxDeliveryAttempts": 5}
    name = f"projects/{project}/subscriptions/{NAMES.subscription}"
    changed = {
        "subscription": {"name": name, "deadLetterPolicy": policy},
        "updateMask": "deadLetterPolicy",
    }
    httpx.patch(f"{pubsub.url}/v1/{name}", json=changed, timeout=30).raise_for_status()
    publish(pubsub, project)
    dead: list[dict[str, object]] = []

    def refused() -> bool:
        for message in pull(pubsub, project, NAMES.subscription):
            refusal = {"ackIds": [message["ackId"]], "ackDeadlineSeconds": 0}
            call(pubsub, f"{name}:modifyAckDeadline", refusal)
        dead.extend(pull(pubsub, project, NAMES.dead))
        return bool(dead)

    wait_until(refused, seconds=120, what="a dead letter")
    (letter,) = dead
    assert isinstance(letter["message"], dict)
    assert letter["message"]["data"] == "e30="
    assert letter["message"]["attributes"]["CloudPubSubDeadLetterSourceDeliveryCount"] == "5"


def test_a_restart_forgets_everything(project: str, tmp_path: Path) -> None:
    """The platform keeps messages for days, the emulator in memory: the publisher has to publish again."""
    with PubSub.prepare(os.environ, tmp_path / "pubsub.txt", java=QUICK) as own:
        own.create(project, ["user_events"])
        publish(own, project)
        own.restart()
        assert "topics" not in httpx.get(f"{own.url}/v1/projects/{project}/topics").json()
        own.create(project, ["user_events"])
        assert pull(own, project, NAMES.subscription) == []


def test_a_day_that_is_redone_counts_nothing_twice(emulator: Emulator, pubsub: PubSub, project: str) -> None:
    """The subscription is set back. What is stored changes nothing. What somebody deleted comes back; after a
    recompute it is counted once, without one twice, until the next."""
    with EventQueue(pubsub, project, emulator.address) as queue:
        begun = datetime.now(UTC)
        queue.publish([event(f"e{number}") for number in (*range(40), *range(10))])

        def redo() -> None:
            """Each message again."""
            queue.call("subscriptions", NAMES.subscription, "seek", time=begun.isoformat())
            settle_all()

        def settle_all() -> None:
            settled = itertools.accumulate(iter(queue.settle, None))
            wait_until(lambda: next(settled) >= 50, seconds=60, what="every message settled")

        def delete() -> None:
            entries = list(queue.store.query(Query(queue.books.home.entries)))
            queue.store.commit([Delete(each.path) for each in entries[:3]], timeout=30)

        settle_all()
        redo()
        assert (queue.counts(), queue.exact()) == ({"view": 40}, True)
        delete()
        settings = replace(queue.settings, lag=timedelta(0))
        books = queue.books
        recompute = Recompute(queue.store, books.source, books.home, settings, workers=1)
        assert recompute.run().drift > 0
        assert queue.counts() == {"view": 37}
        redo()
        assert (queue.counts(), queue.exact()) == ({"view": 40}, True)
        delete()
        redo()
        assert (queue.counts(), queue.exact()) == ({"view": 43}, False)
        recompute.run()
        assert (queue.counts(), queue.exact()) == ({"view": 40}, True)


def test_a_refusal_names_what_was_asked_for(pubsub: PubSub, project: str) -> None:
    """A name that Pub/Sub does not take is said with its answer."""
    with pytest.raises(StackError, match=r"topics/1-dead: the emulator answered 400: .*Invalid"):
        pubsub.create(project, ["1"])

"""`libra send` and `libra replay` as a person runs them, on the local stack with its doors."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from local.collecting import Collector
from local.doors import Doors
from local.process import wait_until
from local.stack import ROOT, LocalStack
from shared.topics import Topics
from tests.support.queue import EventQueue, event

SECONDS = 150


@pytest.fixture(scope="module")
def stack() -> Iterator[LocalStack]:
    """A local stack, shared by the module."""
    with LocalStack(project="demo-send") as running:
        yield running


@pytest.fixture(scope="module")
def doors(stack: LocalStack) -> Iterator[Doors]:
    """Pub/Sub and a worker."""
    with Doors(stack) as running:
        yield running


@pytest.fixture
def queue(stack: LocalStack, doors: Doors) -> Iterator[EventQueue]:
    """The topic of `user_events` and its books, which are empty."""
    stack.emulator.reset(stack.project)
    with EventQueue(doors.pubsub, stack.project, stack.emulator.address) as made:
        yield made


def libra(variables: Mapping[str, str], *arguments: str) -> dict[str, object]:
    """Run a command that prints JSON."""
    command = [sys.executable, "-m", "cli.main", *arguments, "--json"]
    done = subprocess.run(
        command,
        env=dict(os.environ) | dict(variables),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


def test_events_over_http_are_counted_once(stack: LocalStack, doors: Doors, queue: EventQueue) -> None:
    """Some are sent twice, some are wrong: the report, the entries and the totals agree."""
    with Collector(stack, doors.exports) as collector:
        variables = stack.environment | doors.exports | collector.exports
        sent = libra(variables, "send", "--count", "800", "--duplicates", "0.3", "--invalid", "0.1")
    outcomes = sent["outcomes"]
    assert isinstance(outcomes, dict)
    assert outcomes["invalid"] > 0
    assert sent["sent"] == sum(outcomes.values())
    assert sum(outcomes.values()) > 800
    wait_until(lambda: sum(queue.counts().values()) >= 600, seconds=SECONDS, what="most events")
    wait_until(
        lambda: len(queue.ids()) == sum(queue.counts().values()), seconds=SECONDS, what="a quiet moment"
    )
    assert queue.exact()


def test_events_straight_to_pubsub_are_counted_once(
    stack: LocalStack, doors: Doors, queue: EventQueue
) -> None:
    """The worker sets aside what is wrong."""
    variables = stack.environment | doors.exports
    seeded = ("--count", "400", "--duplicates", "0.5", "--invalid", "0.1", "--seed", "4")
    sent = libra(variables, "send", *seeded)
    assert isinstance(sent["sent"], int)
    wait_until(
        lambda: len(queue.ids()) + queue.rejected() >= 400, seconds=SECONDS, what="every event settled"
    )
    assert queue.rejected() > 0
    assert queue.exact()


def test_dead_letters_are_shown_then_brought_back(stack: LocalStack, doors: Doors, queue: EventQueue) -> None:
    """Shown, they stay; brought back, they are counted, as of when they were first published."""
    dead = Topics("user_events").dead
    attributes = {
        "CloudPubSubDeadLetterSourceTopicPublishTime": "2026-11-01T12:00:00Z",
        "CloudPubSubDeadLetterSourceDeliveryCount": "30",
        "source": "user_events",
    }
    old = [event(name, timestamp="2026-11-01T11:59:00Z") for name in ("a", "b", "b")]
    queue.publish(old, topic=dead, attributes=attributes)
    variables = stack.environment | doors.exports
    for _ in range(2):
        looked = libra(variables, "replay", "--source", "user_events", "--dry-run")["letters"]
        assert isinstance(looked, list)
        assert [it["accepted"] for it in looked] == ["2026-11-01T12:00:00Z"] * 3
    assert queue.ids() == []
    replayed = libra(variables, "replay", "--source", "user_events")["letters"]
    assert isinstance(replayed, list)
    assert len(replayed) == 3
    wait_until(lambda: queue.ids() == ["a", "b"], seconds=SECONDS, what="the events counted")
    assert queue.exact()
    assert libra(variables, "replay", "--source", "user_events")["letters"] == []


def test_a_file_of_events_is_counted_once_however_often_it_is_imported(
    stack: LocalStack, queue: EventQueue, tmp_path: Path
) -> None:
    """Through the intake's own door, from both kinds of file. Wrong lines are named, the rest is counted."""
    moment = str(event("x")["timestamp"])
    jsonl, table = tmp_path / "events.jsonl", tmp_path / "events.csv"
    good = [event("a"), event("b", value=2.5), event("a")]
    jsonl.write_text("\n".join([*map(json.dumps, good), json.dumps(event("c", page=7)), "{"]))
    table.write_text(
        f"event_id,user_id,event_type,value,timestamp\nb,u1,view,2.5,{moment}\nd,u1,buy,3,{moment}\n"
    )
    for counted, before in (("2", "1"), ("0", "3")):
        done = imported(stack, jsonl)
        assert done.returncode == 1
        assert f"{counted} events counted, {before} were counted before, 2 wrong lines" in done.stdout
        assert "events.jsonl:4: page: expected" in done.stderr
        assert "events.jsonl:5: not JSON" in done.stderr
    done = imported(stack, table)
    assert (done.returncode, done.stderr) == (0, "")
    assert "1 events counted, 1 were counted before, 0 wrong lines" in done.stdout
    assert queue.ids() == ["a", "b", "d"]
    assert queue.exact()


def imported(stack: LocalStack, file: Path) -> "subprocess.CompletedProcess[str]":
    """Import a file of user events."""
    command = [sys.executable, "-m", "cli.main", "import", "--source", "user_events", str(file)]
    return subprocess.run(
        command, env=stack.environment, cwd=ROOT, capture_output=True, text=True, timeout=SECONDS, check=False
    )

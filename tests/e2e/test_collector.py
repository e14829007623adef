"""The collector as it is served: uvicorn, real sockets, real Pub/Sub, kills."""

import gzip
import json
import socket
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import httpx
import pytest

from local.collecting import Collector
from local.doors import Doors
from local.process import wait_until
from local.served import unsigned_token
from local.stack import LocalStack
from shared import api_keys
from shared.aggregation import fold
from shared.schemas import self_written
from shared.store import Query
from shared.store.client import FirestoreStore
from tests.support.collector import outcomes, user_event
from tests.support.topics import Listener

PROJECT = "demo-collector"


@pytest.fixture(scope="module")
def stack() -> Iterator[LocalStack]:
    """A local stack, shared by the module."""
    with LocalStack(project=PROJECT) as running:
        yield running


@pytest.fixture(scope="module")
def doors(stack: LocalStack) -> Iterator[Doors]:
    """Pub/Sub and a worker."""
    with Doors(stack) as running:
        yield running


@pytest.fixture(scope="module")
def queue(stack: LocalStack, doors: Doors) -> Iterator[Collector]:
    """A collector that publishes."""
    with Collector(stack, doors.exports) as running:
        yield running


@pytest.fixture(scope="module")
def direct(stack: LocalStack) -> Iterator[Collector]:
    """A collector that counts before it answers."""
    with Collector(stack) as running:
        yield running


@pytest.fixture
def store(stack: LocalStack) -> Iterator[FirestoreStore]:
    """What the collector and the worker write to, empty but for the keys."""
    opened = FirestoreStore.connect(stack.settings)
    yield opened
    opened.close()


def send(collector: Collector, events: object, **options: Any) -> httpx.Response:
    """Send events to the source user_events."""
    headers = {"X-Api-Key": collector.key, **options.pop("headers", {})}
    url = f"http://{collector.served.address}/v1/events/user_events"
    options.setdefault("json", events)
    return httpx.post(url, headers=headers, timeout=60, **options)


def check_totals(stack: LocalStack, store: FirestoreStore) -> int:
    """The totals are those of the entries; how many entries there are."""
    source, home = self_written(stack.settings)["user_events"]
    entries = [each.fields for each in store.query(Query(home.entries))]
    expected = {home.total(cell): measures["count"] for cell, measures in fold(source, entries).items()}
    found = {
        document.path: document.fields["count"]
        for aggregation in source.aggregations
        for document in store.query(Query(home.collection(aggregation.name)))
    }
    assert found == expected
    return len(entries)


def test_an_event_goes_all_the_way_to_its_totals(
    stack: LocalStack, queue: Collector, store: FirestoreStore
) -> None:
    """Accepted by the collector, through Pub/Sub, counted by the worker, once."""
    before = store.count(Query("user_events"))
    events = [user_event(event_id=f"way-{number}") for number in range(300)]
    for _ in range(2):
        answer = send(queue, events)
        assert (answer.status_code, answer.json()["outcomes"]) == (202, {"accepted": 300})
    wait_until(lambda: store.count(Query("user_events")) == before + 300, seconds=60, what="counted")
    check_totals(stack, store)


def accepted_more(accepted: set[str], by: int) -> None:
    """Wait until so many more are accepted."""
    most = len(accepted) + by
    wait_until(lambda: len(accepted) >= most, seconds=60, what=f"{most} accepted")


def test_what_was_answered_202_survives_the_kill_of_the_collector(queue: Collector, doors: Doors) -> None:
    """Killed between any two instructions, under load: what it has answered is in Pub/Sub."""
    listener = Listener(doors.pubsub, PROJECT, "user_events")
    accepted: set[str] = set()
    over = threading.Event()

    def sender(name: int) -> None:
        number = 0
        while not over.is_set():
            number += 1
            events = [user_event(event_id=f"kill-{name}-{number}-{each}") for each in range(20)]
            with suppress(httpx.TransportError):
                answer = send(queue, events)
                if answer.status_code == 202:
                    accepted.update(each["id"] for each in answer.json()["events"])

    with ThreadPoolExecutor(4) as pool:
        for name in range(4):
            pool.submit(sender, name)
        try:
            for _ in range(3):
                accepted_more(accepted, 100)
                queue.served.kill()
                queue.served.start()
        finally:
            over.set()
    found = {each["attributes"]["id"] for each in listener.take()}
    assert len(accepted) > 300
    assert accepted <= found


def test_what_was_answered_200_survives_the_kill_of_the_collector(
    stack: LocalStack, direct: Collector, store: FirestoreStore
) -> None:
    """The sender repeats what it heard nothing of: every event is counted, once."""
    events = [user_event(event_id=f"direct-{each}") for each in range(1_000)]
    before = store.count(Query("user_events"))
    with ThreadPoolExecutor(1) as pool:
        under_way = pool.submit(send, direct, events)
        wait_until(
            lambda: store.count(Query("user_events")) > before, seconds=60, what="a commit of the body"
        )
        direct.served.kill()
        with suppress(httpx.TransportError):
            under_way.result()
    direct.served.start()
    answer = send(direct, events)
    assert answer.status_code == 200
    found = answer.json()["outcomes"]
    assert found.get("counted", 0) + found["duplicate"] == 1_000
    assert store.count(Query("user_events")) == before + 1_000
    check_totals(stack, store)


def test_while_pubsub_is_away_nothing_is_accepted(queue: Collector, doors: Doors) -> None:
    """503 for the events, and 202 again once it is back: nobody restarts the collector."""
    before = httpx.get(f"http://{queue.served.address}/healthz", timeout=30)
    doors.workers.stop()
    doors.pubsub.kill()
    answer = send(queue, [user_event(event_id="away"), {}])
    assert answer.status_code == 503, answer.text
    assert outcomes(answer.json()) == ["unavailable", "invalid"]
    assert answer.headers["content-type"] == "application/problem+json"
    doors.pubsub.start()
    doors.create()
    doors.workers.start()
    wait_until(lambda: send(queue, user_event(event_id="away")).status_code == 202, seconds=60, what="202")
    assert before.status_code == 200


def test_keys_tokens_and_gzip_over_a_real_socket(direct: Collector, store: FirestoreStore) -> None:
    """As clients send them."""
    packed = gzip.compress(json.dumps(user_event(event_id="gzip")).encode())
    headers = {"content-type": "application/json", "content-encoding": "gzip"}
    assert send(direct, None, json=None, content=packed, headers=headers).status_code == 200
    lines = b"\n".join(json.dumps(user_event(event_id=f"line-{each}")).encode() for each in range(3))
    headers = {"content-type": "application/x-ndjson"}
    assert outcomes(send(direct, None, json=None, content=lines, headers=headers).json()) == ["counted"] * 3
    bearer = {"X-Api-Key": "", "Authorization": f"Bearer {unsigned_token(PROJECT, 'device')}"}
    assert send(direct, user_event(event_id="token"), headers=bearer).status_code == 200
    _, key = api_keys.create(store, "other", ["signals"], ["signals"])
    assert send(direct, user_event(), headers={"X-Api-Key": key}).status_code == 403
    assert send(direct, user_event(), headers={"X-Api-Key": ""}).status_code == 401


def test_a_sender_that_dawdles_or_hangs_up_harms_nobody(direct: Collector) -> None:
    """A body that never ends is given up at the deadline; the server answers the others meanwhile."""
    host, _, port = direct.served.address.partition(":")
    head = f"POST /v1/events/user_events HTTP/1.1\r\nHost: x\r\nX-Api-Key: {direct.key}\r\n"
    head += "Content-Type: application/json\r\nContent-Length: 1000\r\n\r\n["
    with socket.create_connection((host, int(port)), timeout=60) as slow:
        slow.sendall(head.encode())
        with socket.create_connection((host, int(port)), timeout=60) as gone:
            gone.sendall(head.encode())
        started = time.monotonic()
        assert send(direct, user_event(event_id="meanwhile")).status_code == 200
        assert time.monotonic() - started < 15
        assert slow.recv(65_536).startswith(b"HTTP/1.1 504 ")


def test_no_log_line_holds_an_event_a_key_or_a_token(queue: Collector, direct: Collector) -> None:
    """Neither the collector's own lines nor uvicorn's, whatever became of the events."""
    secret = user_event(event_id="secret-id", user_id="secret-user", event_type="secret-type", page="secret")
    for collector in (queue, direct):
        for events in (secret, [secret, secret | {"value": 1}], secret | {"secret-field": 1}, ["secret"]):
            send(collector, events)
        send(
            collector, None, json=None, content=b'{"secret": secret}', headers={"content-type": "text/plain"}
        )
        httpx.post(f"http://{collector.served.address}/v1/events/secret?secret=1", timeout=30)
        written = collector.served.log.read_text(encoding="utf-8")
        assert '"route": "/v1/events/{source}"' in written
        assert "secret" not in written
        assert collector.key not in written
        assert collector.key.rpartition("_")[2] not in written


COSTLY = (
    b"[" + b"{}," * 262_000 + b"{}]",
    b"[" + b"[]," * 349_000 + b"[]]",
    b"[" + b"0.1," * 262_000 + b"0]",
    b'{"a":' * 200_000,
)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_bodies_that_are_made_to_cost_memory_cost_little(direct: Collector) -> None:
    """Eight at once, again and again: the process stays far below the gigabyte that it is given."""

    def status(body: bytes) -> int:
        headers = {"content-type": "application/json"}
        return send(direct, None, json=None, content=body, headers=headers).status_code

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(status, COSTLY * 8)) == {400, 413}
    assert peak_bytes(direct) < 400 * 1_048_576


def peak_bytes(collector: Collector) -> int:
    """The most memory that the process has had."""
    with open(f"/proc/{collector.served.pid}/status", encoding="ascii") as status:
        (line,) = [each for each in status if each.startswith("VmHWM")]
    return int(line.split()[1]) * 1_024

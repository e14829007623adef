"""The relay between an emulator and a function: what it delivers, again, twice, late, never.

Over 300 lines because the sink and the relay process that its tests share are a third of it.
"""

import base64
import json
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest

from local.faults import Faults
from local.process import Child, free_port, wait_until
from tests.support.function_process import ROOT

CREATED = "google.cloud.firestore.document.v1.created"
BODY = bytes(range(256))


class Sink:
    """A function that answers as the test says, and remembers what it was sent."""

    def __init__(self, port: int | None = None) -> None:
        self.port = port or free_port()
        self.answer: Callable[[str], int] = lambda _: 200
        self.headers: dict[str, dict[str, str]] = {}
        self.bodies: dict[str, bytes] = {}
        self.order: list[str] = []
        self.concurrent = self.most_concurrent = 0
        self.lock = threading.Lock()

    def take(self, request: BaseHTTPRequestHandler) -> int:
        """One delivery; returns the status to answer."""
        body = request.rfile.read(int(request.headers["content-length"]))
        # http.server reads headers as Latin-1; what was sent is UTF-8.
        headers = {name.lower(): value.encode("latin-1").decode() for name, value in request.headers.items()}
        event = headers.get("ce-document", "")
        with self.lock:
            self.headers[event], self.bodies[event] = headers, body
            self.order.append(event)
            self.concurrent += 1
            self.most_concurrent = max(self.most_concurrent, self.concurrent)
        try:
            return self.answer(event)
        finally:
            with self.lock:
                self.concurrent -= 1

    @contextmanager
    def serving(self) -> Iterator[None]:
        """Listen meanwhile."""
        sink = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                self.send_response(sink.take(self))
                self.send_header("location", "/elsewhere")
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the parent's name
                pass

        class Server(ThreadingHTTPServer):
            request_queue_size = 256

        with Server(("127.0.0.1", self.port), Handler) as server:
            thread = threading.Thread(target=server.serve_forever)
            thread.start()
            try:
                yield
            finally:
                server.shutdown()
                thread.join()


class Relay:
    """A relay process, and what the emulator would say to it."""

    def __init__(self, child: Child, port: int, client: httpx.Client) -> None:
        self.child = child
        self.client = client
        self.url = f"http://127.0.0.1:{port}"

    def state(self) -> dict[str, Any]:
        state: dict[str, Any] = self.client.get(f"{self.url}/relay").json()
        return state

    def send(self, event: str, body: bytes = BODY) -> int:
        """An event, as the emulator sends it."""
        headers = {"ce-id": "1", "ce-type": CREATED, "ce-document": event}
        return self.client.post(
            f"{self.url}/functions/projects/demo-x/triggers/t",
            content=base64.b64encode(body),
            headers=httpx.Headers(headers | {"content-type": "application/protobuf"}, encoding="utf-8"),
        ).status_code

    def wait(self, condition: Callable[[dict[str, Any]], bool], what: str) -> dict[str, Any]:
        """The counters, once they are so."""
        wait_until(lambda: condition(self.state()), seconds=60, what=what)
        return self.state()

    def quiet(self) -> dict[str, Any]:
        """The counters, once nothing is in flight."""
        return self.wait(lambda state: state["in_flight"] == 0, "the relay quiet")


@contextmanager
def relaying(folder: Path, sink: Sink, *options: str) -> Iterator[Relay]:
    """A relay in front of a sink, quick to redeliver."""
    port = free_port()
    command = [sys.executable, "-m", "local.relay", "--port", str(port), "--target", f"127.0.0.1:{sink.port}"]
    command += ["--backoff", "0.02", "--longest-backoff", "0.1", *options]
    child = Child("the relay", command, folder / "relay.txt", {"PYTHONPATH": str(ROOT)})
    with httpx.Client(timeout=30) as client:
        relay = Relay(child, port, client)
        try:
            child.wait_healthy(lambda: _answers(relay), seconds=60)
            yield relay
        finally:
            child.stop()


def _answers(relay: Relay) -> bool:
    try:
        return bool(relay.state())
    except httpx.TransportError:
        return False


def test_an_event_arrives_as_the_platform_sends_it(tmp_path: Path) -> None:
    """The body is decoded from base64; the CloudEvent's headers come along, odd document ids too."""
    sink = Sink()
    with sink.serving(), relaying(tmp_path, sink) as relay:
        for event in ("libra/a", "libra/🍟 Jalapeños"):
            assert relay.send(event) == 200
        state = relay.quiet()
    assert sink.bodies == {"libra/a": BODY, "libra/🍟 Jalapeños": BODY}
    assert sink.headers["libra/a"]["ce-type"] == CREATED
    assert sink.headers["libra/a"]["content-type"] == "application/protobuf"
    assert (state["received"], state["delivered"], state["redelivered"]) == (2, 2, 0)


@pytest.mark.parametrize("status", [500, 503, 400, 404, 429, 301])
def test_whatever_is_not_acknowledged_is_delivered_again(tmp_path: Path, status: int) -> None:
    """As Pub/Sub push does for Eventarc, 4xx included: again until it is acknowledged, then never again."""
    sink = Sink()
    sink.answer = lambda _: status if len(sink.order) < 4 else 204
    with sink.serving(), relaying(tmp_path, sink) as relay:
        relay.send("libra/a")
        state = relay.quiet()
    assert sink.order == ["libra/a"] * 4
    assert (state["delivered"], state["redelivered"], state["failed"]) == (1, 3, {str(status): 3})


def test_a_function_that_is_not_there_yet_gets_its_events_later(tmp_path: Path) -> None:
    """A refused connection is a failure like another: nothing is lost while the function is away."""
    sink = Sink()
    with relaying(tmp_path, sink) as relay:
        for number in range(10):
            relay.send(f"libra/{number}")
        relay.wait(lambda state: state["failed"].get("no answer", 0) >= 10, "failures")
        with sink.serving():
            state = relay.quiet()
    assert Counter(sink.order) == {f"libra/{number}": 1 for number in range(10)}
    assert state["delivered"] == 10


def test_a_function_that_hangs_holds_up_nobody_else(tmp_path: Path) -> None:
    """The emulator is answered at once; a delivery without an answer in time is tried again."""
    sink, hang = Sink(), threading.Event()

    def answer(event: str) -> int:
        if event == "libra/slow":
            hang.wait(60)
        return 200

    sink.answer = answer
    with sink.serving(), relaying(tmp_path, sink, "--timeout", "0.3") as relay:
        assert relay.send("libra/slow") == 200
        for number in range(10):
            assert relay.send(f"libra/{number}") == 200
        relay.wait(lambda state: state["delivered"] == 10, "the others delivered")
        relay.wait(lambda state: state["failed"].get("no answer", 0) > 0, "the slow one given up")
        hang.set()
        relay.quiet()
    assert sink.order.count("libra/slow") > 1


def test_no_more_than_so_many_deliveries_are_under_way(tmp_path: Path) -> None:
    """The function is never sent more at once than it has been said to take."""
    sink, ready = Sink(), threading.Event()
    sink.answer = lambda _: 200 if ready.wait(60) else 500
    with sink.serving(), relaying(tmp_path, sink, "--concurrency", "5") as relay:
        for number in range(40):
            relay.send(f"libra/{number}")
        wait_until(lambda: sink.concurrent == 5, seconds=60, what="five deliveries")
        ready.set()
        relay.quiet()
    assert sink.most_concurrent == 5
    assert len(sink.order) == 40


def test_faults_hit_exactly_the_events_the_seed_says(tmp_path: Path) -> None:
    """Lost, twice and once: each event as its plan has it; the counters agree."""
    faults = Faults(seed=7, drop=0.2, duplicate=0.3, delay=0.3, delay_seconds=0.1)
    events = [f"libra/{number}" for number in range(200)]
    sink = Sink()
    with sink.serving(), relaying(tmp_path, sink, "--seed", "7", "--drop", "0.2") as relay:
        changed = relay.client.put(f"{relay.url}/relay/faults", json=_asked(faults)).json()
        with ThreadPoolExecutor(8) as senders:
            list(senders.map(relay.send, events))
        state = relay.quiet()
    expected = Counter({event: len(faults.plan(event)) for event in events})
    assert Counter(sink.order) == +expected
    assert changed["duplicate"] == 0.3
    assert state["received"] == 200
    assert state["dropped"] == sum(number == 0 for number in expected.values()) > 0
    assert state["duplicated"] == sum(number == 2 for number in expected.values()) > 0
    assert state["delivered"] == len(sink.order)


def _asked(faults: Faults) -> dict[str, float]:
    return {"duplicate": faults.duplicate, "delay": faults.delay, "delay_seconds": faults.delay_seconds}


def test_reordering_keeps_every_event(tmp_path: Path) -> None:
    """Held back and let go in random order: none is lost, and the last ones are not held for ever."""
    events = [f"libra/{number:03}" for number in range(100)]
    sink = Sink()
    with sink.serving(), relaying(tmp_path, sink, "--reorder", "10", "--concurrency", "1") as relay:
        for event in events:
            relay.send(event)
        relay.quiet()
    assert sorted(sink.order) == events
    assert sink.order != events


def test_an_event_that_is_too_old_is_given_up(tmp_path: Path) -> None:
    """Redelivery is bounded by the event's age, as the platform's is by 24 hours; the counters say so."""
    sink = Sink()
    sink.answer = lambda _: 500
    with sink.serving(), relaying(tmp_path, sink, "--oldest", "0.2") as relay:
        relay.send("libra/a")
        state = relay.quiet()
    assert (state["expired"], state["delivered"]) == (1, 0)
    assert state["failed"] == {"500": len(sink.order)}


def test_what_is_no_event_is_refused(tmp_path: Path) -> None:
    """A body that is not base64 is answered 400 and counted; wrong faults say what is allowed."""
    with relaying(tmp_path, Sink()) as relay:
        answer = relay.client.post(f"{relay.url}/functions/x", content=b"\xff\xfe")
        assert (answer.status_code, "not base64" in answer.json()["error"]) == (400, True)
        answer = relay.client.put(f"{relay.url}/relay/faults", json={"drop": 2})
        assert answer.json() == {"error": "drop=2: a share of the events, from 0 to 1"}
        assert answer.status_code == 400
        assert relay.state()["refused"] == 1


def test_sigterm_delivers_what_is_held_first(tmp_path: Path) -> None:
    """Stopping loses nothing that can be delivered, and takes no longer than that."""
    sink = Sink()
    with sink.serving(), relaying(tmp_path, sink, "--delay", "1", "--delay-seconds", "0.5") as relay:
        for number in range(50):
            relay.send(f"libra/{number}")
        relay.child.stop()
    assert len(set(sink.order)) == 50
    assert summary(tmp_path)["undelivered"] == 0


def test_sigterm_names_what_could_not_be_delivered(tmp_path: Path) -> None:
    """The wait is bounded; what is left is counted and named."""
    with relaying(tmp_path, Sink(), "--drain", "0.2") as relay:
        relay.send("libra/a")
        relay.send("libra/b")
        relay.child.stop()
    summed = summary(tmp_path)
    assert (summed["severity"], summed["undelivered"], summed["events"]) == (
        "WARNING",
        2,
        ["libra/a", "libra/b"],
    )


def summary(folder: Path) -> dict[str, Any]:
    """What a relay said last."""
    summed: dict[str, Any] = json.loads((folder / "relay.txt").read_text().splitlines()[-1])
    return summed


def test_a_fault_that_makes_no_sense_stops_the_start() -> None:
    """Exit status 2, and a message that names the flag's value and what is allowed."""
    command = [sys.executable, "-m", "local.relay", "--port", "1", "--target", "x:1", "--drop", "2"]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 2
    assert "drop=2.0: a share of the events, from 0 to 1" in ended.stderr

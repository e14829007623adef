"""The deployed entry point over HTTP: real functions-framework, real CloudEvents, real emulator."""

import json
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from os import environ, kill
from pathlib import Path

import httpx
import pytest

from local.emulator import Emulator
from local.process import wait_until
from shared.aggregation import Entry
from shared.settings import Settings
from shared.store.client import FirestoreStore
from tests.support.function_process import Function, body_of, serving, start
from tests.support.kitchen import Kitchen, counts, reasons


@dataclass
class Deployed:
    """A kitchen, the function that counts it, and a client."""

    kitchen: Kitchen
    function: Function
    client: httpx.Client
    log: Path


@pytest.fixture
def deployed(emulator: Emulator, project: str, tmp_path: Path) -> Iterator[Deployed]:
    """`on_libra_created`, with eight threads, on the shared emulator."""
    with deploy(emulator, project, tmp_path) as one:
        yield one


@contextmanager
def deploy(emulator: Emulator, project: str, folder: Path) -> Iterator[Deployed]:
    address = f"{emulator.host}:{emulator.port}"
    settings = Settings(project=project, emulator_host=address)
    store = FirestoreStore.connect(settings)
    environment = {"GOOGLE_CLOUD_PROJECT": project, "FIRESTORE_EMULATOR_HOST": address, "THREADS": "8"}
    log = folder / "function.txt"
    with serving("on_libra_created", log, environment) as function, httpx.Client() as client:
        yield Deployed(Kitchen(store, settings), function, client, log)
    store.close()


def test_an_event_is_counted_in_the_forked_worker(deployed: Deployed) -> None:
    """The first event after gunicorn's fork is answered: no channel or lock was made before it."""
    entry = deployed.kitchen.write("entry-1")
    assert deployed.function.post(deployed.client, body_of(entry)) == 200
    assert deployed.function.post(deployed.client, body_of(entry), "event-2") == 200
    assert deployed.kitchen.totals() == deployed.kitchen.exact()


def test_a_json_event_is_counted(deployed: Deployed) -> None:
    """The other encoding that a trigger can be given."""
    entry = deployed.kitchen.write("entry-1")
    document = {
        "name": entry.path,
        "createTime": entry.time.isoformat(),
        "fields": {"ingredient": {"stringValue": "Kettle Chips"}, "dataAction": {"stringValue": "Refilled"}},
    }
    body = json.dumps({"value": document}).encode()
    assert deployed.function.post(deployed.client, body, content_type="application/json") == 200
    assert counts(deployed.kitchen.totals(), "aggregates_actions") == {"Refilled": 1}


MALFORMED = {
    "garbage": b"\xff\xffgarbage",
    "truncated": None,
    "empty": b"",
    "json": b"{}",
    "another collection": None,
}


def test_malformed_events_are_acknowledged_recorded_and_logged_without_content(deployed: Deployed) -> None:
    """2xx, so that the platform stops; one record each with its reason; the instance goes on serving."""
    entry = deployed.kitchen.write("entry-1")
    bodies = {
        **MALFORMED,
        "truncated": body_of(entry)[:-9],
        "another collection": body_of(entry).replace(b"/libra/", b"/zebra/"),
    }
    for event_id, body in bodies.items():
        assert body is not None
        assert deployed.function.post(deployed.client, body, event_id) == 200
    set_aside = deployed.kitchen.documents(deployed.kitchen.home.rejected)
    assert {record["event"] for record in set_aside} == set(bodies)
    assert all("event " in reason for reason in reasons(set_aside))
    assert deployed.function.post(deployed.client, body_of(entry)) == 200
    assert deployed.kitchen.totals() == deployed.kitchen.exact()
    lines = [json.loads(line) for line in deployed.log.read_text().splitlines()]
    assert [line["event"] for line in lines if line["severity"] == "ERROR"] == list(bodies)
    assert "Kettle" not in deployed.log.read_text()


def test_a_rejection_names_the_entry_and_its_trace_not_its_content(deployed: Deployed) -> None:
    """What could not be counted is found from the log line alone."""
    entry = deployed.kitchen.write("entry-1", timestamp="secret")
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    headers = {"ce_traceparent": f"00-{trace}-00f067aa0ba902b7-01"}
    assert deployed.function.post(deployed.client, body_of(entry), **headers) == 200
    lines = [json.loads(line) for line in deployed.log.read_text().splitlines()]
    assert {line["entry"] for line in lines} == {entry.path}
    assert {line["reason"] for line in lines} == {"timestamp: expected a Timestamp, found a string"}
    project = deployed.kitchen.settings.project
    assert {line["logging.googleapis.com/trace"] for line in lines} == {f"projects/{project}/traces/{trace}"}
    assert "secret" not in deployed.log.read_text()


def test_a_stopped_emulator_means_503_and_nothing_lost_or_doubled(project: str, tmp_path: Path) -> None:
    """Transient failure under load: 5xx while Firestore is away; redelivered, all count once."""
    with (
        Emulator.prepare(environ, tmp_path / "emulator.txt") as emulator,
        deploy(emulator, project, tmp_path) as deployed,
        ThreadPoolExecutor(8) as threads,
    ):
        kitchen = deployed.kitchen

        def deliver(entry: Entry) -> int:
            return deployed.function.post(deployed.client, body_of(entry))

        entries = [kitchen.write(f"entry-{number}") for number in range(40)]
        assert set(threads.map(deliver, entries[:5])) == {200}
        emulator.stop()
        assert set(threads.map(deliver, entries[5:20])) == {503}
        emulator.start()  # empty: its data does not survive, so every entry is written anew
        rewritten = [kitchen.write(f"entry-{number}") for number in range(40)]
        wait_until(lambda: deliver(rewritten[0]) == 200, seconds=60, what="the function connects again")
        assert set(threads.map(deliver, rewritten * 2)) == {200}
        assert kitchen.totals() == kitchen.exact()


def test_sigterm_finishes_what_was_accepted_and_claims_nothing_else(deployed: Deployed) -> None:
    """Under load: whatever was answered 200 is counted, and what was not answered counts at most once."""
    kitchen = deployed.kitchen
    entries = [kitchen.write(f"entry-{number}") for number in range(300)]

    def deliver(number: int) -> bool:
        if number == 60:
            kill(deployed.function.child.pid, signal.SIGTERM)
        try:
            return deployed.function.post(deployed.client, body_of(entries[number])) == 200
        except httpx.TransportError:
            return False

    with ThreadPoolExecutor(8) as threads:
        acknowledged = sum(threads.map(deliver, range(len(entries))))
    wait_until(lambda: not deployed.function.child.running, seconds=60, what="the function ends")
    shown = counts(kitchen.totals(), "aggregates_actions").get("Served", 0)
    assert 0 < acknowledged <= shown <= len(entries)
    assert shown == len(kitchen.documents(kitchen.home.seen))


@pytest.mark.parametrize(
    ("variable", "value"), [("LIBRA_LAG_SECONDS", "soon"), ("LIBRA_TIME_ZONE", "Mars/Olympus")]
)
def test_a_wrong_setting_stops_the_start(variable: str, value: str, tmp_path: Path) -> None:
    """The message names the variable, the value and what is allowed."""
    function = start("on_libra_created", tmp_path / "function.txt", {variable: value})
    try:
        wait_until(lambda: not function.child.running, seconds=60, what="the function gives up")
        assert f"{variable}='{value}': " in function.child.tail()
    finally:
        function.child.stop()

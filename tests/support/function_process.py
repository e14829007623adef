"""The deployed entry point under functions-framework, as a test's own process, and events for it."""

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
from google.events.cloud.firestore import DocumentEventData

from local.process import Child, free_port
from shared.aggregation import Entry
from shared.store.values import encode_fields, raw, set_instant

ROOT = Path(__file__).parents[2]
CREATED = "google.cloud.firestore.document.v1.created"


class Function:
    """A running function and where it listens."""

    def __init__(self, child: Child, port: int) -> None:
        self.child = child
        self.url = f"http://127.0.0.1:{port}/"

    def healthy(self) -> bool:
        """True once it answers at all: a GET is no event, and is refused."""
        with suppress(httpx.TransportError):
            return httpx.get(self.url).status_code > 0
        return False

    def post(self, client: httpx.Client, body: bytes, event_id: str = "event-1", **headers: str) -> int:
        """Deliver an event as the platform does; its answer's status."""
        attributes = {
            "ce-id": event_id,
            "ce-source": "//firestore.googleapis.com/projects/demo-libra/databases/(default)",
            "ce-type": CREATED,
            "ce-specversion": "1.0",
            "content-type": "application/protobuf",
        } | {name.replace("_", "-"): value for name, value in headers.items()}
        return client.post(self.url, content=body, headers=attributes, timeout=60).status_code


def body_of(entry: Entry) -> bytes:
    """The protobuf body of an entry's event."""
    data = raw(DocumentEventData)()
    data.value.name = entry.path
    encode_fields(data.value.fields, entry.fields)
    set_instant(data.value.create_time, entry.time)
    encoded: bytes = data.SerializeToString()
    return encoded


def start(target: str, log: Path, environment: Mapping[str, str]) -> Function:
    """Start an entry point; it may not be healthy yet."""
    port = free_port()
    command = [
        *(sys.executable, "-m", "functions_framework", "--source", str(ROOT / "functions" / "main.py")),
        *("--target", target, "--host", "127.0.0.1", "--port", str(port)),
    ]
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("LIBRA_")}
    child = Child(target, command, log, inherited | {"PYTHONPATH": str(ROOT)} | dict(environment))
    return Function(child, port)


@contextmanager
def serving(target: str, log: Path, environment: Mapping[str, str]) -> Iterator[Function]:
    """A healthy entry point, stopped at the end."""
    function = start(target, log, environment)
    try:
        function.child.wait_healthy(function.healthy, seconds=60)
        yield function
    finally:
        function.child.stop()

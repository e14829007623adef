"""A Cloud Storage of a test's own: what the client asks of its JSON API, answered as the service does.

https://cloud.google.com/storage/docs/json_api/v1 (2026-11). It loses replies and fails when it is
told to, which fake-gcs-server does not.
"""

import base64
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

import google_crc32c

LISTED = 2
"""Objects that one answer lists: a client has to ask for the next."""


@dataclass
class Storage:
    """The objects of one bucket, and what goes wrong."""

    url: str = ""
    objects: dict[str, bytes] = field(default_factory=dict)
    uploads: list[dict[str, str]] = field(default_factory=list)
    """The options of every upload."""
    failures: list[int] = field(default_factory=list)
    """Statuses that the next requests end with, before they change anything."""
    lost: int = 0
    """So many uploads land and end with 503."""
    sessions: dict[str, tuple[str, dict[str, str]]] = field(default_factory=dict)


class _Handler(BaseHTTPRequestHandler):
    storage: Storage

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        """Download an object, or list some."""
        if self._fails():
            return
        url = urlsplit(self.path)
        if url.path.startswith("/download/"):
            data = self.storage.objects.get(unquote(url.path.rpartition("/o/")[2]))
            self._answer(404 if data is None else 200, data or b"", checksum=True)
        else:
            self._list({name: values[0] for name, values in parse_qs(url.query).items()})

    def do_POST(self) -> None:
        """Upload an object whole, or begin an upload in parts."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self._fails():
            return
        options = {name: values[0] for name, values in parse_qs(urlsplit(self.path).query).items()}
        if options["uploadType"] == "resumable":
            about = json.loads(body)
            session = str(len(self.storage.sessions))
            self.storage.sessions[session] = (about["name"], options)
            self._answer(200, b"", location=f"{self.storage.url}/session/{session}")
            return
        boundary = self.headers["Content-Type"].partition("boundary=")[2].strip("\"'").encode()
        _, about, content, _ = body.split(b"--" + boundary)
        self._store(
            json.loads(about.split(b"\r\n\r\n", 1)[1]), content.split(b"\r\n\r\n", 1)[1][:-2], options
        )

    def do_PUT(self) -> None:
        """The only part of an upload in parts."""
        data = self.rfile.read(int(self.headers["Content-Length"]))
        name, options = self.storage.sessions[self.path.rpartition("/")[2]]
        self._store({"name": name}, data, options)

    def _store(self, about: dict[str, str], data: bytes, options: dict[str, str]) -> None:
        self.storage.uploads.append(options | about)
        if options.get("ifGenerationMatch") == "0" and about["name"] in self.storage.objects:
            self._answer(412, b"{}")
        elif about.get("crc32c", _crc32c(data)) != _crc32c(data):
            self._answer(400, b"{}")
        else:
            self.storage.objects[about["name"]] = data
            self.storage.lost -= 1
            done = {"name": about["name"], "crc32c": _crc32c(data)}
            self._answer(503 if self.storage.lost >= 0 else 200, json.dumps(done).encode())

    def _list(self, options: dict[str, str]) -> None:
        names = sorted(name for name in self.storage.objects if name.startswith(options.get("prefix", "")))
        below = [name for name in names if "/" not in name[len(options.get("prefix", "")) :]]
        begin = int(options.get("pageToken", 0))
        answer: dict[str, object] = {"items": [{"name": name} for name in below[begin : begin + LISTED]]}
        if begin + LISTED < len(below):
            answer["nextPageToken"] = str(begin + LISTED)
        self._answer(200, json.dumps(answer).encode())

    def _fails(self) -> bool:
        if self.storage.failures:
            self._answer(self.storage.failures.pop(0), b"{}")
            return True
        return False

    def _answer(self, status: int, body: bytes, *, checksum: bool = False, location: str = "") -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Content-Type", "application/octet-stream" if checksum else "application/json")
        if checksum:
            self.send_header("X-Goog-Hash", f"crc32c={_crc32c(body)}")
        if location:
            self.send_header("Location", location)
        self.end_headers()
        self.wfile.write(body)


def _crc32c(data: bytes) -> str:
    checksum: int = google_crc32c.value(data)
    return base64.b64encode(checksum.to_bytes(4, "big")).decode()


@contextmanager
def storage() -> Iterator[Storage]:
    """A server on a free port, for as long as the context lasts."""
    kept = Storage()
    handler = type("Handler", (_Handler,), {"storage": kept})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        kept.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield kept
        finally:
            server.shutdown()
            thread.join()

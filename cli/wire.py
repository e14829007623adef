"""Just enough HTTP/1.1 for the relay: one machine, bodies with a length, connections kept alive.

The relay shares two cores with the emulator and the function, so what it spends on an event is taken
from what is measured: 0.13 ms, receipt and delivery together (2026-11, 7,500 events a second on one
core).
"""

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus

HEAD_LIMIT = 1 << 18  # a document's path is at most 6 KiB and arrives in several headers
KEEP_SECONDS = 1.0  # gunicorn closes an idle connection after 2 seconds (its setting `keepalive`)
NO_ANSWER = 0


@dataclass(frozen=True, slots=True)
class Request:
    """A request as it came in; header names are in lower case."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


Handler = Callable[[Request], tuple[int, bytes]]


async def serve(handler: Handler, host: str, port: int) -> asyncio.Server:
    """Listen and answer every request with what the handler returns: a status and a JSON body."""

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # Cancelled when the loop ends: Python 3.11's streams would print that as an error.
        with suppress(
            EOFError, asyncio.LimitOverrunError, ConnectionError, ValueError, asyncio.CancelledError
        ):
            while True:
                request = await _read(reader)
                status, body = handler(request)
                writer.write(_answer(status, body))
                await writer.drain()
        writer.close()

    return await asyncio.start_server(connected, host, port, limit=HEAD_LIMIT, backlog=1024)


async def _read(reader: asyncio.StreamReader) -> Request:
    first, headers = await _read_head(reader)
    method, path, _ = first.split(" ", 2)
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Request(method, path, headers, body)


async def _read_head(reader: asyncio.StreamReader) -> tuple[str, dict[str, str]]:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    first, *lines = head[:-4].split("\r\n")
    pairs = (line.partition(":") for line in lines)
    return first, {name.lower(): value.strip() for name, _, value in pairs}


def _answer(status: int, body: bytes) -> bytes:
    head = (
        f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode("latin-1") + body


def post(host: str, headers: dict[str, str], body: bytes) -> bytes:
    """A POST to `/`, as it goes over the wire."""
    named = {**headers, "host": host, "content-length": str(len(body)), "connection": "keep-alive"}
    lines = "".join(f"{name}: {value}\r\n" for name, value in named.items())
    return f"POST / HTTP/1.1\r\n{lines}\r\n".encode("latin-1") + body


class Connection:
    """One connection to one server, opened when needed and again when it was lost.

    One request at a time: its owner waits for an answer before it sends the next.
    """

    def __init__(self, host: str, port: int, timeout_seconds: float) -> None:
        """Nothing is opened yet."""
        self._address = (host, port)
        self._timeout = timeout_seconds
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self._used = 0.0

    async def send(self, request: bytes) -> int:
        """Send a request and return the answer's status, `NO_ANSWER` if there was none in time."""
        try:
            async with asyncio.timeout(self._timeout):
                return await self._send(request)
        except (OSError, EOFError, ValueError, asyncio.LimitOverrunError):  # TimeoutError is an OSError
            self.close()
            return NO_ANSWER

    async def _send(self, request: bytes) -> int:
        if time.monotonic() - self._used > KEEP_SECONDS:
            self.close()
        reader, writer = self._streams or await asyncio.open_connection(*self._address, limit=HEAD_LIMIT)
        self._streams = (reader, writer)
        writer.write(request)
        first, headers = await _read_head(reader)
        length = headers.get("content-length")
        await reader.readexactly(int(length or "0"))
        if length is None or headers.get("connection", "").lower() == "close":
            self.close()
        self._used = time.monotonic()
        return int(first.split(" ", 2)[1])

    def close(self) -> None:
        """Close what is open."""
        if self._streams:
            self._streams[1].close()
            self._streams = None

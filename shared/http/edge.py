"""What stands between the server and the routes: paths as they were sent, bounds, a deadline, one log line.

A path is matched as it came, percent-encoded: a `/` inside a key (`%2F`) never ends a segment. A route
decodes what it takes.
"""

import asyncio
import logging
import math
import time
from collections.abc import Mapping
from contextvars import ContextVar
from datetime import timedelta
from urllib.parse import quote

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from shared.http.problems import Problem, respond
from shared.log import logger, traced

MAX_TARGET = 32_768
"""Bytes of a path with its query: a key of 1,400 characters and a cursor of another, percent-encoded."""
GRACE = 0.5
"""Seconds that a read goes on after its request's deadline, so that it is the deadline that answers."""
HEADERS = (
    (b"cache-control", b"private, no-store"),
    (b"x-content-type-options", b"nosniff"),
)

_ends: ContextVar[float] = ContextVar("ends", default=math.inf)
"""When the deadline of this request is over, by the monotonic clock."""


def left() -> float:
    """Seconds that a read of this request may take: after that nobody waits for it."""
    return max(0.0, _ends.get() + GRACE - time.monotonic())


class Edge:
    """Wraps the application. Whatever happens inside, one answer goes out, and no exception's text."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        deadline: timedelta,
        project: str | None,
        max_body: int,
        quiet: bool = False,
    ) -> None:
        """``max_body``: bytes of a body. ``quiet``: log a request that went well at DEBUG only."""
        self._app = app
        self._deadline = deadline.total_seconds()
        self._project = project
        self._max_body = max_body
        self._quiet = quiet
        self._late: set[asyncio.Task[None]] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        with traced(self._project, _traceparent(headers)):
            await self._answer(_as_sent(scope), headers, receive, send)

    async def _answer(self, scope: Scope, headers: Mapping[str, str], receive: Receive, send: Send) -> None:
        started = time.monotonic()
        answer = Answer(send)
        try:
            _check(scope, headers, self._max_body)
        except Problem as problem:
            await answer.give(problem, scope, receive)
        else:
            await self._within_deadline(scope, Body(receive, self._max_body), answer)
        self._log(scope, answer.status, time.monotonic() - started)

    async def _within_deadline(self, scope: Scope, receive: "Body", answer: "Answer") -> None:
        """A thread that reads Firestore cannot be interrupted: it goes on until its read ends (`left`)."""
        _ends.set(time.monotonic() + self._deadline)
        task = asyncio.create_task(self._guarded(scope, receive, answer))
        await _done(task, self._deadline)
        if not task.done():
            self._late.add(task)
            task.add_done_callback(self._late.discard)
            task.cancel()  # at once where it waits for a thread, else when its thread returns
            detail = f"no answer within {self._deadline:g} seconds: ask for less, or try again"
            await answer.give(Problem(504, detail), scope, receive)

    async def _guarded(self, scope: Scope, receive: "Body", answer: "Answer") -> None:
        try:
            await self._app(scope, receive, answer)
        except Exception as error:  # noqa: BLE001 - the last resort: it is logged, and answered without its text
            logger.exception("A request failed", extra={"error": type(error).__name__})
            await answer.give(Problem(500, "the service failed: its log says why"), scope, receive)

    def _log(self, scope: Scope, status: int | None, seconds: float) -> None:
        """One line a request. It names the route and never the path, which may hold a key."""
        level = logging.DEBUG if self._quiet and status is not None and status < 300 else logging.INFO
        if not logger.isEnabledFor(level):
            return
        route = getattr(scope.get("route"), "path", None)
        logger.log(
            level,
            "A request was answered",
            extra={
                "method": scope["method"],
                "route": route,
                "status": status,
                "milliseconds": round(1_000 * seconds, 1),
            },
        )


async def _done(task: "asyncio.Task[None]", seconds: float) -> None:
    """Wait until a task is done, or for that long: `asyncio.wait` of one task, at a third of its CPU."""
    loop = asyncio.get_running_loop()
    over: asyncio.Future[None] = loop.create_future()

    def end(_: object = None) -> None:
        if not over.done():
            over.set_result(None)

    timer = loop.call_later(seconds, end)
    task.add_done_callback(end)
    try:
        await over
    finally:
        timer.cancel()
        task.remove_done_callback(end)


class Answer:
    """Sends one answer, with the headers that each one has; what comes after it was closed is dropped."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._closed = False
        self.status: int | None = None
        """Once it has begun."""

    async def __call__(self, message: Message) -> None:
        if self._closed:
            return
        if message["type"] == "http.response.start":
            self.status = message["status"]
            message = dict(message) | {"headers": [*message.get("headers", ()), *HEADERS]}
        await self._send(message)

    async def give(self, problem: Problem, scope: Scope, receive: Receive) -> None:
        """Answer a problem, unless an answer has begun: then nothing more is sent, which breaks it off."""
        if self.status is None:
            await respond(problem)(scope, receive, self)
        self._closed = True


class Body:
    """Receives a body of at most ``most`` bytes, whatever its length was said to be."""

    def __init__(self, receive: Receive, most: int) -> None:
        self._receive = receive
        self._most = most
        self._size = 0

    async def __call__(self) -> Message:
        message = await self._receive()
        self._size += len(message.get("body", b""))
        if self._size > self._most:
            raise _too_large(self._most)
        return message


def _as_sent(scope: Scope) -> Scope:
    raw: bytes = scope.get("raw_path") or quote(scope["path"]).encode()
    return dict(scope) | {"path": raw.partition(b"?")[0].decode("latin-1")}


def _check(scope: Scope, headers: Mapping[str, str], max_body: int) -> None:
    size = len(scope["path"]) + len(scope["query_string"])
    if size > MAX_TARGET:
        raise Problem(414, f"the path and the query have {size} bytes: at most {MAX_TARGET} are taken")
    length = headers.get("content-length", "0")
    if length.isascii() and length.isdigit() and int(length) > max_body:
        raise _too_large(max_body)


def _too_large(most: int) -> Problem:
    return Problem(413, f"the body has more than {most} bytes: send less")


def _traceparent(headers: Mapping[str, str]) -> str | None:
    """The request's trace as W3C writes it; Google's older header is TRACE_ID/SPAN_ID."""
    if found := headers.get("traceparent"):
        return found
    trace, slash, _ = headers.get("x-cloud-trace-context", "").partition("/")
    return f"00-{trace}-" if slash else None

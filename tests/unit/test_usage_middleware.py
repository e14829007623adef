"""Requests are counted for their merchants, and no error of counting reaches a request."""

import asyncio
from collections.abc import Callable, Iterable
from typing import Any

import pytest

from services.usage.middleware import CountASGI, CountWSGI, Scope, header
from shared.errors import Overloaded


class Tracked:
    """A tracker that keeps what it was told."""

    def __init__(self) -> None:
        self.found: list[tuple[str, str, int]] = []
        self.full = False

    def track(self, merchant: str, metric: str, amount: int = 1) -> None:
        """See `UsageTracker.track`."""
        if self.full:
            raise Overloaded("full")
        self.found.append((merchant, metric, amount))


def asgi(tracker: Tracked, status: int, headers: list[tuple[bytes, bytes]], kind: str = "http") -> list[Any]:
    """What a request is answered."""
    sent = []

    async def app(_: Scope, __: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": status})
        await send({"type": "http.response.body", "body": b"x"})

    async def send(message: Any) -> None:
        sent.append(message["type"])

    async def receive() -> Any:
        return {}

    counted = CountASGI(app, tracker, header("X-Merchant-Id"))
    asyncio.run(counted({"type": kind, "headers": headers}, receive, send))
    return sent


def wsgi(tracker: Tracked, status: str, environ: dict[str, Any]) -> list[bytes]:
    """The same over WSGI."""

    def app(_: Scope, start_response: Callable[..., Any]) -> Iterable[bytes]:
        start_response(status, [])
        return [b"x"]

    counted = CountWSGI(app, tracker, header("x-merchant-id"), metric="calls")
    return list(counted(environ, lambda *_: None))


@pytest.mark.parametrize(("status", "times"), [(200, 1), (404, 1), (500, 0), (503, 0)])
def test_a_request_is_counted_once_unless_the_server_failed(status: int, times: int) -> None:
    """Whatever else it was answered."""
    tracker = Tracked()
    assert len(asgi(tracker, status, [(b"host", b"h"), (b"x-merchant-id", b"acme")])) == 2
    assert wsgi(tracker, f"{status} Reason", {"HTTP_X_MERCHANT_ID": "acme"}) == [b"x"]
    assert tracker.found == [("acme", "requests", 1), ("acme", "calls", 1)][: 2 * times]


def test_who_has_no_merchant_is_not_counted() -> None:
    """Neither is what is no request over HTTP."""
    tracker = Tracked()
    asgi(tracker, 200, [])
    asgi(tracker, 200, [(b"x-merchant-id", b"")])
    asgi(tracker, 200, [(b"x-merchant-id", b"acme")], kind="websocket")
    wsgi(tracker, "200 OK", {})
    assert tracker.found == []


def test_a_request_is_answered_also_where_it_cannot_be_counted() -> None:
    """What is wrong with counting is logged."""
    tracker = Tracked()
    tracker.full = True
    assert len(asgi(tracker, 200, [(b"x-merchant-id", b"acme")])) == 2
    assert wsgi(tracker, "200 OK", {"HTTP_X_MERCHANT_ID": "acme"}) == [b"x"]


def test_a_merchant_that_cannot_be_told_costs_no_request(caplog: pytest.LogCaptureFixture) -> None:
    """The application's own code says whose a request is, and may fail."""

    async def app(_: Scope, __: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200})

    async def nothing(*_: Any) -> Any:
        return {}

    tracker = Tracked()
    counted = CountASGI(app, tracker, lambda scope: str(scope["user"]))
    asyncio.run(counted({"type": "http", "headers": []}, nothing, nothing))
    (said,) = caplog.records
    assert (said.getMessage(), said.__dict__["reason"]) == ("A request was not counted", "KeyError('user')")

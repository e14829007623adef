"""Counts the requests of an application, for ASGI (FastAPI, Starlette, Django) and for WSGI (Flask, Django).

::

    from services.usage.middleware import CountASGI, header
    from services.usage.tracker import UsageTracker
    app.add_middleware(CountASGI, tracker=UsageTracker(), merchant=header("x-merchant-id"))

A request is counted once its answer begins, unless that is an error of the server's (status 500 or more). A
request without a merchant is not counted. No error of counting reaches the request: it is logged.
"""

from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any, Protocol

from shared.errors import LibraError
from shared.log import logger

Scope = MutableMapping[str, Any]
"""What ASGI says of a request, or WSGI's environment."""
Merchant = Callable[[Scope], str | None]
"""Says whose request it is; None: nobody's."""
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
AsgiApp = Callable[[Scope, Receive, Send], Awaitable[None]]
WsgiApp = Callable[..., Iterable[bytes]]


class Tracks(Protocol):
    """What is needed of `UsageTracker`."""

    def track(self, merchant: str, metric: str, amount: int = 1) -> None:
        """See `UsageTracker.track`."""


def header(name: str) -> Merchant:
    """The merchant that a header names. Only behind a gateway that sets it: a caller may write any."""
    raw, variable = name.lower().encode("ascii"), f"HTTP_{name.upper().replace('-', '_')}"

    def merchant(scope: Scope) -> str | None:
        if "headers" not in scope:
            return scope.get(variable) or None
        found = next((value for key, value in scope["headers"] if key.lower() == raw), b"")
        return found.decode("latin-1") or None

    return merchant


class _Counting:
    def __init__(self, tracker: Tracks, merchant: Merchant, metric: str) -> None:
        self._tracker = tracker
        self._merchant = merchant
        self._metric = metric

    def count(self, scope: Scope, status: int) -> None:
        if status >= 500:
            return
        try:
            if merchant := self._merchant(scope):
                self._tracker.track(merchant, self._metric)
        except Exception as error:  # noqa: BLE001 - no error of counting reaches the request
            reason = str(error) if isinstance(error, LibraError) else repr(error)
            logger.warning("A request was not counted", extra={"reason": reason})


class CountASGI:
    """ASGI middleware."""

    def __init__(
        self, app: AsgiApp, tracker: Tracks, merchant: Merchant, *, metric: str = "requests"
    ) -> None:
        self._app = app
        self._counting = _Counting(tracker, merchant, metric)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve, and count."""

        async def counted(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                self._counting.count(scope, message["status"])
            await send(message)

        await self._app(scope, receive, counted if scope["type"] == "http" else send)


class CountWSGI:
    """WSGI middleware."""

    def __init__(
        self, app: WsgiApp, tracker: Tracks, merchant: Merchant, *, metric: str = "requests"
    ) -> None:
        self._app = app
        self._counting = _Counting(tracker, merchant, metric)

    def __call__(self, environ: Scope, start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Serve, and count."""

        def counted(status: str, *arguments: Any) -> Any:
            self._counting.count(environ, int(status.split(" ", maxsplit=1)[0]))
            return start_response(status, *arguments)

        return self._app(environ, counted)

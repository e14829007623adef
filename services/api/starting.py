"""Starting a run: the recompute answers when the run has ended, and the API waits only until it has begun.

The run is the recompute's own. If this process ends, the run goes on or its lease runs out; both are safe.
"""

import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from threading import Thread
from typing import Any

import google.auth.transport.requests
import httpx
from google.auth.exceptions import GoogleAuthError
from google.oauth2 import id_token

from shared.http.problems import Problem
from shared.log import logger

LONGEST_RUN = 3_600
"""Seconds that a call may take: the recompute's own timeout."""
POLL_SECONDS = 0.2

Answer = tuple[int, Mapping[str, Any]]
"""The recompute's status and its JSON."""


def token_for(url: str) -> str:
    """An ID token of this service's own account for ``url``, from the platform's metadata server.

    Raises:
        GoogleAuthError: there is none here.
    """
    token: str = id_token.fetch_id_token(google.auth.transport.requests.Request(), url)  # type: ignore[no-untyped-call]  # as it comes
    return token


def ask(url: str, options: Mapping[str, object], token: Callable[[str], str] = token_for) -> Answer:
    """Call the recompute and wait for its answer; a recompute on this machine takes no token.

    Raises:
        GoogleAuthError: there is no token.
        httpx.HTTPError: the recompute cannot be reached.
    """
    headers = {"Authorization": f"Bearer {token(url)}"} if url.startswith("https://") else {}
    answer = httpx.post(url, json=dict(options), headers=headers, timeout=LONGEST_RUN)
    try:
        body = answer.json()
    except ValueError:
        body = {}
    return answer.status_code, body if isinstance(body, dict) else {}


class Starter:
    """Starts runs. Threads may use it at once: the lease, not this class, keeps two runs apart."""

    def __init__(
        self,
        url: str | None,
        *,
        patience: float,
        call: Callable[[str, Mapping[str, object]], Answer] = ask,
    ) -> None:
        """``patience``: seconds that a run may take to begin."""
        self._url = url
        self._patience = patience
        self._call = call

    def start(self, options: Mapping[str, object], held: Callable[[], str | None]) -> str:
        """Start a run; its id, as soon as it holds the lease.

        Args:
            options: what the recompute takes.
            held: the run that holds the lease now.

        Raises:
            Problem: 409, a run is under way; 501, no recompute is named; 400, 502 or 504 as the recompute
                answers, or does not.
        """
        if self._url is None:
            raise Problem(501, "this API starts no runs: LIBRA_API_RECOMPUTE_URL is not set")
        if before := held():
            raise under_way(before)
        called: Future[Answer] = Future()
        Thread(target=self._run, args=(called, self._url, options), daemon=True).start()
        return self._begun(called, held)

    def _run(self, called: "Future[Answer]", url: str, options: Mapping[str, object]) -> None:
        try:
            called.set_result(self._call(url, options))
        except Exception as error:  # noqa: BLE001 - handed to the thread that waits, which sorts it
            called.set_exception(error)

    def _begun(self, called: "Future[Answer]", held: Callable[[], str | None]) -> str:
        """The run that holds the lease at two looks while the call is under way: the recompute answers 409 at
        once where another one has taken it in between."""
        until, seen = time.monotonic() + self._patience, None
        while time.monotonic() < until:
            if called.done():
                return _run_of(called)
            before, seen = seen, held()
            if seen and seen == before:
                return seen
            time.sleep(POLL_SECONDS)
        raise Problem(504, "the recompute was called and has not begun yet: GET /v1/runs shows when it has")


def _run_of(called: "Future[Answer]") -> str:
    """The run of an answer that came before the lease was seen."""
    try:
        status, body = called.result()
    except (httpx.HTTPError, GoogleAuthError) as error:
        logger.error(
            "The recompute cannot be called", extra={"error": type(error).__name__, "reason": str(error)}
        )
        raise Problem(502, "the recompute cannot be called: the API's log says why") from error
    if status == 200 and isinstance(run_id := body.get("run_id"), str):
        return run_id
    if status == 409:
        raise Problem(409, str(body.get("reason", "another run is under way")))
    if status == 400:
        raise Problem(400, str(body.get("reason", "the recompute refused the options")))
    logger.error("The recompute failed", extra={"status": status, "reason": body.get("reason")})
    raise Problem(502, "the recompute failed: GET /v1/runs and its log say why")


def under_way(run_id: str) -> Problem:
    """409: one run at a time."""
    return Problem(409, f"run {run_id} is under way: wait for its end, then try again", run_id=run_id)

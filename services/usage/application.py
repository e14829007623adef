"""The flush over HTTP: `POST /flush`, for Cloud Scheduler and for whatever else sends a request at intervals.

It does what `python -m services.usage` does. Its answers are the exit statuses of the job:

    exit status                                                       answer
    0  all is booked                                                  200, the result
    3  all that can be read is booked, and something is set aside     200, the result says how much
    1  a server does not answer                                       503: the next try books the rest
    1  a server refuses, or 2, a setting cannot be used               500: an operator has to act
"""

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime, timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Depends, FastAPI, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic import BaseModel, Field

from services.usage.running import Opened, opened
from services.usage.settings import UsageSettings
from shared.errors import LibraError, SettingError, Transient
from shared.http import application as http
from shared.http import health, reading
from shared.http.identity import Tokens, Verifier, refused
from shared.http.problems import Problem
from shared.http.responses import SIGNED_IN, problems
from shared.log import logger

DESCRIPTION = """\
Books what merchants have used: from Redis into PostgreSQL. Send the ID token of a Google account that
`LIBRA_USAGE_ACCOUNTS` names as `Authorization: Bearer TOKEN`, as Cloud Scheduler does with an OIDC token.
Errors are `application/problem+json` (RFC 9457).
"""
AUDIENCE, ACCOUNTS = "LIBRA_USAGE_AUDIENCE", "LIBRA_USAGE_ACCOUNTS"
DEADLINE = timedelta(minutes=15)
"""How long a run may take, as the Cloud Run job's. Its thread goes on after that; the answer is 504."""
MAX_BODY = 10_000
"""Bytes of a body, which nobody reads."""

Open = Callable[[UsageSettings], AbstractContextManager[Opened]]


class Flushed(BaseModel):
    """What a run came to."""

    records: int = Field(description="Parts that were read.", examples=[4])
    raised: int = Field(description="Rows that are new or larger.", examples=[2])
    gained: int = Field(description="What was added to `merchant_usage`.", examples=[1204])
    late: int = Field(description="Parts of sealed hours that were set aside.", examples=[0])
    errors: int = Field(description="Rows of Redis that were set aside: they cannot be read.", examples=[0])
    forgotten: int = Field(description="Parts that were deleted from Redis.", examples=[0])
    sealed_through: datetime | None = Field(description="The instant through which hours are sealed.")
    seconds: float = Field(description="How long it took.", examples=[0.2])


class Flushing:
    """Runs a flush at a request, and opens both servers for it alone. One run at a time in this process; runs
    of several processes may overlap, as any flushes may."""

    def __init__(self, settings: UsageSettings, open_: Open = opened) -> None:
        self._settings = settings
        self._open = open_
        self._running = threading.Lock()

    def flush(self) -> dict[str, Any]:
        """Book what is in Redis; what it came to.

        Raises:
            Problem: 409, a run is under way here; 503 or 500, as the module says.
        """
        if not self._running.acquire(blocking=False):
            raise Problem(409, "a flush is under way in this process: try again when it has ended")
        try:
            with self._opened() as service:
                return service.flush.run().plain()
        finally:
            self._running.release()

    def ready(self) -> None:
        """Open both servers.

        Raises:
            Problem: 503 or 500, as the module says.
        """
        with self._opened():
            pass

    @contextmanager
    def _opened(self) -> Iterator[Opened]:
        try:
            with self._open(self._settings) as service:
                yield service
        except LibraError as error:
            logger.error("The usage job failed", extra={"error": str(error)})
            if isinstance(error, Transient):
                raise Problem(503, "a server did not answer: the next run books the rest") from error
            raise Problem(500, "the flush cannot be done: the log says what an operator has to do") from error


router = APIRouter(tags=["usage"], responses=problems(*SIGNED_IN, 409))
_bearer = HTTPBearer(auto_error=False, bearerFormat="JWT", description=f"A Google account in {ACCOUNTS}.")


def caller(
    request: Request, bearer: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]
) -> None:
    """Let in a Google account that is named, or an operator. Not a coroutine: it verifies in a thread.

    Raises:
        Problem: 401, nobody is signed in; 403, it is somebody else.
    """
    if bearer is None:
        raise refused("no bearer token: send Authorization: Bearer TOKEN")
    verifier: Verifier = request.app.state.verifier
    try:
        found = verifier.identity(bearer.credentials)
    except SettingError:  # without a project there is no Firebase whose tokens could be verified
        raise refused("not the ID token of a Google account") from None
    if found.account is None and found.role != "operator":
        raise Problem(403, f"this takes a Google account of {ACCOUNTS}, or the role operator")


@router.post("/flush", dependencies=[Depends(caller)])
def flush(request: Request) -> Flushed:
    """Book what is in Redis, and seal the hours that have been over for long enough. It may be sent twice,
    late, or to several instances at once. It takes no body."""
    flushing: Flushing = request.app.state.flushing
    return Flushed(**flushing.flush())


def tokens(environment: Mapping[str, str], project: str | None) -> Tokens:
    """Whose tokens are taken.

    Raises:
        SettingError: no audience or no account is given: then nobody could flush.
    """
    reading.emulated(environment)
    found = Tokens(
        project,
        audience=reading.url(environment, AUDIENCE),
        accounts=reading.accounts(environment, ACCOUNTS),
        audience_variable=AUDIENCE,
        accounts_variable=ACCOUNTS,
    )
    if not found.audience:
        raise SettingError(AUDIENCE, "", "this service's own address, which the token's audience must be")
    if not found.accounts:
        raise SettingError(ACCOUNTS, "", "the addresses of the Google accounts that may flush, by commas")
    return found


def application(settings: UsageSettings, taken: Tokens, *, open_: Open = opened) -> FastAPI:
    """An application. Nothing is connected yet.

    Args:
        settings: what the environment says.
        taken: whose tokens are taken.
        open_: what opens Redis and PostgreSQL.
    """
    app = http.application(
        "Libra usage",
        DESCRIPTION,
        (router, health.router),
        deadline=DEADLINE,
        project=settings.books.project,
        max_body=MAX_BODY,
    )
    app.state.flushing = Flushing(settings, open_)
    app.state.ready = health.Readiness(app.state.flushing.ready)
    app.state.verifier = Verifier(taken)
    return app

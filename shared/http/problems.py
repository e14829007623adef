"""Every error that a service answers, as `application/problem+json` (RFC 9457).

The detail of a 4xx says what was found and what is allowed. That of a 5xx is a fixed sentence: what an
exception says goes to the log, never to a caller.
"""

from collections.abc import Mapping
from http import HTTPStatus

from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse

from shared.errors import (
    Denied,
    IndexMissing,
    LibraError,
    NotFound,
    Overloaded,
    SnapshotTooOld,
    StateError,
    StoreError,
    WindowError,
)
from shared.log import logger

MEDIA_TYPE = "application/problem+json"
LONGEST = 200
"""Characters of a caller's value that an answer repeats."""
LONGEST_DETAIL = 1_000
"""Characters of a detail."""


class ProblemBody(BaseModel):
    """What went wrong (RFC 9457)."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "type": "about:blank",
                    "title": "Not Found",
                    "status": 404,
                    "detail": "there is no aggregation 'shoes': expected one of aggregates_actions",
                }
            ]
        }
    )

    type: str = "about:blank"
    title: str = Field(description="The HTTP status in words.")
    status: int = Field(description="The HTTP status.")
    detail: str = Field(description="What was found, and what is allowed or what to do.")


class Problem(HTTPException):
    """An answer other than success.

    Args:
        status: the HTTP status.
        detail: what was found and what is allowed; for a 5xx no exception's text.
        headers: what else the answer carries.
        members: what else the body holds.
    """

    def __init__(
        self,
        status: int,
        detail: str,
        *,
        headers: Mapping[str, str] | None = None,
        **members: object,
    ) -> None:
        super().__init__(status, detail, dict(headers or {}))
        self.members = members


def shown(value: object) -> str:
    """A caller's value in a message, cut where it is long."""
    text = repr(value)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}… ({len(text)} characters)"


def respond(problem: HTTPException) -> JSONResponse:
    """The answer to a problem."""
    status = HTTPStatus(problem.status_code)
    own = isinstance(problem, Problem)
    detail = problem.detail if own else _FRAMEWORK.get(status, status.description)
    body = {
        "type": "about:blank",
        "title": status.phrase,
        "status": status.value,
        "detail": detail[:LONGEST_DETAIL],
        **getattr(problem, "members", {}),
    }
    return JSONResponse(body, status, problem.headers, MEDIA_TYPE)


_FRAMEWORK = {
    HTTPStatus.NOT_FOUND: "there is no such address: /openapi.json lists those that there are",
    HTTPStatus.METHOD_NOT_ALLOWED: "this address does not take this method: Allow names those that it takes",
    HTTPStatus.BAD_REQUEST: "the request's body cannot be read",
}
"""What the framework refuses by itself."""


async def http(_: Request, error: Exception) -> JSONResponse:
    """What a route or the framework refused."""
    assert isinstance(error, HTTPException)  # noqa: S101 - registered for it
    return respond(error)


async def invalid(_: Request, error: Exception) -> JSONResponse:
    """Parameters or a body that are not as the schema says."""
    assert isinstance(error, RequestValidationError)  # noqa: S101 - registered for it
    found = [
        "body: it was read as bytes, not as JSON: send Content-Type: application/json"
        if isinstance(each.get("input"), bytes)
        else f"{'.'.join(map(str, each['loc']))}: {each['msg']}, found {shown(each.get('input'))}"
        for each in error.errors()
    ]
    return respond(Problem(422, "; ".join(found)))


async def libra(_: Request, error: Exception) -> JSONResponse:
    """A question without an answer, what Firestore refused, or what nobody foresaw among Libra's errors."""
    assert isinstance(error, LibraError)  # noqa: S101 - registered for it
    for kind, status in _ASKED.items():
        if isinstance(error, kind):
            return respond(Problem(status, str(error)))
    logger.error("A request failed", extra={"error": type(error).__name__, "reason": str(error)})
    return respond(Problem(*next(answer for kind, answer in _FAILED if isinstance(error, kind))))


_ASKED: dict[type[LibraError], int] = {
    NotFound: 404,
    SnapshotTooOld: 410,
    WindowError: 422,
    IndexMissing: 422,
}
"""What is the question's fault: the first that fits. The message says what is allowed or missing."""

_FAILED: tuple[tuple[type[LibraError], tuple[int, str]], ...] = (
    (
        Denied,
        (503, "Firestore does not let this service do this: its log says what an operator has to grant"),
    ),
    (Overloaded, (503, "too much is under way: try again")),
    (StateError, (500, "the book-keeping document is damaged: the log says how")),
    (StoreError, (503, "Firestore did not answer as it should: try again")),
    (LibraError, (500, "the service failed: its log says why")),
)
"""What each of Libra's errors becomes: the first that fits."""

"""What a call of the API raises.

::

    ApiError
    ├── NotSignedIn        401: no token that is taken; get a new one
    ├── Forbidden          403: not the role
    ├── NotFound           404: no such aggregation, run or record
    ├── RunUnderWay        409: one recompute at a time
    ├── TooOld             410: an explanation took longer than Firestore keeps a snapshot; begin again
    ├── Unanswerable       422: a parameter is not allowed, or an index is missing
    └── Unavailable        429, 503, 504: the same call may succeed later

No answer at all is `httpx.TransportError`. A call may be repeated after that and after `Unavailable`. Reading
changes nothing, looking at a rejected entry counts nothing, and a second recompute is safe beside the first.
"""

from collections.abc import Mapping
from typing import Any

import httpx


class ApiError(Exception):
    """The API answered an error.

    Attributes:
        status: the HTTP status.
        detail: what was found, and what is allowed or what to do.
    """

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(f"{status}: {detail}")
        self.status = status
        self.detail = detail


class NotSignedIn(ApiError):  # noqa: N818 - says what it is
    """The token is missing, has expired, or is not taken."""


class Forbidden(ApiError):  # noqa: N818 - names the status
    """The caller has not the role, or the API may only read."""


class NotFound(ApiError):  # noqa: N818 - names the status
    """There is no such aggregation, run or record."""


class RunUnderWay(ApiError):  # noqa: N818 - says what it is
    """A recompute is under way.

    Attributes:
        run_id: which one, where the API knows.
    """

    run_id: str | None = None


class TooOld(ApiError):  # noqa: N818 - says what it is
    """The first page was too long ago: ask for it again."""


class Unanswerable(ApiError):  # noqa: N818 - says what it is
    """A parameter is not allowed, or an index is missing."""


class Unavailable(ApiError):  # noqa: N818 - names the status
    """Too much is under way, or something behind the API does not answer: try again.

    Attributes:
        retry_after: seconds to wait, where the answer says so.
    """

    retry_after: float | None = None


KINDS: Mapping[int, type[ApiError]] = {
    401: NotSignedIn,
    403: Forbidden,
    404: NotFound,
    409: RunUnderWay,
    410: TooOld,
    422: Unanswerable,
    429: Unavailable,
    503: Unavailable,
    504: Unavailable,
}


def error_of(answer: httpx.Response) -> ApiError:
    """What an answer that is no success raises. A proxy's is no problem of the API's: it may be HTML."""
    try:
        body = answer.json()
    except ValueError:
        body = None
    problem: Mapping[str, Any] = body if isinstance(body, dict) else {}
    error = KINDS.get(answer.status_code, ApiError)(
        answer.status_code, str(problem.get("detail") or answer.reason_phrase)
    )
    if isinstance(error, RunUnderWay):
        error.run_id = problem.get("run_id")
    if isinstance(error, Unavailable) and (seconds := answer.headers.get("Retry-After", "")).isdecimal():
        error.retry_after = float(seconds)
    return error

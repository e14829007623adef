"""The problems that a route may answer, for OpenAPI."""

from http import HTTPStatus
from typing import Any

from shared.http.problems import MEDIA_TYPE, ProblemBody

ALWAYS = (400, 405, 413, 414, 500, 504)
"""What the edge may answer to any request."""
SIGNED_IN = (401, 403, 422, 503)
"""What a route that takes a token may answer."""


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """What `responses` of a route holds for these statuses and those that any route may answer."""
    return {
        status: {"description": HTTPStatus(status).phrase, "content": _CONTENT}
        for status in sorted({*statuses, *ALWAYS})
    }


_CONTENT = {MEDIA_TYPE: {"schema": {"$ref": f"#/components/schemas/{ProblemBody.__name__}"}}}

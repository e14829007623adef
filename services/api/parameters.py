"""What routes take: keys and ids as they stand in a path, bounded pages, cursors."""

from datetime import datetime
from typing import Annotated
from urllib.parse import unquote_to_bytes

from fastapi import Path, Query
from pydantic import AfterValidator, BeforeValidator

MAX_PAGE = 500
"""Rows of a page at most; each is a document read."""


def decoded(text: object) -> object:
    """What a percent-encoded part of a path says."""
    if not isinstance(text, str):
        return text
    try:
        return unquote_to_bytes(text).decode()
    except UnicodeDecodeError:
        raise ValueError("expected UTF-8, percent-encoded") from None


def dated(text: object) -> object:
    """A time as it was sent. A number alone would be taken for one: for seconds since 1970."""
    if isinstance(text, str) and text.count("-") < 2:
        raise ValueError("expected a date and a time with a zone, such as 2025-09-04T18:00:00Z")
    return text


def storable(text: str) -> str:
    """What PostgreSQL can store: no NUL."""
    if "\0" in text:
        raise ValueError("expected text without a NUL")
    return text


_decoded = BeforeValidator(decoded)

AggregationName = Annotated[
    str, Path(description="The name of an aggregation.", examples=["aggregates_categories"]), _decoded
]
Key = Annotated[
    str,
    Path(
        description=(
            "The key as text, percent-encoded: `Mac%2FCheese`. A composite key is the id of its document, "
            "percent-encoded once more. HTTP clients remove `.`, `..` and an empty segment from a path: "
            "for these keys take the form with `?key=`."
        ),
        examples=["Kettle Chips"],
    ),
    _decoded,
]
KeyInQuery = Annotated[
    str, Query(alias="key", description="The key as text. This form takes every key.", examples=[".."])
]
EntryId = Annotated[str, Path(description="The id of an entry's document.", examples=["e1"]), _decoded]
Merchant = Annotated[
    str,
    Path(
        description="A merchant's id, percent-encoded. Clients remove `.` and `..` from a path.",
        examples=["acme"],
        max_length=256,
    ),
    _decoded,
    AfterValidator(storable),
]
RunId = Annotated[str, Path(description="The id of a run.", examples=["20250905T020000Z-0a1b2c3d"]), _decoded]
RecordId = Annotated[str, Path(description="The id of a rejection's record."), _decoded]
Instant = Annotated[datetime | None, Query(examples=["2025-09-04T18:00:00Z"]), BeforeValidator(dated)]
After = Annotated[
    str | None,
    Query(description="`next` of the page before; leave it out for the first page.", max_length=8_192),
]
Limit = Annotated[int, Query(description="Rows of the page at most.", ge=1, le=MAX_PAGE)]

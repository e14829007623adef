"""`libra.client` without an API: its types, its records, and what may be tried again."""

import asyncio
import dataclasses
import inspect
from collections.abc import AsyncIterator, Awaitable, Iterator
from typing import Any, assert_type

import httpx
import pytest

from libra import errors, records
from libra.client import ApiError, AsyncClient, Client, Total
from services.api import models

CATEGORIES, DATES = "aggregates_categories", "aggregates_time_dates"
RECORDS = [
    each
    for each in vars(records).values()
    if inspect.isclass(each) and issubclass(each, records.Record) and each is not records.Record
]


@pytest.mark.parametrize(
    ("status", "headers", "body", "kind", "retry_after"),
    [
        (410, {}, '{"detail": "too long ago"}', errors.TooOld, ...),
        (429, {"Retry-After": "7"}, "Rate exceeded.", errors.Unavailable, 7.0),
        (503, {"Retry-After": "Fri, 05 Sep 2025 02:00:00 GMT"}, "{}", errors.Unavailable, None),
        (504, {}, '{"detail": "no answer within 20 seconds"}', errors.Unavailable, None),
        (502, {}, "<html>", ApiError, ...),
        (500, {}, "[]", ApiError, ...),
    ],
)
def test_what_may_be_tried_again_is_told_from_what_may_not(
    status: int, headers: dict[str, str], body: str, kind: type[ApiError], retry_after: object
) -> None:
    """Also where an answer is no problem of the API's: Cloud Run and proxies answer as they like."""
    broken = httpx.MockTransport(lambda _: httpx.Response(status, headers=headers, text=body))
    with Client("http://api", "token", transport=broken) as client, pytest.raises(ApiError) as raised:
        client.total(CATEGORIES, "1")
    assert type(raised.value) is kind
    assert raised.value.status == status
    assert raised.value.detail
    assert getattr(raised.value, "retry_after", ...) == retry_after


@pytest.mark.parametrize("kind", RECORDS, ids=lambda it: it.__name__)
def test_a_record_has_every_field_of_the_api(kind: type[records.Record]) -> None:
    """A field that is added to the API is added here, or decided against."""
    fields = set(getattr(models, kind.__name__).model_fields)
    record: Any = kind
    assert {each.name for each in dataclasses.fields(record)} == fields - {"next"}


def test_types_are_those_of_the_answers() -> None:
    """mypy reads this: what is awaited, and what is gone through."""
    answer = httpx.MockTransport(lambda _: httpx.Response(200, json={"totals": [], "next": None}))
    with Client("http://api", "token", transport=answer) as client:
        assert_type(client.totals(CATEGORIES), Iterator[Total])
        assert_type(client.series(DATES, "2025-09-04", "2025-09-05"), list[Total])

    async def ask() -> None:
        async with AsyncClient("http://api", "token", transport=answer) as client:
            assert_type(client.totals(CATEGORIES), AsyncIterator[Total])
            later = client.series(DATES, "2025-09-04", "2025-09-05")
            assert_type(later, Awaitable[list[Total]])
            assert await later == []

    asyncio.run(ask())

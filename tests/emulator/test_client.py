"""`libra.client` over the API: what it returns, page after page, and what it raises."""

import asyncio
from datetime import UTC, datetime

import httpx
import pytest

from libra.client import ApiError, AsyncClient, Client, Total
from shared.ledger import Ledger
from tests.support.api import Api, token
from tests.support.kitchen import Kitchen

KEYS = ["Mac/Cheese", "..", "", "🍝", "Tea", "Tea"]
CATEGORIES, DATES = "aggregates_categories", "aggregates_time_dates"


class Bridge(httpx.BaseTransport):
    """Sends a client's requests to an application in this process."""

    def __init__(self, api: Api) -> None:
        self._transport = httpx.ASGITransport(api.app)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send one, and read its answer."""

        async def send() -> httpx.Response:
            answer = await self._transport.handle_async_request(request)
            return httpx.Response(answer.status_code, headers=answer.headers, content=await answer.aread())

        return asyncio.run(send())


@pytest.fixture
def counted(quick: Kitchen, monkeypatch: pytest.MonkeyPatch) -> Kitchen:
    """A kitchen with entries under odd keys; a page of the client holds two totals."""
    monkeypatch.setattr("libra.client.PAGE", 2)
    ledger = Ledger(quick.store, quick.source, quick.home, quick.settings)
    for number, key in enumerate(KEYS):
        moment = datetime(2025, 9, 4 + number % 2 * 2, tzinfo=UTC)
        ledger.apply(quick.write(f"e{number}", ingredient=key, timestamp=moment))
    return quick


@pytest.mark.usefixtures("counted")
def test_both_clients_return_every_total_and_any_key(api: Api) -> None:
    """Page after page, in order; a key in a route of its own; a range without holes."""
    with Client("http://api", lambda: token(api.project), transport=Bridge(api)) as client:
        listed = list(client.totals(CATEGORIES, order="-count"))
        ones = [client.total(CATEGORIES, key) for key in KEYS]
        days = client.series(DATES, "2025-09-04", "2025-09-06")

    async def ask() -> tuple[list[Total], list[Total], list[Total]]:
        transport = httpx.ASGITransport(api.app)
        async with AsyncClient("http://api", token(api.project), transport=transport) as client:
            return (
                [each async for each in client.totals(CATEGORIES, order="-count")],
                [await client.total(CATEGORIES, key) for key in KEYS],
                await client.series(DATES, "2025-09-04", "2025-09-06"),
            )

    assert asyncio.run(ask()) == (listed, ones, days)
    assert listed[0].key == "Tea"
    assert sorted(str(each.key) for each in listed) == sorted(set(KEYS))
    assert [each.key for each in ones] == KEYS
    assert [each.values["count"] for each in ones] == [1, 1, 1, 1, 2, 2]
    assert [(each.key, each.values["count"]) for each in days] == [
        ("2025-09-04", 3),
        ("2025-09-05", 0),
        ("2025-09-06", 3),
    ]
    assert ones[0].pending == {"count": 1}
    assert ones[0].exact_through is None


def test_an_error_is_raised_with_what_the_api_says(api: Api) -> None:
    """Its status and its detail; also where an answer is no problem of the API's."""
    with Client("http://api", token(api.project), transport=Bridge(api)) as client:
        with pytest.raises(ApiError, match="404: no aggregation is called 'shoes/x'") as raised:
            client.total("shoes/x", "1")
        assert raised.value.status == 404
    broken = httpx.MockTransport(lambda _: httpx.Response(502, text="<html>"))
    with Client("http://api", "token", transport=broken) as client, pytest.raises(ApiError, match="502: Bad"):
        client.total(CATEGORIES, "1")

"""Between `libra.client` and an application in this process."""

import asyncio

import httpx

from tests.support.api import Api


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

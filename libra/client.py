"""A client of the API, with types. It needs httpx alone.

::

    with Client("https://libra-api-1.europe-west6.run.app", token=current_token) as libra:
        print(libra.total("aggregates_categories", "Mac/Cheese").values["count"])
        for total in libra.totals("aggregates_categories", order="-count"):
            print(total.key, total.values, total.exact_through)

`AsyncClient` is the same with ``await`` and ``async for``. `libra.routes` lists what both can be asked.
A failed call raises an `ApiError` (`libra.errors`), or `httpx.TransportError` where nothing answered.
"""

from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from typing import Any, Self, TypeAlias, TypeVar

import httpx

from libra.errors import ApiError, error_of
from libra.records import Total
from libra.routes import Call, Routes

__all__ = ["ApiError", "AsyncClient", "Client", "Total"]

TIMEOUT = 30.0
"""Seconds; the API answers 504 sooner."""

Token: TypeAlias = str | Callable[[], str]
"""An ID token, or what returns one: tokens expire after an hour."""
Answer = TypeVar("Answer")


class Client(Routes):
    """Asks the API, and waits. A context manager; threads may share one."""

    def __init__(self, url: str, token: Token, *, transport: httpx.BaseTransport | None = None) -> None:
        """``url`` is the API's address; ``transport`` sends what is asked, for tests."""
        self._token = token
        self._http = httpx.Client(base_url=url, timeout=TIMEOUT, transport=transport)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def one(self, call: Call[Answer]) -> Answer:
        """What a call answers.

        Raises:
            ApiError: the API answered an error.
            httpx.TransportError: it did not answer.
        """
        return call.read(self._body(call))

    def each(self, call: Call[Iterable[Answer]]) -> Iterator[Answer]:
        """The rows of all pages, each page when its first row is wanted; raises what `one` raises."""
        following: Call[Iterable[Answer]] | None = call
        while following:
            body = self._body(following)
            yield from following.read(body)
            following = following.following(body)

    def _body(self, call: Call[Any]) -> Mapping[str, Any]:
        return _read(self._http.send(_request(self._http, self._token, call)))


class AsyncClient(Routes):
    """The same for asyncio; ``token`` must not block."""

    def __init__(self, url: str, token: Token, *, transport: httpx.AsyncBaseTransport | None = None) -> None:
        """See `Client`."""
        self._token = token
        self._http = httpx.AsyncClient(base_url=url, timeout=TIMEOUT, transport=transport)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def one(self, call: Call[Answer]) -> Answer:
        """See `Client.one`."""
        return call.read(await self._body(call))

    async def each(self, call: Call[Iterable[Answer]]) -> AsyncIterator[Answer]:
        """See `Client.each`."""
        following: Call[Iterable[Answer]] | None = call
        while following:
            body = await self._body(following)
            for row in following.read(body):
                yield row
            following = following.following(body)

    async def _body(self, call: Call[Any]) -> Mapping[str, Any]:
        return _read(await self._http.send(_request(self._http, self._token, call)))


def _request(http: httpx.Client | httpx.AsyncClient, token: Token, call: Call[Any]) -> httpx.Request:
    headers = {"Authorization": f"Bearer {token if isinstance(token, str) else token()}"}
    return http.build_request(call.method, call.path, params=call.params, json=call.body, headers=headers)


def _read(answer: httpx.Response) -> Mapping[str, Any]:
    if answer.is_error:
        raise error_of(answer)
    return dict(answer.json())

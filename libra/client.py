"""A client of the API: the totals, and nothing that a token of a reader cannot have. It needs httpx alone.

::

    with Client("https://libra-api-1.europe-west6.run.app", token=current_token) as libra:
        print(libra.total("aggregates_categories", "Mac/Cheese").values["count"])
        for total in libra.totals("aggregates_categories", order="-count"):
            print(total.key, total.values, total.exact_through)

`AsyncClient` is the same with ``await`` and ``async for``. A call that failed raises `ApiError`.
"""

from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Self, TypeAlias
from urllib.parse import quote

import httpx

PAGE = 500
"""Totals of one request."""
TIMEOUT = 30.0
"""Seconds; the API answers 504 sooner."""

Token: TypeAlias = str | Callable[[], str]
"""An ID token, or what returns one: tokens expire after an hour."""
Part: TypeAlias = str | bool | int


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


@dataclass(frozen=True, slots=True)
class Total:
    """A total, and how far it is proven."""

    id: str
    key: Part | tuple[Part, ...] | None
    """One value for each part of a composite key; None: it is no total of its aggregation."""
    values: Mapping[str, int]
    """By measure."""
    pending: Mapping[str, int]
    """What `values` hold of changes after `exact_through`."""
    archived: Mapping[str, int]
    """What `values` hold of archived entries."""
    exact_through: datetime | None
    """`values` less `pending` is exact up to this time; None: for none."""
    settled: bool
    """False: it may be exact at a later time instead, until a recompute has completed."""

    @classmethod
    def of(cls, body: Mapping[str, Any]) -> Self:
        """From the API's JSON."""
        key, through = body["key"], body["exact_through"]
        return cls(
            body["id"],
            tuple(key) if isinstance(key, list) else key,
            body["values"],
            body["pending"],
            body["archived"],
            datetime.fromisoformat(through) if through else None,
            body["settled"],
        )


@dataclass(frozen=True, slots=True)
class _Asked:
    """A request, which both clients send in their own way."""

    path: str
    params: dict[str, str]

    @classmethod
    def total(cls, aggregation: str, key: str) -> Self:
        return cls(f"/v1/total/{quote(aggregation, safe='')}", {"key": key})

    @classmethod
    def page(cls, aggregation: str, order: str, after: str | None) -> Self:
        more = {"after": after} if after else {}
        return cls(f"/v1/totals/{quote(aggregation, safe='')}", {"order": order, "limit": str(PAGE), **more})

    @classmethod
    def series(cls, aggregation: str, start: str, end: str) -> Self:
        return cls(f"/v1/series/{quote(aggregation, safe='')}", {"from": start, "to": end})


class Client:
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

    def total(self, aggregation: str, key: str) -> Total:
        """One total, by its key as text; 0 where nothing was counted.

        Raises:
            ApiError: the API answered an error.
            httpx.TransportError: it did not answer.
        """
        return Total.of(self._ask(_Asked.total(aggregation, key)))

    def totals(self, aggregation: str, *, order: str = "key") -> Iterator[Total]:
        """Every total, page by page; ``order`` is ``key`` or a measure, with ``-`` in front to descend."""
        after = None
        while True:
            page = self._ask(_Asked.page(aggregation, order, after))
            yield from map(Total.of, page["totals"])
            after = page["next"]
            if after is None:
                return

    def series(self, aggregation: str, start: str, end: str) -> list[Total]:
        """The totals of every hour or date of a range, without holes."""
        return [Total.of(each) for each in self._ask(_Asked.series(aggregation, start, end))["totals"]]

    def _ask(self, asked: _Asked) -> dict[str, Any]:
        return _body(self._http.get(asked.path, params=asked.params, headers=_headers(self._token)))


class AsyncClient:
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

    async def total(self, aggregation: str, key: str) -> Total:
        """See `Client.total`."""
        return Total.of(await self._ask(_Asked.total(aggregation, key)))

    async def totals(self, aggregation: str, *, order: str = "key") -> AsyncIterator[Total]:
        """See `Client.totals`."""
        after = None
        while True:
            page = await self._ask(_Asked.page(aggregation, order, after))
            for each in page["totals"]:
                yield Total.of(each)
            after = page["next"]
            if after is None:
                return

    async def series(self, aggregation: str, start: str, end: str) -> list[Total]:
        """See `Client.series`."""
        answer = await self._ask(_Asked.series(aggregation, start, end))
        return [Total.of(each) for each in answer["totals"]]

    async def _ask(self, asked: _Asked) -> dict[str, Any]:
        return _body(await self._http.get(asked.path, params=asked.params, headers=_headers(self._token)))


def _headers(token: Token) -> dict[str, str]:
    return {"Authorization": f"Bearer {token if isinstance(token, str) else token()}"}


def _body(answer: httpx.Response) -> dict[str, Any]:
    try:
        body = answer.json()
    except ValueError:
        body = {}
    if answer.is_error:
        raise ApiError(answer.status_code, body.get("detail", answer.reason_phrase))
    return dict(body)

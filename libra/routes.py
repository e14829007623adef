"""What the API can be asked: one table, which `Client` and `AsyncClient` share.

A route is a function that makes a `Call`. `One` makes of it a method with one answer, `Each` one that goes
through the rows of all pages. Keys and ids may hold any character.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from functools import partial, update_wrapper
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, Self, TypeVar, overload
from urllib.parse import quote

from libra.records import (
    Aggregation,
    Entry,
    EntryStatus,
    Explanation,
    Freshness,
    Record,
    Rejected,
    Retried,
    Run,
    RunDetail,
    Total,
    Usage,
)

if TYPE_CHECKING:
    from libra.client import AsyncClient, Client

PAGE = 500
"""Rows of one request."""

Given = ParamSpec("Given")
Answer = TypeVar("Answer")
Row = TypeVar("Row", bound=Record)


@dataclass(frozen=True, slots=True)
class Call(Generic[Answer]):
    """A request, and how to read its answer."""

    path: str
    read: Callable[[Mapping[str, Any]], Answer]
    params: Mapping[str, str] = field(default_factory=dict)
    body: Mapping[str, Any] | None = None
    method: str = "GET"

    def following(self, page: Mapping[str, Any]) -> Self | None:
        """The call for the page behind this one; None: there is none."""
        cursor = page["next"]
        return None if cursor is None else replace(self, params={**self.params, "after": cursor})


class One(Generic[Given, Answer]):
    """A method with one answer: of `Client` as it is, of `AsyncClient` to be awaited."""

    def __init__(self, call: Callable[Given, Call[Answer]]) -> None:
        self._call = call

    @overload
    def __get__(self, client: "Client", owner: type) -> Callable[Given, Answer]: ...
    @overload
    def __get__(self, client: "AsyncClient", owner: type) -> Callable[Given, Awaitable[Answer]]: ...
    def __get__(self, client: "Client | AsyncClient", owner: type) -> Callable[Given, Any]:
        def ask(*given: Given.args, **named: Given.kwargs) -> Any:
            return client.one(self._call(*given, **named))

        return update_wrapper(ask, self._call)


class Each(Generic[Given, Answer]):
    """A method that goes through the rows of all pages, with ``for`` or with ``async for``."""

    def __init__(self, call: Callable[Given, Call[Iterable[Answer]]]) -> None:
        self._call = call

    @overload
    def __get__(self, client: "Client", owner: type) -> Callable[Given, Iterator[Answer]]: ...
    @overload
    def __get__(self, client: "AsyncClient", owner: type) -> Callable[Given, AsyncIterator[Answer]]: ...
    def __get__(self, client: "Client | AsyncClient", owner: type) -> Callable[Given, Any]:
        def ask(*given: Given.args, **named: Given.kwargs) -> Any:
            return client.each(self._call(*given, **named))

        return update_wrapper(ask, self._call)


def aggregations() -> Call[list[Aggregation]]:
    """What is counted."""
    return Call(_path("aggregations"), partial(_rows, "aggregations", Aggregation))


def total(aggregation: str, key: str) -> Call[Total]:
    """One total, by its key as text; 0 where nothing was counted."""
    return Call(_path("total", aggregation), Total.of, {"key": key})


def totals(aggregation: str, *, order: str = "key") -> Call[Iterable[Total]]:
    """Every total; ``order`` is ``key`` or a measure, with ``-`` in front to descend."""
    return _paged(_path("totals", aggregation), "totals", Total, order=order)


def series(aggregation: str, start: str, end: str) -> Call[list[Total]]:
    """The totals of every hour or date of a range, without holes."""
    params = {"from": start, "to": end}
    return Call(_path("series", aggregation), partial(_rows, "totals", Total), params)


def explain(aggregation: str, key: str) -> Call[Iterable[Explanation]]:
    """What makes a total, page by page; the last one says what is `unexplained`. For operators."""
    params = {"key": key, "limit": str(PAGE)}
    return Call(_path("explain", aggregation), lambda body: [Explanation.of(body)], params)


def entry_status(entry_id: str, *, version: datetime | None = None) -> Call[EntryStatus]:
    """What became of an entry. ``version``, the update time of a version known from before, finds one that is
    gone. For operators."""
    return Call(_path("entries", entry_id, "status"), EntryStatus.of, _given(version=version))


def data(
    *,
    location: str | None = None,
    ingredient: str | None = None,
    action: str | None = None,
    device: str | None = None,
    start: datetime | None = None,
    end: datetime | None = None,
    newest_first: bool = False,
) -> Call[Iterable[Entry]]:
    """Entries by their fields and their event time, which ends before ``end``. For operators."""
    filters = {"location": location, "ingredient": ingredient, "action": action, "device": device}
    times = {"from": start, "to": end, "newest_first": newest_first or None}
    return _paged(_path("data"), "entries", Entry, **filters, **times)


def locations() -> Call[Iterable[str]]:
    """The locations that entries name, sorted. For operators."""
    return Call(_path("locations"), lambda body: body["locations"], {"limit": str(PAGE)})


def freshness() -> Call[Freshness]:
    """Watermark, lag and what is pending: a document read for each total. For operators."""
    return Call(_path("freshness"), Freshness.of)


def runs() -> Call[Iterable[Run]]:
    """The recomputes, the newest first. For operators."""
    return _paged(_path("runs"), "runs", Run)


def run(run_id: str) -> Call[RunDetail]:
    """One recompute, with all that its record holds. For operators."""
    return Call(_path("runs", run_id), RunDetail.of)


def recompute(*, strategy: str = "auto", accept_loss: bool = False) -> Call[str]:
    """Start a recompute; its id, as soon as it has begun. For operators."""
    body = {"strategy": strategy, "accept_loss": accept_loss}
    return Call(_path("recompute"), lambda started: str(started["run_id"]), body=body, method="POST")


def rejected() -> Call[Iterable[Rejected]]:
    """What could not be counted, the latest first. For operators."""
    return _paged(_path("rejected"), "rejected", Rejected)


def retry(record_id: str) -> Call[Retried]:
    """Look again at what could not be counted; nothing is counted here. For operators."""
    return Call(_path("rejected", record_id, "retry"), Retried.of, method="POST")


def usage(
    merchant: str, *, by: str = "day", start: date | None = None, end: date | None = None
) -> Call[Usage]:
    """What a merchant has used, by ``hour``, ``day``, ``week`` or ``month``, the newest first; operators."""
    return Call(_path("usage", merchant), Usage.of, {"by": by, **_given(**{"from": start, "to": end})})


class Routes:
    """What both clients can be asked."""

    aggregations = One(aggregations)
    total = One(total)
    totals = Each(totals)
    series = One(series)
    explain = Each(explain)
    entry_status = One(entry_status)
    data = Each(data)
    locations = Each(locations)
    freshness = One(freshness)
    runs = Each(runs)
    run = One(run)
    recompute = One(recompute)
    rejected = Each(rejected)
    retry = One(retry)
    usage = One(usage)


def _path(*segments: str) -> str:
    return "/v1/" + "/".join(quote(each, safe="") for each in segments)


def _given(**params: object) -> dict[str, str]:
    """What is not None, as a query says it."""
    return {name: _text(value) for name, value in params.items() if value is not None}


def _text(value: object) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    return str(value).lower() if isinstance(value, bool) else str(value)


def _rows(name: str, kind: type[Row], body: Mapping[str, Any]) -> list[Row]:
    return [kind.of(each) for each in body[name]]


def _paged(path: str, name: str, kind: type[Row], **params: object) -> Call[Iterable[Row]]:
    return Call(path, partial(_rows, name, kind), {**_given(**params), "limit": str(PAGE)})

"""`libra.client` over the API: what both clients return, page after page, and what they raise."""

import asyncio
import dataclasses
import inspect
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import partial
from typing import Any
from urllib.parse import unquote

import httpx
import pytest

from libra import errors, records, routes
from libra.client import ApiError, AsyncClient, Client
from services.api.starting import Starter, under_way
from shared.ledger import Ledger
from shared.recompute import Recompute
from tests.emulator.test_api import ODD
from tests.support.api import Api, token
from tests.support.bridge import Bridge
from tests.support.kitchen import Kitchen
from tests.support.recomputing import next_second

CATEGORIES, DATES = "aggregates_categories", "aggregates_time_dates"
KEYS = ["Mac/Cheese", "..", "", "🍝", "Tea", "Tea", "Tea"]


@pytest.fixture
def counted(quick: Kitchen, monkeypatch: pytest.MonkeyPatch) -> Kitchen:
    """A kitchen with proven entries under odd keys, and two that cannot be counted; pages hold two rows."""
    monkeypatch.setattr("libra.routes.PAGE", 2)
    ledger = Ledger(quick.store, quick.source, quick.home, quick.settings)
    for number, key in enumerate(KEYS):
        moment = datetime(2025, 9, 4 + number % 2 * 2, tzinfo=UTC)
        ledger.apply(quick.write(f"e{number}", ingredient=key, timestamp=moment, location=f"L{number % 3}"))
    for number in range(2):
        ledger.apply(quick.write(f"bad {number}", ingredient=17))
    next_second()
    assert Recompute(quick.store, quick.source, quick.home, quick.settings).run().run_id
    return quick


def asked(api: Api, question: Callable[[Any], Any], role: str = "operator") -> Any:
    """What both clients return, rows as a list."""
    signed = token(api.project, role)
    with Client("http://api", lambda: signed, transport=Bridge(api)) as client:
        found = question(client)
        found = list(found) if isinstance(found, Iterator) else found

    async def ask() -> Any:
        transport = httpx.ASGITransport(api.app)
        async with AsyncClient("http://api", signed, transport=transport) as client:
            other = question(client)
            return await other if inspect.isawaitable(other) else [each async for each in other]

    assert undated(asyncio.run(ask())) == undated(found)
    return found


def undated(value: object) -> Any:
    """Without the instant at which it was so: two questions have two."""
    if isinstance(value, list):
        return [undated(each) for each in value]
    return dataclasses.replace(value, at=None) if isinstance(value, records.Explanation) else value  # type: ignore[arg-type]  # to compare


def plain(value: object) -> Any:
    """A record as the API's JSON says it."""
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    if isinstance(value, records.Record):
        kind: Any = value
        return {each.name: plain(getattr(value, each.name)) for each in dataclasses.fields(kind)}
    return value


@pytest.mark.usefixtures("counted")
@pytest.mark.parametrize("key", sorted({*ODD, *KEYS}), ids=repr)
def test_a_key_of_any_characters_travels(api: Api, key: str) -> None:
    """To its total, and to what makes it."""
    total = asked(api, lambda libra: libra.total(CATEGORIES, key), role="")
    assert (total.key, total.values["count"]) == (key, KEYS.count(key))
    pages = asked(api, lambda libra: libra.explain(CATEGORIES, key))
    assert [each.id for page in pages for each in page.entries] == [
        f"e{number}" for number, each in enumerate(KEYS) if each == key
    ]
    assert {page.total.key for page in pages} == {key}
    assert pages[-1].unexplained == {"count": 0}


@pytest.mark.usefixtures("counted")
def test_every_page_is_asked_for(api: Api) -> None:
    """All totals in order, all entries, all runs: with two rows a page."""
    totals = asked(api, lambda libra: libra.totals(CATEGORIES, order="-count"), role="")
    assert sorted(str(each.key) for each in totals) == sorted(set(KEYS))
    assert totals[0].key == "Tea"
    pages = asked(api, lambda libra: libra.explain(CATEGORIES, "Tea"))
    assert [[each.id for each in page.entries] for page in pages] == [["e4", "e5"], ["e6"]]
    assert [each.running["count"] for page in pages for each in page.entries] == [1, 2, 3]


QUESTIONS: dict[str, tuple[Callable[[Any], Any], str, str | None]] = {
    "aggregations": (lambda libra: libra.aggregations(), "aggregations", "aggregations"),
    "series": (
        lambda libra: libra.series(DATES, "2025-09-04", "2025-09-06"),
        f"series/{DATES}?from=2025-09-04&to=2025-09-06",
        "totals",
    ),
    "totals": (lambda libra: libra.totals(DATES, order="-key"), f"totals/{DATES}?order=-key", "totals"),
    "entry": (lambda libra: libra.entry_status("bad 0"), "entries/bad%200/status", None),
    "gone": (
        lambda libra: libra.entry_status("100%", version=datetime(2025, 9, 4, tzinfo=UTC)),
        "entries/100%25/status?version=2025-09-04T00:00:00Z",
        None,
    ),
    "data": (
        lambda libra: libra.data(
            location="L1", start=datetime(2025, 9, 4, 18, tzinfo=UTC), newest_first=True
        ),
        "data?location=L1&from=2025-09-04T18:00:00Z&newest_first=true",
        "entries",
    ),
    "filters": (
        lambda libra: libra.data(
            ingredient="Tea", action="Served", device="Lib298190", end=datetime(2025, 9, 6, tzinfo=UTC)
        ),
        "data?ingredient=Tea&action=Served&device=Lib298190&to=2025-09-06T00:00:00Z",
        "entries",
    ),
    "locations": (lambda libra: libra.locations(), "locations", "locations"),
    "runs": (lambda libra: libra.runs(), "runs", "runs"),
    "rejected": (lambda libra: libra.rejected(), "rejected", "rejected"),
}
"""What is asked, the same by hand, and where its rows are."""


@pytest.mark.usefixtures("counted")
@pytest.mark.parametrize("name", QUESTIONS)
def test_a_record_says_all_that_the_api_says(api: Api, name: str) -> None:
    """Each field, in its type; rows of several pages."""
    question, path, rows = QUESTIONS[name]
    answer = api.get(f"/v1/{path}").json()
    found = plain(asked(api, question))
    assert found == (answer[rows] if rows else answer)
    assert found


@pytest.mark.usefixtures("counted")
def test_freshness_and_a_run_say_when(api: Api) -> None:
    """The watermark of the last run, and its whole record."""
    (run,) = asked(api, lambda libra: libra.runs())
    detail = asked(api, lambda libra: libra.run(run.run_id))
    assert plain(detail) == api.get(f"/v1/runs/{run.run_id}").json()
    with Client("http://api", token(api.project, "operator"), transport=Bridge(api)) as client:
        (source,) = client.freshness().sources
    assert source.watermark == run.watermark
    assert isinstance(source.at, datetime)
    assert {each.name for each in source.aggregations} >= {CATEGORIES, DATES}


def again(record_id: str, libra: Any) -> Any:
    """Look at one again."""
    return libra.retry(record_id)


@pytest.mark.usefixtures("counted")
def test_what_was_rejected_is_looked_at_again(api: Api) -> None:
    """By the id of its record; any characters travel."""
    for record in asked(api, lambda libra: libra.rejected()):
        found = asked(api, partial(again, record.id))
        assert (found.verdict, found.removed) == ("rejected", False)
        assert {each.field for each in found.reasons} == {"ingredient"}
    with pytest.raises(errors.NotFound, match="Mac%2FCheese 🍝"):
        asked(api, lambda libra: libra.retry("Mac%2FCheese 🍝"))
    with pytest.raises(errors.Unanswerable, match="record 'Mac/Cheese'"):
        asked(api, lambda libra: libra.retry("Mac/Cheese"))


@pytest.mark.usefixtures("counted")
def test_a_recompute_is_started_as_it_was_asked_for(api: Api) -> None:
    """Its options travel, and its id comes back."""
    given: list[object] = []

    def call(_: str, options: object) -> tuple[int, dict[str, str]]:
        given.append(options)
        return 200, {"run_id": "r"}

    api.app.state.starter = Starter("http://recompute", patience=5, call=call)
    assert asked(api, lambda libra: libra.recompute()) == "r"
    assert asked(api, lambda libra: libra.recompute(strategy="scan", accept_loss=True)) == "r"
    assert given == [
        *[{"strategy": "auto", "accept_loss": False}] * 2,
        *[{"strategy": "scan", "accept_loss": True}] * 2,
    ]


REFUSED: list[tuple[Callable[[Any], Any], str | None, type[ApiError], str]] = [
    (lambda libra: libra.aggregations(), None, errors.NotSignedIn, "401: "),
    (lambda libra: libra.runs(), "", errors.Forbidden, "403: this takes the role operator"),
    (lambda libra: libra.total("shoes/x", "1"), "", errors.NotFound, "no aggregation is called 'shoes/x'"),
    (lambda libra: libra.run("100%"), "operator", errors.NotFound, "404: there is no run 100%: "),
    (lambda libra: libra.totals(CATEGORIES, order="size"), "", errors.Unanswerable, "422: "),
    (lambda libra: libra.recompute(strategy="guess"), "operator", errors.Unanswerable, "422: body.strategy"),
    (lambda libra: libra.recompute(), "operator", ApiError, "501: this API starts no runs"),
]


@pytest.mark.parametrize(("question", "role", "kind", "message"), REFUSED)
def test_what_the_api_refuses_is_raised_by_its_kind(
    api: Api, question: Callable[[Any], Any], role: str | None, kind: type[ApiError], message: str
) -> None:
    """With what the API says."""
    signed = "no token" if role is None else token(api.project, role)
    with Client("http://api", signed, transport=Bridge(api)) as client, pytest.raises(ApiError) as raised:
        list(question(client))
    assert type(raised.value) is kind
    assert message in str(raised.value)


@pytest.mark.usefixtures("counted")
def test_a_run_under_way_is_named(api: Api) -> None:
    """409 says which one is in the way."""
    api.app.state.starter.start = lambda *_: (_ for _ in ()).throw(under_way("r1"))
    with pytest.raises(errors.RunUnderWay) as raised:
        asked(api, lambda libra: libra.recompute())
    assert raised.value.run_id == "r1"


def test_every_route_can_be_asked(api: Api) -> None:
    """One method for each; the forms with the key in the path lose keys on the way, and are left out."""
    names = {"entry_id", "aggregation", "run_id", "record_id", "key", "start", "end", "merchant"}
    called = set()
    for name in vars(routes.Routes):
        if not name.startswith("_"):
            make = getattr(routes, name)
            needed = [it for it in inspect.signature(make).parameters if it in names]
            call = make(
                *(f"{{{it}}}" for it in needed if not make.__kwdefaults__ or it not in make.__kwdefaults__)
            )
            called.add((call.method.lower(), unquote(call.path)))
    paths = api.get("/openapi.json").json()["paths"]
    expected = {(method, path) for path, each in paths.items() for method in each if path.startswith("/v1")}
    assert called == {(method, path) for method, path in expected if "{key}" not in path}

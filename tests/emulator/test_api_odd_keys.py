"""Odd texts through every route that takes a key, an id, a filter or a cursor, and through the client.

What may be one is found exactly; what may not is a problem of the caller's, and never a failure.
"""

import asyncio
import re
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from libra.client import ApiError, AsyncClient, Client
from shared.ledger import Ledger
from tests.emulator.test_api import ODD
from tests.support.api import Api, check_problem, token
from tests.support.bridge import Bridge
from tests.support.kitchen import Kitchen

CATEGORIES, DATES = "aggregates_categories", "aggregates_time_dates"
INDEXED = 1_500
"""Bytes of a string that an index no longer holds whole."""


def encoded(text: str) -> str:
    """As a part of a path; dots too, which clients would take for a way up."""
    return quote(text, safe="").replace(".", "%2E")


def may_be_an_id(text: str) -> bool:
    """Whether a document can be called so (Firestore, 'Usage and limits', 2026-11)."""
    size = len(text.encode())
    return 1 <= size <= 1_500 and "/" not in text and not re.fullmatch(r"\.\.?|__.*__", text, re.DOTALL)


@pytest.fixture
def odd(quick: Kitchen) -> dict[str, str]:
    """An entry for each odd text, which is all that it says of itself; by text, its id."""
    ledger = Ledger(quick.store, quick.source, quick.home, quick.settings)
    for number, text in enumerate(ODD):
        said = {"ingredient": text, "location": text, "dataAction": text, "device": {"serialNumber": text}}
        ledger.apply(quick.write(f"e{number:02}", **said))
    return {text: f"e{number:02}" for number, text in enumerate(ODD)}


# --- keys ---------------------------------------------------------------------------------------------


def by_path(text: str, end: str = "") -> tuple[str, dict[str, str]]:
    """A key in the path."""
    return f"/v1/totals/{CATEGORIES}/{encoded(text)}{end}", {}


def test_a_key_is_found_in_every_form(api: Api, odd: dict[str, str]) -> None:
    """Its total and the one entry that makes it, by path and by query, under any role that may ask."""
    for text, entry in odd.items():
        for path, params in (by_path(text), (f"/v1/total/{CATEGORIES}", {"key": text})):
            total = api.get(path, params=params, role="").json()
            assert (total["key"], total["values"]) == (text, {"count": 1}), text[:20]
        explained = by_path(text, "/explain"), (f"/v1/explain/{CATEGORIES}", {"key": text})
        for path, params in explained:
            found = api.get(path, params=params).json()
            assert found["total"]["key"] == text
            assert [each["id"] for each in found["entries"]] == [entry], text[:20]
            assert (found["next"], found["unexplained"]) == (None, {"count": 0})


def test_a_list_and_the_locations_hold_every_one(api: Api, odd: dict[str, str]) -> None:
    """As it was written; the keys also where they are actions, of which none is empty."""
    for name, keys in ((CATEGORIES, odd), ("aggregates_actions", filter(None, odd))):
        listed = api.get(f"/v1/totals/{name}", params={"limit": 500}).json()["totals"]
        assert sorted(each["key"] for each in listed) == sorted(keys)
    locations = api.get("/v1/locations", params={"limit": 500}).json()
    assert locations == {"locations": sorted(odd, key=str.encode), "next": None}


@pytest.mark.parametrize("name", ["location", "ingredient", "action", "device"])
def test_a_filter_finds_its_entry(api: Api, odd: dict[str, str], name: str) -> None:
    """That one alone; what no index holds whole is refused, with what is allowed."""
    for text, entry in odd.items():
        answer = api.get("/v1/data", params={name: text})
        if len(text.encode()) < INDEXED:
            found = answer.json()["entries"]
            assert [each["id"] for each in found] == [entry], text[:20]
            assert found[0]["fields"]["ingredient"] == text
        else:
            assert "1,500 bytes" in check_problem(answer, 422)["detail"]


# --- ids ----------------------------------------------------------------------------------------------


def test_an_id_is_followed_where_a_document_can_be_called_so(api: Api, quick: Kitchen) -> None:
    """An entry of that id is rejected, named among the rejected, looked at again, and mended."""
    ledger = Ledger(quick.store, quick.source, quick.home, quick.settings)
    ids = [text for text in ODD if may_be_an_id(text)]
    for text in ids:
        ledger.apply(quick.write(text, ingredient=17))
        status = api.get(f"/v1/entries/{encoded(text)}/status").json()
        assert (status["id"], status["state"]) == (text, "applied")
    records = api.get("/v1/rejected", params={"limit": 500}).json()["rejected"]
    assert sorted(each["entry"] for each in records) == sorted(ids)
    for each in records:
        verdict = api.ask("POST", f"/v1/rejected/{encoded(each['id'])}/retry").json()["verdict"]
        assert verdict == "rejected"
    listed = api.get("/v1/data", params={"action": "Served", "limit": 500}).json()["entries"]
    assert sorted(each["id"] for each in listed) == sorted(ids)


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/v1/entries/{}/status"), ("GET", "/v1/runs/{}"), ("POST", "/v1/rejected/{}/retry")],
)
def test_an_id_of_nothing_is_a_problem_that_names_it(api: Api, method: str, path: str) -> None:
    """What no document can be called is refused; what one can be called is not there."""
    for text in ODD:
        answer = api.ask(method, path.format(encoded(text)))
        if text and may_be_an_id(text):
            if "entries" in path:
                assert answer.json()["state"] == "unknown"
            else:
                assert text[:20] in check_problem(answer, 404)["detail"]
        elif text:
            assert "expected the id of a document" in check_problem(answer, 422)["detail"]
        else:
            check_problem(answer, 404)  # there is no such address


# --- what else is a text ------------------------------------------------------------------------------

NAMED: dict[str, str] = {
    "/v1/totals/{}": "",
    "/v1/totals/{}/x": "",
    "/v1/totals/{}/x/explain": "",
    "/v1/total/{}": "key=x",
    "/v1/explain/{}": "key=x",
    "/v1/series/{}": "from=2025-09-04&to=2025-09-05",
}
"""Where an aggregation is named, and what else is asked."""


@pytest.mark.parametrize("path", NAMED)
def test_no_aggregation_is_called_so(api: Api, path: str) -> None:
    """404, with those that there are."""
    for text in ODD:
        answer = api.get(f"{path.format(encoded(text))}?{NAMED[path]}")
        detail = check_problem(answer, 404)["detail"]
        assert not text or CATEGORIES in detail, (text, detail)


REFUSED: list[tuple[str, str, dict[str, str]]] = [
    (f"/v1/totals/{CATEGORIES}", "order", {}),
    (f"/v1/totals/{CATEGORIES}", "after", {}),
    (f"/v1/totals/{CATEGORIES}/x/explain", "after", {}),
    (f"/v1/explain/{CATEGORIES}", "after", {"key": "x"}),
    (f"/v1/series/{DATES}", "from", {"to": "2025-09-04"}),
    (f"/v1/series/{DATES}", "to", {"from": "2025-09-04"}),
    ("/v1/data", "after", {}),
    ("/v1/locations", "after", {}),
    ("/v1/runs", "after", {}),
    ("/v1/rejected", "after", {}),
    *(("/v1/usage/m", name, {}) for name in ("by", "from", "to")),
]
"""A route, a parameter that no odd text may be, and what else is asked."""
TIMES = [("/v1/data", "from"), ("/v1/data", "to"), ("/v1/entries/e/status", "version")]
REFUSED += [(path, name, {}) for path, name in TIMES]


@pytest.mark.parametrize(("path", "name", "more"), REFUSED)
def test_a_text_that_is_not_allowed_is_refused(api: Api, path: str, name: str, more: dict[str, str]) -> None:
    """422, with what was found, cut where it is long."""
    for text in ODD:
        answer = api.get(path, params={**more, name: text})
        assert len(check_problem(answer, 422)["detail"]) <= 1_000


@pytest.mark.parametrize(("path", "name"), TIMES)
def test_a_time_has_a_date_and_a_zone(api: Api, path: str, name: str) -> None:
    """A number is no time, and neither is what lies before year 1 in UTC."""
    for text in ("2025", "2025-09-04", "2025-09-04T18:00:00", "0001-01-01T00:00:00+14:00"):
        assert "2025-09-04T18:00" in check_problem(api.get(path, params={name: text}), 422)["detail"], text
    for text in ("0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999999Z", "2025-09-04T18:00:00+02:00"):
        assert api.get(path, params={name: text}).status_code == 200, text


def test_every_route_that_takes_a_text_is_tried(api: Api) -> None:
    """Each parameter of the schema, but those that are booleans and limits of other lists."""
    asked = [path.format("x") for path in NAMED]
    asked += [f"/v1/totals/{CATEGORIES}/k", f"/v1/totals/{CATEGORIES}/k/explain", "/v1/data", "/v1/locations"]
    asked += ["/v1/entries/e/status", "/v1/runs/r", "/v1/rejected/r/retry"]
    asked += [path for path, _, _ in REFUSED]
    for path, operations in api.get("/openapi.json").json()["paths"].items():
        texts = [each for one in operations.values() for each in one.get("parameters", ())]
        pattern = re.sub(r"\{[^}]*\}", "[^/]+", path)
        assert not texts or any(re.fullmatch(pattern, each) for each in asked), path
        for each in texts:
            if each["in"] == "query" and each["name"] not in ("limit", "newest_first"):
                named = {(way, name) for way, name, _ in REFUSED} | FOUND
                assert any(re.fullmatch(pattern, way) and name == each["name"] for way, name in named), each


FOUND = {
    (f"/v1/total/{CATEGORIES}", "key"),
    (f"/v1/explain/{CATEGORIES}", "key"),
    *(("/v1/data", name) for name in ("location", "ingredient", "action", "device")),
}
"""Parameters that may be any text: the tests above look each one up."""


# --- the client ---------------------------------------------------------------------------------------


def refused(ask: Callable[[], Any]) -> int:
    """The status that a call of the client's ends with."""
    with pytest.raises(ApiError) as raised:
        ask()
    return raised.value.status


def test_the_clients_take_every_text(api: Api, odd: dict[str, str]) -> None:
    """A key as it is; a name and a range that are none are answered with what the API says."""
    signed = token(api.project)
    with Client("http://api", signed, transport=Bridge(api)) as client:
        ones = [client.total(CATEGORIES, text) for text in odd]
        listed = list(client.totals(CATEGORIES))
        for text in odd:
            assert refused(lambda text=text: client.total(text, "x")) == 404  # type: ignore[misc]  # bound now
            assert refused(lambda text=text: list(client.totals(text))) == 404  # type: ignore[misc]  # the same
            assert refused(lambda text=text: client.series(text, "2025-09-04", "2025-09-05")) == 404  # type: ignore[misc]  # the same
            assert refused(lambda text=text: client.series(DATES, text, "2025-09-05")) == 422  # type: ignore[misc]  # the same
            assert refused(lambda text=text: list(client.totals(CATEGORIES, order=text))) == 422  # type: ignore[misc]  # the same
    assert [each.key for each in ones] == list(odd)
    assert {each.values["count"] for each in ones} == {1}
    assert sorted(listed, key=lambda each: each.id) == sorted(ones, key=lambda each: each.id)

    async def ask() -> list[Any]:
        async with AsyncClient("http://api", signed, transport=httpx.ASGITransport(api.app)) as client:
            return [await client.total(CATEGORIES, text) for text in odd]

    assert asyncio.run(ask()) == ones

"""What an answer of the API costs in document reads, counted on the wire: what its description says."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import product
from typing import Any

import pytest

from shared.recompute import Recompute
from shared.store import Create
from shared.store.client import FirestoreStore
from tests.emulator.test_api_roles import PATHS
from tests.support.api import Api
from tests.support.kitchen import SERVED, Kitchen
from tests.support.recomputing import next_second
from tests.support.wire import Counted, counted_store

KEYS, DAYS, RUNS = 120, 31, 3
"""Ingredients, each with one entry; dates; recomputes."""
LISTED = 50
AT, DATES = "/v1/totals/aggregates_categories", "/v1/series/aggregates_time_dates"


@pytest.fixture
def wire(api: Api, quick: Kitchen, monkeypatch: pytest.MonkeyPatch) -> Iterator[Counted]:
    """What the API sends from here on: more totals, entries, records and runs than it is asked for."""
    fields = [
        SERVED
        | {
            "ingredient": f"i{number:03}",
            "location": f"l{number:03}",
            "timestamp": datetime(2025, 9, 1, 12, tzinfo=UTC) + timedelta(days=number % DAYS),
        }
        for number in range(KEYS)
    ]
    quick.store.commit(
        [Create(f"libra/e{number:03}", each) for number, each in enumerate(fields)], timeout=30
    )
    now = datetime.now(UTC)
    quick.store.commit(
        [Create(f"aggregates_rejected/r{n:03}", {"rejected_at": now, "reasons": []}) for n in range(KEYS)],
        timeout=30,
    )
    for _ in range(RUNS):
        next_second()
        Recompute(quick.store, quick.source, quick.home, quick.settings).run("scan")
    assert quick.settings.emulator_host
    store, wire, channel = counted_store(quick.settings.emulator_host, api.project)
    monkeypatch.setattr(FirestoreStore, "connect", lambda *_, **__: store)
    yield wire
    channel.close()


def listed(body: dict[str, Any]) -> int:
    """How many rows a page shows."""
    (rows,) = (rows for rows in body.values() if isinstance(rows, list))
    return len(rows)


@pytest.mark.parametrize("order", ["key", "count", "-count"])
def test_a_list_costs_the_totals_that_it_shows_and_two(api: Api, wire: Counted, order: str) -> None:
    """The two: the state document, and the total behind the page, which says that there is a next one."""
    page = api.get(AT, params={"order": order, "limit": LISTED}).json()
    assert (listed(page), wire.billed, page["next"] is None) == (LISTED, LISTED + 2, False)
    rest = api.get(AT, params={"order": order, "limit": KEYS, "after": page["next"]}).json()
    assert (listed(rest), rest["next"]) == (KEYS - LISTED, None)
    assert wire.billed == LISTED + 2 + KEYS - LISTED + 1


COSTS: dict[str, tuple[str, dict[str, object], int]] = {
    "/v1/aggregations": ("/v1/aggregations", {}, 0),
    "/v1/totals/{aggregation}": (AT, {"limit": LISTED, "order": "-count"}, LISTED + 2),
    "/v1/totals/{aggregation}/{key}": (f"{AT}/i007", {}, 2),
    "/v1/total/{aggregation}": ("/v1/total/aggregates_categories", {"key": "i007"}, 2),
    "/v1/totals/{aggregation}/{key}/explain": (f"{AT}/i007/explain", {}, 3),
    "/v1/explain/{aggregation}": (
        "/v1/explain/aggregates_actions",
        {"key": "Served", "limit": LISTED},
        LISTED + 2,
    ),
    "/v1/series/{aggregation}": (DATES, {"from": "2025-09-01", "to": "2025-09-30"}, 31),
    "/v1/entries/{entry_id}/status": ("/v1/entries/e007/status", {}, 4),
    "/v1/data": ("/v1/data", {"limit": LISTED}, LISTED + 1),
    "/v1/locations": ("/v1/locations", {"limit": LISTED}, LISTED + 1),
    "/v1/freshness": ("/v1/freshness", {}, 1 + KEYS + 1 + 1 + DAYS),
    "/v1/runs": ("/v1/runs", {"limit": 2}, 2 + 2),
    "/v1/runs/{run_id}": ("/v1/runs/{run_id}", {}, 2),
    "/v1/rejected": ("/v1/rejected", {"limit": LISTED}, LISTED + 1),
    "/healthz": ("/healthz", {}, 0),
    "/readyz": ("/readyz", {}, 1),
    "/docs": ("/docs", {}, 0),
    "/openapi.json": ("/openapi.json", {}, 0),
}
"""Each route: a request and its reads. The freshness: the state document, and every total of the four
aggregations."""


def test_a_route_costs_what_its_description_says(api: Api, wire: Counted) -> None:
    """However many totals, entries, records and runs there are beside those that are asked for."""
    run_id = api.get("/v1/runs", params={"limit": 1}).json()["runs"][0]["run_id"]
    found = {}
    for route, (path, params, _) in COSTS.items():
        before = wire.billed
        answer = api.get(path.format(run_id=run_id), params=params)
        assert answer.status_code == 200, answer.text
        found[route] = wire.billed - before
    assert found == {route: reads for route, (_, _, reads) in COSTS.items()}
    assert not wire.written


EXPLAINED = (
    ("aggregates_actions", "Served"),
    ("aggregates_actions", "Nothing"),
    ("aggregates_time_dates", "2025-09-04"),
    ("aggregates_time_dates", "2024-09-04"),
    ("aggregates_time_hours", "12"),
    ("aggregates_time_hours", "3"),
)


def test_an_explanation_says_what_it_cost(api: Api, wire: Counted, quick: Kitchen) -> None:
    """Page by page, with entries that no run has proven, and over times without an entry."""
    for number in range(5):
        quick.write(f"late{number}", timestamp=datetime(2025, 9, 4 + number // 3, 12, tzinfo=UTC))
    for (aggregation, key), limit in product(EXPLAINED, (2, 7, 200)):
        after: dict[str, object] = {}
        for _ in range(3):
            before = wire.billed
            params = {"key": key, "limit": limit, **after}
            page = api.get(f"/v1/explain/{aggregation}", params=params).json()
            assert page["reads"] == wire.billed - before
            after = {"after": page["next"]}
            if page["next"] is None:
                break


def test_every_route_has_its_cost() -> None:
    """One without a row here is counted by nobody."""
    assert COSTS.keys() | {"/v1/usage/{merchant}"} == PATHS.keys()  # it reads PostgreSQL

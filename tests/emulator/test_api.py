"""The API over the real emulator: every route for every role, odd keys, pages."""

from datetime import datetime, timedelta
from typing import Any
from urllib.parse import quote

import pytest

from shared.aggregation import Aggregation, Count, FieldKey, Source, TimeKey
from shared.errors import Denied
from shared.ledger import Ledger
from shared.recompute import Recompute
from shared.settings import UTC
from shared.store import Delete, GeoPoint
from tests.support.api import Api, check_problem
from tests.support.kitchen import Kitchen
from tests.support.recomputing import next_second

ODD = [
    "Mac/Cheese",
    "Mac/Cheese/explain",
    ".",
    "..",
    "%2F",
    "%252F",
    "%",
    "a?b#c",
    "🍝",
    "é" * 700,
    "",
    " ",
    "  a  b ",
    "+",
    "explain",
]
ODD += ["__x__", "|", "\\", '"', "a\nb", "../../healthz", "//", "x" * 1_400, "🍝" * 1_400, "true", "1"]


def serve(kitchen: Kitchen, **changed: Any) -> None:
    """Write an entry and count it."""
    serve.number = getattr(serve, "number", 0) + 1  # type: ignore[attr-defined]  # a counter of its own
    ledger = Ledger(kitchen.store, kitchen.source, kitchen.home, kitchen.settings)
    ledger.apply(kitchen.write(f"e{serve.number}", **changed))  # type: ignore[attr-defined]  # the same


def prove(kitchen: Kitchen) -> str:
    """Recompute; the run's id."""
    next_second()
    report = Recompute(kitchen.store, kitchen.source, kitchen.home, kitchen.settings).run()
    assert report.run_id
    return report.run_id


def test_a_total_says_how_far_it_is_proven_and_what_is_pending(api: Api, quick: Kitchen) -> None:
    """Counted by the trigger, then proven by a run, then counted again."""
    serve(quick)
    before = api.get("/v1/totals/aggregates_categories/Kettle%20Chips").json()
    assert (before["values"], before["pending"]) == ({"count": 1}, {"count": 1})
    assert before["exact_through"] is None
    run_id = prove(quick)
    serve(quick)
    after = api.get("/v1/totals/aggregates_categories/Kettle%20Chips").json()
    assert (after["values"], after["pending"]) == ({"count": 2}, {"count": 1})
    through = datetime.fromisoformat(after["exact_through"])
    assert through.utcoffset() == timedelta(0)
    (source,) = api.get("/v1/freshness").json()["sources"]
    assert datetime.fromisoformat(source["watermark"]) == through
    assert {each["name"]: each["pending"] for each in source["aggregations"]} == dict.fromkeys(
        (each.name for each in quick.source.aggregations), 1
    )
    (run,) = api.get("/v1/runs").json()["runs"]
    assert (run["run_id"], run["state"], run["entries"]) == (run_id, "completed", 1)
    assert api.get(f"/v1/runs/{run_id}").json()["run"] == run


def test_an_unknown_key_is_zero_and_an_unknown_aggregation_is_not_there(api: Api) -> None:
    """Nothing was counted under the key: a fact. There is no such aggregation: a mistake."""
    answer = api.get("/v1/totals/aggregates_categories/Nobody")
    assert (answer.status_code, answer.json()["values"]) == (200, {"count": 0})
    detail = check_problem(api.get("/v1/totals/shoes/x"), 404)["detail"]
    assert "'shoes'" in detail
    assert "aggregates_categories" in detail


@pytest.mark.parametrize("key", ODD, ids=lambda key: f"{key[:12]!r} of {len(key)}")
def test_a_key_of_any_characters_travels(api: Api, quick: Kitchen, key: str) -> None:
    """In the path, percent-encoded, as far as a client lets it; and in the query, always."""
    serve(quick, ingredient=key)
    by_query = api.get("/v1/total/aggregates_categories", params={"key": key})
    assert by_query.status_code == 200, by_query.text
    assert (by_query.json()["key"], by_query.json()["values"]) == (key, {"count": 1})
    (listed,) = api.get("/v1/totals/aggregates_categories").json()["totals"]
    assert listed == by_query.json()
    if key not in (".", ".."):
        assert api.get(f"/v1/totals/aggregates_categories/{quote(key, safe='')}").json() == by_query.json()


def test_keys_of_other_types_travel(api: Api, quick: Kitchen) -> None:
    """A boolean, an integer, and a composite key, whose parts are joined as in the document's id."""
    quick.source = api.app.state.books.source = Source(
        "kinds",
        (
            Aggregation("by_flag", FieldKey("hot", kind=bool)),
            Aggregation("by_floor", FieldKey("floor", kind=int)),
            Aggregation(
                "by_place", (FieldKey("location"), TimeKey("timestamp", "date", UTC)), None, (Count(),)
            ),
        ),
    )
    serve(quick, hot=True, floor=-3, location="a|b/c..%")
    for name, text, key in (
        ("by_flag", "true", True),
        ("by_floor", "-3", -3),
        ("by_place", "a%7Cb%2Fc..%25|2025-09-04", ["a|b/c..%", "2025-09-04"]),
    ):
        for answer in (
            api.get(f"/v1/totals/{name}/{quote(text, safe='')}"),
            api.get(f"/v1/total/{name}", params={"key": text}),
        ):
            assert answer.json()["values"] == {"count": 1}, answer.text
            assert answer.json()["key"] == key
            assert type(answer.json()["key"]) is type(key)
    for name, text in (("by_flag", "yes"), ("by_floor", "1.5"), ("by_place", "no parts")):
        check_problem(api.get(f"/v1/total/{name}", params={"key": text}), 422)


@pytest.mark.parametrize("order", ["key", "count", "-count"])
def test_pages_hold_each_total_once_and_in_order(api: Api, quick: Kitchen, order: str) -> None:
    """Whatever the keys; the cursor of another order is refused."""
    for number, key in enumerate(ODD):
        for _ in range(1 + number % 3):
            serve(quick, ingredient=key)
    found: list[dict[str, Any]] = []
    after: dict[str, str] = {}
    while True:
        params = {"order": order, "limit": "7", **after}
        page = api.get("/v1/totals/aggregates_categories", params=params).json()
        assert len(page["totals"]) <= 7
        found += page["totals"]
        if page["next"] is None:
            break
        after = {"after": page["next"]}
    assert sorted(each["key"] for each in found) == sorted(ODD)
    ordered = [each["id"].encode() if order == "key" else each["values"]["count"] for each in found]
    assert ordered == sorted(ordered, reverse=order.startswith("-"))
    other = api.get(
        "/v1/totals/aggregates_categories", params={"order": "count" if order == "key" else "key", **after}
    )
    assert "cursor" in check_problem(other, 422)["detail"]


def test_an_explanation_is_the_entries_and_their_running_sum(api: Api, quick: Kitchen) -> None:
    """Page by page; the key may end in what is a route's name, and may be in the query."""
    for key in ("Mac/Cheese", "Mac/Cheese", "Mac/Cheese/explain", ".."):
        serve(quick, ingredient=key)
    first = api.get("/v1/totals/aggregates_categories/Mac%2FCheese/explain?limit=1").json()
    assert (first["total"]["values"], len(first["entries"])) == ({"count": 2}, 1)
    after = {"limit": "1", "after": first["next"], "key": "Mac/Cheese"}
    second = api.get("/v1/explain/aggregates_categories", params=after).json()
    assert [page["entries"][0]["running"] for page in (first, second)] == [{"count": 1}, {"count": 2}]
    assert first["entries"][0]["id"] != second["entries"][0]["id"]
    for path in ("Mac%2FCheese%2Fexplain/explain", "Mac/Cheese/explain/explain"):
        found = api.get(f"/v1/totals/aggregates_categories/{path}").json()
        assert found["total"]["key"] == "Mac/Cheese/explain"
        assert found["unexplained"] == {"count": 0}
    assert api.get("/v1/explain/aggregates_categories?key=..").json()["total"]["values"] == {"count": 1}


def test_a_series_has_no_holes(api: Api, quick: Kitchen) -> None:
    """Three days, the one between without an entry."""
    for day in (4, 6):
        serve(quick, timestamp=datetime(2025, 9, day, 12, tzinfo=UTC))
    answer = api.get("/v1/series/aggregates_time_dates?from=2025-09-04&to=2025-09-06").json()
    assert [(each["key"], each["values"]["count"]) for each in answer["totals"]] == [
        ("2025-09-04", 1),
        ("2025-09-05", 0),
        ("2025-09-06", 1),
    ]
    check_problem(api.get("/v1/series/aggregates_time_dates?from=2025-09-06&to=soon"), 422)
    check_problem(api.get("/v1/series/aggregates_categories?from=a&to=b"), 422)


def test_an_entry_is_followed_from_its_arrival_to_its_proof(api: Api, quick: Kitchen) -> None:
    """Unknown, received, applied, verified; and why one is rejected, without its value."""
    path = "/v1/entries/e%2Fvery%20odd/status"
    assert api.get("/v1/entries/nobody/status").json()["state"] == "unknown"
    check_problem(api.get(path), 422)
    entry = quick.write("e odd|..")
    path = "/v1/entries/e%20odd%7C../status"
    assert api.get(path).json()["state"] == "received"
    Ledger(quick.store, quick.source, quick.home, quick.settings).apply(entry)
    assert api.get(path).json()["state"] == "applied"
    prove(quick)
    assert api.get(path).json()["state"] == "verified"
    serve(quick, ingredient=17)
    (record,) = api.get("/v1/rejected").json()["rejected"]
    status = api.get(f"/v1/entries/{record['entry']}/status").json()
    assert status["rejections"] == record["reasons"] == status["recorded"]
    assert status["rejections"][0]["field"] == "ingredient"
    assert "17" not in str(status["rejections"])


def test_a_retry_says_what_it_found_and_removes_what_is_out_of_date(api: Api, quick: Kitchen) -> None:
    """Still rejected: kept. Deleted meanwhile: removed. Then there is no such record."""
    serve(quick, ingredient=17)
    (record,) = api.get("/v1/rejected").json()["rejected"]
    retry = f"/v1/rejected/{quote(record['id'], safe='')}/retry"
    found = api.ask("POST", retry).json()
    assert (found["verdict"], found["removed"]) == ("rejected", False)
    quick.store.commit([Delete(f"{quick.home.entries}/{record['entry']}")], timeout=10)
    found = api.ask("POST", retry).json()
    assert (found["verdict"], found["removed"]) == ("replaced", True)
    check_problem(api.ask("POST", retry), 404)
    assert api.get("/v1/rejected").json() == {"rejected": [], "next": None}


def test_a_reader_may_not_remove_a_record_and_is_told_what_to_do(
    api: Api, quick: Kitchen, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Firestore refuses the removal to an account that may only read."""

    def denied(*_: object, **__: object) -> None:
        raise Denied("secret")

    serve(quick, ingredient=17)
    (record,) = api.get("/v1/rejected").json()["rejected"]
    quick.store.commit([Delete(f"{quick.home.entries}/{record['entry']}")], timeout=10)
    monkeypatch.setattr(api.app.state.books.store, "commit", denied)
    answer = api.ask("POST", f"/v1/rejected/{record['id']}/retry")
    assert "--api=writer" in check_problem(answer, 403)["detail"]
    assert "secret" not in answer.text


def test_entries_are_found_by_their_fields_and_their_time(api: Api, quick: Kitchen) -> None:
    """Each filter by itself, a range, the pages; values of every type are JSON."""
    serve(quick, location="Roof/..", amount=float("nan"), photo=b"\xff", where=GeoPoint(1, 2))
    for hour in range(3):
        serve(quick, ingredient="Tea", timestamp=datetime(2025, 9, 5, hour, tzinfo=UTC))
    assert len(api.get("/v1/data").json()["entries"]) == 4
    (found,) = api.get("/v1/data", params={"location": "Roof/.."}).json()["entries"]
    assert (found["fields"]["amount"], found["fields"]["photo"]) == ("nan", "/w==")
    assert found["fields"]["where"] == {"latitude": 1.0, "longitude": 2.0}
    assert found["fields"]["timestamp"] == "2025-09-04T18:57:29Z"
    for name, value, number in (
        ("ingredient", "Tea", 3),
        ("action", "Served", 4),
        ("device", "Lib298190", 4),
    ):
        assert len(api.get("/v1/data", params={name: value}).json()["entries"]) == number
    times = {"from": "2025-09-05T00:00:00Z", "to": "2025-09-05T02:00:00Z", "limit": "1"}
    page = api.get("/v1/data", params=times).json()
    rest = api.get("/v1/data", params={**times, "after": page["next"]}).json()
    assert [each["entries"][0]["fields"]["timestamp"] for each in (page, rest)] == [
        "2025-09-05T00:00:00Z",
        "2025-09-05T01:00:00Z",
    ]
    assert rest["next"] is None
    check_problem(api.get("/v1/data", params={"from": "2025-09-05T00:00:00"}), 422)
    assert api.get("/v1/locations").json() == {"locations": ["Caldo Office", "Roof/.."], "next": None}

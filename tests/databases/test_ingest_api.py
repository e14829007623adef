"""The API of ingestion on a real PostgreSQL: jobs, pages, availability, health."""

from datetime import timedelta
from typing import Any

import pytest

from services.ingestion import parts
from services.ingestion.leases import claim
from services.ingestion.requests import Part
from tests.support.ingesting import DAY, LONG, Shelf, expire, worker
from tests.support.ingestion_api import PREFIX, Api


def test_a_job_from_its_start_to_its_end(api: Api) -> None:
    """202, then 409 with its id, then its parts, then what is available."""
    body = {"kinds": ["page_view"], "first": "2026-01-05", "last": "2026-01-08"}
    started = api.post("/ingest/start", json=body)
    assert started.status_code == 202
    job = started.json()
    assert started.headers["location"] == f"{PREFIX}/ingest/{job['job_id']}"
    assert (job["state"], job["records_processed"]["page_view"]["rows"]) == ("queued", 0)
    again = api.post("/ingest/start", json={"kinds": ["page_view", "purchase"], "first": "2026-01-08"})
    assert (again.status_code, again.json()["job_id"]) == (409, job["job_id"])
    assert again.headers["content-type"] == "application/problem+json"
    days = {Part("page_view", DAY + timedelta(number)): [1, 2, 3] for number in (0, 3)}
    worker(api.books, Shelf(dict(days))).once()
    found = api.get(f"/ingest/{job['job_id']}")
    assert (found["state"], found["records_processed"]["page_view"]["loaded"]) == ("completed", 6)
    assert [it["state"] for it in found["parts"]] == ["loaded", "absent", "absent", "loaded"]
    (kind,) = api.get("/availability")["kinds"]
    assert (kind["earliest"], kind["latest"], kind["days"]) == ("2026-01-05", "2026-01-08", 2)
    assert kind["gaps"] == [{"first": "2026-01-06", "last": "2026-01-07"}]
    listed = api.get("/availability/breakdown?kind=page_view&first=2026-01-06")["parts"]
    assert [(it["day"], it["source_rows"], it["loaded"]) for it in listed] == [("2026-01-08", 3, 3)]
    assert api.get("/availability", "other") == {"kinds": [], "last_job": None}


def test_pages_keys_and_cancelling(api: Api) -> None:
    """Three jobs, two a page; the same key is the same job; a queued job is cancelled at once."""
    started = []
    for day in ("2026-01-01", "2026-01-02", "2026-01-03"):
        body = {"kinds": ["purchase"], "first": day, "last": day}
        started.append(
            api.post("/ingest/start", json=body, headers={"Idempotency-Key": day}).json()["job_id"]
        )
    replayed = api.post("/ingest/start", json=body, headers={"Idempotency-Key": "2026-01-03"})
    assert (replayed.json()["job_id"], replayed.headers["idempotency-replayed"]) == (started[2], "true")
    first = api.get("/ingest/jobs?limit=2")
    assert [it["job_id"] for it in first["jobs"]] == started[:0:-1]
    second = api.get(f"/ingest/jobs?limit=2&after={first['next']}")
    assert ([it["job_id"] for it in second["jobs"]], second["next"]) == (started[:1], None)
    assert api.post(f"/ingest/{started[0]}/cancel").json()["state"] == "cancelled"
    assert [it["job_id"] for it in api.get("/ingest/jobs?state=cancelled")["jobs"]] == started[:1]


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        ({"kinds": ["shoes"]}, "body.kinds.0"),
        ({"kinds": []}, "kinds: found none"),
        ({"kinds": ["users"], "first": "2026-01-01"}, "come as files"),
        ({"last": "2026-01-11"}, "last: found 2026-01-11, which is after today, 2026-01-10"),
        ({"days": 3}, "body.days"),
    ],
)
def test_what_cannot_be_asked_is_422(api: Api, body: dict[str, Any], detail: str) -> None:
    """The problem names the field and what is allowed."""
    answer = api.post("/ingest/start", json=body)
    assert answer.status_code == 422
    assert detail in answer.json()["detail"]
    assert api.ask("GET", f"{PREFIX}/ingest/jobs?after=x", headers=api.headers("acme")).status_code == 422


def test_a_body_without_its_type_is_told_which_type_to_send(api: Api) -> None:
    """curl says that it sends a form, unless it is told otherwise."""
    answer = api.post("/ingest/start", content=b'{"kinds": ["purchase"]}')
    assert answer.status_code == 422
    assert "send Content-Type: application/json" in answer.json()["detail"]


def test_health_says_whether_the_tables_are_there(api: Api) -> None:
    """At the root, for the platform, and under the prefix; nobody has to be known."""
    for path in ("/healthz", "/readyz", f"{PREFIX}/healthz", f"{PREFIX}/readyz"):
        assert api.ask("GET", path).json() == {"status": "ok"}


def test_a_service_whose_tables_are_older_is_not_ready(api: Api) -> None:
    """It would refuse every job: the platform keeps the revision before it until the tables are migrated."""
    change = "ALTER TABLE ingest_job RENAME COLUMN {} TO {}"
    api.books._postgres.transaction(lambda it: it.execute(change.format("asked", "was")))
    try:
        answer = api.ask("GET", "/readyz")
    finally:
        api.books._postgres.transaction(lambda it: it.execute(change.format("was", "asked")))
    assert answer.status_code == 503
    assert "PostgreSQL 127" not in answer.text


def test_the_documentation_is_of_this_service_and_asks_no_other_host(api: Api) -> None:
    """The page says whose it is, its files come from here, and the schema describes every header."""
    page = api.ask("GET", "/docs")
    assert "<title>Libra ingestion</title>" in page.text
    assert "//" not in page.text.replace("<!doctype", "")
    assert page.headers["content-security-policy"].startswith("default-src 'none'")
    for name in ("swagger-ui-bundle.js", "swagger-ui.css", "start.js"):
        assert api.ask("GET", f"/docs/{name}").status_code == 200
    assert api.ask("GET", "/docs/passwd").status_code == 404
    start = api.ask("GET", "/openapi.json").json()["paths"][f"{PREFIX}/ingest/start"]["post"]
    assert {each["name"].lower() for each in start["parameters"]} == {"x-tenant-id", "idempotency-key"}


def test_a_stalled_lease_is_seen_in_the_answer(api: Api) -> None:
    """The attempt and the heartbeat tell which worker has a job."""
    job = api.post(
        "/ingest/start", json={"kinds": ["page_view"], "first": "2026-01-05", "last": "2026-01-05"}
    ).json()
    lease = claim(api.books, "one", LONG)
    assert lease
    expire(api.books)
    again = claim(api.books, "two", LONG)
    assert again
    parts.load(again, Part("page_view", DAY), Shelf({Part("page_view", DAY): [1]}))
    found = api.get(f"/ingest/{job['job_id']}")
    assert (found["state"], found["attempt"], found["parts"][0]["state"]) == ("processing", 2, "loaded")

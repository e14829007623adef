"""What a tenant learns of another, by any route or table: nothing. And a secret that appears nowhere."""

import base64
import io
import itertools
import json
import logging
import os
from typing import Any

import pytest
from fastapi import FastAPI

from services.ingestion.books import Books
from services.ingestion.errors import PartError
from services.ingestion.jobs import Jobs
from services.ingestion.requests import Part, Request
from services.ingestion.secrets import Vault
from services.ingestion.sources import Places, TenantSources
from services.ingestion.tenants import Tenants
from services.ingestion.worker import Worker
from shared import log
from tests.support.ingesting import DAY, Shelf, rows, worker
from tests.support.ingestion_api import CANARY, NOW, PREFIX, Api


def guarded(app: FastAPI) -> list[tuple[str, str]]:
    """Every route but health: method and path."""
    found = []
    for route in app.openapi()["paths"].items():
        path, methods = route
        if not path.endswith(("/healthz", "/readyz")):
            found += [(method.upper(), path) for method in methods]
    return sorted(found)


def test_no_route_answers_anything_of_another_tenant(api: Api) -> None:
    """For each route of the schema: another tenant's token is 401 like a made-up one; with its own token a
    tenant gets, for another's job, what it gets for one that is not there, and changes nothing."""
    own = api.post(
        "/ingest/start", json={"kinds": ["page_view"], "first": "2026-01-05", "last": "2026-01-05"}
    ).json()
    worker(api.books, Shelf({Part("page_view", DAY): [7_777_777]})).once()
    waiting = api.post("/ingest/start", json={"kinds": ["page_view"], "first": "2026-01-05"}).json()
    routes = guarded(api.app)
    assert len(routes) == 6
    marks = (own["job_id"], waiting["job_id"], "7777777", own["requested_at"])
    for method, path in routes:
        answers = {}
        for job_id in (waiting["job_id"], "00000000-0000-0000-0000-000000000000"):
            url = path.replace("{job_id}", job_id)
            body = {"kinds": ["users"]} if path.endswith("start") else None
            for token, tenant in (
                (api.tokens["other"], "acme"),
                ("lit_made-up", "acme"),
                (api.tokens["acme"], "none"),
            ):
                answer = api.ask(method, url, headers=api.headers(tenant, token), json=body)
                assert answer.status_code == 401, (method, path)
                assert not any(mark in answer.text for mark in marks)
            bare = api.ask(method, url, headers={"X-Tenant-Id": "acme"}, json=body)
            assert bare.status_code == 401
            answer = api.ask(method, url, headers=api.headers("other"), json=body)
            assert not any(mark in answer.text.replace(job_id, "") for mark in marks), (method, path)
            answers[answer.status_code, answer.text.replace(job_id, "JOB")] = answer
            if path.endswith("start"):
                Jobs(api.books).cancel("other", answer.json()["job_id"])
        if "job_id" in path:
            assert len(answers) == 1, (method, path)
            assert {status for status, _ in answers} == {404}
    assert api.get(f"/ingest/{waiting['job_id']}")["state"] == "queued"


def everything(books: Books, statement: str) -> list[tuple[object, ...]]:
    """What a statement finds for whoever the database belongs to, whom no policy binds."""
    return books._postgres.transaction(lambda it: it.execute(statement).fetchall())


def tables(books: Books) -> dict[str, list[str]]:
    """Every table of the schema with its columns, but the one of migrations."""
    found = books._postgres.transaction(
        lambda it: it.execute(
            "SELECT table_name::text, array_agg(column_name::text ORDER BY ordinal_position)"
            " FROM information_schema.columns JOIN information_schema.tables USING (table_schema, table_name)"
            " WHERE table_schema = 'public' AND table_type = 'BASE TABLE' GROUP BY table_name"
        ).fetchall()
    )
    return {str(name): list(columns) for name, columns in found if name != "libra_migration"}  # type: ignore[call-overload]


def test_no_table_shows_a_row_to_a_transaction_without_its_tenant(api: Api) -> None:
    """For each table of the schema, with rows of two tenants: its role sees its tenant's, none without
    a tenant, and can neither change nor move a row of another."""
    books = api.books
    found = tables(books)
    assert len(found) == 13
    ids = {}
    for tenant in ("acme", "other"):
        Jobs(books).start(tenant, Request(("page_view", "users"), DAY, DAY))
        ids[tenant] = rows(books, tenant, "SELECT job_id FROM ingest_job")[0][0]
    filled: dict[str, Any] = {
        "job_id": None,
        "day": DAY,
        "kind": "page_view",
        "params": "{}",
        "user_properties": "{}",
        "items": "[]",
    }
    filled |= {"other": "{}", "file_day": DAY, "sums": "{}", "source_rows": 0, "loaded": 0, "rejected": 0}
    for (name, columns), tenant in itertools.product(found.items(), ("acme", "other")):
        if name in {"tenant_config", "ingest_job", "ingest_part"}:
            continue
        own = [it for it in columns if it not in {"tenant", "event_at", "loaded_at", "left_on", "created_on"}]
        own = [it for it in own if it not in {"latitude", "longitude", "modified_at", "sha256", "session_id"}]
        values = [filled | {"job_id": ids[tenant]}][0]
        integers = {"event_timestamp", "line", "attempt", "quantity", "entrances", "engagement_time_msec"}
        integers |= {"value", "tax", "shipping"}
        given = [values.get(it, 1 if it in integers else it == "provisional" or "x") for it in own]
        marks = ", ".join(["%s"] * len(own))
        statement = f"INSERT INTO {name} (tenant, {', '.join(own)}) VALUES (%s, {marks})"
        rows(books, tenant, f"WITH done AS ({statement} RETURNING 1) SELECT * FROM done", tenant, *given)
    for name in found:
        for tenant in ("acme", "other"):
            assert {row[0] for row in rows(books, tenant, f"SELECT tenant FROM {name}")} == {tenant}, name
        for role in ("", "nobody"):
            assert rows(books, role, f"SELECT tenant FROM {name}") == [], name
        if name != "tenant_config":
            changed = f"WITH done AS (UPDATE {name} SET tenant = tenant WHERE tenant = 'other' RETURNING 1)"
            changed += " SELECT * FROM done"
            assert rows(books, "acme", changed) == [], name
            gone = f"WITH done AS (DELETE FROM {name} WHERE tenant = 'other' RETURNING 1) SELECT * FROM done"
            assert rows(books, "acme", gone) == [], name
        with pytest.raises(Exception, match=r"row-level security|permission denied"):
            rows(
                books,
                "acme",
                f"WITH done AS (UPDATE {name} SET tenant = 'other' RETURNING 1) SELECT * FROM done",
            )
        forced = f"SELECT relrowsecurity AND relforcerowsecurity FROM pg_class WHERE relname = '{name}'"
        assert everything(books, forced) == [(True,)]
    for name in set(found) - {"tenant_config", "ingest_job", "ingest_part"}:
        with pytest.raises(Exception, match="permission denied"):
            books.of_all(lambda it, name=name: it.execute(f"SELECT * FROM {name}"))  # type: ignore[misc]


def test_a_canary_secret_appears_nowhere(api: Api, caplog: pytest.LogCaptureFixture) -> None:
    """Not in a table, a log line, an answer, an error or a repr, while a job uses it and fails. An envelope
    that is moved to another tenant does not open."""
    books, tenants = api.books, Tenants(api.books)
    vault = Vault(os.urandom(32), lambda _: CANARY)
    sftp = {
        "host": "127.0.0.1",
        "port": 1,
        "user": "u",
        "host_key": "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMq",
    }
    token = tenants.add("third", {"sftp": sftp, "project": "p", "dataset": "d"})
    sealed = vault.seal("third", "sftp", CANARY)
    tenants.set_secret("third", "sftp", sealed)
    tenants.set_secret("acme", "sftp", sealed)
    tenants.set_secret("third", "bigquery", {"reference": "projects/p/secrets/s/versions/latest"})
    assert vault.open("third", "sftp", tenants.find("third").secrets) == CANARY
    with pytest.raises(PartError, match="does not open") as moved:
        vault.open("acme", "sftp", tenants.find("acme").secrets)
    job, _ = Jobs(books).start("third", Request(("page_view", "users"), DAY, DAY))
    stream = io.StringIO()
    log.configure("DEBUG", stream)
    logging.getLogger().setLevel(logging.DEBUG)

    def sources(lease: Any) -> TenantSources:
        return TenantSources(tenants.find(lease.tenant), books, vault, Places(settle_seconds=0), lambda: NOW)

    try:
        Worker(books, sources, name="w", sleep=lambda _: None).once()
    finally:
        logging.getLogger().setLevel(logging.WARNING)
    headers = {"X-Tenant-Id": "third", "Authorization": f"Bearer {token}"}
    answer = api.ask("GET", f"{PREFIX}/ingest/{job.job_id}", headers=headers)
    assert answer.json()["state"] == "failed"
    assert {it["error_code"] for it in answer.json()["parts"]} == {"credentials", "host_key"}
    dumped = ""
    for name in tables(books):
        dumped += str(everything(books, f"SELECT * FROM {name}"))
    seen = [
        answer.text,
        dumped,
        stream.getvalue(),
        caplog.text,
        repr(moved.value),
        repr(tenants.listed()),
        repr(vault),
    ]
    assert "third" in dumped
    assert "A part failed" in stream.getvalue()
    for text in seen:
        assert CANARY not in text
        assert CANARY.encode("unicode_escape").decode() not in text
        assert base64.b64encode(CANARY.encode()).decode() not in text
        assert token not in text
    assert json.dumps(CANARY) not in "".join(seen)

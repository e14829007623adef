"""The application of ingestion with two tenants, asked without a server between."""

import asyncio
import faulthandler
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import httpx
import psycopg
from fastapi import FastAPI

from services.ingestion.application import application
from services.ingestion.books import Books
from services.ingestion.settings import IngestionSettings
from services.ingestion.tenants import Tenants

NOW = datetime(2026, 1, 10, 12, tzinfo=UTC)
CANARY = "canary-Zürich-4711"
PREFIX = "/data/api/v1"
SLOW_SECONDS = 15


@dataclass
class Api:
    """The application, two tenants and their tokens."""

    app: FastAPI
    books: Books
    tokens: dict[str, str]

    def ask(self, method: str, path: str, **options: Any) -> httpx.Response:
        """The answer to a request."""

        async def send() -> httpx.Response:
            transport = httpx.ASGITransport(self.app, raise_app_exceptions=False)
            async with httpx.AsyncClient(transport=transport, base_url="http://ingestion") as client:
                return await client.request(method, path, **options)

        with self._watched():
            return asyncio.run(send())

    @contextmanager
    def _watched(self) -> Iterator[None]:
        """Tell what every thread and PostgreSQL do where an answer takes long: one once took 88 seconds, on a
        machine that was busy with other tests, and nobody could say why."""
        timer = threading.Timer(SLOW_SECONDS, self._tell)
        faulthandler.dump_traceback_later(SLOW_SECONDS, file=2)
        timer.start()
        try:
            yield
        finally:
            faulthandler.cancel_dump_traceback_later()
            timer.cancel()

    def _tell(self) -> None:
        pool = self.books._postgres._pool
        statement = (
            "SELECT pid, state, wait_event_type, wait_event, pg_blocking_pids(pid), now() - query_start,"
            " query FROM pg_stat_activity WHERE backend_type = 'client backend'"
        )
        with psycopg.connect(str(pool.conninfo), connect_timeout=10) as connection:
            rows = connection.execute(statement).fetchall()
        os.write(2, "".join(f"{it}\n" for it in (pool.get_stats(), *rows)).encode())

    def headers(self, tenant: str, token: str | None = None) -> dict[str, str]:
        """Of a tenant."""
        return {"X-Tenant-Id": tenant, "Authorization": f"Bearer {token or self.tokens[tenant]}"}

    def post(self, path: str, tenant: str = "acme", **options: Any) -> httpx.Response:
        """A request of a tenant."""
        headers = self.headers(tenant) | options.pop("headers", {})
        return self.ask("POST", PREFIX + path, headers=headers, **options)

    def get(self, path: str, tenant: str = "acme") -> Any:
        """What is answered to a tenant."""
        return self.ask("GET", PREFIX + path, headers=self.headers(tenant)).json()


def application_over(books: Books) -> FastAPI:
    """The application over these tables."""
    environment = {
        "LIBRA_POSTGRES_URL": "postgresql://nobody@127.0.0.1:1/none",
        "GOOGLE_CLOUD_PROJECT": "demo-x",
        "LIBRA_INGESTION_DEADLINE_SECONDS": "120",  # what is tested is the answer, not this machine's haste
    }
    settings = IngestionSettings.from_environment(environment)
    return application(settings, books=lambda: books, now=lambda: NOW)


def served(books: Books) -> Api:
    """Without a server between."""
    app = application_over(books)
    tenants = Tenants(books)
    tokens = {tenant: tenants.rotate_token(tenant) for tenant in ("acme", "other")}
    return Api(app, books, tokens)

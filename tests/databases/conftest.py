"""Fixtures of the tests that need PostgreSQL or Valkey."""

from collections.abc import Iterator

import pytest

from local.databases import PostgresServer
from services.ingestion.books import Books
from shared.postgres import Postgres
from tests.support.databases import fresh, fresh_url
from tests.support.ingesting import add_tenant
from tests.support.ingestion_api import Api, served


@pytest.fixture
def postgres(postgres_server: PostgresServer) -> Iterator[Postgres]:
    """An empty database of the test's own."""
    with fresh(postgres_server) as found:
        yield found


@pytest.fixture(scope="session")
def tables(postgres_server: PostgresServer) -> Iterator[tuple[str, Books]]:
    """A database with the tables, and its address."""
    with fresh_url(postgres_server) as url, Postgres.connect(url, most=8) as postgres:
        books = Books(postgres)
        books.migrate()
        yield url, books


@pytest.fixture
def books(tables: tuple[str, Books]) -> Books:
    """The tables, empty, with two tenants."""
    _, found = tables
    with_data = (
        "ingest_rejected",
        "ingest_book",
        "ingest_part",
        "ga4_page_view",
        "ingest_job",
        "tenant_config",
    )
    found._postgres.transaction(lambda it: it.execute(f"TRUNCATE {', '.join(with_data)}"))
    for tenant in ("acme", "other"):
        add_tenant(found, tenant)
    return found


@pytest.fixture
def api(books: Books) -> Api:
    """The application of ingestion, with two tenants."""
    return served(books)

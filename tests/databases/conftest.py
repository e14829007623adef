"""Fixtures of the tests that need PostgreSQL or Valkey."""

from collections.abc import Iterator

import pytest

from local.databases import PostgresServer, ValkeyServer
from local.sftp import SftpServer
from services.ingestion.books import Books
from services.usage.counters import Counters
from shared.postgres import Cursor, Postgres
from tests.support.databases import fresh, fresh_url
from tests.support.ingesting import add_tenant
from tests.support.ingestion_api import Api, served


@pytest.fixture
def postgres(postgres_server: PostgresServer) -> Iterator[Postgres]:
    """An empty database of the test's own."""
    with fresh(postgres_server) as found:
        yield found


@pytest.fixture
def redis(valkey_server: ValkeyServer) -> Iterator[Counters]:
    """The counters of usage in an empty Redis."""
    found = Counters.connect(valkey_server.url)
    found._client.flushall()
    yield found
    found.close()


@pytest.fixture
def environment(
    redis: Counters, postgres_server: PostgresServer, valkey_server: ValkeyServer
) -> Iterator[dict[str, str]]:
    """Where usage finds Redis and PostgreSQL, both empty."""
    assert redis
    with fresh_url(postgres_server) as url:
        yield {"LIBRA_REDIS_URL": valkey_server.url, "LIBRA_POSTGRES_URL": url}


@pytest.fixture(scope="module")
def tables(postgres_server: PostgresServer) -> Iterator[tuple[str, Books]]:
    """A database with the tables, and its address; each file has its own, and connections of its own."""
    with fresh_url(postgres_server) as url, Postgres.connect(url, most=8) as postgres:
        books = Books(postgres)
        books.migrate()
        yield url, books


@pytest.fixture
def books(tables: tuple[str, Books]) -> Books:
    """The tables, empty, with two tenants."""
    _, found = tables

    def empty(cursor: Cursor) -> None:
        cursor.execute("SELECT tablename FROM pg_tables WHERE tablename ~ '^(ingest_|ga4_|tenant_config$)'")
        cursor.execute(f"TRUNCATE {', '.join(str(name) for (name,) in cursor.fetchall())}")

    found._postgres.transaction(empty)
    for tenant in ("acme", "other"):
        add_tenant(found, tenant)
    return found


@pytest.fixture
def api(books: Books) -> Api:
    """The application of ingestion, with two tenants."""
    return served(books)


@pytest.fixture(scope="session")
def sftp_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SftpServer]:
    """A server, one for all tests."""
    with SftpServer(tmp_path_factory.mktemp("sftp")) as found:
        yield found


@pytest.fixture
def sftp(sftp_server: SftpServer) -> SftpServer:
    """The server, well and with an empty folder."""
    sftp_server.stalled = sftp_server.cut = False
    for each in sftp_server.folder.iterdir():
        each.unlink()
    return sftp_server

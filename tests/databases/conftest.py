"""Fixtures of the tests that need PostgreSQL or Valkey."""

from collections.abc import Iterator

import pytest

from local.databases import PostgresServer
from shared.postgres import Postgres
from tests.support.databases import fresh


@pytest.fixture
def postgres(postgres_server: PostgresServer) -> Iterator[Postgres]:
    """An empty database of the test's own."""
    with fresh(postgres_server) as found:
        yield found

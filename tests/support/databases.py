"""A database of a test's own, on the session's PostgreSQL."""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from psycopg import sql

from local.databases import PostgresServer
from shared.postgres import Postgres


@contextmanager
def fresh_url(server: PostgresServer) -> Iterator[str]:
    """The address of an empty database, which is gone afterwards with whatever is connected to it."""
    name = f"test_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(server.url(), autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        try:
            yield server.url(name)
        finally:
            connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@contextmanager
def fresh(server: PostgresServer) -> Iterator[Postgres]:
    """An empty database, through the one door."""
    with fresh_url(server) as url, Postgres.connect(url) as postgres:
        yield postgres

"""The role that docs/usage.md makes for the API: it reads what the API answers, and can write nothing."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import psycopg
import pytest
from psycopg import errors, sql

from local.databases import PostgresServer
from services.api.application import application
from services.api.settings import ApiSettings
from services.usage.books import Books
from shared.postgres import Postgres
from tests.support.api import ENVIRONMENT, PROJECT, Api
from tests.support.databases import fresh_url

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "usage.md").read_text(encoding="utf-8")
ROLE = "libra_reader"


@pytest.fixture
def urls(postgres_server: PostgresServer) -> Iterator[tuple[str, str]]:
    """Books with a row, as their owner and as the role sees them."""
    (statements,) = re.findall(rf"```sql\n(CREATE ROLE {ROLE} .*?)```", PAGE, re.DOTALL)
    with fresh_url(postgres_server) as owner, psycopg.connect(owner, autocommit=True) as connection:
        with Postgres.connect(owner) as postgres:
            Books(postgres).migrate()
        connection.execute(
            "INSERT INTO usage_part VALUES ('acme', '2026-10-26', 'requests', '2026-10-26T12:00Z', 'i', 7)"
        )
        connection.execute(cast("Any", statements))
        yield owner, re.sub(r"//[^@/]*@", f"//{ROLE}:PASSWORD@", owner)
        connection.execute(cast("Any", f"DROP OWNED BY {ROLE}; DROP ROLE {ROLE}"))


def test_the_api_reads_with_it(urls: tuple[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Every window, and up to when hours are sealed."""
    monkeypatch.setenv("FIREBASE_AUTH_EMULATOR_HOST", "127.0.0.1:9099")
    settings = ApiSettings.from_environment(ENVIRONMENT | {"LIBRA_POSTGRES_URL": urls[1]})
    api = Api(application(settings), PROJECT)
    for by, begin in (("hour", "2026-10-26T12:00:00Z"), ("day", "2026-10-26"), ("month", "2026-10-01")):
        (window,) = api.get(f"/v1/usage/acme?by={by}").json()["windows"]
        assert (window["begin"], window["value"]) == (begin, 7)
    api.app.state.usage._opened()[1].close()


def test_it_can_write_nothing(urls: tuple[str, str]) -> None:
    """Neither as it comes, nor after it has allowed itself to write: it has no grant for that."""
    owner, reader = urls
    with psycopg.connect(owner) as connection:
        rows = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall()
    tables = {str(name) for (name,) in rows}
    assert tables >= {"merchant_usage", "usage_part", "usage_state", "usage_aside"}
    writing = ["DELETE FROM {}", "TRUNCATE {}", "ALTER TABLE {} ADD COLUMN x integer", "DROP TABLE {}"]
    statements: list[sql.Composed] = [
        sql.SQL(cast("Any", it)).format(sql.Identifier(each)) for it in writing for each in tables
    ]
    statements += [sql.SQL(it).format() for it in ("CREATE TABLE x (y integer)", "SELECT * FROM usage_part")]
    with psycopg.connect(reader, autocommit=True) as connection:
        with pytest.raises(errors.ReadOnlySqlTransaction):
            connection.execute("CREATE TABLE x (y integer)")
        connection.execute("SET default_transaction_read_only = off")
        for statement in statements:
            with pytest.raises(errors.InsufficientPrivilege):
                connection.execute(statement)

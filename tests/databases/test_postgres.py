"""The one door to PostgreSQL, on a real server: classes of errors, what is tried again, migrations."""

import threading
from pathlib import Path

import psycopg
import pytest

from local.databases import PostgresServer
from shared.errors import (
    AlreadyExists,
    Contention,
    Denied,
    Invalid,
    MigrationError,
    SettingError,
    StoreError,
    Transient,
)
from shared.postgres import Cursor, Migration, Postgres
from shared.retry import Retry
from tests.support.databases import fresh_url

TABLE = Migration(1, "a table", "CREATE TABLE bakery (name text PRIMARY KEY, loaves integer NOT NULL)")
ONCE = Retry(attempts=1, first=0)


def loaves(postgres: Postgres) -> list[tuple[object, ...]]:
    """What the table holds."""
    return postgres.transaction(lambda it: it.execute("SELECT * FROM bakery ORDER BY name").fetchall())


def insert(cursor: Cursor, name: str, count: int | None = 1) -> None:
    """Add a row."""
    cursor.execute("INSERT INTO bakery VALUES (%s, %s)", (name, count))


def test_a_transaction_is_committed_or_leaves_nothing(postgres: Postgres) -> None:
    """An error of the caller's own takes everything back, and comes out as it is."""
    postgres.migrate("bakery", [TABLE])
    postgres.transaction(lambda it: insert(it, "a"))

    def fails(cursor: Cursor) -> None:
        insert(cursor, "b")
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        postgres.transaction(fails)
    assert loaves(postgres) == [("a", 1)]


@pytest.mark.parametrize(
    ("statement", "kind"),
    [
        ("INSERT INTO bakery VALUES ('a', 2)", AlreadyExists),
        ("INSERT INTO bakery VALUES ('b', NULL)", Invalid),
        ("SELECT * FROM nowhere", Invalid),
        ("SELECT 1 / 0", Invalid),
        ("SET ROLE nobody_at_all", Invalid),
        ("SELECT pg_sleep(5)", Contention),
        ("DO $$ BEGIN RAISE 'the disk is full' USING ERRCODE = '53100'; END $$", Contention),
    ],
)
def test_each_error_has_its_class_and_names_the_server(
    postgres_server: PostgresServer, statement: str, kind: type[StoreError]
) -> None:
    """What another try cannot mend is not tried again; a statement that takes too long was not applied."""
    tried = []
    with (
        fresh_url(postgres_server) as url,
        Postgres.connect(url, statement_seconds=0.2, retry=ONCE) as postgres,
    ):
        postgres.migrate("bakery", [TABLE])
        postgres.transaction(lambda it: insert(it, "a"))

        def work(cursor: Cursor) -> None:
            tried.append(1)
            cursor.execute(statement)

        with pytest.raises(StoreError) as found:
            postgres.transaction(work)
    assert type(found.value) is kind
    assert f"127.0.0.1:{postgres_server.port}/test_" in str(found.value)
    assert len(tried) == 1


def test_a_deadlock_is_tried_again_and_both_are_committed(postgres: Postgres) -> None:
    """Two transactions that take two rows in opposite order."""
    postgres.migrate("bakery", [TABLE])
    for name in "ab":
        postgres.transaction(lambda it, name=name: insert(it, name))  # type: ignore[misc]  # bound at once
    both = threading.Barrier(2)
    tried: list[str] = []

    def raise_both(first: str, second: str) -> None:
        def work(cursor: Cursor) -> None:
            tried.append(first)
            cursor.execute("UPDATE bakery SET loaves = loaves + 1 WHERE name = %s", (first,))
            if tried.count(first) == 1:
                both.wait(60)
            cursor.execute("UPDATE bakery SET loaves = loaves + 1 WHERE name = %s", (second,))

        postgres.transaction(work, repeatable=False)

    threads = [threading.Thread(target=raise_both, args=names) for names in ("ab", "ba")]
    for each in threads:
        each.start()
    for each in threads:
        each.join(60)
    assert loaves(postgres) == [("a", 3), ("b", 3)]
    assert len(tried) == 3


def test_a_transaction_outlives_a_restart_of_the_server(tmp_path: Path) -> None:
    """Killed while a transaction is under way: it is tried until the server is back, and applied once."""
    with PostgresServer(tmp_path) as server:
        tried = []

        def restart(_: float) -> None:
            server.kill()
            server.start()

        patient = Retry(attempts=20, first=0.05, longest=1)
        with Postgres.connect(server.url(), retry=patient, sleep=restart) as postgres:
            postgres.migrate("bakery", [TABLE])

            def work(cursor: Cursor) -> None:
                tried.append(1)
                insert(cursor, "a")
                if len(tried) == 1:
                    server.kill()
                    cursor.execute("SELECT 1")

            postgres.transaction(work, repeatable=False)
            assert len(tried) == 2
            assert loaves(postgres) == [("a", 1)]


def test_where_nobody_knows_only_what_may_be_repeated_is_tried_again(
    postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The COMMIT is applied, and its answer is lost."""
    postgres.migrate("bakery", [TABLE])
    commit = psycopg.Connection.commit
    lost: list[int] = []

    def lose(connection: psycopg.Connection[tuple[object, ...]]) -> None:
        commit(connection)
        if not lost:
            lost.append(1)
            raise psycopg.OperationalError("the connection is lost")

    monkeypatch.setattr(psycopg.Connection, "commit", lose)
    with pytest.raises(Transient, match="the connection is lost") as found:
        postgres.transaction(lambda it: insert(it, "a"), repeatable=False)
    assert type(found.value) is Transient
    lost.clear()
    again = "INSERT INTO bakery VALUES ('b', 1) ON CONFLICT DO NOTHING"
    postgres.transaction(lambda it: it.execute(again))
    monkeypatch.undo()
    assert loaves(postgres) == [("a", 1), ("b", 1)]


def test_migrations_are_applied_once_by_all_who_start_together(postgres: Postgres) -> None:
    """Four at once: one applies them, the others find nothing to do."""
    more = Migration(2, "a row", "INSERT INTO bakery VALUES ('a', 1)")
    start, applied = threading.Barrier(4), []

    def migrate() -> None:
        start.wait(60)
        applied.append(postgres.migrate("bakery", [more, TABLE]))

    threads = [threading.Thread(target=migrate) for _ in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join(60)
    assert sorted(applied) == [[], [], [], [1, 2]]
    assert loaves(postgres) == [("a", 1)]


def test_a_migration_that_changed_or_fails_changes_nothing(postgres: Postgres) -> None:
    """All of a call are applied or none; the message names the one."""
    bad = Migration(2, "a hole", "CREATE TABLE mill (x integer); SELECT * FROM nowhere")
    with pytest.raises(MigrationError, match=r"bakery/2 \(a hole\).*nowhere.*nothing was changed"):
        postgres.migrate("bakery", [TABLE, bad])
    assert postgres.migrate("bakery", [TABLE]) == [1]
    changed = Migration(1, "a table", "CREATE TABLE bakery (name text)")
    with pytest.raises(MigrationError, match=r"bakery/1 .*never changes"):
        postgres.migrate("bakery", [changed])
    assert postgres.migrate("bakery", [TABLE]) == []
    assert postgres.migrate("mill", [Migration(1, "none", "SELECT 1")]) == [1]


@pytest.mark.parametrize(
    "url",
    [
        "",
        "mysql://host/db",
        "postgresql://user:secret@host:port/db",
        "postgresql://host",
        "postgresql://user:an@secret@host",
        "postgresql://user:secret%@127.0.0.1:1/db",
        "mysql://user@host/db?password=secret",
    ],
)
def test_an_address_that_is_none_is_refused_without_its_password(url: str) -> None:
    """The message names the variable and what is allowed."""
    with pytest.raises(SettingError, match=r"LIBRA_POSTGRES_URL=.*postgresql://user:password@host") as found:
        Postgres.connect(url)
    assert "secret" not in str(found.value)


def test_a_server_that_is_not_there_or_refuses_says_so_at_once(postgres_server: PostgresServer) -> None:
    """Nobody waits for a pool that never fills, and no message shows the password."""
    with pytest.raises(Denied, match='database "nowhere" does not exist'):
        Postgres.connect(postgres_server.url("nowhere"))
    with pytest.raises(Transient) as found:
        Postgres.connect("postgresql://u:secret@127.0.0.1:1/db")
    assert "secret" not in str(found.value)

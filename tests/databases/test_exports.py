"""Exports to a real PostgreSQL: what it holds, what a reader finds meanwhile, what is left alone."""

import json
from collections.abc import Iterator

import psycopg
import pytest

from local.databases import PostgresServer
from shared.aggregation import Aggregation, Count, FieldKey, Source, Sum
from shared.catalog import LIBRA_HOME
from shared.errors import ExportError
from shared.exports import Snapshot, Target, compare, database, opened
from shared.postgres import Postgres
from tests.support.databases import fresh_url
from tests.support.exporting import LARGE, ODD, advance, column, enlarge, rows, snapshot, world
from tests.support.polling import check, poll

CATEGORIES = "aggregates_categories"


@pytest.fixture
def url(postgres_server: PostgresServer) -> Iterator[str]:
    """The address of an empty database."""
    with fresh_url(postgres_server) as found:
        yield found


@pytest.fixture
def target(url: str) -> Iterator[Target]:
    """That database as a destination."""
    with opened("postgres", {"LIBRA_POSTGRES_URL": url}, None) as found:
        yield found


def test_totals_come_back_as_they_are(target: Target, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Any key but for NUL, which is %00 there; integers of 64 bits; Firestore says the same, page by page."""
    monkeypatch.setattr(database, "READ_ROWS", 2)
    made = world()
    enlarge(made)
    manifest = target.save(snapshot(made))
    assert target.manifest("libra", "totals") == manifest
    keys = column(manifest, rows(target, manifest), CATEGORIES, "key")
    assert set(keys.values()) == {key.replace("\x00", "%00") for key in ODD} | {"Kettle Chips"}
    same = compare(target, manifest, snapshot(made, at=manifest.read_at))
    assert (same.certain, same.faults, same.totals) == (True, 0, len(ODD) + 4)
    with psycopg.connect(url) as connection:
        found = connection.execute(f"SELECT max(count), min(exact_through) FROM {CATEGORIES}").fetchone()
    assert found == (LARGE, manifest.watermark)
    enlarge(made)
    made.merge("aggregates_actions/Served", count=1_000)
    other = compare(target, manifest, snapshot(made))
    assert [(it.total, it.column) for it in other.differences] == [
        ("aggregates_actions/Served", "count"),
        ("aggregates_actions/Served", "proven_count"),
    ]


def test_a_comparison_reads_each_row_once(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the server's own count. However many of them are in memory at once."""
    monkeypatch.setattr(database, "READ_ROWS", 2)
    made = world()
    with Postgres.connect(url, most=1) as postgres, psycopg.connect(url, autocommit=True) as asking:

        def read() -> int:
            """Rows that statements have read so far; those of the export's own connection are told first."""
            postgres.transaction(lambda cursor: cursor.execute("SELECT pg_stat_force_next_flush()"))
            said = asking.execute(
                "SELECT seq_tup_read + coalesce(idx_tup_fetch, 0) FROM pg_stat_user_tables "
                "WHERE relname = %s",
                (CATEGORIES,),
            ).fetchone()
            assert said
            return int(said[0])

        target = database.Database(postgres, "public")
        manifest = target.save(snapshot(made))
        (held,) = (it for it in manifest.tables if it.table.name == CATEGORIES)
        assert held.rows > 5 * database.READ_ROWS
        before = read()
        assert compare(target, manifest, snapshot(made, at=manifest.read_at)).faults == 0
        assert read() - before == held.rows


def test_a_comparison_goes_on_where_its_connection_broke_off(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Behind the last row that came: none is missing, and none comes twice."""
    monkeypatch.setattr(database, "READ_ROWS", 3)
    with Postgres.connect(url, most=1) as postgres, psycopg.connect(url, autocommit=True) as other:
        target = database.Database(postgres, "public")
        manifest = target.save(snapshot(world()))
        (held,) = (it for it in manifest.tables if it.table.name == CATEGORIES)
        whole = list(target.rows(manifest, held))
        found = target.rows(manifest, held)
        begun = [next(found) for _ in range(7)]
        ended = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'libra'"
        other.execute(ended)
        assert [*begun, *found] == whole


def test_entries_are_jsonb_and_nul_in_them_is_text(target: Target, url: str) -> None:
    """A backslash before u0000 is one, an escaped NUL is %00: PostgreSQL takes no other."""
    made = world(odd=False)
    made.write("odd", ingredient="a\x00b\\u0000", number=2**53 + 1)
    advance(made)
    manifest = target.save(snapshot(made, "entries"))
    with psycopg.connect(url) as connection:
        asked = "SELECT data->>'ingredient', data->>'number' FROM libra_entries WHERE id = 'odd'"
        assert connection.execute(asked).fetchone() == ("a%00b\\u0000", str(2**53 + 1))
    (table,) = rows(target, manifest).values()
    assert len(table) == manifest.tables[0].rows == 5


def test_views_and_grants_outlive_an_export_and_columns_are_added(target: Target, url: str) -> None:
    """Rows are replaced, not tables. A column that a new measure brings is added, a foreign one stays."""
    made = world(odd=False)
    target.save(snapshot(made))
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"CREATE VIEW best AS SELECT key FROM {CATEGORIES} WHERE proven_count > 0")
        connection.execute(f"ALTER TABLE {CATEGORIES} DROP COLUMN archived_count")
        connection.execute(f"ALTER TABLE {CATEGORIES} ADD COLUMN note text")
        advance(made)
        target.save(snapshot(made))
        found = connection.execute("SELECT key FROM best ORDER BY key").fetchall()
        assert found == [("Kettle Chips",), ("Rice",), ("Soup",), ("Tea",)]
        asked = f"SELECT sum(archived_count), count(note) FROM {CATEGORIES}"
        assert connection.execute(asked).fetchone() == (0, 0)


def test_a_table_that_no_export_made_is_left_alone(target: Target, url: str) -> None:
    """Whatever its columns are: the message names it and says what to do."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"CREATE TABLE {CATEGORIES} (id text, count bigint)")
        connection.execute(f"INSERT INTO {CATEGORIES} VALUES ('mine', 1)")
        with pytest.raises(
            ExportError, match=rf"{CATEGORIES}: it is there and no export made it .*postgres:SCHEMA"
        ):
            target.save(snapshot(world(odd=False)))
        assert connection.execute(f"SELECT * FROM {CATEGORIES}").fetchall() == [("mine", 1)]


@pytest.mark.parametrize("step", ["page written", "publish begun"])
def test_an_export_that_is_stopped_changes_nothing(target: Target, step: str) -> None:
    """Ctrl-C while rows are copied, and just before the commit."""
    made = world(odd=False)
    before = target.save(snapshot(made))
    found = rows(target, before)
    advance(made)

    def stop(moment: str) -> None:
        if moment == step:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        target.save(snapshot(made, step=stop))
    assert (target.manifest("libra", "totals"), rows(target, before)) == (before, found)


def test_a_reader_never_finds_half_a_snapshot(url: str) -> None:
    """Killed at each step and run again: one snapshot of the database is one snapshot of the totals."""

    def look() -> str | None:
        with psycopg.connect(url) as reader:
            reader.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
            if reader.execute("SELECT to_regclass('libra_exports')").fetchone() == (None,):
                return None
            if (found := reader.execute("SELECT manifest FROM libra_exports").fetchone()) is None:
                return None  # the first export came in between: the names of tables are known before the rows
            manifest = json.loads(found[0])
            for table in manifest["tables"]:
                asked = f"SELECT count(*), sum(count)::bigint FROM {table['name']}"
                assert reader.execute(asked).fetchone() == (table["rows"], table["sums"]["count"])
            return str(manifest["snapshot"])

    check(poll("postgres", {"LIBRA_POSTGRES_URL": url}, look), without=("published half",))


def test_names_that_postgresql_would_cut_are_told_apart(target: Target) -> None:
    """An export with such names can be made again and read, and two of one beginning differ."""
    long = "n" * 70
    measures = (Count(), Sum("weight", f"{long}_a"), Sum("weight", f"{long}_b"))
    of_long = Source("libra", (Aggregation(long, FieldKey("ingredient"), measures=measures),))
    made = world(odd=False)
    for _ in range(2):
        manifest = target.save(Snapshot(made.store, of_long, LIBRA_HOME, "totals", sleep=made.clock.sleep))
    assert [each.table.name for each in manifest.tables] == [long]
    assert rows(target, manifest) == {long: []}

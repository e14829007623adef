"""The flush between a real Valkey and a real PostgreSQL; the tables taken over with the rows they hold."""

import threading
import time
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import cast

import pytest

from local.databases import PostgresServer
from services.usage.books import Books, Drift
from services.usage.counters import Counters, Raise
from services.usage.flush import Asked, Flush
from shared.errors import MassLoss, StoreError, Transient
from shared.parts import MOST, Hour, Name, Part, hour_of, parts_key
from shared.postgres import Postgres
from shared.retry import Retry
from shared.settings import UTC as ZONE

NOON = datetime(2026, 11, 25, 12, tzinfo=UTC)
AT_NOON = hour_of(NOON, ZONE)
NOW = NOON + timedelta(minutes=30)
CLOSE = timedelta(hours=1)


def wait_until(condition: Callable[[], bool]) -> None:
    """Wait for a condition."""
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.fixture
def books(postgres: Postgres) -> Books:
    """Empty books."""
    found = Books(postgres)
    found.migrate()
    return found


def count(redis: Counters, merchant: str, value: int, *, hour: Hour = AT_NOON, by: str = "i1") -> None:
    """A process has counted that many requests."""
    redis.raise_to([Raise(merchant, hour, (("requests", by, value),))])


def usage(postgres: Postgres) -> dict[tuple[object, ...], object]:
    """`merchant_usage`, by merchant, date and metric."""
    statement = "SELECT merchant_id, date::text, metric_type, metric_value FROM merchant_usage"
    return {row[:3]: row[3] for row in postgres.transaction(lambda it: it.execute(statement).fetchall())}


def test_what_was_counted_is_billed_once(redis: Counters, postgres: Postgres, books: Books) -> None:
    """However often it is flushed. A run says what it did, and keeps a record."""
    flush = Flush(redis, books, close_after=CLOSE)
    odd = "a:b{c}%*" + "é" * 192
    count(redis, "acme", 5)
    count(redis, "acme", 7, by="i2")
    count(redis, odd, 1)
    first = flush.run(now=NOW)
    assert (first.records, first.raised, first.gained, first.errors) == (3, 3, 13, 0)
    again = flush.run(now=NOW)
    assert (again.records, again.raised, again.gained) == (3, 0, 0)
    count(redis, "acme", 6)
    assert flush.run(now=NOW).gained == 1
    assert usage(postgres) == {
        ("acme", "2026-11-25", "requests"): 13,
        (odd, "2026-11-25", "requests"): 1,
    }
    assert books.verify() == []
    assert [it["report"]["gained"] for it in books.runs(9)] == [1, 0, 13]


def test_a_part_that_is_booked_is_not_written_again(postgres: Postgres, books: Books) -> None:
    """Most parts of a run are those of the run before: it locks none of their rows."""
    books.join([Part(Name("acme", NOON.date(), "requests", NOON, by), 5) for by in ("i1", "i2")])
    assert (
        books.join([Part(Name("acme", NOON.date(), "requests", NOON, by), 5) for by in ("i1", "i2")]).raised
        == 0
    )
    locked = "SELECT count(*) FROM usage_part WHERE xmax <> 0"
    assert postgres.transaction(lambda it: it.execute(locked).fetchall()) == [(0,)]


def test_hours_are_sealed_and_then_deleted_from_redis(
    redis: Counters, postgres: Postgres, books: Books
) -> None:
    """Late parts are set aside, and admitted into the hour that runs. Views say what is sealed."""
    flush = Flush(redis, books, close_after=CLOSE)
    count(redis, "acme", 5)
    assert flush.run(Asked(merchant="acme"), now=NOON + timedelta(hours=2)).sealed_through is None
    assert flush.run(now=NOON + timedelta(hours=2)).sealed_through == AT_NOON.end
    count(redis, "acme", 8)
    late = flush.run(now=NOON + timedelta(hours=2))
    assert (late.gained, late.late, late.forgotten) == (0, 1, 0)
    assert books.admit(hour_of(NOON + timedelta(hours=13), ZONE)) == 3
    gone = flush.run(now=NOON + timedelta(hours=6))
    assert (gone.forgotten, gone.late) == (1, 0)
    assert [it for page in redis.scan() for it in page] == []
    assert usage(postgres) == {
        ("acme", "2026-11-25", "requests"): 5,
        ("acme", "2026-11-26", "requests"): 3,
    }
    hours = "SELECT hour, metric_value, sealed FROM merchant_usage_hours ORDER BY 1"
    assert postgres.transaction(lambda it: it.execute(hours).fetchall()) == [
        (NOON, 5, True),
        (NOON + timedelta(hours=13), 3, False),
    ]
    for view, begin in (("weeks", date(2026, 11, 23)), ("months", date(2026, 11, 1))):
        found = postgres.transaction(
            lambda it, view=view: it.execute(f"SELECT * FROM merchant_usage_{view}").fetchall()  # type: ignore[misc]
        )
        assert found == [("acme", begin, "requests", 8, False)]


def test_a_seal_waits_for_the_joins_that_are_under_way(postgres: Postgres, books: Books) -> None:
    """A join that has looked at the watermark raises its parts before the watermark moves."""
    name = Name("acme", NOON.date(), "requests", NOON, "i1")
    done: list[str] = []

    def join() -> None:
        books.join([Part(name, 5)])
        done.append("join")

    def seal() -> None:
        books.seal(AT_NOON.end)
        done.append("seal")

    def waiting() -> int:
        statement = "SELECT count(*) FROM pg_locks WHERE NOT granted"
        ((found,),) = postgres.transaction(lambda it: it.execute(statement).fetchall())
        return cast("int", found)

    threads = [threading.Thread(target=join), threading.Thread(target=seal)]
    with postgres._pool.connection() as holding:
        holding.execute("INSERT INTO usage_part VALUES (%s, %s, %s, %s, %s, 1)", name)
        threads[0].start()
        wait_until(lambda: waiting() == 1)
        threads[1].start()
        wait_until(lambda: waiting() == 2 or bool(done))
        assert done == []
        holding.rollback()
    for each in threads:
        each.join(60)
    assert sorted(done) == ["join", "seal"]
    assert books.read_back([Part(name, 5)]) == [Part(name, 5)]


def test_no_hour_is_sealed_before_it_is_over_by_the_clock_of_the_books(books: Books) -> None:
    """A flush whose clock is a day ahead would else send all usage of a day past its bills, for good."""
    now = datetime.now(ZONE)
    through = books.seal(now + timedelta(days=1))
    assert now - timedelta(hours=1) <= through <= datetime.now(ZONE)


def test_what_cannot_be_read_is_set_aside_and_stops_nothing(redis: Counters, books: Books) -> None:
    """A key of the wrong type, no number, above the largest, not declared, in the future, no key of ours."""
    client, key = redis._client, parts_key("acme", AT_NOON)
    count(redis, "acme", 5)
    client.hset(
        key, mapping={"requests:a": "five", "requests:b": str(MOST + 1), "bytes:c": "1", "nothing": "1"}
    )
    client.set(parts_key("b", AT_NOON), "no hash")
    client.hset("usage-parts:{x}:yesterday", "requests:i", "1")
    count(redis, "soon", 1, hour=hour_of(NOON + timedelta(hours=5), ZONE))
    count(redis, "whole", MOST)
    flush = Flush(redis, books, close_after=CLOSE, metrics=frozenset({"requests"}))
    result = flush.run(now=NOW)
    assert (result.gained, result.errors) == (MOST + 5, 7)
    assert sorted(it.reason.partition(" ")[0] for it in books.aside()) == ["the"] * 7
    assert sum(it.rows for it in books.aside()) == 7
    client.delete(parts_key("b", AT_NOON))
    count(redis, "b", 2)
    retried = flush.run(now=NOON + timedelta(hours=5), keys=books.aside_keys())
    assert (retried.gained, retried.errors) == (3, 5)
    assert sum(it.rows for it in books.aside()) == 5


def test_a_part_that_the_table_cannot_take_holds_up_no_other(
    redis: Counters, postgres: Postgres, books: Books
) -> None:
    """It is found by halves: here, the table's owner allows no usage of one merchant."""
    statement = "ALTER TABLE usage_part ADD CHECK (merchant_id <> 'closed')"
    postgres.transaction(lambda it: it.execute(statement))
    for n in range(20):
        count(redis, "closed" if n == 13 else f"m{n}", 1)
    result = Flush(redis, books, close_after=CLOSE).run(now=NOW)
    assert (result.gained, result.errors) == (19, 1)
    assert ["usage_part" in it.reason for it in books.aside()] == [True]


def test_a_date_a_range_or_a_merchant(redis: Counters, books: Books) -> None:
    """Only what is asked for is booked, and nothing is sealed."""
    flush = Flush(redis, books, close_after=CLOSE)
    for days in range(4):
        count(redis, "acme", 1, hour=hour_of(NOON - timedelta(days=days), ZONE))
        count(redis, "b*", 10, hour=hour_of(NOON - timedelta(days=days), ZONE))
    today = NOON.date()
    yesterday = today - timedelta(days=1)
    assert flush.run(Asked(first=yesterday, last=yesterday), now=NOW).gained == 11
    assert flush.run(Asked(first=today - timedelta(days=3), last=yesterday), now=NOW).gained == 22
    assert flush.run(Asked(merchant="acme"), now=NOW).gained == 1
    assert flush.run(Asked(merchant="b*", first=today), now=NOW).gained == 10
    assert books.sealed_through() is None
    assert flush.run(now=NOW).gained == 0


def test_drift_is_found_and_repaired_unless_it_takes_too_much_away(
    redis: Counters, postgres: Postgres, books: Books
) -> None:
    """By an increment. Somebody wrote the table, or rows of parts are gone."""
    count(redis, "acme", 5_000)
    Flush(redis, books, close_after=CLOSE).run(now=NOW)
    wrong = "UPDATE merchant_usage SET metric_value = 4998"
    postgres.transaction(lambda it: it.execute(wrong))
    drift = Drift("acme", NOON.date(), "requests", 5_000, 4_998)
    assert books.verify() == [drift]
    assert books.repair(0.05) == [drift]
    assert books.repair(0.05) == books.verify() == []
    postgres.transaction(lambda it: it.execute("DELETE FROM usage_part"))
    with pytest.raises(MassLoss, match=r"take away 5,000 of 5,000.*LIBRA_MAX_LOSS=0.05"):
        books.repair(0.05)
    assert usage(postgres) == {("acme", "2026-11-25", "requests"): 5_000}
    books.repair(1.0)
    assert usage(postgres) == {("acme", "2026-11-25", "requests"): 0}


def test_where_a_server_is_away_the_run_fails_and_the_next_one_books_all(
    redis: Counters, books: Books, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Redis or PostgreSQL; nothing is deleted and nothing is sealed meanwhile."""
    count(redis, "acme", 5)
    with pytest.raises(Transient, match="Redis 127"):
        Flush(Counters.connect("redis://127.0.0.1:1"), books, close_after=CLOSE).run(now=NOW)
    with PostgresServer(tmp_path_factory.mktemp("postgres")) as server:
        once = Retry(attempts=2, first=0.01)
        with Postgres.connect(server.url(), retry=once, connect_seconds=0.5) as other:
            there = Books(other)
            there.migrate()
            server.kill()
            with pytest.raises(StoreError, match="PostgreSQL 127"):
                Flush(redis, there, close_after=CLOSE).run(now=NOW)
            server.start()
            assert Flush(redis, there, close_after=CLOSE).run(now=NOW).gained == 5
    assert Flush(redis, books, close_after=CLOSE).run(now=NOW).gained == 5

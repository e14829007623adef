"""What Valkey and PostgreSQL do, and their models in memory: the same tests for both."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from local.databases import PostgresServer, ValkeyServer
from services.usage import aside as rows_aside
from services.usage.books import Aside, Books, aside_id
from services.usage.counters import Counters, Raise
from shared.parts import MOST, Hour, Name, Part, Unreadable, hour_of, parts_key
from tests.support.databases import fresh
from tests.support.usage import LATE, MemoryBooks, MemoryCounters

UTC_ZONE = ZoneInfo("UTC")
NOON = datetime(2026, 11, 25, 12, tzinfo=UTC)
AT_NOON = hour_of(NOON, UTC_ZONE)
ODD = "a:b{c}%*[x]" + "é" * 200


def part(value: int, incarnation: str = "i1", *, merchant: str = "acme", hour: Hour = AT_NOON) -> Part:
    """A part of requests."""
    return Part(Name(merchant, hour.date, "requests", hour.begin, incarnation), value)


def raises(
    value: int, incarnation: str = "i1", *, merchant: str = "acme", hour: Hour = AT_NOON
) -> list[Raise]:
    """The message that raises it."""
    return [Raise(merchant, hour, (("requests", incarnation, value),))]


@pytest.fixture(params=["valkey", "memory"])
def counters(request: pytest.FixtureRequest) -> Iterator[Counters | MemoryCounters]:
    """An empty Redis, of either kind."""
    if request.param == "memory":
        yield MemoryCounters()
        return
    server: ValkeyServer = request.getfixturevalue("valkey_server")
    found = Counters.connect(server.url)
    found._client.flushall()
    yield found
    found.close()


@pytest.fixture(params=["postgres", "memory"])
def books(request: pytest.FixtureRequest) -> Iterator[Books | MemoryBooks]:
    """Empty books, of either kind."""
    if request.param == "memory":
        yield MemoryBooks()
        return
    server: PostgresServer = request.getfixturevalue("postgres_server")
    with fresh(server) as postgres:
        found = Books(postgres)
        assert found.migrate() == [1, 2, 3, 4, 5]
        assert found.migrate() == []
        yield found


def held(counters: Counters | MemoryCounters, merchant: str = "acme") -> dict[str, str]:
    """What the hash of noon holds."""
    ((_, fields),) = counters.read([parts_key(merchant, AT_NOON).encode()])
    assert not isinstance(fields, Unreadable)
    return {field.decode(): raw.decode() for field, raw in fields}


def rows(books: Books | MemoryBooks) -> tuple[dict[Name, int], dict[tuple[str, str], int]]:
    """The parts and the totals, by merchant and metric."""
    if isinstance(books, MemoryBooks):
        totals = {(it[0], it[2]): value for it, value in books.totals.items()}
        return dict(books.parts), totals
    parts = books._postgres.transaction(lambda it: it.execute("SELECT * FROM usage_part").fetchall())
    found = books._postgres.transaction(
        lambda it: it.execute("SELECT merchant_id, metric_type, metric_value FROM merchant_usage").fetchall()
    )
    return (
        {Name(m, d, k, h, i): value for m, d, k, h, i, value in parts},  # type: ignore[arg-type, misc]
        {(merchant, metric): value for merchant, metric, value in found},  # type: ignore[misc]
    )


def test_a_part_is_raised_and_never_lowered(counters: Counters | MemoryCounters) -> None:
    """Each answer says what was there before."""
    for value, before in ((5, 0), (5, 5), (3, 5), (9, 5), (MOST, 9)):
        assert counters.raise_to(raises(value)) == [[before]]
    assert held(counters) == {"requests:i1": str(MOST)}


def test_several_parts_in_one_message(counters: Counters | MemoryCounters) -> None:
    """Of several merchants, metrics and processes; a name of any characters."""
    both = Raise("acme", AT_NOON, (("requests", "i1", 5), ("bytes", "i1", 70), ("requests", "i2", 2)))
    assert counters.raise_to([both, *raises(1, merchant=ODD)]) == [[0, 0, 0], [0]]
    assert held(counters) == {"requests:i1": "5", "bytes:i1": "70", "requests:i2": "2"}
    assert held(counters, ODD) == {"requests:i1": "1"}
    scanned = {key for page in counters.scan() for key in page}
    assert scanned == {parts_key(it, AT_NOON).encode() for it in ("acme", ODD)}
    assert [key for page in counters.scan(ODD) for key in page] == [parts_key(ODD, AT_NOON).encode()]
    assert [key for page in counters.scan("acme", AT_NOON.date + timedelta(1)) for key in page] == []


def test_what_is_no_number_is_raised_over(counters: Counters | MemoryCounters) -> None:
    """The process that counts knows better than what somebody else wrote into its field."""
    counters.raise_to(raises(5))
    for garbage in ("five", "9007199254740993", ""):
        if isinstance(counters, MemoryCounters):
            counters.hashes[parts_key("acme", AT_NOON)]["requests:i1"] = garbage
        else:
            counters._client.hset(parts_key("acme", AT_NOON), "requests:i1", garbage)
        assert counters.raise_to(raises(6)) == [[0]]
        assert held(counters) == {"requests:i1": "6"}


def test_only_what_was_read_is_deleted(counters: Counters | MemoryCounters) -> None:
    """A part that was raised since stays."""
    counters.raise_to([*raises(5), *raises(7, "i2")])
    key = parts_key("acme", AT_NOON).encode()
    assert counters.forget([(key, [(b"requests:i1", b"4"), (b"requests:i2", b"7"), (b"none:i", b"1")])]) == 1
    assert held(counters) == {"requests:i1": "5"}
    assert counters.forget([(key, [(b"requests:i1", b"5")])]) == 1
    assert [key for page in counters.scan() for key in page] == []


def test_a_join_adds_only_what_is_new(books: Books | MemoryBooks) -> None:
    """A part that comes again, late, or after a newer one changes nothing."""
    assert books.join([part(5), part(2, "i2"), part(1, merchant=ODD)]) == (3, 8, 0)
    assert books.join([part(5), part(1, "i2")]) == (0, 0, 0)
    assert books.join([part(9), part(3, "i2")]) == (2, 5, 0)
    assert books.join([]) == (0, 0, 0)
    parts, totals = rows(books)
    assert parts == {part(0).name: 9, part(0, "i2").name: 3, part(0, merchant=ODD).name: 1}
    assert totals == {("acme", "requests"): 12, (ODD, "requests"): 1}
    assert books.verify() == []


def test_behind_the_seal_a_part_is_set_aside_until_it_is_admitted(books: Books | MemoryBooks) -> None:
    """Once, however often it comes; what it gained since is admitted next time."""
    books.join([part(5)])
    assert books.sealed_through() is None
    assert books.seal(AT_NOON.end) == AT_NOON.end
    assert books.seal(AT_NOON.begin) == AT_NOON.end
    assert books.sealed_through() == AT_NOON.end
    assert books.join([part(5), part(4, "i2")]) == (0, 0, 1)
    assert books.join([part(7), part(4, "i2")]) == (0, 0, 1)
    assert books.aside() == [Aside(LATE, 2, 6)]
    later = hour_of(AT_NOON.end, UTC_ZONE)
    assert books.admit(later) == 6
    assert books.admit(later) == 0
    assert books.join([part(9), part(1, hour=later)]) == (1, 1, 1)
    assert books.admit(later) == 2
    assert books.aside() == [Aside(LATE, 2, 0)]
    parts, totals = rows(books)
    assert parts[part(0).name] == 5
    assert totals == {("acme", "requests"): 14}
    assert books.verify() == []


def forget(books: Books | MemoryBooks, key: str, field: str = "") -> int:
    """Forget what is set aside; how much was due."""
    if isinstance(books, MemoryBooks):
        return books.forget(aside_id(key, field))
    return sum(it.due for it in rows_aside.forget(books._postgres, [aside_id(key, field)[:12]], "a test"))


def test_what_is_forgotten_is_not_admitted_however_often_it_comes(books: Books | MemoryBooks) -> None:
    """It is shown no more, and still counts as read back; what it gains afterwards is late anew."""
    books.seal(AT_NOON.end)
    key, later = parts_key("acme", AT_NOON), hour_of(AT_NOON.end, UTC_ZONE)
    books.join([part(5), part(3, "i2")])
    assert books.admit(later) == 8
    books.join([part(7)])
    assert [forget(books, key, f"requests:{it}") for it in ("i1", "i2")] == [2, 0]
    assert books.aside() == []
    books.join([part(7), part(3, "i2")])
    assert books.admit(later) == 0
    assert books.aside() == []
    assert books.read_back([part(7), part(3, "i2")]) == [part(7), part(3, "i2")]
    books.join([part(8)])
    assert books.aside() == [Aside(LATE, 1, 1)]
    assert books.admit(later) == 1
    books.set_aside([Unreadable(key, "", "", "no hash")])
    assert forget(books, key) == 0
    assert books.aside() == []
    books.set_aside([Unreadable(key, "", "", "no hash")])
    assert books.aside() == [Aside("no hash", 1, 0)]
    assert books.verify() == []


def test_what_is_booked_is_read_back(books: Books | MemoryBooks) -> None:
    """In its row or set aside; no less than what Redis holds."""
    books.join([part(5)])
    books.seal(AT_NOON.end)
    books.join([part(3, "i2")])
    asked = [part(5), part(6), part(3, "i2"), part(4, "i2"), part(1, "i3")]
    assert books.read_back(asked) == [part(5), part(3, "i2")]


def test_what_cannot_be_read_is_kept_with_its_reason_until_it_is_read(books: Books | MemoryBooks) -> None:
    """The same row again is the same row."""
    key = parts_key("acme", AT_NOON)
    wrong = [Unreadable(key, "requests:i1", "five", "no number"), Unreadable(key, "", "", "no hash")]
    books.set_aside([*wrong, Unreadable("usage-parts:\0", "x\0", "\0", "no key")])
    books.set_aside(wrong)
    books.set_aside([])
    assert [(it.reason, it.rows) for it in books.aside()] == [("no hash", 1), ("no key", 1), ("no number", 1)]
    assert books.aside_keys()[-1] == key
    books.join([part(1)])
    assert [(it.reason, it.rows) for it in books.aside()] == [("no key", 1)]

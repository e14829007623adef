"""The reading that both counters share: retried, in threads or in turn, accounted; and what a tally sees."""

import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.aggregation import (
    MAX_KEY_BYTES,
    Aggregation,
    Count,
    FieldKey,
    Home,
    Range,
    Source,
    Sum,
    TimeKey,
    fold,
)
from shared.counting import snapshot as reading
from shared.counting.index import index
from shared.counting.scan import Tally, scan
from shared.counting.snapshot import RETRY, Snapshot, Step
from shared.errors import Denied, IndexMissing, Invalid, Transient
from shared.settings import UTC as UTC_ZONE
from shared.store import Query
from tests.support.memory_seams import Call, Fault, Seams
from tests.support.recomputing import World, exact_at

KEYS = Source("libra", (Aggregation("aggregates_categories", FieldKey("ingredient")),))
MIXED = Source(
    "libra",
    (
        Aggregation("by_hour", TimeKey("at", "hour", UTC_ZONE), measures=(Count(), Sum("amount", "grams"))),
        Aggregation("by_name", FieldKey("device.name")),
        Aggregation("by_device", FieldKey("device")),
    ),
)


@pytest.fixture
def world() -> World:
    """Twenty entries of four ingredients."""
    world = World()
    for number in range(20):
        world.write(f"e{number}", ingredient=f"Ingredient {number % 4}")
    world.later(hours=1)
    return world


def taken(world: World, workers: int = 1) -> Snapshot:
    """The world as it is now."""
    return Snapshot(
        world.store, world.source, world.home, world.clock.now, workers=workers, sleep=world.clock.sleep
    )


@pytest.mark.parametrize("count", [index, scan], ids=["index", "scan"])
@pytest.mark.parametrize("workers", [1, 3])
def test_every_read_may_fail_once(world: World, count: type, workers: int) -> None:
    """Each is tried again, its tries are billed, and nothing is counted twice."""
    seen: set[object] = set()

    def stumble(call: Call) -> Fault | None:
        first = str(call.about) not in seen
        seen.add(str(call.about))
        return "reply lost" if first else None

    world.store = Seams(world.memory, stumble)
    counted = count(taken(world, workers=workers))
    assert counted.totals == exact_at(world.memory, world.source, world.clock.now)


@pytest.mark.parametrize("workers", [1, 3])
def test_a_read_that_fails_for_good_ends_the_count(world: World, workers: int) -> None:
    """After so many attempts, or at once if it can never succeed."""
    tries = 0

    def down(_: Call) -> Fault | None:
        nonlocal tries
        tries += 1
        return "request lost"

    world.store = Seams(world.memory, down)
    with pytest.raises(Transient):
        scan(taken(world, workers=workers))
    assert tries >= RETRY.attempts

    def deny(_: Call) -> Fault | None:
        raise Denied("no permission")

    world.store = Seams(world.memory, deny)
    with pytest.raises(Denied):
        index(taken(world, workers=workers))


def test_a_page_is_counted_once_however_often_it_is_read(world: World) -> None:
    """Pages that end exactly at the last entry, too."""
    for page in (1, 3, 20, 21):
        counted = scan(taken(world, workers=1), page=page)
        assert counted.entries == 20
        assert counted.totals == exact_at(world.memory, world.source, world.clock.now)


def test_a_stream_that_breaks_off_is_taken_up_as_long_as_it_brings_something(world: World) -> None:
    """More often than a read that brings nothing is tried, and every entry is read once."""

    class Breaking(Seams):
        def scan(self, collection, fields, **bounds):  # type: ignore[no-untyped-def]  # as in Seams
            sent = list(islice(super().scan(collection, fields, **bounds), 2))
            yield from sent
            if sent:
                raise Transient("UNAVAILABLE")

    world.store = Breaking(world.memory)
    snapshot = taken(world)
    counted = scan(snapshot, page=20)
    assert (counted.entries, snapshot.reads) == (20, 21)  # the last query finds nothing, and is billed
    assert counted.entries > 2 * RETRY.attempts
    assert counted.totals == exact_at(world.memory, world.source, world.clock.now)


def test_the_past_of_totals_is_never_read(world: World) -> None:
    """The emulator forgets it after five minutes, and answers UNKNOWN as often as it is asked."""

    class Forgetful(Seams):
        def count(self, query, *, read_time=None):  # type: ignore[no-untyped-def]  # as in Seams
            if read_time and query.collection != world.home.entries:
                raise Transient("UNKNOWN")
            return super().count(query, read_time=read_time)

    world.store = Forgetful(world.memory)
    assert world.run("auto").drift == 4 * 20  # of the fixture's entries, which nobody counted


def test_whoever_waits_for_a_slow_task_is_heard(monkeypatch: pytest.MonkeyPatch, world: World) -> None:
    """A lease is renewed also while nothing comes back."""
    monkeypatch.setattr(reading, "BEAT", 0.01)
    beats: list[int] = []
    heard = threading.Event()

    def beat(entries: int) -> None:
        beats.append(entries)
        if len(beats) == 3:
            heard.set()

    snapshot = Snapshot(world.store, world.source, world.home, world.clock.now, workers=2, beat=beat)

    def slow() -> Step:
        assert heard.wait(30)  # the caller's thread beats meanwhile
        return Step(entries=1)

    assert snapshot.run([slow]).entries == 1
    assert beats[:3] == [0, 0, 0]


@pytest.mark.parametrize("found", ["The query requires an index. Create it here", "bad request"])
def test_a_missing_index_is_named_with_what_to_do(world: World, found: str) -> None:
    """Any other refusal is passed on as it is."""

    class Refusing(Seams):
        def count(self, query, *, read_time=None):  # type: ignore[no-untyped-def]  # as in Seams
            if query.where and query.where[-1].field == "timestamp":
                raise Invalid(found)
            return super().count(query, read_time=read_time)

    world.store = Refusing(world.memory)
    with pytest.raises(IndexMissing if "index" in found else Invalid) as caught:
        index(taken(world, workers=1))
    if isinstance(caught.value, IndexMissing):
        assert "(dataAction, timestamp), ascending: deploy firestore.indexes.json" in str(caught.value)


values = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-5, 5),
    st.sampled_from([0.0, -0.0, 1.0, 2.5, float("nan"), float("inf")]),
    st.sampled_from(["", "a", "b", "x" * MAX_KEY_BYTES, "x" * (MAX_KEY_BYTES + 1)]),
    st.binary(max_size=1),
    st.lists(st.integers(), max_size=1),
    st.integers(0, 2 * 86_400).map(
        lambda seconds: datetime(2025, 9, 4, tzinfo=UTC) + timedelta(seconds=seconds)
    ),
    st.sampled_from([datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)]),
)
fields = st.dictionaries(
    st.sampled_from(["at", "amount", "device"]),
    st.one_of(values, st.dictionaries(st.sampled_from(["name", "x"]), values, max_size=2)),
)


@given(st.lists(fields, max_size=12), st.integers(1, 12))
def test_a_tally_adds_up_to_the_fold(entries: list[dict[str, object]], most: int) -> None:
    """Whatever entries are taken for alike, no declaration could tell them apart."""
    tally = Tally.of(MIXED, most)
    for entry in entries:
        tally.add(entry)
        assert max(map(len, _kinds(tally))) < most
    assert tally.totals() == fold(MIXED, entries)


def test_a_tally_does_not_grow_with_its_entries() -> None:
    """A thousand entries of one hour and one name are one kind."""
    tally, begin = Tally.of(MIXED), datetime(2025, 9, 4, 18, tzinfo=UTC)
    for number in range(1_000):
        tally.add(
            {"at": begin + number * timedelta(seconds=3), "amount": 1, "device": {"name": "a", "n": number}}
        )
    assert sum(map(len, _kinds(tally))) == 3


@pytest.mark.parametrize(
    ("where", "counted"),
    [
        (Range("at", datetime(2025, 9, 4, 18, 20, tzinfo=UTC), datetime(2025, 9, 4, 18, 40, tzinfo=UTC)), 20),
        (Range("at", below=datetime(2025, 9, 4, 18, 0, 1, tzinfo=UTC)), 1),
        (Range("name", "b", "c"), 30),
    ],
)
def test_a_tally_keeps_apart_what_a_filter_tells_apart(where: Range, counted: int) -> None:
    """Bounds inside an hour, also two of them; and strings that are too long for a key."""
    begin, names = datetime(2025, 9, 4, 18, tzinfo=UTC), ["a", "b"]
    source = Source("libra", (Aggregation("a", TimeKey("at", "hour", UTC_ZONE), where),))
    entries: list[dict[str, object]] = [
        {"at": begin + number * timedelta(minutes=1), "name": names[number % 2] + "x" * MAX_KEY_BYTES}
        for number in range(60)
    ]
    tally = Tally.of(source)
    for entry in entries:
        tally.add(entry)
    assert tally.totals() == fold(source, entries) == {("a", 18): {"count": counted}}


def test_a_minute_past_midnight_is_of_its_own_day() -> None:
    """The clock of St. John's went back at 00:01: the hour began and ended on the day before."""
    at = {"at": datetime(2006, 10, 29, 2, 30, 30, tzinfo=UTC)}
    for grain in ("hour", "date", "weekday"):
        source = Source("libra", (Aggregation("a", TimeKey("at", grain, ZoneInfo("America/St_Johns"))),))
        tally = Tally.of(source)
        tally.add(at)
        assert tally.totals() == fold(source, [at])


def _kinds(tally: Tally) -> Iterator[dict[tuple[object, ...], int]]:
    yield from tally._kinds


def test_an_empty_collection_costs_one_read_a_query(world: World) -> None:
    """Firestore bills a query that finds nothing, too."""
    world.source, world.home = Source("nothing", KEYS.aggregations), Home("nothing")
    snapshot = taken(world, workers=1)
    assert (scan(snapshot).entries, snapshot.reads) == (0, 1)


def test_a_look_for_one_document_reads_its_stream_to_the_end(world: World) -> None:
    """gRPC keeps memory of a stream that is left before its end, for ever: 0.4 MB a run in a soak."""
    ended: list[str] = []

    class Streams:
        def __getattr__(self, name: str) -> object:
            return getattr(world.memory, name)

        def query(self, query: Query, **options: Any) -> Iterator[object]:
            yield from world.memory.query(query, **options)
            ended.append(query.collection)

    world.store = Streams()  # type: ignore[assignment]  # as much of a store as it needs
    found = taken(world).first(Query("libra", limit=1))
    assert found is not None
    assert (found.path, ended) == ("libra/e0", ["libra"])

"""An explanation: the entries of a total, what each of them adds, what is archived, what nothing explains."""

import json
from base64 import urlsafe_b64decode
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from shared.aggregation import Aggregation, FieldKey, OneOf, Source, TimeKey
from shared.errors import IndexMissing, Invalid, NotFound, Unanswerable
from shared.store import Delete, Document, Query
from shared.windows import Explanation, explain
from shared.windows.paging import cursor
from tests.support.archiving import sealed
from tests.support.reading import Counting
from tests.support.recomputing import BEGIN, Died, World, dying_at

REST = ": no event came, or it is on its way. The next run whose watermark is later counts that"

ZURICH = ZoneInfo("Europe/Zurich")


def explained(
    world: World, aggregation: str, key: str, after: str | None = None, limit: int = 100
) -> Explanation:
    """A page of an explanation."""
    return explain(world.store, world.source, world.home, aggregation, key, after=after, limit=limit)


def test_each_entry_says_what_it_adds_and_the_sum_so_far() -> None:
    """A page at a time; the sum goes on from page to page."""
    world = World()
    world.serve(5)
    world.serve(2, "other", ingredient="Rice")
    first = explained(world, "aggregates_categories", "Kettle Chips", limit=3)
    assert [(each.id, each.adds, each.running) for each in first.entries] == [
        (f"e{number}", {"count": 1}, {"count": number + 1}) for number in range(3)
    ]
    assert (first.unexplained, first.reasons) == (None, ())
    last = explained(world, "aggregates_categories", "Kettle Chips", first.after, limit=3)
    assert [each.running["count"] for each in last.entries] == [4, 5]
    assert (last.after, last.unexplained, last.reasons) == (
        None,
        {"count": 0},
        ("no run has proven the totals of this aggregation yet: run libra recompute",),
    )


def test_all_pages_are_as_of_one_instant() -> None:
    """What is written, counted and deleted between two pages changes nothing."""
    world = World()
    world.serve(4)
    world.later(minutes=30)
    world.run()
    first = explained(world, "aggregates_actions", "Served", limit=2)
    world.serve(3, "a")
    world.memory.commit([Delete("libra/e3")], timeout=10)
    last = explained(world, "aggregates_actions", "Served", first.after, limit=10)
    assert [each.id for each in (*first.entries, *last.entries)] == ["e0", "e1", "e2", "e3"]
    assert (last.total.values, last.unexplained, last.at) == ({"count": 4}, {"count": 0}, first.at)


def test_what_lives_and_what_is_archived_make_the_total() -> None:
    """Nothing is unexplained after an archive."""
    kept = sealed(5)
    kept.run()
    kept.world.serve(2, "later")
    found = explained(kept.world, "aggregates_actions", "Served")
    assert (found.total.values, found.total.archived) == ({"count": 7}, {"count": 5})
    assert ([each.id for each in found.entries], found.unexplained) == (["later0", "later1"], {"count": 0})


def test_an_entry_that_is_not_counted_is_told() -> None:
    """Proven ones and counted ones beside it; the difference is what waits, and there is no rest."""
    world = World()
    world.serve(1, "a")
    world.later(minutes=30)
    world.run()
    world.serve(1, "b")
    world.write("c")
    found = explained(world, "aggregates_actions", "Served")
    assert [each.state for each in found.entries] == ["verified", "applied", "received"]
    assert (found.waiting, found.unexplained) == ({"count": 1}, {"count": -1})
    assert found.reasons == (f"1 entry is not counted yet{REST}",)


def test_what_nothing_explains_is_told_as_the_rest() -> None:
    """A deletion whose event is lost; and a run that failed behind its seal."""
    world = World()
    world.serve(3)
    world.later(minutes=30)
    world.run()
    world.memory.commit([Delete("libra/e1")], timeout=10)
    found = explained(world, "aggregates_actions", "Served")
    assert (found.unexplained, found.waiting, len(found.reasons)) == ({"count": 1}, {"count": 0}, 1)
    assert found.reasons[0].startswith("the rest: edits or deletions")
    world.later(minutes=30)
    with pytest.raises(Died):
        world.recompute(step=dying_at(world, "seal committed")).run()
    world.store = world.memory
    found = explained(world, "aggregates_actions", "Served")
    assert found.reasons[0].startswith(f"a run sealed {(BEGIN + timedelta(minutes=50)).isoformat()}")


def times_source() -> Source:
    """Totals by times that recur, that do not, and by a list."""
    return Source(
        "libra",
        (
            Aggregation("hours", TimeKey("timestamp", "hour", ZURICH)),
            Aggregation("dates", TimeKey("timestamp", "date", ZURICH)),
            Aggregation("places", (FieldKey("location"), TimeKey("timestamp", "date", ZURICH))),
            Aggregation("staples", OneOf(FieldKey("ingredient"), ("Rice",), "other")),
        ),
    )


def test_a_page_costs_what_it_looks_at() -> None:
    """One read an entry, one for its marker, two for the total and its proof, and two to begin with hours."""
    world = World(source=times_source())
    for day in range(10):
        moment = datetime(2025, 8, 1 + day, 18, 30, tzinfo=UTC)
        world.serve(3, f"{day}-", timestamp=moment, location=f"l{day % 2}")
        world.serve(1, f"{day}-noon-", timestamp=moment.replace(hour=10), ingredient="Rice")
    world.later(minutes=30)
    world.run("scan")
    counting = Counting(world.memory)
    world.store = counting

    def cost(aggregation: str, key: str, limit: int = 100) -> tuple[int, int]:
        counting.reads = 0
        found = explained(world, aggregation, key, limit=limit)
        assert counting.reads == found.reads
        return len(found.entries), found.reads

    assert cost("dates", "2025-08-03") == (4, 6)
    assert cost("dates", "2025-08-03", 2) == (2, 4)
    assert cost("dates", "2020-01-01") == (0, 3)
    assert cost("places", "l0|2025-08-03") == (3, 5)
    assert cost("staples", "Rice") == (10, 12)
    assert cost("staples", "other", 10)[0] == 10
    # Each evening is looked up by itself: 30 entries, 2 to find the first, 2 to see that none follows.
    assert cost("hours", "20") == (30, 36)
    world.store = world.memory
    world.serve(2, "since", timestamp=datetime(2025, 8, 3, 12, tzinfo=UTC))
    world.store = counting
    assert cost("dates", "2025-08-03") == (6, 10)


@pytest.mark.parametrize(("size", "filters"), [(1_499, 1), (1_500, 0)])
def test_a_string_that_an_index_cuts_off_is_not_looked_up_by_it(size: int, filters: int) -> None:
    """Firestore may not find it: all entries are looked at instead."""
    world = World(source=Source("libra", (Aggregation("foods", FieldKey("ingredient")),)))
    world.serve(2, ingredient="x" * size)
    world.serve(1, "other")
    asked: list[Query] = []

    class Noting(Counting):
        def query(self, query: Query, *, read_time: datetime | None = None) -> Iterator[Document]:
            asked.append(query)
            return super().query(query, read_time=read_time)

    world.store = Noting(world.memory)
    assert len(explained(world, "foods", "x" * size).entries) == 2
    assert [len(query.where) for query in asked] == [filters]


def test_a_page_ends_after_so_many_reads() -> None:
    """The next one goes on: a filter that admits few entries makes no page endless."""
    world = World(source=times_source())
    world.serve(1_100, ingredient="Rice")
    world.serve(1, "z", ingredient="Peas")
    first = explained(world, "staples", "other", limit=1)
    assert (first.entries, first.after is None, 1_000 <= first.reads < 1_100 + 2) == ((), False, True)
    second = explained(world, "staples", "other", first.after, limit=10)
    assert [each.id for each in second.entries] == ["z0"]


def test_a_missing_index_is_named() -> None:
    """With what to add to firestore.indexes.json."""

    class Indexless(Counting):
        def query(self, query: Query, *, read_time: datetime | None = None) -> Iterator[Document]:
            if len(query.order_by) > 1:
                raise Invalid("query of libra: FAILED_PRECONDITION: The query requires an index.")
            return super().query(query, read_time=read_time)

    world = World(source=times_source())
    world.store = Indexless(world.memory)
    with pytest.raises(IndexMissing) as caught:
        explained(world, "places", "l0|2025-08-03")
    assert (
        '"collectionGroup": "libra", "queryScope": "COLLECTION", "fields": [{"fieldPath": "location", '
        '"order": "ASCENDING"}, {"fieldPath": "timestamp", "order": "ASCENDING"}]}'
    ) in str(caught.value)


def test_another_refusal_is_no_missing_index() -> None:
    """It is passed on as it is."""

    class Refusing(Counting):
        def query(self, query: Query, *, read_time: datetime | None = None) -> Iterator[Document]:
            raise Invalid(f"query of {query.collection} at {read_time}: INVALID_ARGUMENT: no")

    world = World()
    world.store = Refusing(world.memory)
    with pytest.raises(Invalid, match="INVALID_ARGUMENT: no"):
        explained(world, "aggregates_actions", "Served")


def test_what_has_no_explanation_is_refused() -> None:
    """An unknown aggregation, what is no key, a cursor of another total."""
    world = World()
    world.serve(3)
    after = explained(world, "aggregates_actions", "Served", limit=1).after
    with pytest.raises(NotFound, match="expected one of aggregates_categories"):
        explained(world, "foods", "Rice")
    with pytest.raises(Unanswerable, match="'x' is not a date such as"):
        explained(world, "aggregates_time_dates", "x")
    with pytest.raises(Unanswerable, match="cursor of another list"):
        explained(world, "aggregates_actions", "Heartbeat", after)
    with pytest.raises(Unanswerable, match="limit=0"):
        explained(world, "aggregates_actions", "Served", limit=0)


def test_a_forged_cursor_of_the_year_1_is_refused() -> None:
    """It would have Firestore read a snapshot of that time, which fails as an outage does."""
    world = World()
    world.serve(3)
    after = explained(world, "aggregates_actions", "Served", limit=1).after
    assert after
    scope, at, *rest = json.loads(urlsafe_b64decode(after + "=="))
    forged = cursor(scope, datetime.fromisoformat(at["time"]).replace(year=1), *rest)
    with pytest.raises(Unanswerable, match="is no cursor: it is of 0001-"):
        explained(world, "aggregates_actions", "Served", forged)

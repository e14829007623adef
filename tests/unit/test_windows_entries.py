"""Entries: what became of one, which there are, and which values a field has."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from shared.aggregation import Aggregation, Entry, FieldKey, Source, Version
from shared.errors import Unanswerable
from shared.store import Delete
from shared.windows import EntryStatus, distinct, entries, entry_status
from tests.support.archiving import sealed
from tests.support.reading import Counting
from tests.support.recomputing import World

NOON = datetime(2025, 9, 4, 12, tzinfo=UTC)


def status(world: World, entry_id: str, version: datetime | None = None) -> EntryStatus:
    """What became of an entry."""
    return entry_status(world.store, world.source, world.home, entry_id, version=version)


def test_an_entry_is_received_then_applied_then_verified() -> None:
    """And it says which totals it adds to."""
    world = World()
    written = world.write("e")
    found = status(world, "e")
    assert (found.state, found.created, found.updated) == ("received", written.time, written.time)
    assert {cell.aggregation for cell in found.contribution.deltas} == {
        each.name for each in world.source.aggregations
    }
    world.ledger().apply(written)
    assert status(world, "e").state == "applied"
    world.later(minutes=30)
    world.run()
    assert status(world, "e").state == "verified"


def test_an_edited_entry_is_judged_by_its_current_version() -> None:
    """Its edit may have changed no total, so a missing marker proves nothing."""
    world = World()
    (old,) = world.serve(1)
    world.merge("libra/e0", ingredient="Rice")
    assert status(world, "e0").state == "unsure"
    (document,) = world.memory.get(["libra/e0"])
    assert document
    edit = Entry(old.path, document.update_time, document.fields, Version(old.time, old.fields))
    world.ledger().apply(edit)
    assert (status(world, "e0").state, status(world, "e0").updated) == ("applied", document.update_time)


def test_an_entry_whose_marker_has_expired_is_unsure() -> None:
    """Without a run, a marker that is not there after seven days says nothing."""
    world = World()
    world.write("e")
    world.later(days=7, seconds=1)
    assert status(world, "e").state == "unsure"


def test_what_cannot_be_counted_is_told_with_the_reasons() -> None:
    """By the declarations of today, and as the trigger recorded it."""
    world = World()
    world.serve(1, ingredient=5, timestamp="yesterday")
    found = status(world, "e0")
    reasons = {
        "ingredient": "expected a string, found an integer",
        "timestamp": "expected a Timestamp, found a string",
    }
    assert {each.field: each.reason for each in found.rejections} == reasons
    assert {each["field"]: each["reason"] for each in found.recorded} == reasons
    assert found.state == "applied"
    narrow = World(source=Source("libra", (Aggregation("floors", FieldKey("floor", kind=int), where=None),)))
    narrow.write("e")
    assert (status(narrow, "e").state, status(narrow, "e").recorded) == ("received", ())


def test_an_entry_that_is_not_there_is_unknown_or_gone() -> None:
    """Its record, or a version that is known from before, finds the marker of its deletion."""
    kept = sealed(2)
    version = kept.living()[0].update_time
    assert status(kept.world, "never").state == "unknown"
    kept.run()
    assert status(kept.world, "e0").state == "unknown"
    found = status(kept.world, "e0", version)
    assert (found.state, found.updated, found.created) == ("gone", version, None)
    world = World()
    (bad,) = world.serve(1, ingredient=5)
    (document,) = world.memory.get(["libra/e0"])
    assert document
    world.memory.commit([Delete("libra/e0")], timeout=10)
    assert (status(world, "e0").state, len(status(world, "e0").recorded)) == ("unknown", 1)
    world.ledger().apply(Entry.deleted(bad.path, Version(document.update_time, document.fields)))
    assert status(world, "e0", bad.time).state == "gone"


def test_what_nothing_counts_is_uncounted() -> None:
    """No aggregation admits it: it needs no marker."""
    world = World(source=Source("libra", World().source.aggregations[2:]))
    world.write("e", dataAction="Heartbeat")
    assert status(world, "e").state == "uncounted"


@pytest.mark.parametrize("entry_id", ["", "a/b", ".", "..", "__x__", "x" * 1_501, "\udcff"])
def test_what_is_no_id_is_refused(entry_id: str) -> None:
    """Before anything is read."""
    with pytest.raises(Unanswerable, match=r"entry .*: expected the id of a document: 1 to 1,500 bytes"):
        status(World(), entry_id)


@pytest.mark.parametrize("entry_id", ["Mac%2FCheese", "%2F", "🧂", "x" * 1_400, "a|b", "%empty"])
def test_an_entry_of_any_id_is_found(entry_id: str) -> None:
    """An id is taken as it is."""
    world = World()
    world.write(entry_id)
    assert status(world, entry_id).state == "received"


def filled() -> World:
    """Twelve entries of three locations, one each ten minutes, and one without a time."""
    world = World()
    for number in range(12):
        moment = NOON + timedelta(minutes=10 * number)
        world.write(f"{11 - number:02}", timestamp=moment, location=f"l{number % 3}", floor=number % 2)
    world.write("99", timestamp=..., location="l0", device={"serialNumber": "Mac/Cheese"})
    return world


def ids(world: World, limit: int = 5, **options: object) -> list[str]:
    """The ids on all pages."""
    found: list[str] = []
    after = None
    while True:
        page = entries(world.store, world.source, world.home, after=after, limit=limit, **options)  # type: ignore[arg-type]  # as named
        found += [each.id for each in page.items]
        after = page.after
        if after is None:
            return found


def test_entries_are_sorted_by_event_time_or_by_id() -> None:
    """By time without values, or in a range; by id with values alone, then also those without a time."""
    world = filled()
    by_time = [f"{number:02}" for number in range(11, -1, -1)]
    assert ids(world) == ids(world, limit=12) == ids(world, limit=1) == by_time
    assert ids(world, newest_first=True) == by_time[::-1]
    assert ids(world, start=NOON + timedelta(minutes=20), end=NOON + timedelta(minutes=50)) == [
        "09",
        "08",
        "07",
    ]
    assert ids(world, equals={"location": "l0"}) == ["02", "05", "08", "11", "99"]
    assert ids(world, equals={"location": "l0"}, start=NOON) == ["11", "08", "05", "02"]
    assert ids(world, equals={"location": "l0", "floor": 1}, newest_first=True) == ["02", "08"]
    assert ids(world, equals={"device.serialNumber": "Mac/Cheese"}) == ["99"]
    assert ids(world, end=NOON) == []


def test_a_page_of_entries_costs_a_read_for_each_and_one_more() -> None:
    """With any filter."""
    world = filled()
    counting = Counting(world.memory)
    for limit, options, cost in ((3, {}, 4), (50, {}, 12), (2, {"equals": {"location": "l1"}}, 3)):
        counting.reads = 0
        entries(counting, world.source, world.home, limit=limit, **options)  # type: ignore[arg-type]  # as named
        assert counting.reads == cost


def test_filters_that_cannot_be_are_refused() -> None:
    """A naive time, a range that ends before it starts, a string that no index holds, a cursor of others."""
    world = filled()
    after = entries(world.store, world.source, world.home, limit=1).after
    for options, said in (
        ({"start": NOON.replace(tzinfo=None)}, "expected one with a zone"),
        ({"end": datetime.max.replace(tzinfo=timezone(-timedelta(hours=1)))}, "in the years 1 to 9999"),
        ({"start": NOON, "end": NOON}, "expected two ascending times"),
        ({"equals": {"location": "é" * 750}}, "location=.*: expected valid Unicode of less than 1,500 bytes"),
        ({"equals": {"location": "\udcff"}}, "location=.*: expected valid Unicode"),
        ({"after": after, "newest_first": True}, "cursor of another list"),
        ({"after": after, "equals": {"location": "l0"}}, "cursor of another list"),
        ({"limit": 0}, "limit=0"),
    ):
        with pytest.raises(Unanswerable, match=said):
            entries(world.store, world.source, world.home, **options)
    timeless = Source("libra", world.source.aggregations[:1])
    with pytest.raises(Unanswerable, match="source libra: no aggregation has a TimeKey"):
        entries(world.store, timeless, world.home)


def test_the_values_of_a_field_are_found_one_after_another() -> None:
    """Sorted, each once, a read for each and one more, however many entries there are; no other type."""
    world = World()
    long = "z" * 1_600
    odd = ["", "Caldo/Office", "..", "%2F", "🧂", "x" * 1_400, "é" * 745, long + "1"]
    for number, location in enumerate([*odd, *odd, 5, None, ..., long + "2"]):
        world.write(f"e{number}", location=location)
    counting = Counting(world.memory)
    found: list[str] = []
    after = None
    while True:
        page = distinct(counting, world.home, "location", after=after, limit=3)
        found += page.items
        after = page.after
        if after is None:
            break
    assert found == sorted(odd, key=str.encode)
    assert counting.reads == len(odd) + 1 + 2
    assert distinct(world.memory, world.home, "device.model").items == ("LibraV0",)
    with pytest.raises(Unanswerable, match="cursor of another list"):
        distinct(
            world.memory,
            world.home,
            "ingredient",
            after=distinct(world.memory, world.home, "location", limit=1).after,
        )

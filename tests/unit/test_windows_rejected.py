"""What could not be counted, and a second look at it."""

import pytest

from shared.aggregation import Aggregation, FieldKey, Source
from shared.catalog import libra
from shared.errors import NotFound, Unanswerable
from shared.settings import Settings
from shared.store import Delete, Query
from shared.windows import Rejected, Retried, rejected, retry
from tests.support.recomputing import World

STRICT = libra(Settings())
LOOSE = Source(
    "libra",
    (Aggregation("aggregates_categories", FieldKey("ingredient", kind=int)), *STRICT.aggregations[1:]),
)


def one_rejected() -> World:
    """A world with one entry that one aggregation could not count."""
    world = World()
    world.serve(1, ingredient=5)
    return world


def only(world: World) -> str:
    """The id of the only record."""
    (record,) = rejected(world.store, world.home).items
    return record.id


def retried(world: World, source: Source | None = None) -> Retried:
    """A second look at the only record."""
    return retry(world.store, source or world.source, world.home, only(world))


def left(world: World) -> int:
    """How many records there are."""
    return world.memory.count(Query(world.home.rejected))


def test_the_rejected_come_latest_first_in_pages() -> None:
    """Each once, with entry, version, reasons; an event that describes no entry among them."""
    world = World()
    for number in range(5):
        world.later(seconds=1)
        world.serve(1, f"e{number}", ingredient=number)
    world.later(seconds=1)
    world.ledger().refuse("event-1", "its data is empty")
    found: list[Rejected] = []
    after = None
    for _ in range(3):
        page = rejected(world.store, world.home, after=after, limit=2)
        found += page.items
        after = page.after
    assert after is None
    assert [each.entry for each in found] == [None, "e40", "e30", "e20", "e10", "e00"]
    assert (found[0].event, found[0].reasons) == ("event-1", ({"reason": "its data is empty"},))
    assert found[1].reasons == (
        {
            "aggregation": "aggregates_categories",
            "field": "ingredient",
            "reason": "expected a string, found an integer",
        },
    )
    assert found[1].version
    with pytest.raises(Unanswerable, match="after="):
        rejected(world.store, world.home, after="junk")


def test_what_still_cannot_be_counted_stays() -> None:
    """With the reasons as of now."""
    world = one_rejected()
    found = retried(world)
    assert (found.verdict, found.removed, left(world)) == ("rejected", False, 1)
    assert found.reasons == (
        {
            "aggregation": "aggregates_categories",
            "field": "ingredient",
            "reason": "expected a string, found an integer",
        },
    )


def test_what_can_be_counted_now_waits_for_a_run_with_these_declarations() -> None:
    """A run by the old ones proves nothing of it, although its watermark is later than the entry."""
    world = one_rejected()
    assert retried(world, LOOSE).verdict == "waiting"
    world.later(minutes=30)
    world.run("scan")
    assert (retried(world, LOOSE).verdict, left(world)) == ("waiting", 1)
    world.source = LOOSE
    world.later(minutes=30)
    world.run("scan")
    assert world.count("aggregates_categories/5") == 1
    found = retried(world)
    assert (found.verdict, found.removed, found.reasons, left(world)) == ("counted", True, (), 0)


@pytest.mark.parametrize("edited", [True, False])
def test_a_version_that_is_replaced_or_gone_needs_no_record(edited: bool) -> None:
    """Whatever its edit holds, it has a record of its own if it needs one."""
    world = one_rejected()
    if edited:
        world.merge("libra/e0", ingredient="Rice")
    else:
        world.memory.commit([Delete("libra/e0")], timeout=10)
    found = retried(world)
    assert (found.verdict, found.removed, left(world)) == ("replaced", True, 0)


def test_an_event_that_describes_no_entry_stays() -> None:
    """Nothing can come of it."""
    world = World()
    world.ledger().refuse("event-1", "its data is empty")
    assert (retried(world).verdict, left(world)) == ("malformed", 1)


def test_an_unknown_record_is_not_there() -> None:
    """And what is no id is refused."""
    world = World()
    with pytest.raises(NotFound, match="there is no record none: aggregates_rejected/none is not there"):
        retry(world.store, world.source, world.home, "none")
    with pytest.raises(Unanswerable, match="record 'a/b'"):
        retry(world.store, world.source, world.home, "a/b")


def test_a_damaged_record_is_told_as_well_as_it_can_be() -> None:
    """Fields of other types than Libra writes."""
    world = one_rejected()
    world.merge(f"aggregates_rejected/{only(world)}", entry=5, create_time="x", reasons=["a", {"reason": 7}])
    (record,) = rejected(world.store, world.home).items
    assert (record.entry, record.version, record.reasons) == (None, None, ({"reason": "7"},))
    assert retried(world).verdict == "malformed"

"""The registry: who decides where a value belongs, what is kept of it, and what is refused."""

import pytest

from shared.aggregation import Cell
from shared.errors import Contention, Invalid, StateError, Transient
from shared.ledger import Ledger
from shared.registry import RETRY, Registry
from shared.retry import Retry
from shared.store import Create, Query
from tests.support.bounded import KEYS, admitted, bounded, counts
from tests.support.memory_seams import Call, Fault, Seams
from tests.support.recomputing import World


@pytest.fixture
def world() -> World:
    """Nothing is counted yet."""
    return bounded()


def test_a_ledger_asks_no_more_once_the_list_is_full(world: World) -> None:
    """Both facts, admitted and full, are kept for ever: no read for any value that comes later."""
    asked: list[object] = []

    def note(call: Call) -> None:
        asked.extend(one for one in call.about if getattr(one, "path", one) == KEYS)

    world.store = Seams(world.memory, note)
    ledger = Ledger(world.store, world.source, world.home, world.settings, clock=world.clock)
    for number, value in enumerate(["Rice", "Rice", "Peas"]):
        ledger.apply(world.write(f"e{number}", ingredient=value))
    assert len(asked) == 4  # two values, each read and written
    for number, value in enumerate(["Beans", "Rice", "Peas", "Corn"]):
        ledger.apply(world.write(f"m{number}", ingredient=value))
    assert len(asked) == 4


def test_a_source_without_bounded_keys_asks_nothing() -> None:
    """It has no list, and nothing is moved."""
    world = World()
    registry = Registry(world.memory, world.source, world.home, sleep=world.clock.sleep)
    assert not registry
    world.serve(3)
    world.later(hours=1)
    world.run()
    assert [each.path for each in world.memory.query(Query("aggregates"))] == ["aggregates/last_processed"]


def test_who_dies_between_admission_and_commit_has_done_no_harm(world: World) -> None:
    """The value has a place and no total; the event is delivered again."""

    def fails(call: Call) -> Fault | None:
        lost = call.method == "commit" and not any(getattr(each, "path", "") == KEYS for each in call.about)
        return "request lost" if lost else None

    entry = world.write("e", ingredient="Rice")
    clock = {"clock": world.clock, "sleep": world.clock.sleep}
    dying = Ledger(Seams(world.memory, fails), world.source, world.home, world.settings, **clock)  # type: ignore[arg-type]  # as named
    with pytest.raises(Transient):
        dying.apply(entry)
    assert (admitted(world), counts(world)) == ({"ingredient": ["Rice"]}, {})
    world.later(hours=1)
    assert world.run().drift == 13  # the entry, and 12 grams
    assert counts(world) == {"Rice": 1}


@pytest.mark.parametrize("damage", ["Rice", {"ingredient": "Rice"}, {"ingredient": [1]}])
def test_a_damaged_list_is_named_and_never_overwritten(world: World, damage: object) -> None:
    """To take it for empty would give the places away a second time."""
    world.memory.commit([Create(KEYS, {"admitted": damage})], timeout=10)
    entry = world.write("e", ingredient="Rice")
    why = r"aggregates/keys-simple holds a.* in admitted.*: expected a map of lists of strings"
    with pytest.raises(StateError, match=why):
        world.ledger().apply(entry)
    world.later(hours=1)
    with pytest.raises(StateError, match=why):
        world.run()
    assert (admitted(world), counts(world)) == (damage, {})


def test_a_list_that_firestore_refuses_is_no_fault_of_an_event(world: World) -> None:
    """The event is neither rejected nor acknowledged: it comes again until somebody mends the document."""

    def refuses(call: Call) -> None:
        if call.method == "commit" and any(getattr(write, "path", "") == KEYS for write in call.about):
            raise Invalid("commit: INVALID_ARGUMENT: the document is too large")

    why = r"^aggregates/keys-simple: Firestore refuses the list of values .* the document is too large"
    world.store = Seams(world.memory, refuses)
    ledger = Ledger(world.store, world.source, world.home, world.settings, clock=world.clock)
    with pytest.raises(StateError, match=why):
        ledger.apply(world.write("e", ingredient="Rice"))
    assert list(world.memory.query(Query(world.home.rejected))) == []
    world.later(hours=1)
    with pytest.raises(StateError, match=why):
        world.run()


def test_a_list_that_somebody_else_makes_first_is_read_again(world: World) -> None:
    """Also where it is made between the read and the commit; the last failure is raised."""
    registry = Registry(world.memory, world.source, world.home, sleep=world.clock.sleep)
    raced = Seams(world.memory, lambda call: _first(registry, call))
    late = Registry(raced, world.source, world.home, sleep=world.clock.sleep)
    cells = [Cell("simple", value) for value in ("Corn", "Beans")]
    assert list(map(late.settle(cells), cells)) == [Cell("simple", "other"), Cell("simple", "other")]
    assert admitted(world) == {"ingredient": ["Peas", "Rice"]}
    down = Registry(
        Seams(world.memory, lambda _: "request lost"), world.source, world.home, sleep=world.clock.sleep
    )
    with pytest.raises(Transient):
        down.settle(cells)
    assert RETRY.attempts == 10


def test_the_last_place_is_given_once(world: World) -> None:
    """Who read the list before another took it is put among the others."""
    registry = Registry(world.memory, world.source, world.home, sleep=world.clock.sleep)
    registry.settle([Cell("simple", "Rice")])
    late = Registry(
        Seams(world.memory, lambda call: _first(registry, call)),
        world.source,
        world.home,
        sleep=world.clock.sleep,
    )
    cell = Cell("simple", "Corn")
    assert late.settle([cell])(cell) == Cell("simple", "other")
    assert admitted(world) == {"ingredient": ["Peas", "Rice"]}


def test_who_gives_up_says_that_the_event_may_come_again(world: World) -> None:
    """That another made the list first is contention, and no sign that the entry is counted."""
    registry = Registry(world.memory, world.source, world.home, sleep=world.clock.sleep)
    late = Registry(
        Seams(world.memory, lambda call: _first(registry, call)),
        world.source,
        world.home,
        sleep=world.clock.sleep,
        retry=Retry(attempts=1, first=0.1),
    )
    with pytest.raises(Contention):
        late.settle([Cell("simple", "Corn")])


def _first(registry: Registry, call: Call) -> None:
    if call.method == "commit":
        registry.settle([Cell("simple", "Rice"), Cell("simple", "Peas")])

"""Bounded keys: several ledgers race for the last places, and the laws hold."""

import random
from collections import deque
from collections.abc import Mapping

from hypothesis import given, settings
from hypothesis import strategies as st

from shared.aggregation import (
    Aggregation,
    Bounded,
    Cell,
    Count,
    Entry,
    FieldKey,
    Maximum,
    Source,
    Sum,
    TimeKey,
    Version,
    fold,
)
from shared.aggregation.bounded import Bounds, moved
from shared.errors import Transient
from shared.ledger import Ledger
from shared.settings import UTC
from shared.store import Create, Delete, Document, Merge, Query
from tests.support.kitchen import SERVED
from tests.support.memory_seams import Call, Fault, Seams
from tests.support.recomputing import World

VALUES = ["Rice", "Peas", "Beans", "Corn", "other", "Mac/Cheese", "x" * 200, ""]


def bounded(most: int) -> Source:
    """A bounded key by itself, and as a part of two."""
    names, places = FieldKey("ingredient"), FieldKey("location", allow_empty=False)
    return Source(
        "libra",
        (
            Aggregation(
                "simple",
                Bounded(names, most, "other"),
                measures=(Count(), Sum("amount", "grams"), Maximum("amount", "most")),
            ),
            Aggregation(
                "pairs",
                (
                    Bounded(names, most, "other"),
                    TimeKey("timestamp", "date", UTC),
                    Bounded(places, 1, "else"),
                ),
            ),
            Aggregation("free", names),
        ),
    )


entry_fields = st.fixed_dictionaries(
    {
        "ingredient": st.sampled_from([*VALUES, 7]),
        "location": st.sampled_from(["A", "B", ""]),
        "amount": st.sampled_from([1, 2.5, "much"]),
    }
)
histories = st.lists(
    st.tuples(entry_fields, st.none() | entry_fields | st.just("gone")), min_size=1, max_size=8
)


class Race:
    """Three instances, each with faults of its own. While one admits a value, another goes ahead of it."""

    def __init__(self, source: Source, dice: random.Random) -> None:
        self.world = World(source=source)
        self.dice = dice
        self.waiting: deque[Entry] = deque()
        self.busy: list[Ledger] = []
        self.ledgers = [self._instance() for _ in range(3)]

    def _instance(self) -> Ledger:
        world, store = self.world, Seams(self.world.memory, self._plan)
        clock = {"clock": world.clock, "sleep": world.clock.sleep}
        return Ledger(store, world.source, world.home, world.settings, **clock)  # type: ignore[arg-type]  # as named

    def _plan(self, call: Call) -> Fault | None:
        about_keys = any(getattr(one, "path", one) in KEYS for one in call.about)
        if about_keys and len(self.busy) < 3 and self.dice.random() < 0.5:
            self.one()
        faults: list[Fault] = ["request lost", "reply lost", "contention"]
        return self.dice.choice(faults) if self.dice.random() < 0.1 else None

    def one(self) -> None:
        """Deliver an event to an instance that is idle, and perhaps once more later."""
        if not self.waiting:
            return
        self.waiting.rotate(self.dice.randrange(3))
        event = self.waiting.popleft()
        ledger = self.dice.choice([each for each in self.ledgers if each not in self.busy])
        self.busy.append(ledger)
        try:
            ledger.apply(event)
        except Transient:
            self.waiting.append(event)
        else:
            if self.dice.random() < 0.2:
                self.waiting.append(event)  # delivered twice
        finally:
            self.busy.remove(ledger)


KEYS = {"aggregates/keys-simple", "aggregates/keys-pairs"}


def lived(world: World, history: list[tuple[dict[str, object], object]]) -> list[Entry]:
    """Write a history: documents are created, and some are edited or deleted. Their events."""
    events = []
    for number, (fields, then) in enumerate(history):
        path, first = f"libra/e{number}", SERVED | fields
        created = world.memory.commit([Create(path, first)], timeout=10)
        events.append(Entry(world.memory.name(path), created, first))
        old = Version(created, first)
        if then == "gone":
            world.memory.commit([Delete(path)], timeout=10)
            events.append(Entry.deleted(world.memory.name(path), old))
        elif isinstance(then, dict):
            second = first | then
            edited = world.memory.commit(
                [Merge(path, {(name,): value for name, value in second.items()})], timeout=10
            )
            if edited_is_new(world, path, created):
                events.append(Entry(world.memory.name(path), edited, second, old=old))
    return events


def edited_is_new(world: World, path: str, created: object) -> bool:
    """Whether an edit changed anything: one that does not fires no event."""
    (document,) = world.memory.get([path])
    return document is not None and document.update_time != created


def stored(world: World) -> dict[Cell, dict[str, int]]:
    """What the totals say, without what is 0."""
    found: dict[Cell, dict[str, int]] = {}
    for each in world.source.aggregations:
        for document in world.memory.query(Query(each.name)):
            key = each.parse_stored_key(document.fields["key"])
            assert key is not None
            numbers = {column: document.fields.get(column, 0) for column in each.columns}
            kept = {column: number for column, number in numbers.items() if number}
            if kept:
                found[Cell(each.name, key)] = kept  # type: ignore[assignment]  # integers
    return found


def right(world: World) -> dict[Cell, dict[str, int]]:
    """What is true of the entries there are, each value where the lists say."""
    lists = {path: document for path in KEYS for document in world.memory.get([path])}

    def place(cell: Cell) -> Cell:
        return Bounds(world.source).place(cell, admitted(lists.get(f"aggregates/keys-{cell.aggregation}")))

    documents = world.memory.query(Query("libra"))
    return moved(fold(world.source, (document.fields for document in documents)), place)


def admitted(document: Document | None) -> Mapping[str, frozenset[str]]:
    """The lists of an aggregation."""
    lists = document.fields["admitted"] if document else {}
    assert isinstance(lists, Mapping)
    return {part: frozenset(names) for part, names in lists.items()}


@given(st.integers(1, 4), histories, st.integers(0, 2**32), st.booleans())
@settings(deadline=None)
def test_ledgers_that_race_for_the_last_places_count_as_the_fold(
    most: int, history: list[tuple[dict[str, object], object]], seed: int, losing: bool
) -> None:
    """Whoever is first, whatever is lost: once, agree, converge, idempotent; and the bound is kept."""
    dice = random.Random(seed)
    race = Race(bounded(most), dice)
    world = race.world
    events = lived(world, history)
    race.waiting.extend(event for event in events if not losing or dice.random() < 0.7)
    while race.waiting:
        race.one()
    if not losing:
        assert stored(world) == right(world)
    world.later(hours=1)
    before = {path: world.memory.get([path])[0] for path in KEYS}
    verified = world.recompute().verify()
    assert {path: world.memory.get([path])[0] for path in KEYS} == before
    report = world.run()
    assert losing or report.drift == verified.drift == 0
    assert stored(world) == right(world)
    again = world.run()
    assert again.drift == 0
    for path in KEYS:
        lists = admitted(world.memory.get([path])[0])
        assert all(len(names) <= (1 if part == "location" else most) for part, names in lists.items())
    assert len({cell for cell in stored(world) if cell.aggregation == "simple"}) <= most + 1


@given(
    st.integers(1, 3),
    st.lists(st.sampled_from(VALUES), min_size=4, max_size=12),
    st.sampled_from(["scan", "index"]),
)
@settings(deadline=None)
def test_both_counters_decide_as_a_ledger_does(most: int, values: list[str], strategy: str) -> None:
    """Nobody has counted anything: the run decides, and a ledger that comes later keeps to it."""
    names = Bounded(FieldKey("ingredient"), most, "other")
    world = World(source=Source("libra", (Aggregation("simple", names),)))
    entries = [world.write(f"e{number}", ingredient=value) for number, value in enumerate(values)]
    world.later(hours=1)
    world.run(strategy)
    assert stored(world) == right(world)
    late = world.ledger()
    for entry in entries:
        late.apply(entry)  # superseded, each of them
    more = [world.write(f"m{number}", ingredient=value) for number, value in enumerate(VALUES)]
    for entry in more:
        late.apply(entry)
    assert stored(world) == right(world)
    world.later(hours=1)
    assert world.run(strategy).drift == 0

"""Law *once*: any entries, delivered any number of times in any order by anyone, with any replies lost.

The real ledger on the in-memory double, which passes the emulator's contract. In the first tests the
interleaving of the threads is drawn too, by the world of the simulation; in the last they are real.
"""

import asyncio
import random
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

import shared.grouping.groups
import shared.grouping.queue
from shared.aggregation import Aggregation, Cell, Count, Entry, FieldKey, Source, Sum, fold
from shared.catalog import LIBRA_HOME, libra
from shared.errors import Transient
from shared.ledger import Ledger, Outcome
from shared.settings import Settings
from shared.store import Query, Store
from tests.simulation.wire import MAX_SKEW, Weather, Wire
from tests.simulation.world import BEGINNING, Died, Process, World
from tests.support.kitchen import as_int
from tests.support.memory_guardless import Guardless
from tests.support.memory_seams import Call, Fault, Seams
from tests.support.memory_store import MemoryStore

LIBRA = libra(Settings())
SOURCE = Source(
    LIBRA.name,
    (
        *LIBRA.aggregations,
        Aggregation(
            "by_location",
            (FieldKey("location"), FieldKey("ingredient")),
            measures=(Count(), Sum("amount", "milligrams", 1000)),
        ),
    ),
)
DELIVERIES = 200
"""How often an event is tried before the test gives up: the weather below lets one in two through."""

FIELDS = st.fixed_dictionaries(
    {},
    optional={
        "ingredient": st.sampled_from(["Rice", "Peas", "Mac/Cheese", "", "__x__"]) | st.none(),
        "location": st.sampled_from(["Roof", "Yard"]),
        "dataAction": st.sampled_from(["Served", "Heartbeat", ""]),
        "timestamp": st.datetimes(datetime(2024, 1, 1), datetime(2026, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - hypothesis wants naive bounds
        | st.just("2025-09-04"),
        "amount": st.floats(-1e6, 1e6) | st.just(float("nan")),
    },
)


@dataclass(frozen=True)
class Delivery:
    """One delivery of an entry's event."""

    entry: int
    after: float
    instance: int


@dataclass(frozen=True)
class Story:
    """Everything that happens in one example."""

    seed: str
    entries: Sequence[Mapping[str, object]]
    deliveries: Sequence[Delivery]
    kills: Sequence[tuple[float, int]]
    group_size: int
    late: bool
    weather: Weather


SECONDS = st.sampled_from([0.0, 0.001, 0.005, 0.02, 0.1, 1.0])


@st.composite
def stories(draw: st.DrawFn) -> Story:
    """Each entry is delivered at least once: what was never delivered is the recompute's to count."""
    entries = draw(st.lists(FIELDS, min_size=1, max_size=6))
    numbers = list(range(len(entries)))
    extra = draw(st.lists(st.sampled_from(numbers), max_size=6))
    order = draw(st.permutations(numbers + extra))
    return Story(
        draw(st.text("abcdef", min_size=1, max_size=3)),
        entries,
        [Delivery(number, draw(SECONDS), draw(st.integers(0, 1))) for number in order],
        draw(st.lists(st.tuples(SECONDS, st.integers(0, 1)), max_size=2)),
        draw(st.sampled_from([1, 2, 300])),
        draw(st.booleans()),
        draw(st.sampled_from([Weather(), Weather(0.1, 0.3, 0.1, 0.05, 0.05)])),
    )


def totals(store: Store, source: Source) -> dict[Cell, dict[str, int]]:
    """What the database says, as `fold` would."""
    found: dict[Cell, dict[str, int]] = {}
    for aggregation in source.aggregations:
        for document in store.query(Query(aggregation.name)):
            key = aggregation.parse_stored_key(document.fields["key"])
            assert key is not None
            found[Cell(aggregation.name, key)] = {
                column: as_int(document.fields[column])
                for column in aggregation.columns
                if column in document.fields
            }
    return found


def live_through(story: Story, tap: Callable[[Any], Any] = lambda store: store) -> None:
    """Deliver everything, again and again until it is acknowledged; then the totals must be exact."""
    world = World(story.seed)
    store = MemoryStore(lambda: world.now)
    lag = timedelta(0) if story.late else timedelta(minutes=10)
    entries = [
        Entry(store.name(f"libra/e{number}"), BEGINNING + timedelta(microseconds=number), fields)
        for number, fields in enumerate(story.entries)
    ]
    instances: dict[int, tuple[Process, Ledger]] = {}

    def instance(number: int) -> tuple[Process, Ledger]:
        if number not in instances:
            process = Process(f"instance {number}", MAX_SKEW * (1, -1)[number])
            wire = tap(Wire(world, store, process, story.weather))
            ledger = Ledger(
                wire,
                SOURCE,
                LIBRA_HOME,
                Settings(test=True, lag=lag, group_size=story.group_size),
                clock=lambda: world.now + process.skew,
                sleep=world.sleep,
            )
            instances[number] = process, ledger
        return instances[number]

    def kill(number: int) -> None:
        if number in instances:
            world.kill(instances.pop(number)[0])

    def deliver(delivery: Delivery) -> None:
        world.sleep(delivery.after)
        for _ in range(DELIVERIES):
            process, ledger = instance(delivery.instance)
            try:
                with world.inside(process):
                    ledger.apply(entries[delivery.entry])
            except (Transient, Died):
                world.sleep(0.5)
            else:
                return
        pytest.fail(f"{delivery} was never acknowledged")

    for when, number in story.kills:
        world.at(BEGINNING + timedelta(seconds=when), lambda number=number: kill(number))  # type: ignore[misc]  # binds the loop's number
    for number, delivery in enumerate(story.deliveries):
        world.spawn(f"delivery {number}", lambda delivery=delivery: deliver(delivery))  # type: ignore[misc]  # binds the loop's delivery
    with world.threading(shared.grouping.groups, shared.grouping.queue):
        try:
            world.run()
        finally:
            world.abandon()
    assert totals(store, SOURCE) == fold(SOURCE, story.entries)


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(stories())
def test_every_entry_counts_once(story: Story) -> None:
    """Any interleaving, duplication and grouping, lost replies, aborts, late commits, kills: exact."""
    live_through(story)


def test_without_the_guard_it_does_not_hold() -> None:
    """The control: with the markers left out of the commits the same property fails."""

    @settings(max_examples=400, deadline=None, database=None, phases=[Phase.generate])
    @given(stories())
    def unguarded(story: Story) -> None:
        live_through(story, Guardless)

    with pytest.raises((AssertionError, ExceptionGroup)):
        unguarded()


# --- real threads, and the event loop -----------------------------------------------------------


def stormy(seed: int) -> Callable[[Call], Fault | None]:
    """A plan that loses a third of the commits' replies, and more."""
    rng = random.Random(seed)

    def plan(call: Call) -> Fault | None:
        if call.method == "commit" and rng.random() < 0.6:
            return rng.choice(("reply lost", "reply lost", "request lost", "contention"))
        return "request lost" if rng.random() < 0.1 else None

    return plan


def crowd(guarded: bool = True) -> tuple[MemoryStore, Callable[[], Ledger], list[Entry]]:
    """Sixty entries, and ledgers that share a database in bad weather."""
    store = MemoryStore(lambda: datetime.now(UTC))
    now = datetime.now(UTC)
    entries = [
        Entry(
            store.name(f"libra/e{n}"),
            now + timedelta(microseconds=n),
            {"ingredient": f"i{n % 5}", "dataAction": "Served", "timestamp": now},
        )
        for n in range(60)
    ]
    seeds = iter(range(10))

    def ledger() -> Ledger:
        seams: Any = Seams(store, stormy(next(seeds)))
        settings_ = Settings(group_size=8)
        return Ledger(
            seams if guarded else Guardless(seams), SOURCE, LIBRA_HOME, settings_, sleep=lambda _: None
        )

    return store, ledger, entries


def delivered_by_threads(ledgers: Sequence[Ledger], entries: Sequence[Entry]) -> None:
    def deliver(number: int) -> Outcome:
        for _ in range(DELIVERIES):
            try:
                return ledgers[number % len(ledgers)].apply(entries[number // 2])
            except Transient:
                continue
        raise AssertionError(f"{entries[number // 2].path} was never acknowledged")

    with ThreadPoolExecutor(24) as threads:
        list(threads.map(deliver, range(2 * len(entries))))


def test_real_threads_count_every_entry_once() -> None:
    """Two instances of a dozen threads each, every event delivered twice, bad weather: exact."""
    store, ledger, entries = crowd()
    delivered_by_threads([ledger(), ledger()], entries)
    assert totals(store, SOURCE) == fold(SOURCE, [entry.fields for entry in entries])


def test_real_threads_without_the_guard_count_too_much() -> None:
    """The control: the same without markers."""
    store, ledger, entries = crowd(guarded=False)
    delivered_by_threads([ledger(), ledger()], entries)
    exact = fold(SOURCE, [entry.fields for entry in entries])
    cell = Cell("aggregates_actions", "Served")
    assert totals(store, SOURCE)[cell]["count"] > exact[cell]["count"]


def test_coroutines_count_every_entry_once() -> None:
    """One event loop, two ledgers, every event twice, a third of the requests given up: exact."""
    store, ledger, entries = crowd()

    async def deliver(one: Ledger, entry: Entry, patience: random.Random) -> None:
        for attempt in range(DELIVERIES):
            # A request that is given up is cancelled; the platform delivers its event again.
            timeout = 0.0 if patience.random() < 0.3 and attempt < 50 else None
            try:
                async with asyncio.timeout(timeout):
                    await one.apply_async(entry)
            except (Transient, TimeoutError):
                await asyncio.sleep(0)
            else:
                return
        pytest.fail(f"{entry.path} was never acknowledged")

    async def everything() -> None:
        ledgers = [ledger(), ledger()]
        async with asyncio.TaskGroup() as group:
            for number in range(2 * len(entries)):
                entry, patience = entries[number // 2], random.Random(number)
                group.create_task(deliver(ledgers[number % 2], entry, patience))

    asyncio.run(everything())
    assert totals(store, SOURCE) == fold(SOURCE, [entry.fields for entry in entries])

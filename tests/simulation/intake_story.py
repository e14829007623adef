"""What happens to a self-written source in one world, as plain data: drawn from a seed, replayed as it is."""

import random
from dataclasses import dataclass
from typing import Literal, TypeAlias

from shared.aggregation import Aggregation, Count, FieldKey, Sum
from shared.drift import whole
from shared.events import EventSource, Field, Integer, Schema, Text
from shared.store import Create, Delete, Merge, Query, Store, Write
from tests.simulation.schedule import WEATHERS
from tests.support.admitting import HOME

INSTANCES = ("one", "two", "three")

SOURCE = EventSource(
    "clicks",
    aggregations=(
        Aggregation("by_type", FieldKey("type"), measures=(Count(), Sum("n", "n"))),
        Aggregation("by_user", (FieldKey("user"), FieldKey("type"))),
    ),
    schema=Schema(
        id="id",
        fields=(
            Field("id", Text()),
            Field("type", Text()),
            Field("user", Text()),
            Field("n", Integer(0, 9)),
        ),
    ),
)

TOTALS = SOURCE.aggregations


@dataclass(frozen=True, slots=True)
class Send:
    """A sender sends an event, until it is answered; perhaps with other content under the same id."""

    at: float
    event: int
    instance: str
    other: bool


@dataclass(frozen=True, slots=True)
class Run:
    """A recompute begins."""

    at: float
    skew: float
    weather: str


@dataclass(frozen=True, slots=True)
class Kill:
    """A process is killed."""

    at: float
    victim: str


@dataclass(frozen=True, slots=True)
class Meddle:
    """Somebody else writes."""

    at: float
    what: Literal["raise", "spoil", "split", "drop", "delete entry", "create entry"]
    number: int


Operation: TypeAlias = Send | Run | Kill | Meddle


@dataclass(frozen=True, slots=True)
class Story:
    """What happens in one world, drawn from a seed."""

    seed: str
    lease: float
    group_size: int
    weather: str
    skews: tuple[float, ...]
    loop: bool
    operations: tuple[Operation, ...]


def draw(seed: str) -> Story:
    """A story in which things happen close to each other, most of them close to a run."""
    rng = random.Random(f"{seed}/intakes")
    lease = rng.choice((20.0, 120.0))
    runs = [
        Run(rng.choice((1.0, 1.05, 5.0, 30.0)), rng.uniform(-60, 60), rng.choice(tuple(WEATHERS)))
        for _ in range(rng.randint(1, 3))
    ]
    if rng.random() < 0.5:  # one that follows on another, or finds its lease run out
        after = rng.choice(runs).at + rng.choice((0.1, 0.5, 2.0, lease * rng.uniform(0.8, 1.5)))
        runs.append(Run(after, rng.uniform(-60, 60), rng.choice(tuple(WEATHERS))))

    def close() -> float:
        return max(0.0, rng.choice(runs).at + rng.choice((-1.0, -0.1, 0.0, 0.01, 0.03, 0.05, 0.1, 0.3, 1.0)))

    operations: list[Operation] = list(runs)
    for event in range(rng.randint(1, 6)):
        for _ in range(rng.randint(1, 5)):
            operations.append(Send(close(), event, rng.choice(INSTANCES), rng.random() < 0.2))
    kinds = ("raise", "raise", "spoil", "split", "drop", "delete entry", "create entry")
    for _ in range(rng.choice((0, 1, 2, 4))):
        operations.append(Meddle(close(), rng.choice(kinds), rng.randrange(6)))  # type: ignore[arg-type]  # one of them
    for _ in range(rng.choice((0, 0, 1, 2))):
        operations.append(Kill(close(), rng.choice((*INSTANCES, "run"))))
    return Story(
        seed,
        lease,
        rng.choice((1, 2, 300)),
        rng.choice(tuple(WEATHERS)),
        tuple(rng.uniform(-60, 60) for _ in INSTANCES),
        rng.random() < 0.5,
        tuple(sorted(operations, key=lambda each: each.at)),
    )


def event(number: int, *, other: bool = False) -> dict[str, object]:
    """What a sender sends."""
    return {
        "id": f"e{number}",
        "type": "ab"[(number + other) % 2],
        "user": f"u{number % 3}",
        "n": number + other,
    }


def meddling(store: Store, meddle: Meddle, number: int) -> Write | None:
    """What somebody else writes; None where there is nothing to write to. ``number``: of entries made."""
    if meddle.what == "create entry":
        return Create(f"{HOME.entries}/foreign{number}", event(meddle.number))
    names = [HOME.entries] if meddle.what == "delete entry" else [each.name for each in TOTALS]
    there = [each for name in names for each in store.query(Query(name))]
    if not there:
        return None
    found = there[meddle.number % len(there)]
    count = whole(found.fields.get("count", 0))
    writes: dict[str, Write] = {
        "raise": Merge(found.path, increments={("count",): 7 - 2 * meddle.number}),
        "spoil": Merge(found.path, {("count",): "many"}),
        "split": Merge(found.path, {("count",): count + 0.25}),
    }
    return writes.get(meddle.what, Delete(found.path))

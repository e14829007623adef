"""Intakes and recomputes of a self-written source in one world, and the law held at every commit.

The law is one: at every instant a total is what its entries add up to, plus what somebody else has done to
either since the watermark of the last run that corrected it. The observer knows what somebody else did. So
it can say after each commit by how much each total may be off, and raises `Violation` at the commit that
makes it another number.
"""

import random
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from types import ModuleType, SimpleNamespace
from typing import Any, Literal, TypeAlias
from unittest.mock import patch

import shared.grouping
import shared.intake
import shared.recompute
from shared.aggregation import Aggregation, Field, FieldKey, Integer, Schema, Source, Sum, Text, fold
from shared.aggregation.measures import Count
from shared.drift import whole
from shared.errors import LibraError, Transient
from shared.log import logger
from shared.settings import Settings
from shared.store import Create, Delete, Merge, Query, Store, Write
from shared.watermark import stored_watermark
from tests.simulation.laws import WatchedStore
from tests.simulation.loop import Loop, drive
from tests.simulation.schedule import WEATHERS, seconds
from tests.simulation.wire import CALM, Wire
from tests.simulation.world import BEGINNING, Died, Process, Violation, World
from tests.support.admitting import HOME

INSTANCES = ("one", "two", "three")
PATIENCE = 60
"""How often an event is sent before its sender gives up."""

SOURCE = Source(
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
class Doors:
    """What is put to the test: the real modules, or copies with a defect."""

    grouping: ModuleType = shared.grouping
    intake: ModuleType = shared.intake
    recompute: ModuleType = shared.recompute
    tap: Callable[[Store], Any] = lambda store: store
    """Put between a component and its wire."""


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


@dataclass(slots=True)
class Observer:
    """Holds the database to the law. See the module."""

    store: WatchedStore
    meddling: bool = False
    """Whether somebody else is writing right now."""
    off: dict[str, int] = field(default_factory=dict)
    """By how much each column of each total is more than its entries add up to."""
    meddled: list[tuple[datetime, dict[str, int]]] = field(default_factory=list)
    """When somebody else wrote, and what that put off."""
    removed: set[str] = field(default_factory=set)
    """Entries that somebody else deleted or changed."""
    writes: int = 0
    """Commits that wrote to a total."""
    proven: object = None

    def __post_init__(self) -> None:
        self.store.watch = self._watch

    def _watch(self, writes: Sequence[Write], at: datetime) -> None:
        off = self._measured()
        changed = {
            name: now - self.off.get(name, 0)
            for name in off.keys() | self.off.keys()
            if (now := off.get(name, 0)) != self.off.get(name, 0)
        }
        self.off = off
        names = {each.name for each in SOURCE.aggregations}
        self.writes += any(write.path.partition("/")[0] in names for write in writes)
        if self.meddling:
            self.meddled.append((at, changed))
            return
        state = self._state()
        watermark = stored_watermark(state)
        for name in changed:
            since = self._since(watermark, name)
            if off.get(name, 0) == since:
                continue
            if since and self._was_split(name, watermark):
                # Set, not incremented: what others did meanwhile may be lost. The next run finds it.
                self.meddled.append((at, {name: off.get(name, 0) - since}))
                continue
            law = "fence" if any(write.path == HOME.state for write in writes) else "once"
            raise Violation(
                f"{law}: a commit leaves {name} off by {off.get(name, 0)}; others did {since} to it since "
                f"{watermark}"
            )
        if state.get("proven") != self.proven:
            self.proven = state.get("proven")
            for name, value in off.items():
                if value != self._since(watermark, name):
                    raise Violation(f"fence: after the run at {watermark} {name} is off by {value}")

    def _since(self, watermark: datetime | None, name: str) -> int:
        """What others did to a total since the last watermark."""
        return sum(each.get(name, 0) for at, each in self.meddled if watermark is None or at > watermark)

    def _was_split(self, name: str, watermark: datetime | None) -> bool:
        """Whether a total held a number that is no whole number when the run compared it."""
        (total,) = self.store.get([name.rpartition(" ")[0]], read_time=watermark)
        return total is not None and isinstance(total.fields.get("count"), float)

    def _state(self) -> Mapping[str, object]:
        (state,) = self.store.get([HOME.state])
        return state.fields if state else {}

    def _measured(self) -> dict[str, int]:
        entries = [each.fields for each in self.store.query(Query(HOME.entries))]
        off: dict[str, int] = {}
        for cell, amounts in fold(SOURCE, entries).items():
            for column, amount in amounts.items():
                off[f"{HOME.total(cell)} {column}"] = -amount
        for aggregation in SOURCE.aggregations:
            for total in self.store.query(Query(aggregation.name)):
                for column in aggregation.columns:
                    name = f"{total.path} {column}"
                    off[name] = off.get(name, 0) + whole(total.fields.get(column, 0))
        return off

    def answered(self, verdict: Any, sent: Mapping[str, object]) -> None:
        """An intake has answered: then the entry is there, and says what the verdict says that it says."""
        if verdict.entry in self.removed:
            return
        (entry,) = self.store.get([verdict.entry])
        if entry is None:
            raise Violation(f"once: {verdict.outcome} was answered, and {verdict.entry} is not there")
        if verdict.differs != (entry.fields != sent) or (
            verdict.differs and verdict.outcome.value == "counted"
        ):
            raise Violation(f"once: {verdict} was answered to {sent}, and the entry says {entry.fields}")


@dataclass(slots=True)
class _Instance:
    process: Process
    intake: Any


class Simulation:
    """One world with its database, its intakes, its runs and its observer."""

    def __init__(self, story: Story, doors: Doors, *, trace: bool = False) -> None:
        self.story = story
        self.doors = doors
        self.world = World(story.seed, trace=[] if trace else None)
        self.settings = Settings(group_size=story.group_size, test=True)
        self.store = WatchedStore(lambda: self.world.now, history=timedelta(hours=1))
        self.observer = Observer(self.store)
        self.figures: Counter[str] = Counter()
        self._instances: dict[str, _Instance] = {}
        self._runs: list[Process] = []
        self._sent: dict[str, Mapping[str, object]] = {}

    def run(self) -> Counter[str]:
        """Live through the story, let the dust settle, and check what must hold in the end.

        Raises:
            Violation: the law does not hold.
        """
        with _deterministic(self):
            try:
                for number, operation in enumerate(self.story.operations):
                    self._plan(number, operation)
                self.world.run()
                self._epilogue()
            finally:
                self.world.abandon()
        return self.figures

    def _plan(self, number: int, operation: Operation) -> None:
        at = BEGINNING + seconds(operation.at)
        match operation:
            case Send():
                act = lambda: self.world.spawn(f"event {number}", lambda: self._send(operation))  # noqa: E731
            case Run():
                act = lambda: self.world.spawn(f"run {number}", lambda: self._recompute(number, operation))  # noqa: E731
            case Kill():
                act = lambda: self._kill(operation)  # noqa: E731
            case Meddle():
                act = lambda: self._meddle(operation)  # noqa: E731
        self.world.at(at, act)

    # -- senders and intakes

    def _send(self, send: Send) -> None:
        sent = event(send.event, other=send.other)
        for attempt in range(PATIENCE):
            if self._sent_to(send.instance, sent):
                return
            self.world.sleep(min(60.0, 0.1 * 2**attempt))
        raise Violation(f"once: {send} was never answered")

    def _sent_to(self, name: str, sent: Mapping[str, object]) -> bool:
        instance = self._instance(name)
        try:
            with self.world.inside(instance.process):
                if self.story.loop:
                    verdict = drive(instance.intake.admit_async(sent))
                else:
                    verdict = instance.intake.admit(sent)
        except (Transient, Died) as error:
            self.world.tell(name, f"{sent['id']}: {type(error).__name__}")
            self.figures["not answered"] += 1
            return False
        self.world.tell(name, f"{sent['id']}: {verdict.outcome.value}{' differs' * verdict.differs}")
        self.figures[verdict.outcome.value] += 1
        self.figures["differs"] += verdict.differs
        self.observer.answered(verdict, sent)
        return True

    def _instance(self, name: str) -> _Instance:
        if name not in self._instances:
            skew = self.story.skews[INSTANCES.index(name)] if name in INSTANCES else 0
            process = Process(name, seconds(skew))
            weather = WEATHERS[self.story.weather] if name in INSTANCES else CALM
            intake = self.doors.intake.Intake(
                self._wire(process, weather),
                SOURCE,
                HOME,
                self.settings,
                clock=self._clock(process),
                sleep=self.world.sleep,
            )
            self._instances[name] = _Instance(process, intake)
        return self._instances[name]

    def _wire(self, process: Process, weather: Any) -> Any:
        return self.doors.tap(Wire(self.world, self.store, process, weather, self.figures))

    def _clock(self, process: Process) -> Callable[[], datetime]:
        return lambda: self.world.now + process.skew

    # -- runs

    def _recompute(self, number: int, run: Run) -> None:
        process = Process(f"run {number}", seconds(run.skew))
        self._runs.append(process)
        self._run(process, WEATHERS[run.weather])

    def _run(self, process: Process, weather: Any) -> Any:
        recompute = self.doors.recompute.Recompute(
            self._wire(process, weather),
            SOURCE,
            HOME,
            self.settings,
            clock=self._clock(process),
            sleep=self.world.sleep,
            lease=seconds(self.story.lease),
            step=lambda step: self.world.tell(process.name, f"- {step}"),
            workers=1,
        )
        try:
            with self.world.inside(process):
                report = recompute.run("scan")
        except (LibraError, Died) as error:
            self.world.tell(process.name, f"{type(error).__name__}: {error}")
            self.figures[f"run {type(error).__name__}"] += 1
            return None
        self.world.tell(process.name, f"completed at {report.watermark}, drift {report.drift}")
        self.figures["run completed"] += 1
        self.figures["corrections"] += len(report.corrections)
        return report

    def _kill(self, kill: Kill) -> None:
        if kill.victim == "run":
            for process in self._runs:
                self.figures["run killed"] += not process.dead
                self.world.kill(process)
        elif kill.victim in self._instances:
            self.figures["intake killed"] += 1
            self.world.kill(self._instances.pop(kill.victim).process)

    # -- somebody else

    def _meddle(self, meddle: Meddle) -> None:
        write = self._meddling(meddle)
        if write is None:
            return
        self.world.tell("somebody", str(meddle))
        self.figures[meddle.what] += 1
        self.observer.meddling = True
        self.store.commit([write], timeout=1)
        self.observer.meddling = False

    def _meddling(self, meddle: Meddle) -> Write | None:
        """What somebody else writes; None where there is nothing to write to."""
        if meddle.what == "create entry":
            return Create(f"{HOME.entries}/foreign{self.figures['create entry']}", event(meddle.number))
        collections = [HOME.entries] if meddle.what == "delete entry" else [each.name for each in TOTALS]
        there = [each for name in collections for each in self.store.query(Query(name))]
        if not there:
            return None
        found = there[meddle.number % len(there)]
        count = whole(found.fields.get("count", 0))
        writes: dict[str, Write] = {
            "raise": Merge(found.path, increments={("count",): 7 - 2 * meddle.number}),
            "spoil": Merge(found.path, {("count",): "many"}),
            "split": Merge(found.path, {("count",): count + 0.25}),
        }
        if meddle.what == "delete entry":
            self.observer.removed.add(found.path)
        return writes.get(meddle.what, Delete(found.path))

    # -- the end

    def _epilogue(self) -> None:
        """When everything is quiet: two runs, and every event once more."""
        self._later(lambda: self._last_run("first"))
        if any(self.observer.off.values()):
            raise Violation(f"converge: {self.observer.off}")
        before = self.observer.writes
        report = self._later(lambda: self._last_run("second"))
        if report.drift or self.observer.writes != before:
            raise Violation(f"idempotent: a second run found {report.corrections}")
        there = len(list(self.store.query(Query(HOME.entries))))
        for number in {each.event for each in self.story.operations if isinstance(each, Send)}:
            self._later(lambda number=number: self._sent_to("afterwards", event(number)))  # type: ignore[misc]  # binds the loop's
        added = len(list(self.store.query(Query(HOME.entries)))) - there
        if self.observer.writes - before != added:
            raise Violation(
                f"once: {added} entries came back, and {self.observer.writes - before} were counted"
            )

    def _last_run(self, which: str) -> Any:
        report = self._run(Process(f"{which} epilogue"), CALM)
        if report is None:
            raise Violation(f"converge: the {which} run after everything was quiet did not complete")
        return report

    def _later(self, act: Callable[[], Any]) -> Any:
        """Do something by itself, long after everything else."""
        answers: list[Any] = []
        self.world.now += timedelta(hours=2)
        self.world.spawn(f"epilogue {len(self.world.threads)}", lambda: answers.append(act()))
        self.world.run()
        return answers[0]


def violation(story: Story, doors: Doors = Doors()) -> Exception | None:
    """What goes wrong in a story. Whatever a component raises that it does not promise is wrong too."""
    try:
        Simulation(story, doors).run()
    except Exception as error:  # noqa: BLE001 - a crash of a component is a finding, of whatever kind
        return error
    return None


def told(story: Story, doors: Doors = Doors(), *, lines: int = 120) -> str:
    """What happened in a story that fails, for a reader."""
    simulation = Simulation(story, doors, trace=True)
    end = "nothing went wrong: it does not replay"
    try:
        simulation.run()
    except Exception as error:  # noqa: BLE001 - as above
        end = f"{type(error).__name__}: {error}"
    trace = (simulation.world.trace or [])[-lines:]
    return "\n".join(
        [f"seed {story.seed}: {end}", *map(str, story.operations), *(each[:300] for each in trace)]
    )


@contextmanager
def _deterministic(simulation: Simulation) -> Iterator[None]:
    """Nothing from outside the world: no real locks, no chance of its own, no log."""
    tokens = random.Random(f"{simulation.story.seed}/tokens")
    secrets = SimpleNamespace(token_hex=lambda size: f"{tokens.getrandbits(8 * size):0{2 * size}x}")
    state, disabled = random.getstate(), logger.disabled
    random.seed(simulation.story.seed)
    logger.disabled = True
    doors = simulation.doors
    try:
        with (
            simulation.world.threading(doors.grouping.groups, doors.grouping.queue),
            patch.object(doors.grouping.groups, "asyncio", Loop(simulation.world)),
            patch.object(doors.recompute.fence, "secrets", secrets),
        ):
            yield
    finally:
        random.setstate(state)
        logger.disabled = disabled

"""One schedule, lived through: the real ledger and the real recompute in a world of their own.

Over 300 lines because a simulated run is one event loop, with every kind of event in it.
"""

import random
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from types import ModuleType, SimpleNamespace
from typing import Any
from unittest.mock import patch

import shared.archive
import shared.grouping
import shared.ledger
import shared.recompute
import shared.watermark
from shared.aggregation import Entry, Version
from shared.catalog import LIBRA_HOME, libra
from shared.errors import AlreadyExists, LibraError, Transient
from shared.log import logger
from shared.settings import Settings
from shared.store import Create, Delete, Merge, Store
from tests.simulation.laws import Laws, WatchedStore
from tests.simulation.loop import Loop, drive
from tests.simulation.schedule import (
    INSTANCES,
    WEATHERS,
    Archive,
    Cause,
    Compact,
    Deliver,
    Edit,
    Expire,
    Kill,
    Make,
    Operation,
    Remove,
    Run,
    Schedule,
    draw,
    seconds,
    shrink,
)
from tests.simulation.wire import CALM, Wire
from tests.simulation.world import BEGINNING, Died, Process, Violation, World
from tests.support.archiving import Shelf

HOUR = timedelta(hours=1)
PATIENCE = 30
"""How often the platform delivers an event before the simulation gives it up for lost."""


@dataclass(frozen=True, slots=True)
class Parts:
    """What is put to the test: the real modules, or copies with a defect."""

    grouping: ModuleType = shared.grouping
    ledger: ModuleType = shared.ledger
    recompute: ModuleType = shared.recompute
    archive: ModuleType = shared.archive
    tap: Callable[[Store], Any] = lambda store: store
    """Put between a component and its wire."""


REAL = Parts()


@dataclass(slots=True)
class Figures:
    """What happened in a world, or in many."""

    schedules: int = 0
    entries: int = 0
    changes: Counter[str] = field(default_factory=Counter)
    deliveries: int = 0
    runs: Counter[str] = field(default_factory=Counter)
    archives: Counter[str] = field(default_factory=Counter)
    compactions: Counter[str] = field(default_factory=Counter)
    outcomes: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    corrections: int = 0

    def add(self, other: "Figures") -> None:
        """Add another's."""
        self.schedules += other.schedules
        self.entries += other.entries
        self.deliveries += other.deliveries
        self.corrections += other.corrections
        self.changes += other.changes
        self.runs += other.runs
        self.archives += other.archives
        self.compactions += other.compactions
        self.outcomes += other.outcomes
        self.faults += other.faults

    def printed(self, seconds: float) -> str:
        """For a reader."""
        lines = [
            f"{self.schedules} schedules in {seconds:.0f} s ({self.schedules / seconds:.0f} a second)",
            f"entries {self.entries}, deliveries {self.deliveries}, corrections {self.corrections}",
        ]
        for what in ("changes", "outcomes", "runs", "archives", "compactions", "faults"):
            counted: Counter[str] = getattr(self, what)
            lines.append(
                f"{what}: " + ", ".join(f"{name} {number}" for name, number in counted.most_common())
            )
        return "\n".join(lines)


@dataclass(slots=True)
class _Instance:
    process: Process
    ledger: Any


class Simulation:
    """One world with its database, its components and its laws.

    Over 200 lines because each method is one kind of event of the same world.
    """

    def __init__(self, schedule: Schedule, parts: Parts = REAL, *, trace: bool = False) -> None:
        self.schedule = schedule
        self.parts = parts
        self.world = World(schedule.seed, trace=[] if trace else None)
        self.settings = Settings(
            lag=seconds(schedule.lag),
            bucket=seconds(schedule.bucket),
            group_size=schedule.group_size,
            linger=seconds(schedule.linger),
            test=True,
        )
        self.source = libra(self.settings)
        locks = random.Random(f"{schedule.seed}/locks")
        self.store = WatchedStore(
            lambda: self.world.now,
            history=timedelta(hours=1),
            locks_win=lambda _: locks.random() < schedule.locks,
        )
        self.shelf = Shelf()
        self.laws = Laws(self.store, self.source, moved=self._moved)
        self._chance = random.Random(f"{schedule.seed}/moved")
        self.figures = Figures(schedules=1)
        self._instances: dict[str, _Instance] = {}
        self._made: dict[Cause, Entry] = {}
        self._recomputes: list[Process] = []

    def run(self) -> Figures:
        """Live through the schedule, let the dust settle, and check what must hold in the end.

        Raises:
            Violation: a law does not hold.
        """
        with _deterministic(self):
            try:
                for number, operation in self.schedule.operations:
                    self._plan(number, operation)
                self.world.run()
                self._epilogue()
            finally:
                self.world.abandon()
        return self.figures

    # -- operations

    def _plan(self, number: int, operation: Operation) -> None:
        at = BEGINNING + seconds(operation.at)
        match operation:
            case Deliver():
                self.world.at(
                    at, lambda: self.world.spawn(f"event {number}", lambda: self._deliver(operation))
                )
            case Run():
                self.world.at(
                    at,
                    lambda: self.world.spawn(f"run {number}", lambda: self._recompute(number, operation)),
                )
            case Archive():
                self.world.at(
                    at,
                    lambda: self.world.spawn(f"archive {number}", lambda: self._archive(number, operation)),
                )
            case Compact():
                self.world.at(
                    at,
                    lambda: self.world.spawn(
                        f"compaction {number}", lambda: self._compact(number, operation)
                    ),
                )
            case _:
                self.world.at(at, lambda: self._do(operation))

    def _do(self, operation: Operation) -> None:
        self.world.tell("somebody", str(operation))
        match operation:
            case Make():
                self._make(operation)
            case Edit():
                self._edit(operation)
            case Remove():
                self._remove(operation)
            case Expire(_, early):
                self._expire(early=early)
            case Kill(_, "recompute"):
                for process in self._recomputes:
                    self.figures.faults["recompute killed"] += not process.dead
                    self.world.kill(process)
            case Kill(_, victim) if victim in self._instances:
                self.figures.faults["instance killed"] += 1
                self.world.kill(self._instances.pop(victim).process)

    def _make(self, make: Make) -> None:
        fields: dict[str, object] = {"ingredient": make.ingredient, "dataAction": make.action}
        if make.timestamp:
            fields["timestamp"] = BEGINNING + seconds(make.at)
        path = f"libra/{make.entry}"
        try:
            at = self.store.commit([Create(path, fields)], timeout=1)
        except AlreadyExists:
            return
        self.figures.entries += 1
        self._happened(make, Entry(self.store.name(path), at, fields), at)

    def _edit(self, edit: Edit) -> None:
        (found,) = self.store.get([f"libra/{edit.entry}"])
        if found is None or found.fields.get("ingredient") == edit.ingredient:
            return  # what changes nothing fires nothing
        write = Merge(found.path, {("ingredient",): edit.ingredient})
        at = self.store.commit([write], timeout=1)
        (left,) = self.store.get([found.path])
        assert left
        self.figures.changes["edits"] += 1
        old = Version(found.update_time, found.fields)
        self._happened(edit, Entry(self.store.name(found.path), at, left.fields, old), at)

    def _remove(self, remove: Remove) -> None:
        (found,) = self.store.get([f"libra/{remove.entry}"])
        if found is None:
            return
        at = self.store.commit([Delete(found.path)], timeout=1)
        self.figures.changes["deletions"] += 1
        old = Version(found.update_time, found.fields)
        self._happened(remove, Entry.deleted(self.store.name(found.path), old), at)

    def _moved(self, entry: Entry) -> None:
        """An archive deleted an entry: the platform delivers that, too, and perhaps twice."""
        for _ in range(self._chance.choice((0, 1, 2))):
            at = self.world.now + seconds(self._chance.choice((0.01, 1.0, 40.0, 700.0)))
            name = self._chance.choice(INSTANCES)
            number = len(self.laws.archived)
            self.world.at(
                at,
                lambda name=name, number=number: self.world.spawn(  # type: ignore[misc]  # binds the loop's
                    f"moved {number}", lambda: self._tell(entry, name)
                ),
            )

    def _happened(self, cause: Cause, entry: Entry, at: datetime) -> None:
        self._made[cause] = entry
        self.laws.happened(entry, at)

    def _expire(self, *, early: bool) -> None:
        """No marker is needed any more for a change behind the watermark."""
        stored = self.laws.stored
        passed = [each.entry for each in self.laws.known.values() if early or (stored and each.at <= stored)]
        markers = {f"{LIBRA_HOME.seen}/{shared.ledger.marker_id(each)}" for each in passed}
        kept = [each for each in self.store.get(sorted(markers)) if each]
        self.figures.faults["markers expired"] += len(kept)
        if kept:
            self.store.commit([Delete(each.path) for each in kept], timeout=1)

    # -- components

    def _clock(self, process: Process) -> Callable[[], datetime]:
        return lambda: self.world.now + process.skew

    def _instance(self, name: str) -> _Instance:
        if name not in self._instances:
            skew = self.schedule.skews[INSTANCES.index(name)] if name in INSTANCES else 0
            process = Process(name, seconds(skew))
            weather = WEATHERS[self.schedule.weather] if name in INSTANCES else CALM
            ledger = self.parts.ledger.Ledger(
                self._wire(process, weather),
                self.source,
                LIBRA_HOME,
                self.settings,
                clock=self._clock(process),
                sleep=self.world.sleep,
            )
            self._instances[name] = _Instance(process, ledger)
        return self._instances[name]

    def _wire(self, process: Process, weather: Any) -> Any:
        return self.parts.tap(Wire(self.world, self.store, process, weather, self.figures.faults))

    def _deliver(self, operation: Deliver) -> None:
        """The platform: deliver until it is acknowledged."""
        entry = self._made.get(operation.cause)
        if entry is None:
            return  # its id was taken, or there was nothing to change
        self._tell(entry, operation.instance)

    def _tell(self, entry: Entry, instance: str) -> None:
        for attempt in range(PATIENCE):
            if self._delivered(entry, instance):
                return
            self.world.sleep(min(300.0, 0.1 * 2**attempt))
        self.figures.outcomes["given up"] += 1

    def _delivered(self, entry: Entry, name: str) -> bool:
        instance = self._instance(name)
        self.figures.deliveries += 1
        self.laws.attempted(entry)
        try:
            with self.world.inside(instance.process):
                if self.schedule.loop:
                    outcome = drive(instance.ledger.apply_async(entry))
                else:
                    outcome = instance.ledger.apply(entry)
        except (Transient, Died) as error:
            self.world.tell(name, f"{self.store.path(entry.path)}: {type(error).__name__}")
            return False
        self.world.tell(name, f"{self.store.path(entry.path)}: {outcome.value}")
        self.figures.outcomes[outcome.value] += 1
        self.laws.acknowledged(entry, outcome)
        return True

    def _recompute(self, number: int, run: Run) -> None:
        process = Process(f"recompute {number}", seconds(run.skew))
        self._recomputes.append(process)
        self._run(process, run.strategy, WEATHERS[run.weather])

    def _recomputing(self, process: Process, weather: Any) -> Any:
        return self.parts.recompute.Recompute(
            self._wire(process, weather),
            self.source,
            LIBRA_HOME,
            self.settings,
            clock=self._clock(process),
            sleep=self.world.sleep,
            lease=seconds(self.schedule.lease),
            step=lambda step: self.world.tell(process.name, f"- {step}"),
            workers=1,
        )

    def _run(self, process: Process, strategy: str, weather: Any) -> Any:
        recompute = self._recomputing(process, weather)
        try:
            with self.world.inside(process):
                report = recompute.run(strategy)
        except (LibraError, Died) as error:
            self.world.tell(process.name, f"{type(error).__name__}: {error}")
            self.figures.runs[type(error).__name__] += 1
            return None
        self.world.tell(process.name, f"completed at {report.watermark}, drift {report.drift}")
        self.figures.runs["completed"] += 1
        self.figures.corrections += len(report.corrections)
        self.laws.completed(report)
        return report

    def _compact(self, number: int, compact: Compact) -> None:
        process = Process(f"compaction {number}", seconds(compact.skew))
        self._recomputes.append(process)
        recompute = self._recomputing(process, WEATHERS[compact.weather])
        try:
            with self.world.inside(process):
                done = recompute.compact()
        except (LibraError, Died) as error:
            self.world.tell(process.name, f"{type(error).__name__}: {error}")
            self.figures.compactions[type(error).__name__] += 1
            return
        self.world.tell(process.name, f"compacted: {done}")
        self.figures.compactions["completed"] += 1
        self.figures.compactions["totals compacted"] += done.writes

    def _archive(self, number: int, archive: Archive) -> None:
        process = Process(f"archive {number}", seconds(archive.skew))
        self._recomputes.append(process)
        self._move(process, WEATHERS[archive.weather], by_commit_time=archive.by_commit_time)

    def _move(self, process: Process, weather: Any, *, by_commit_time: bool) -> Any:
        archive = self.parts.archive.Archive(
            self._wire(process, weather),
            self.source,
            LIBRA_HOME,
            self.shelf,
            clock=self._clock(process),
            sleep=self.world.sleep,
            lease=seconds(self.schedule.lease),
            step=lambda step: self.world.tell(process.name, f"- {step}"),
        )
        try:
            with self.world.inside(process):
                report = archive.run(self.world.now + HOUR, by_commit_time=by_commit_time)
        except (LibraError, Died) as error:
            self.world.tell(process.name, f"{type(error).__name__}: {error}")
            self.figures.archives[type(error).__name__] += 1
            return None
        self.figures.archives["completed"] += 1
        self.figures.archives["entries moved"] += report.moved.entries
        return report

    # -- the end

    def _epilogue(self) -> None:
        """When everything is quiet: two runs, and every event once more."""
        last = {"scan": "index", "index": "scan"}
        first = "scan" if self.world._rng.random() < 0.5 else "index"
        self.world.alone(lambda: self._last_run("first", first))
        if self.laws.shown() | {} != self._padded(self.laws.truth(self.world.now)):
            raise Violation(
                f"converge: {self.laws.shown()} is shown, {self.laws.truth(self.world.now)} is true"
            )
        if left := list(self.laws.buckets()):
            raise Violation(f"converge: closed buckets are left: {left}")
        if stale := self.laws.stale_records():
            raise Violation(f"converge: rejections of versions that are replaced or gone are left: {stale}")
        before = self.laws.aggregate_writes
        report = self.world.alone(lambda: self._last_run("second", last[first]))
        if report.drift or self.laws.aggregate_writes != before:
            raise Violation(f"idempotent: a second run found {report.corrections}")
        self._deliver_again(before)
        self._retire()

    def _deliver_again(self, before: int) -> None:
        """Every event once more: no total changes."""
        for cause, entry in self._made.items():
            if not (isinstance(cause, Make) or cause.told):
                continue
            self.world.alone(lambda entry=entry: self._delivered(entry, "afterwards"))  # type: ignore[misc]  # binds the loop's entry
        if self.laws.aggregate_writes != before:
            raise Violation("once: an event that was delivered once more was counted")

    def _retire(self) -> None:
        """*retain*: everything is archived, and every reader sees what it saw before."""
        shown = self.laws.shown()
        self.world.alone(lambda: self._move(Process("last archive"), CALM, by_commit_time=True))
        if self.laws.living():
            raise Violation(f"retain: entries are left: {self.laws.living()}")
        verify = self._verify(Process("verify"))
        if verify.drift or self.laws.shown() != shown:
            raise Violation(f"retain: {shown} was shown, now {self.laws.shown()}; drift {verify.corrections}")
        before = self.laws.aggregate_writes
        for entry in self.laws.archived_deletions():
            self.world.alone(lambda entry=entry: self._delivered(entry, "afterwards"))  # type: ignore[misc]  # binds the loop's entry
        report = self.world.alone(lambda: self._last_run("third", "scan"))
        if report.drift or self.laws.aggregate_writes != before:
            raise Violation(f"retain: a run after the archive found {report.corrections}")

    def _verify(self, process: Process) -> Any:
        """A dry run, right after whatever happened last."""
        answers: list[Any] = []

        def body() -> None:
            with self.world.inside(process):
                answers.append(self._recomputing(process, CALM).verify("scan"))

        self.world.spawn(process.name, body)
        self.world.run()
        return answers[0]

    def _padded(self, truth: dict[str, int]) -> dict[str, int]:
        return dict.fromkeys(self.laws.shown(), 0) | truth

    def _last_run(self, which: str, strategy: str) -> Any:
        report = self._run(Process(f"{which} epilogue"), strategy, CALM)
        if report is None:
            raise Violation(f"converge: the {which} run after everything was quiet did not complete")
        return report


def violation(schedule: Schedule, parts: Parts = REAL) -> Exception | None:
    """What goes wrong in a schedule. Whatever a component raises that it does not promise is wrong too."""
    try:
        Simulation(schedule, parts).run()
    except Exception as error:  # noqa: BLE001 - a crash of a component is a finding, of whatever kind
        return error
    return None


def story(schedule: Schedule, parts: Parts = REAL, *, lines: int = 120) -> str:
    """A failing schedule, shrunk, told for a reader: what was to happen, and what did."""
    shrunk = shrink(schedule, lambda smaller: violation(smaller, parts) is not None)
    simulation = Simulation(shrunk, parts, trace=True)
    try:
        simulation.run()
        end = "nothing went wrong: it does not replay"
    except Exception as error:  # noqa: BLE001 - as above
        end = f"{type(error).__name__}: {error}"
    trace = (simulation.world.trace or [])[-lines:]
    return "\n".join([f"seed {schedule.seed}: {end}", shrunk.printed(), *(line[:300] for line in trace), end])


def many(first: int, number: int) -> tuple[Figures, list[str]]:
    """Live through schedules; what happened in them, and the seeds that broke a law."""
    figures, broken = Figures(), []
    for seed in map(str, range(first, first + number)):
        simulation = Simulation(draw(seed))
        try:
            figures.add(simulation.run())
        except Exception:  # noqa: BLE001 - a crash is a finding, of whatever kind; the story tells which
            broken.append(seed)
    return figures, broken


@contextmanager
def _deterministic(simulation: Simulation) -> Iterator[None]:
    """Nothing from outside the world: no real locks, no chance of its own, no log."""
    tokens = random.Random(f"{simulation.schedule.seed}/tokens")
    secrets = SimpleNamespace(token_hex=lambda size: f"{tokens.getrandbits(8 * size):0{2 * size}x}")
    state, disabled = random.getstate(), logger.disabled
    random.seed(simulation.schedule.seed)
    logger.disabled = True
    parts = simulation.parts
    try:
        with (
            simulation.world.threading(parts.grouping.groups, parts.grouping.queue),
            patch.object(parts.grouping.groups, "asyncio", Loop(simulation.world)),
            patch.object(parts.recompute.fence, "secrets", secrets),
            patch.object(shared.recompute.fence, "secrets", secrets),
            patch.object(parts.archive.pages, "PAGE_ENTRIES", 2),
            patch.object(shared.watermark, "WORTH", 1),
            patch.object(parts.recompute.compaction, "PAGE", 2),
        ):
            yield
    finally:
        random.setstate(state)
        logger.disabled = disabled

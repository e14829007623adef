"""Intakes and recomputes of a self-written source in one world, lived through as a story says."""

import random
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from types import ModuleType, SimpleNamespace
from typing import Any
from unittest.mock import patch

import shared.grouping
import shared.intake
import shared.recompute
from shared.errors import LibraError, Transient
from shared.log import logger
from shared.settings import Settings
from shared.store import Query, Store
from tests.simulation.intake_law import Observer
from tests.simulation.intake_story import (
    INSTANCES,
    SOURCE,
    Kill,
    Meddle,
    Operation,
    Run,
    Send,
    Story,
    event,
    meddling,
)
from tests.simulation.laws import WatchedStore
from tests.simulation.loop import Loop, drive
from tests.simulation.schedule import WEATHERS, seconds
from tests.simulation.wire import CALM, Wire
from tests.simulation.world import BEGINNING, Died, Process, Violation, World
from tests.support.admitting import HOME

PATIENCE = 60
"""How often an event is sent before its sender gives up."""


@dataclass(frozen=True, slots=True)
class Doors:
    """What is put to the test: the real modules, or copies with a defect."""

    grouping: ModuleType = shared.grouping
    intake: ModuleType = shared.intake
    recompute: ModuleType = shared.recompute
    tap: Callable[[Store], Any] = lambda store: store
    """Put between a component and its wire."""


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
        write = meddling(self.store, meddle, self.figures["create entry"])
        if write is None:
            return
        if meddle.what == "delete entry":
            self.observer.removed.add(write.path)
        self.world.tell("somebody", str(meddle))
        self.figures[meddle.what] += 1
        self.observer.meddling = True
        self.store.commit([write], timeout=1)
        self.observer.meddling = False

    # -- the end

    def _epilogue(self) -> None:
        """When everything is quiet: two runs, and every event once more."""
        self.world.alone(lambda: self._last_run("first"))
        if any(self.observer.off.values()):
            raise Violation(f"converge: {self.observer.off}")
        before = self.observer.writes
        report = self.world.alone(lambda: self._last_run("second"))
        if report.drift or self.observer.writes != before:
            raise Violation(f"idempotent: a second run found {report.corrections}")
        there = self.store.count(Query(HOME.entries))
        for number in {each.event for each in self.story.operations if isinstance(each, Send)}:
            self.world.alone(lambda number=number: self._sent_to("afterwards", event(number)))  # type: ignore[misc]  # binds the loop's
        added = self.store.count(Query(HOME.entries)) - there
        if self.observer.writes - before != added:
            raise Violation(
                f"once: {added} entries came back, and {self.observer.writes - before} were counted"
            )

    def _last_run(self, which: str) -> Any:
        report = self._run(Process(f"{which} epilogue"), CALM)
        if report is None:
            raise Violation(f"converge: the {which} run after everything was quiet did not complete")
        return report


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

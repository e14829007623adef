"""The platform's limits in virtual time: how Firestore is documented to behave, and who writes to it how.

Libra's ledger and intake are the real ones, from the queue to the writes. Firestore, the platform in front
and the three baselines are models. What is assumed stands in `Assumptions`, each with its source.

Over 300 lines because the model of a hot document and the systems that meet it are one simulation.
"""

import random
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, TypeAlias

from shared.aggregation import Entry
from shared.catalog import sources
from shared.errors import AlreadyExists, Contention, Overloaded
from shared.intake import Intake
from shared.ledger import Ledger
from shared.schemas import self_written
from shared.settings import Settings
from shared.store import Create, Document, Merge, Write
from tests.bench.baselines.common import totals_of
from tests.bench.virtual import Blocking, World

Approach: TypeAlias = Literal["libra", "naive", "textbook", "sharded", "intake"]
APPROACHES: tuple[Approach, ...] = ("libra", "naive", "textbook", "sharded")
"""The ways to count what somebody else writes. An intake writes the entries itself."""

_NOON = datetime.fromisoformat("2025-09-04T12:00:00+00:00")
_HOT = {"ingredient": "Kettle Chips", "dataAction": "Served", "timestamp": _NOON}


@dataclass(frozen=True)
class Assumptions:
    """How the platform behaves. Times in seconds."""

    document_rate: float = 1.0
    """Writes a second that one document sustains: "about once per second", as
    https://firebase.google.com/docs/firestore/solutions/counters first said. Today's pages say that the
    rate depends highly on the workload (https://firebase.google.com/docs/firestore/best-practices). This is
    the strict reading."""
    document_burst: int = 5
    """Writes that a document takes at once after a rest: short bursts may exceed the rate (the same
    pages); how many is not published, and it does not change what is sustained."""
    patience: float = 2.0
    """How long a write waits for a document before Firestore answers ABORTED ("too much contention on
    these documents"). Not published; the emulator waits as long for a lock."""
    collection_rate: float | None = None
    """Writes a second that a collection takes; None: its traffic has been ramped up. A new one starts at
    500 a second and may grow by half every 5 minutes (500/50/5,
    https://firebase.google.com/docs/firestore/best-practices, "Ramping up traffic")."""
    commit_base: float = 0.03
    """What a commit takes at least, inside a region. Not published: an order of magnitude."""
    commit_document: float = 0.0001
    """What each document of a commit adds: many splits take part (two-phase commit,
    https://firebase.google.com/docs/firestore/understand-reads-writes-scale). An assumption."""
    duplicates: float = 0.01
    """Share of the events delivered a second time, some seconds later. Triggers are at-least-once
    (https://cloud.google.com/eventarc/docs/retry-events); how often is not published."""
    backoff: float = 10.0
    """The pause before a failed event is delivered again, doubling up to 600 (the same page)."""
    concurrency: int = 1000
    """Events at once in an instance: the platform's most
    (https://cloud.google.com/run/docs/about-concurrency)."""
    cpu: tuple[tuple[Approach, float], ...] = (
        ("libra", 0.0003),
        ("naive", 0.0017),
        ("textbook", 0.0060),
        ("sharded", 0.0018),
        ("intake", 0.0003),
    )
    """CPU time of an event in an instance with one CPU, as docs/benchmarks measures it over HTTP. That of an
    intake is taken to be the ledger's."""


@dataclass(frozen=True)
class Scenario:
    """One cell of the table. Every event adds to the same four totals: the worst case."""

    approach: Approach
    rate: float
    """Events a second offered."""
    instances: int
    settings: Settings = field(default_factory=lambda: Settings(project="demo-limits"))
    assumptions: Assumptions = field(default_factory=Assumptions)
    warm_up: float = 20.0
    window: float = 30.0
    seed: int = 1
    source: str = "user_events"
    """Of an intake: the source."""
    users: int = 1
    """Of an intake of `user_events`: over how many users its events are spread, each with a total."""


@dataclass
class Outcome:
    """What came of a scenario, within its window."""

    sustained: float = 0.0
    """Events a second acknowledged."""
    p50: float = 0.0
    p99: float = 0.0
    """Seconds from the first delivery to the acknowledgement."""
    writes: float = 0.0
    """Documents written an acknowledged event. Of an intake, the entry is one of them. In front of the others
    somebody else wrote it."""
    commits: float = 0.0
    """Commits a second, all instances together, that landed."""
    aborted: float = 0.0
    """Commits a second that ended in contention."""
    overcounted: int = 0
    """What the hot total shows beyond the acknowledged and attempted events."""

    @property
    def holds(self) -> str:
        """For a reader."""
        return f"{self.sustained:,.0f}/s"


# --- Firestore ----------------------------------------------------------------------------------


class Limited:
    """Something that takes so many operations a second, and a burst after a rest (a leaky bucket)."""

    def __init__(self, rate: float, burst: float) -> None:
        self._each = 1 / rate
        self._tolerance = (burst - 1) / rate
        self._next = 0.0

    def wait(self, now: float) -> float:
        """How long an operation asked for now has to wait."""
        return max(0.0, self._next - self._tolerance - now)

    def take(self, now: float, operations: int = 1) -> None:
        """Use up its share."""
        self._next = max(self._next, now) + self._each * operations


class Firestore:
    """The model of the database: who may write when, and what the hot total shows."""

    def __init__(self, world: World, assumptions: Assumptions) -> None:
        self.world = world
        self.assumptions = assumptions
        self.written = self.landed = self.aborted = self.shown = 0
        self.markers: set[str] = set()
        self._documents: dict[str, Limited] = {}
        rate = assumptions.collection_rate
        self._collection = Limited(rate, rate) if rate else None

    def ask(self, hot: Sequence[str], others: int) -> tuple[float, bool]:
        """Ask to write the ``hot`` documents and so many others: how long it takes, and whether it lands."""
        now, assumed = self.world.now, self.assumptions
        limits = [self._limit(path) for path in hot]
        waits = [limit.wait(now) for limit in limits]
        if self._collection and others:
            waits.append(self._collection.wait(now))
        wait = max(waits, default=0.0)
        if wait > assumed.patience:
            self.aborted += 1
            return assumed.patience, False
        for limit in limits:
            limit.take(now)
        if self._collection:
            self._collection.take(now, others)
        self.landed += 1
        self.written += len(hot) + others
        return wait + assumed.commit_base + assumed.commit_document * (len(hot) + others), True

    def _limit(self, path: str) -> Limited:
        if path not in self._documents:
            assumed = self.assumptions
            self._documents[path] = Limited(assumed.document_rate, assumed.document_burst)
        return self._documents[path]


class ModelStore:
    """What the ledger sees of the model: commits that take virtual time, and markers."""

    root = "projects/demo-limits/databases/(default)/documents"

    def __init__(self, firestore: Firestore, blocking: Blocking, shown: str) -> None:
        self._firestore = firestore
        self._blocking = blocking
        self._shown = shown

    def commit(self, writes: Sequence[Write], **_: Any) -> datetime:
        """See `shared.store.Store`."""
        created = [write.path for write in writes if isinstance(write, Create)]
        totals = [write for write in writes if isinstance(write, Merge)]
        if not self._firestore.markers.isdisjoint(created):
            self._blocking.sleep(self._firestore.assumptions.commit_base)
            raise AlreadyExists("a marker is there")
        seconds, lands = self._firestore.ask([write.path for write in totals], len(created))
        if lands:
            self._firestore.markers.update(created)
            hot = [write for write in totals if write.path.startswith(f"{self._shown}/")]
            self._firestore.shown += sum(write.increments[("count",)] for write in hot)
        self._blocking.sleep(seconds)
        if not lands:
            raise Contention("too much contention on these documents")
        return self._firestore.world.datetime()

    def get(self, paths: Sequence[str], **_: Any) -> list[Document | None]:
        """See `shared.store.Store`."""
        self._blocking.sleep(self._firestore.assumptions.commit_base)
        now = self._firestore.world.datetime()
        return [Document(path, {}, now, now) if path in self._firestore.markers else None for path in paths]


# --- instances ----------------------------------------------------------------------------------

Answer: TypeAlias = Callable[[bool], None]
"""Called once for a delivery: True acknowledges it."""


class Instance:
    """One instance of a baseline: each event commits by itself."""

    def __init__(self, scenario: Scenario, firestore: Firestore, chance: random.Random) -> None:
        self.busy = 0
        self.scenario = scenario
        self.firestore = firestore
        self.world = firestore.world
        self.chance = chance
        self._cpu = dict(scenario.assumptions.cpu)[scenario.approach]
        self._cpu_free = 0.0

    def deliver(self, entry: Entry, answer: Answer) -> None:
        """Take an event, once the CPU is free for it."""
        self._cpu_free = max(self._cpu_free, self.world.now) + self._cpu
        self.world.after(self._cpu_free - self.world.now, lambda: self.handle(entry, answer))

    def handle(self, entry: Entry, answer: Answer) -> None:
        """Count the entry and answer."""
        self._attempt(entry, answer, 1)

    def _attempt(self, entry: Entry, answer: Answer, attempt: int) -> None:
        approach = self.scenario.approach
        guarded = approach == "textbook"
        if guarded and entry.path in self.firestore.markers:
            self.world.after(self.firestore.assumptions.commit_base, lambda: answer(True))
            return
        shard = f"/shards/{self.chance.randrange(10)}" if approach == "sharded" else ""
        hot = [f"{collection}/{key}{shard}" for collection, key in totals_of(entry.fields)]
        seconds, lands = self.firestore.ask(hot, int(guarded))
        if lands:
            self.firestore.shown += 1
            if guarded:
                self.firestore.markers.add(entry.path)
        reading = self.firestore.assumptions.commit_base if guarded else 0.0
        again = guarded and attempt < 5  # the client library's default for a transaction
        if lands or not again:
            self.world.after(reading + seconds, lambda: answer(lands))
        else:
            pause = self.chance.uniform(0, 2**attempt)
            self.world.after(reading + seconds + pause, lambda: self._attempt(entry, answer, attempt + 1))

    def close(self) -> None:
        """End it."""


class LibraInstance(Instance):
    """One instance of Libra: a real ledger or intake, led by a thread in virtual time."""

    def __init__(self, scenario: Scenario, firestore: Firestore, chance: random.Random) -> None:
        super().__init__(scenario, firestore, chance)
        self._blocking = Blocking(self.world)
        self._waiting = False
        intake = scenario.approach == "intake"
        written, others = self_written(scenario.settings), sources(scenario.settings)
        source, home = written[scenario.source] if intake else others["libra"]
        store: Any = ModelStore(firestore, self._blocking, source.aggregations[0].name)
        virtual = {"clock": self.world.datetime, "sleep": self._blocking.sleep}
        kind: Any = Intake if intake else Ledger
        self._real: Intake | Ledger = kind(store, source, home, scenario.settings, **virtual)
        self._groups: Any = self._real._groups
        self._groups.wait_for_company = self._wait_for_company

    def handle(self, entry: Entry, answer: Answer) -> None:
        """Put the entry in the ledger's queue; lead if nobody does."""

        def wake() -> None:
            if own.answered:
                self.world.after(0, lambda: answer(own.error is None))
            else:
                self.world.after(0, self._lead)

        own = self._member(entry)
        own.wake = wake
        try:
            if self._groups.queue.enqueue(own):
                self.world.after(0, self._lead)
            elif self._waiting and self._groups.queue.full.is_set():
                self._waiting = False
                self._blocking.interrupt()
        except Overloaded:
            answer(False)

    def _member(self, entry: Entry) -> Any:
        if isinstance(self._real, Ledger):
            return self._real._member(entry)
        number = int(entry.path.rpartition("/")[2])
        if self.scenario.source == "signals":
            more = {"signal_type": "scroll", "flag_type": "long", "source_platform": "web"}
            event = {"user_id": f"u{number}", "timestamp": entry.time, **more}
        else:
            user = f"u{number % self.scenario.users}"
            event = {"event_id": str(number), "user_id": user, "event_type": "view", "timestamp": entry.time}
        return self._real._member(event, None)

    def _lead(self) -> None:
        self._blocking.do(self._groups.lead)

    def _wait_for_company(self, seconds: float) -> None:
        if not self._groups.queue.full.is_set():
            self._waiting = True
            self._blocking.sleep(seconds)
            self._waiting = False

    def close(self) -> None:
        """See `Instance.close`."""
        self._blocking.close()


# --- the platform in front ----------------------------------------------------------------------


class Platform:
    """Makes events, delivers each to an instance with a free place, and again where that fails."""

    def __init__(self, scenario: Scenario) -> None:
        self.scenario = scenario
        self.world = World()
        self.firestore = Firestore(self.world, scenario.assumptions)
        self._chance = random.Random(scenario.seed)
        kind = LibraInstance if scenario.approach in {"libra", "intake"} else Instance
        self._instances = [
            kind(scenario, self.firestore, random.Random(number)) for number in range(scenario.instances)
        ]
        self._pending: deque[tuple[Entry, Answer]] = deque()
        self._latencies: list[float] = []
        self._made = self._acknowledged = self._measured = 0

    def run(self) -> Outcome:
        """Let the warm-up pass, then the window, and say what happened in it."""
        self._arrive()
        self.world.run(self.scenario.warm_up)
        before = (self.firestore.written, self.firestore.landed, self.firestore.aborted)
        self._latencies.clear()
        self.world.run(self.scenario.warm_up + self.scenario.window)
        written, landed, aborted = (
            now - then
            for now, then in zip(
                (self.firestore.written, self.firestore.landed, self.firestore.aborted), before, strict=True
            )
        )
        window, latencies = self.scenario.window, sorted(self._latencies)
        outcome = Outcome(
            sustained=len(latencies) / window,
            writes=written / max(1, len(latencies)),
            commits=landed / window,
            aborted=aborted / window,
            overcounted=max(0, self.firestore.shown - self._made),
        )
        if latencies:
            outcome.p50 = latencies[len(latencies) // 2]
            outcome.p99 = latencies[int(len(latencies) * 0.99)]
        return outcome

    def _arrive(self) -> None:
        self.world.after(self._chance.expovariate(self.scenario.rate), self._arrive)
        self._made += 1
        path = f"{ModelStore.root}/libra/{self._made}"
        entry = Entry(path, self.world.datetime(), _HOT)
        self._deliver(entry, self.world.now, 1)
        if self._chance.random() < self.scenario.assumptions.duplicates:
            self.world.after(self._chance.uniform(0, 5), lambda: self._place(entry, lambda _: None))

    def _deliver(self, entry: Entry, since: float, attempt: int) -> None:
        def answer(acknowledged: bool) -> None:
            if acknowledged:
                self._latencies.append(self.world.now - since)
                return
            longest = min(600.0, self.scenario.assumptions.backoff * 2 ** (attempt - 1))
            pause = longest * self._chance.uniform(0.5, 1)
            self.world.after(pause, lambda: self._deliver(entry, since, attempt + 1))

        self._place(entry, answer)

    def _place(self, entry: Entry, answer: Answer) -> None:
        free = [one for one in self._instances if one.busy < self.scenario.assumptions.concurrency]
        if not free:
            self._pending.append((entry, answer))
            return
        instance = self._chance.choice(free)
        instance.busy += 1

        def answered(acknowledged: bool) -> None:
            instance.busy -= 1
            answer(acknowledged)
            if self._pending:
                self._place(*self._pending.popleft())

        instance.deliver(entry, answered)


def simulate(scenario: Scenario) -> Outcome:
    """Run a scenario."""
    return Platform(scenario).run()

"""What the tests of the recompute share: a world with a clock of its own, and what must hold in any world."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from shared.aggregation import Cell, Entry, Home, Source, fold
from shared.catalog import LIBRA_HOME, libra
from shared.ledger import Ledger
from shared.recompute import Recompute, Report
from shared.settings import Settings
from shared.store import Create, Document, Merge, Query, Store
from shared.watermark import parse_label, stored_watermark
from tests.support.kitchen import SERVED
from tests.support.memory_seams import Call, Fault, Seams
from tests.support.memory_store import MemoryStore

BEGIN = datetime(2025, 9, 4, 19, 0, tzinfo=UTC)
QUICK = Settings(test=True, lag=timedelta(0), bucket=timedelta(seconds=1))
"""No entry is fresh, and a watermark is at most a second old: what a test on the emulator can wait for."""


def next_second() -> None:
    """Wait until a watermark can be behind everything committed so far."""
    until = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=1)
    while (left := (until - datetime.now(UTC)).total_seconds()) > 0:
        time.sleep(left)


@dataclass
class Clock:
    """The time, moved by hand."""

    now: datetime = BEGIN

    def __call__(self) -> datetime:
        return self.now

    def sleep(self, seconds: float) -> None:
        """Take as long as that."""
        self.now += timedelta(seconds=seconds)


@dataclass
class World:
    """An in-memory Firestore with a clock of its own, a ledger and recomputes."""

    settings: Settings = field(default_factory=Settings)
    clock: Clock = field(default_factory=Clock)
    store: Store = None  # type: ignore[assignment]  # made below, where it is not given
    source: Source = None  # type: ignore[assignment]  # the same
    home: Home = LIBRA_HOME
    memory: MemoryStore = field(init=False)

    def __post_init__(self) -> None:
        self.memory = MemoryStore(self.clock)
        self.store = self.store or self.memory
        self.source = self.source or libra(self.settings)

    def write(self, entry_id: str, **changed: object) -> Entry:
        """Create an entry, now."""
        fields = {name: value for name, value in (SERVED | changed).items() if value is not ...}
        path = f"{self.home.entries}/{entry_id}"
        committed = self.memory.commit([Create(path, fields)], timeout=10)
        return Entry(self.memory.name(path), committed, fields)

    def ledger(self, **options: object) -> Ledger:
        """A trigger's ledger."""
        options = {"clock": self.clock, "sleep": self.clock.sleep} | options
        return Ledger(self.memory, self.source, self.home, self.settings, **options)  # type: ignore[arg-type]  # as named

    def serve(self, number: int, prefix: str = "e", **changed: object) -> list[Entry]:
        """Create entries and count them."""
        entries = [self.write(f"{prefix}{each}", **changed) for each in range(number)]
        ledger = self.ledger()
        for entry in entries:
            ledger.apply(entry)
        return entries

    def recompute(self, **options: object) -> Recompute:
        """A recompute in one thread."""
        options = {"clock": self.clock, "sleep": self.clock.sleep, "workers": 1} | options
        return Recompute(self.store, self.source, self.home, self.settings, **options)  # type: ignore[arg-type]  # as named

    def run(self, strategy: str = "auto", **options: object) -> Report:
        """Recompute."""
        return self.recompute(**options).run(strategy)  # type: ignore[arg-type]  # one of the strategies

    def later(self, **how_long: float) -> None:
        """Let time pass."""
        self.clock.now += timedelta(**how_long)

    def count(self, path: str) -> object:
        """What a reader sees."""
        (document,) = self.memory.get([path])
        return document.fields["count"] if document else None

    def merge(self, path: str, **fields: object) -> None:
        """Somebody writes to a document."""
        self.memory.commit([Merge(path, {(name,): value for name, value in fields.items()})], timeout=10)

    def state(self) -> Mapping[str, object]:
        """The state document's fields."""
        (document,) = self.memory.get([self.home.state])
        return document.fields if document else {}

    def runs(self) -> list[Mapping[str, object]]:
        """The records of all runs, oldest first."""
        return [document.fields for document in self.memory.query(Query(self.home.runs, order_by=("token",)))]


def exact_at(store: Store, source: Source, watermark: datetime) -> dict[Cell, dict[str, int]]:
    """What is true at a watermark: the pure fold over the entries of that snapshot."""
    entries = store.query(Query(LIBRA_HOME.entries), read_time=watermark)
    return fold(source, (entry.fields for entry in entries))


def totals(store: Store, source: Source) -> dict[str, Document]:
    """Every stored total, by path."""
    return {
        document.path: document
        for aggregation in source.aggregations
        for document in store.query(Query(aggregation.name))
    }


def applied(document: Document, watermark: datetime, measure: str = "count") -> object:
    """What a total says of the entries up to a watermark."""
    count, recent = document.fields.get(measure, 0), document.fields.get("recent", {})
    assert isinstance(count, int)
    assert isinstance(recent, Mapping)
    for label, amount in recent.items():
        bucket, filed = parse_label(label)
        if filed == measure and bucket.end > watermark:
            count -= amount
    return count


def fence_holds(store: Store, source: Source, watermark: datetime | None = None) -> None:
    """Law *fence*: count - sum of recent[> W] = exact(W), for every document."""
    (state,) = store.get([LIBRA_HOME.state])
    sealed = stored_watermark(state.fields if state else None)
    assert sealed is not None
    assert watermark in {None, sealed}
    exact = {
        LIBRA_HOME.total(cell): measures["count"]
        for cell, measures in exact_at(store, source, sealed).items()
    }
    found = {path: applied(document, sealed) for path, document in totals(store, source).items()}
    assert {path: count for path, count in found.items() if count} == exact


def converged(store: Store, source: Source) -> None:
    """Law *converge*: what a reader sees is what is true of the entries there are."""
    exact = {LIBRA_HOME.total(cell): m["count"] for cell, m in fold(source, _entries(store)).items()}
    shown = {path: document.fields["count"] for path, document in totals(store, source).items()}
    assert {path: count for path, count in shown.items() if count} == exact


def _entries(store: Store) -> Sequence[Mapping[str, object]]:
    return [entry.fields for entry in store.query(Query(LIBRA_HOME.entries))]


def settings_for(settings: Settings, **changed: object) -> Settings:
    """Settings with some of them changed."""
    return replace(settings, **changed)  # type: ignore[arg-type]  # as named


class Died(BaseException):
    """The process is killed: nothing may catch this and go on."""


def dying_at(world: World, step: str) -> Callable[[str], None]:
    """A hook in which the process is killed at a step: nothing of it reaches the store any more."""
    dead = False

    def gone(_: Call) -> Fault | None:
        if dead:
            raise Died(step)
        return None

    def hook(reported: str) -> None:
        nonlocal dead
        if reported == step:
            dead = True
            raise Died(step)

    world.store = Seams(world.store, gone)
    return hook

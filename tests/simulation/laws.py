"""The laws of the design's section 6, watched commit by commit from inside the database.

The observer knows what the components cannot: every entry that was ever written, when its event was
first tried and when it was acknowledged. From that it says, at every moment and for every total, what
must hold, and raises `Violation` at the commit that breaks it.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeAlias

from shared.aggregation import Cell, Entry, Source, contribution, fold
from shared.catalog import LIBRA_HOME
from shared.ledger import Outcome
from shared.recompute import Report
from shared.store import Query, Write
from shared.watermark import parse_label, stored_watermark
from tests.simulation.world import Violation
from tests.support.memory_store import MemoryStore

Totals: TypeAlias = dict[str, int]
"""Counts, by path of the total."""


@dataclass(slots=True)
class WatchedStore(MemoryStore):
    """A database that shows every commit to an observer, once it is applied."""

    watch: Callable[[Sequence[Write]], None] = lambda _: None

    def _commit(self, writes: Sequence[Write], transaction: bytes | None) -> datetime:
        at = MemoryStore._commit(self, writes, transaction)
        self.watch(writes)
        return at


@dataclass(slots=True)
class _Known:
    """An entry, as the observer knows it."""

    entry: Entry
    cells: frozenset[str]
    counted: bool = False
    """Acknowledged as counted by a trigger; not: as superseded by a recompute."""


@dataclass(slots=True)
class Laws:
    """Holds a database to the laws. Call `attempted` and `acknowledged` as events are delivered."""

    store: WatchedStore
    source: Source
    settled: bool = False
    """Whether every entry written so far is still as its event told: nobody edited or deleted one."""
    known: dict[tuple[str, datetime], _Known] = field(default_factory=dict)
    made: list[Entry] = field(default_factory=list)
    stored: datetime | None = None
    """The watermark in the database."""
    watermark: datetime | None = None
    """The one that the laws are held to: also one that a run claims and never stored."""
    proved: datetime | None = None
    """The watermark of the last run that completed."""
    at_seal: Totals = field(default_factory=dict)
    exact: Totals = field(default_factory=dict)
    corrected: set[str] = field(default_factory=set)
    aggregate_writes: int = 0
    collections: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        self.collections = frozenset(each.name for each in self.source.aggregations)
        self.settled = True
        self.store.watch = self._watch

    # -- told from outside

    def attempted(self, entry: Entry) -> None:
        """An event is about to be tried; told each time."""
        name = (entry.path, entry.create_time)
        if name not in self.known:
            cells = contribution(self.source, entry.fields).deltas
            self.known[name] = _Known(entry, frozenset(LIBRA_HOME.total(cell) for cell in cells))

    def acknowledged(self, entry: Entry, outcome: Outcome) -> None:
        """An event was answered for good. *bound*, below: it must be visible by now."""
        known = self.known[entry.path, entry.create_time]
        if outcome.value == Outcome.SUPERSEDED.value:
            if self.watermark is None or entry.create_time > self.watermark:
                raise Violation(
                    f"{entry.path} ({entry.create_time}) was skipped for a watermark it is not behind: "
                    f"{self.watermark}"
                )
            return
        known.counted = True
        for path in known.cells:
            self._check_open(path)

    def completed(self, report: Report) -> None:
        """A run says it is done. *fence*: then every total is exact at its watermark, triggers or not."""
        if self.watermark and self.watermark > report.watermark:
            return  # a later run has sealed meanwhile
        if self.watermark != report.watermark:  # it never sealed: take it by its word
            self._sealed(report.watermark)
        self.proved = report.watermark
        for path in self._paths():
            applied = self._applied(path)
            if applied != self.exact.get(path, 0):
                raise Violation(
                    f"fence: after the run at {report.watermark} {path} says {applied} of the entries up to "
                    f"it, and there are {self.exact.get(path, 0)}"
                )
        self.corrected = set(self._paths())

    # -- seen from inside

    def _watch(self, writes: Sequence[Write]) -> None:
        for write in writes:
            if write.path == LIBRA_HOME.state:
                self._check_seal()
        for write in writes:
            if write.path.partition("/")[0] in self.collections:
                self.aggregate_writes += 1
                self._check_applied(write.path)
                self._check_open(write.path)

    def _check_seal(self) -> None:
        (state,) = self.store.get([LIBRA_HOME.state])
        watermark = stored_watermark(state.fields if state else None)
        if watermark is None or watermark == self.stored:
            return
        if self.stored and watermark < self.stored:
            raise Violation(f"fence: the watermark went back from {self.stored} to {watermark}")
        self.stored = watermark
        self._sealed(watermark)

    def _sealed(self, watermark: datetime) -> None:
        self.watermark, self.corrected = watermark, set()
        self.exact = self.truth(watermark)
        self.at_seal = {path: self._applied(path) for path in self._paths()}
        self._check_good_night(watermark)

    def _check_good_night(self, watermark: datetime) -> None:
        """*once*: if every entry up to the seal was acknowledged as counted, there is no drift to correct."""
        passed = [each for each in self.made if each.create_time <= watermark]
        if not self.settled or not all(map(self._accounted, passed)):
            return
        for path in self.at_seal.keys() | self.exact.keys():
            if self.at_seal.get(path, 0) != self.exact.get(path, 0):
                raise Violation(
                    f"once: every entry up to {watermark} was acknowledged, {path} counts "
                    f"{self.at_seal.get(path, 0)} of them and there are {self.exact.get(path, 0)}"
                )

    def _accounted(self, entry: Entry) -> bool:
        if self.proved and entry.create_time <= self.proved:
            return True
        known = self.known.get((entry.path, entry.create_time))
        return known is not None and known.counted

    def _check_applied(self, path: str) -> None:
        """*fence*: what a total says of the entries up to the seal stands still, but for one correction."""
        applied, exact = self._applied(path), self.exact.get(path, 0)
        if path in self.corrected or applied != self.at_seal.get(path, 0):
            self.corrected.add(path)
            if applied != exact:
                raise Violation(
                    f"fence: {path} said {self.at_seal.get(path, 0)} of the entries up to the seal at "
                    f"{self.watermark}, there are {exact}, and now it says {applied}"
                )

    def _check_open(self, path: str) -> None:
        """*bound*: acknowledged ≤ shown ≤ attempted, of the entries behind the seal, at every moment."""
        shown, low, high = self._open(path), 0, 0
        for known in self.known.values():
            if path in known.cells and (self.watermark is None or known.entry.create_time > self.watermark):
                high += 1
                low += known.counted
        if not low <= shown <= high:
            raise Violation(
                f"bound: {path} shows {shown} entries behind {self.watermark}: {low} were acknowledged and "
                f"{high} attempted"
            )

    # -- figures

    def truth(self, at: datetime) -> Totals:
        """The pure fold over the entries of a snapshot, by path of the total."""
        entries = self.store.query(Query(LIBRA_HOME.entries), read_time=at)
        return counts(fold(self.source, (each.fields for each in entries)))

    def shown(self) -> Totals:
        """What every total says."""
        return {path: number(self._fields(path).get("count", 0)) for path in self._paths()}

    def buckets(self) -> Iterable[str]:
        """Every bucket that is left in any total."""
        for path in self._paths():
            yield from _recent(self._fields(path))

    def _paths(self) -> list[str]:
        return [each.path for name in self.collections for each in self.store.query(Query(name))]

    def _fields(self, path: str) -> Mapping[str, object]:
        (document,) = self.store.get([path])
        return document.fields if document else {}

    def _open(self, path: str) -> int:
        """What a total shows of the entries behind the seal."""
        return sum(
            number(amount)
            for label, amount in _recent(self._fields(path)).items()
            if self.watermark is None or parse_label(label)[0].end > self.watermark
        )

    def _applied(self, path: str) -> int:
        """What a total says of the entries up to the seal."""
        return number(self._fields(path).get("count", 0)) - self._open(path)


def counts(totals: Mapping[Cell, Mapping[str, int]]) -> Totals:
    """By path, without zeros."""
    return {
        LIBRA_HOME.total(cell): measures["count"] for cell, measures in totals.items() if measures["count"]
    }


def number(value: object) -> int:
    """A count, which must be an integer."""
    if not isinstance(value, int):
        raise Violation(f"a count holds {value!r}")
    return value


def _recent(fields: Mapping[str, object]) -> Mapping[str, object]:
    recent = fields.get("recent", {})
    assert isinstance(recent, Mapping)
    return recent

"""The laws of the design's section 6, watched commit by commit from inside the database.

The observer knows what the components cannot: every entry that was ever written, when its event was
first tried and when it was acknowledged. From that it says, at every moment and for every total, what
must hold, and raises `Violation` at the commit that breaks it.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TypeAlias

from shared.aggregation import Cell, Entry, Source, change, fold
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


TOO_LATE = timedelta(minutes=50)
"""Only a deletion whose event comes later than this may be left to the next run."""


@dataclass(slots=True)
class _Known:
    """A change, as the observer knows it."""

    entry: Entry
    at: datetime
    """When it was committed, also if it is a deletion."""
    deltas: Mapping[str, int]
    """What it adds to the count of each total."""
    tried: bool = False
    """Whether its event was delivered."""
    answered: bool = False
    """Whether its event was answered for good, however."""
    counted: bool = False
    """Acknowledged as counted by a trigger; not: as superseded by a recompute, or left to one."""


@dataclass(slots=True)
class Laws:
    """Holds a database to the laws. Call `attempted` and `acknowledged` as events are delivered."""

    store: WatchedStore
    source: Source
    known: dict[tuple[str, datetime, bool], _Known] = field(default_factory=dict)
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
        self.store.watch = self._watch

    # -- told from outside

    def happened(self, entry: Entry, at: datetime) -> None:
        """Somebody changed an entry."""
        deltas = change(self.source, entry).deltas
        counts = {LIBRA_HOME.total(cell): measures["count"] for cell, measures in deltas.items()}
        self.known[entry.path, entry.time, entry.gone] = _Known(entry, at, counts)

    def attempted(self, entry: Entry) -> None:
        """An event is about to be tried; told each time."""
        self._known(entry).tried = True

    def _known(self, entry: Entry) -> _Known:
        return self.known[entry.path, entry.time, entry.gone]

    def acknowledged(self, entry: Entry, outcome: Outcome) -> None:
        """An event was answered for good. *bound*, below: it must be visible by now."""
        known = self._known(entry)
        known.answered = True
        if outcome.value == Outcome.SUPERSEDED.value:
            if self.watermark is None or known.at > self.watermark:
                raise Violation(
                    f"{entry.path} ({known.at}) was skipped for a watermark it is not behind: "
                    f"{self.watermark}"
                )
            return
        if outcome.value == Outcome.LEFT.value:
            if not entry.gone or self.store.clock() - known.at < TOO_LATE:
                raise Violation(f"{entry.path} ({known.at}) was left to the next run, and came in time")
            return
        known.counted = True
        for path in known.deltas:
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
        passed = [each for each in self.known.values() if each.at <= watermark]
        if not all(map(self._accounted, passed)):
            return
        for path in self.at_seal.keys() | self.exact.keys():
            if self.at_seal.get(path, 0) != self.exact.get(path, 0):
                raise Violation(
                    f"once: every change up to {watermark} was acknowledged, {path} counts "
                    f"{self.at_seal.get(path, 0)} of them and there are {self.exact.get(path, 0)}"
                )

    def _accounted(self, known: _Known) -> bool:
        return known.counted or (self.proved is not None and known.at <= self.proved)

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
        """*bound*: what is shown of the changes behind the seal lies between what was acknowledged and what
        was attempted: each change that was acknowledged is in it, and of the others any that was tried."""
        shown, low, high = self._open(path), 0, 0
        for known in self.known.values():
            amount = known.deltas.get(path)
            if amount and known.tried and (self.watermark is None or known.at > self.watermark):
                high += amount if known.counted else max(0, amount)
                low += amount if known.counted else min(0, amount)
        if not low <= shown <= high:
            raise Violation(
                f"bound: {path} shows {shown} of the changes behind {self.watermark}: with what was "
                f"acknowledged and attempted it is from {low} to {high}"
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

    def stale_records(self) -> list[str]:
        """Records of versions that could not be counted, although a trigger heard that they are gone."""
        ended = {
            (each.entry.path, each.entry.old.time)
            for each in self.known.values()
            if each.entry.old and each.answered
        }
        records = [record.fields for record in self.store.query(Query(LIBRA_HOME.rejected))]
        return [str(fields) for fields in records if (fields["entry"], fields["create_time"]) in ended]

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

"""Three exact counters, one answer: `index` counts by the indexes, `scan` and `beam` by reading every entry.

All count a `Snapshot` and give a `Counted`; the result does not depend on which of them ran. `plan` chooses.
`engine` has `beam`; a function is deployed without it.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Literal, TypeAlias, get_args

from shared.aggregation import look_up
from shared.counting.cells import first_instant
from shared.counting.cost import choose, index_cost, proposal, scan_cost
from shared.counting.index import index, time_groups, times_of, unsupported
from shared.counting.scan import scan
from shared.counting.snapshot import Counted, Snapshot
from shared.errors import StrategyUnsupported
from shared.store import Filter, Query

Strategy: TypeAlias = Literal["auto", "index", "scan", "beam"]
STRATEGIES: tuple[Strategy, ...] = get_args(Strategy)

Beam: TypeAlias = Callable[[Snapshot], tuple[Counted, str]]
"""Counts a snapshot elsewhere, and says how: `engine.Engine`."""

__all__ = ["STRATEGIES", "Beam", "Counted", "Plan", "Snapshot", "Strategy", "plan", "proposal", "startable"]


@dataclass(frozen=True, slots=True)
class Plan:
    """How a snapshot will be counted."""

    strategy: str
    """``index``, ``scan`` or ``beam``."""
    why: str
    asked: bool
    """Whether the caller insisted on it."""
    ceiling: float = float("inf")
    """The reads at which the indexes are given up."""
    beam: Beam | None = None
    """What counts, if the strategy is ``beam``."""

    def count(self, snapshot: Snapshot) -> tuple[Counted, "Plan"]:
        """Count, and say how that was done in the end.

        Raises:
            StrategyUnsupported: the strategy was asked for, and the data does not allow it.
            IndexMissing: the indexes were asked for, or chosen, and one is not deployed.
            PipelineError: the pipeline that was to count failed.
            StoreError: Firestore cannot be read.
        """
        if self.beam:
            counted, how = self.beam(snapshot)
            return counted, replace(self, why=f"{self.why}; {how}")
        if self.strategy == "scan":
            return scan(snapshot), self
        try:
            return index(snapshot, ceiling=self.ceiling), self
        except StrategyUnsupported as error:
            if self.asked:
                raise
            return scan(snapshot), Plan("scan", f"{error} (index was chosen: {self.why})", asked=False)


def plan(snapshot: Snapshot, asked: Strategy, beam: Beam | None = None) -> Plan:
    """Choose how to count. ``beam``: what counts by that strategy.

    Raises:
        StrategyUnsupported: ``index`` is asked for and cannot prove what is declared; or ``beam``, and this
            process cannot start a pipeline.
        StoreError: Firestore cannot be read.
    """
    if asked == "beam":
        return Plan("beam", "asked for", asked=True, beam=startable(beam))
    reason = unsupported(snapshot.source)
    if asked == "scan":
        return Plan("scan", "asked for", asked=True)
    if asked == "index" and reason:
        raise StrategyUnsupported(f"the strategy index cannot be used: {reason}; use scan, or auto")
    if asked == "index":
        return Plan("index", "asked for", asked=True)
    if reason:
        return Plan("scan", f"index cannot be used: {reason}", asked=False)
    return _cheaper(snapshot)


def startable(beam: Beam | None) -> Beam:
    """What counts by the strategy ``beam``.

    Raises:
        StrategyUnsupported: this process has nothing that does.
    """
    if beam is None:
        raise StrategyUnsupported(
            "the strategy beam takes longer than a request may: run the Cloud Run job libra-recompute-beam, "
            "or libra recompute --strategy beam"
        )
    return beam


def _cheaper(snapshot: Snapshot) -> Plan:
    source = snapshot.source
    entries = snapshot.count(Query(snapshot.home.entries))
    keys = [_stored(snapshot, each.name) for each in source.aggregations if not times_of(each)]
    hours = [min(entries, _hours(snapshot, number)) for number in range(len(time_groups(source)))]
    scanned = scan_cost(entries)
    strategy, why = choose(scanned, index_cost(entries, keys, hours, snapshot.workers))
    if advice := proposal(strategy, entries):
        why = f"{why}. {advice}"
    return Plan(strategy, why, asked=False, ceiling=snapshot.reads + scanned.reads)


def _stored(snapshot: Snapshot, aggregation: str) -> int:
    """How many totals there are, about: a guess at the number of keys.

    As of now: totals are overwritten all the time, and the emulator forgets what a document that was
    overwritten held five minutes ago (it answers UNKNOWN; seen in 2026-11).
    """
    return snapshot.count(Query(snapshot.home.collection(aggregation)), now=True)


def _hours(snapshot: Snapshot, number: int) -> int:
    """About how many hours hold entries: 24 for each date that has a total, else since the first entry."""
    group = time_groups(snapshot.source)[number]
    key = times_of(group[0])[0]
    dates = [each.name for each in group if [part.grain for part in times_of(each)] == ["date"]]
    if dates and (stored := _stored(snapshot, dates[0])):
        return 24 * stored
    since = Filter(key.field, ">=", first_instant(key.zone))  # a comparison with a time matches times only
    first = snapshot.first(Query(snapshot.home.entries, (since,), (key.field,), limit=1))
    begun = look_up(first.fields, key.field) if first else None
    if not isinstance(begun, datetime):
        return 0
    return max(0, int((snapshot.read_time - begun) / timedelta(hours=1)))

"""The law of self-written sources, watched commit by commit from inside the database.

At every instant a total is what its entries add up to, plus what somebody else has done to either since the
watermark of the last run that corrected it. The observer knows what somebody else did. So it can say after
each commit by how much each total may be off, and raises `Violation` at the commit that makes it another
number.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from shared.aggregation import fold
from shared.drift import whole
from shared.store import Query, Write
from shared.watermark import stored_watermark
from tests.simulation.intake_story import SOURCE
from tests.simulation.laws import WatchedStore
from tests.simulation.world import Violation
from tests.support.admitting import HOME


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
            for name in sorted(off.keys() | self.off.keys())
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

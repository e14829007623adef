"""A self-written source in any store: what tests admit, count and compare."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from shared.aggregation import (
    Aggregation,
    Cell,
    Count,
    Exists,
    FieldKey,
    Home,
    Sum,
    TimeKey,
    fold,
)
from shared.events import EventSource, Field, Integer, Map, Schema, Text, Timestamp
from shared.intake import Intake, Verdict
from shared.recompute import Recompute, Report
from shared.schemas import EARLY, LATE
from shared.settings import UTC as UTC_ZONE
from shared.settings import Settings
from shared.store import Query, Store

HOME = Home(
    entries="clicks",
    state="aggregates/clicks",
    seen="clicks_seen",
    rejected="clicks_rejected",
    runs="clicks_runs",
    archives="clicks_archives",
    self_written=True,
)

CLICKS = EventSource(
    "clicks",
    aggregations=(
        Aggregation("by_type", FieldKey("type")),
        Aggregation("by_date", TimeKey("at", "date", UTC_ZONE)),
        Aggregation(
            "by_user",
            (FieldKey("user"), FieldKey("type")),
            where=Exists("user"),
            measures=(Count(), Sum("n", "n")),
        ),
    ),
    schema=Schema(
        id="id",
        fields=(
            Field("id", Text()),
            Field("type", Text(20)),
            Field("user", Text(20), required=False),
            Field("at", Timestamp(EARLY, LATE)),
            Field("n", Integer(0, 1_000)),
            Field("more", Map(), required=False),
        ),
    ),
)

QUICK = Settings(test=True)


AT = datetime.now(UTC)
"""When the events say they happened: a time that the schema admits, by the machine's clock."""


def click(number: int | str, **changed: object) -> dict[str, object]:
    """An event, as a sender has it."""
    event: dict[str, object] = {"id": f"c{number}", "type": "open", "user": "u", "at": AT, "n": 1}
    return {name: value for name, value in (event | changed).items() if value is not ...}


@dataclass
class Desk:
    """A store and a self-written source in it."""

    store: Any
    source: EventSource = CLICKS
    home: Home = HOME
    settings: Settings = QUICK
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    sleep: Callable[[float], None] = time.sleep
    intakes: list[Intake] = field(default_factory=list)

    def intake(self, store: Store | None = None, **settings: Any) -> Intake:
        """Another intake, perhaps behind a store of its own."""
        made = Intake(
            store or self.store,
            self.source,
            self.home,
            Settings(test=True, **settings),
            clock=self.clock,
            sleep=self.sleep,
        )
        self.intakes.append(made)
        return made

    def admit(self, *events: Mapping[str, object]) -> list[Verdict]:
        """Admit events, one after another."""
        intake = self.intakes[0] if self.intakes else self.intake()
        return [intake.admit(event) for event in events]

    def recompute(self, store: Store | None = None, **chosen: Any) -> Recompute:
        """A recompute of the source, in one thread."""
        options: dict[str, Any] = {"clock": self.clock, "sleep": self.sleep, "workers": 1, **chosen}
        return Recompute(store or self.store, self.source, self.home, self.settings, **options)

    def run(self, **options: Any) -> Report:
        """Recompute."""
        return self.recompute(**options).run()

    def exact(self, at: datetime | None = None) -> dict[Cell, dict[str, int]]:
        """What the totals must be: the pure fold over the entries, now or at an instant."""
        entries = self.store.query(Query(self.home.entries), read_time=at)
        return _without_zeros(fold(self.source, (entry.fields for entry in entries)))

    def totals(self, at: datetime | None = None) -> dict[Cell, dict[str, int]]:
        """What the totals say, now or at an instant; each has its document where its key says."""
        found: dict[Cell, dict[str, int]] = {}
        for aggregation in self.source.aggregations:
            for document in self.store.query(Query(self.home.collection(aggregation.name)), read_time=at):
                key = aggregation.parse_stored_key(document.fields["key"])
                assert key is not None
                cell = Cell(aggregation.name, key)
                assert self.home.total(cell) == document.path
                found[cell] = {
                    name: _said(document.fields[name])
                    for name in aggregation.columns
                    if name in document.fields
                }
        return _without_zeros(found)

    def agrees(self, at: datetime | None = None) -> bool:
        """Whether the totals are what the entries add up to."""
        return self.totals(at) == self.exact(at)


def _said(value: object) -> int:
    """What a total says: what somebody else wrote counts as 0, as it does for an increment."""
    assert not isinstance(value, float)
    return value if isinstance(value, int) else 0


def _without_zeros(totals: Mapping[Cell, Mapping[str, int]]) -> dict[Cell, dict[str, int]]:
    """Without the columns, and the totals, that say nothing: a correction does not write a 0."""
    kept = {cell: {name: n for name, n in amounts.items() if n} for cell, amounts in totals.items()}
    return {cell: amounts for cell, amounts in kept.items() if amounts}

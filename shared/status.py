"""How the totals stand: the watermark, the runs, and what was counted since. Reads only."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypeVar

from shared.aggregation import Home, Source
from shared.recompute import Lease, under_way
from shared.recompute.standing import Standings, standings
from shared.store import Document, Query, Store
from shared.watermark import parse_label, stored_watermark

RUNS = 10

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class RunStatus:
    """One recompute, as its record and the lease tell."""

    run_id: str
    state: str
    """``queued``, ``processing``, ``completed`` or ``failed``; the last also if it died."""
    started: datetime
    watermark: datetime | None
    strategy: str | None
    entries: int | None
    drift: int | None
    corrected: int | None
    seconds: float | None
    error: str | None


@dataclass(frozen=True, slots=True)
class Status:
    """How the totals of a source stand."""

    now: datetime
    watermark: datetime | None
    """That of the last completed run: every entry committed at or before it is exactly counted. None before
    the first one."""
    sealed: datetime | None
    """The stored one. It is later while a run is under way, and after one that failed behind its seal: the
    triggers leave what was committed in between, and comes late, to the next run."""
    lease: Lease | None
    """The one that is held now."""
    runs: tuple[RunStatus, ...]
    """The last ones, the newest first."""
    pending: Mapping[str, int]
    """What the triggers added since the watermark and no recompute has proven yet, by aggregation."""
    aggregations: Standings
    """Which of them are exact, filling or orphaned."""

    @property
    def age(self) -> timedelta | None:
        """How long ago the watermark was."""
        return self.now - self.watermark if self.watermark else None


def status(store: Store, source: Source, home: Home, now: datetime, *, runs: int = RUNS) -> Status:
    """Read how a source stands. It costs a read for each total and each run shown.

    Raises:
        StateError: the state document is damaged.
        StoreError: Firestore cannot be read.
    """
    (found,) = store.get([home.state])
    state = found.fields if found else {}
    sealed, lease = stored_watermark(state), Lease.of(state)
    held = lease if lease and lease.left(now) > timedelta(0) else None
    records = store.query(Query(home.runs, order_by=("-queued_at",), limit=runs))
    shown = tuple(_run(record, held) for record in records)
    watermark = _proven(state, sealed, shown)
    pending = {
        each.name: sum(_open(total, watermark) for total in store.query(Query(home.collection(each.name))))
        for each in source.aggregations
    }
    return Status(now, watermark, sealed, held, shown, pending, standings(source, home, state))


def _proven(
    state: Mapping[str, object], sealed: datetime | None, runs: Sequence[RunStatus]
) -> datetime | None:
    """The watermark of the last completed run; where no run has noted it yet, from the runs' records."""
    completed = (run.watermark for run in runs if run.state == "completed" and run.watermark)
    proven = _as(datetime, state.get("proven")) or next(completed, None)
    return min(proven, sealed) if proven and sealed else None


def _run(record: Document, held: Lease | None) -> RunStatus:
    fields, run_id = record.fields, record.path.rpartition("/")[2]
    state, error = _as(str, fields.get("state")) or "unknown", _as(str, fields.get("error"))
    if under_way(fields) and (held is None or held.run_id != run_id):
        state, error = "failed", error or "it died: its lease is over"
    return RunStatus(
        run_id,
        state,
        record.create_time,
        _as(datetime, fields.get("watermark")),
        _as(str, fields.get("strategy")),
        _as(int, fields.get("entries")),
        _as(int, fields.get("drift")),
        _as(int, fields.get("corrected")),
        _as(float, fields.get("seconds")),
        error,
    )


def _as(kind: type[T], value: object) -> T | None:
    return value if isinstance(value, kind) else None


def _open(total: Document, watermark: datetime | None) -> int:
    """What a total's open buckets hold; all of them before the first run."""
    recent = total.fields.get("recent")
    filed = 0
    for label, amount in recent.items() if isinstance(recent, Mapping) else ():
        try:
            bucket, measure = parse_label(label)
        except (ValueError, OverflowError):
            continue
        if measure == "count" and isinstance(amount, int) and (watermark is None or bucket.end > watermark):
            filed += amount
    return filed

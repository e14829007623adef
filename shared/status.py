"""How the totals stand: the watermark, the runs, and what was counted since. Reads only."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypeVar

from shared.aggregation import Home, Source
from shared.counting import proposal
from shared.drift import FAR
from shared.recompute import Lease, under_way
from shared.recompute.standing import Standings, standings
from shared.store import DOCUMENT_ID, Document, Query, Store
from shared.watermark import open_amounts, stored_watermark

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

    @property
    def proposal(self) -> str:
        """Another way to count, where this run took long; else nothing."""
        return proposal(self.strategy or "", self.entries or 0)


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
    shown = tuple(run_of(record, held) for record in store.query(newest(home, runs)))
    watermark = proven(state, shown)
    pending = pending_counts(store, source, home, watermark, now)
    return Status(now, watermark, sealed, held, shown, pending, standings(source, home, state))


def newest(home: Home, runs: int) -> Query:
    """The records of the last ``runs`` runs, the newest first."""
    return Query(home.runs, order_by=("-queued_at", f"-{DOCUMENT_ID}"), limit=runs)


def proven(state: Mapping[str, object], runs: Sequence[RunStatus] = ()) -> datetime | None:
    """The watermark of the last completed run, which the state document notes.

    Args:
        state: the fields of the state document.
        runs: the last ones, the newest first: their records tell it where no run has noted it yet.

    Raises:
        StateError: the state document is damaged.
    """
    sealed = stored_watermark(state)
    completed = (run.watermark for run in runs if run.state == "completed" and run.watermark)
    noted = _as(datetime, state.get("proven")) or next(completed, None)
    return min(noted, sealed) if noted and sealed else None


def pending_counts(
    store: Store,
    source: Source,
    home: Home,
    watermark: datetime | None,
    now: datetime,
    *,
    read_time: datetime | None = None,
) -> dict[str, int]:
    """What the triggers counted after ``watermark``, by aggregation; everything, if that is None.

    It costs a read for each total. Of a self-written source there is nothing to read: its totals agree with
    its entries at every instant.
    """
    if home.self_written:
        return {}
    return {
        each.name: sum(
            open_amounts(total.fields.get("recent"), watermark, now + FAR).get("count", 0)
            for total in store.query(
                Query(home.collection(each.name), select=("recent",)), read_time=read_time
            )
        )
        for each in source.aggregations
    }


def run_of(record: Document, held: Lease | None) -> RunStatus:
    """A run as its record and the lease that is held now tell."""
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

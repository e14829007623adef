"""The history of runs: what each one found and did."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from shared.aggregation import Home
from shared.errors import NotFound
from shared.recompute import Lease
from shared.status import RunStatus, newest, run_of
from shared.store import Store
from shared.windows.paging import Page, check_limit, cursor, position
from shared.windows.questions import check_id

_LIST = "runs"


@dataclass(frozen=True, slots=True)
class Run:
    """One run, with everything that its record holds."""

    status: RunStatus
    record: Mapping[str, object]
    """The fields of its record: the corrections, the notes and so on (docs/recompute.md)."""


def runs(store: Store, home: Home, *, after: str | None = None, limit: int = 20) -> Page[RunStatus]:
    """A page of the runs, the newest first. It costs a read for each run shown, and two more.

    No run comes twice, and none is left out that was there when the paging began.

    Raises:
        Unanswerable: the cursor or the limit is not allowed.
        StoreError: Firestore cannot be read.
    """
    check_limit(limit)
    query = newest(home, limit + 1)
    if after is not None:
        begun, run_id = position(_LIST, after, datetime, str)
        check_id("the cursor's run", str(run_id))
        query = replace(query, start_after=(begun, home.run(str(run_id))))
    held = _held(store, home)
    found = list(store.query(query))
    shown = tuple(run_of(record, held) for record in found[:limit])
    more = len(found) > limit
    last = found[limit - 1] if more else None
    return Page(shown, cursor(_LIST, last.fields["queued_at"], shown[-1].run_id) if last else None)


def run(store: Store, home: Home, run_id: str) -> Run:
    """One run. It costs two reads.

    Raises:
        NotFound: there is no such run.
        Unanswerable: ``run_id`` is no id.
        StoreError: Firestore cannot be read.
    """
    check_id("run", run_id)
    (record,) = store.get([home.run(run_id)])
    if record is None:
        raise NotFound(f"there is no run {run_id}: {home.run(run_id)} is not there")
    return Run(run_of(record, _held(store, home)), record.fields)


def _held(store: Store, home: Home) -> Lease | None:
    """The lease that is held now."""
    now, (state,) = store.now([home.state])
    lease = Lease.of(state.fields) if state else None
    return lease if lease and lease.left(now) > timedelta(0) else None

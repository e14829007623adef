"""Deleting the totals of an aggregation that is declared no more, under the lease of the runs.

A removal has a record among the runs, and each page of deletions is a step of it. While it is under way no
run can begin, and the next run marks one that died as failed. Killed anywhere, it is started again and goes
on with the documents that are left. The last step takes the aggregation out of the state document.

Another source may have taken over the collection, or the name. What it uses stays: then the aggregation is
only forgotten.
"""

import time
from collections.abc import Callable, Collection, Mapping
from datetime import UTC, datetime, timedelta

from shared.aggregation import Home, Source
from shared.catalog import sources
from shared.errors import NotOrphaned
from shared.recompute.corrections import BATCH_DOCUMENTS
from shared.recompute.fence import Fence
from shared.recompute.lease import LEASE
from shared.recompute.standing import FIELD, OLD_CODE, Standing, standings
from shared.settings import Settings
from shared.store import DOCUMENT_ID, Delete, Query, Store


def orphan(source: Source, home: Home, state: Mapping[str, object], name: str) -> Standing:
    """The orphaned aggregation of a name, by the fields of the state document.

    Raises:
        NotOrphaned: it is declared, or unknown, or no run has seen yet that it is declared no more.
    """
    found = standings(source, home, state)
    if name in {each.name for each in found.declared}:
        raise NotOrphaned(
            f"{name} is declared in the source {source.name}: take the declaration out and deploy, then run "
            "libra recompute"
        )
    known = {each.name: each for each in found.orphaned}
    if name not in known:
        raise NotOrphaned(
            f"{home.state} knows no orphaned aggregation {name!r}: expected one of {sorted(known) or 'none'}"
        )
    if known[name].orphaned_at is None:
        raise NotOrphaned(f"no run has seen yet that {name} is declared no more: run libra recompute first")
    return known[name]


def of_others(settings: Settings, source: str) -> frozenset[str]:
    """The collections, and the documents of bounded keys, that every source but this one uses."""
    return frozenset(
        path
        for name, (declared, home) in sources(settings).items()
        if name != source
        for path in (*home.used(declared), *(home.registry(each.name) for each in declared.aggregations))
    )


def remove(
    store: Store,
    source: Source,
    home: Home,
    name: str,
    *,
    of_others: Collection[str],
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    sleep: Callable[[float], None] = time.sleep,
    step: Callable[[str], None] = lambda _: None,
    progress: Callable[[str, int], None] = lambda _, __: None,
    lease: timedelta = LEASE,
) -> int:
    """Delete the documents of an orphaned aggregation, and then its record; how many documents there were.

    Args:
        store: where they are.
        source: what is declared.
        home: where its books are.
        name: the aggregation's.
        of_others: what other sources use, as the function of this name says: it stays.
        clock: this machine's.
        sleep: waits.
        step: see `Recompute`.
        progress: the same.
        lease: how long a sign of life holds.

    Raises:
        NotOrphaned: see `orphan`; or a trigger with the old code may still write to it.
        LeaseHeld: a run is under way; nothing was done.
        LeaseLost: this took too long between two pages; start it again.
        StoreError: Firestore cannot be reached or refuses; start it again.
    """
    fence = Fence(store, home, clock=clock, sleep=sleep, step=step, lease=lease)
    with fence.held(f"remove {name}") as run:
        gone = orphan(source, home, run.state, name)
        _check_drained(gone, run.started)
        fence.commit(run, "process", record={"state": "processing", "strategy": f"remove {name}"})
        deleted = 0
        after: tuple[str, ...] = ()
        while gone.collection not in of_others:
            query = Query(gone.collection, (), (DOCUMENT_ID,), after, limit=BATCH_DOCUMENTS)
            page = fence.read(lambda query=query: [each.path for each in store.query(query)])  # type: ignore[misc]  # binds the loop's query
            if not page:
                break
            fence.commit(run, "correct", [Delete(path) for path in page])
            deleted += len(page)
            progress("deleted", deleted)
            after = (page[-1],)
        known = run.state[FIELD]
        assert isinstance(known, Mapping)  # noqa: S101 - tells the type checker what `orphan` made sure of
        left = {other: fields for other, fields in known.items() if other != name}
        done = {"state": "completed", "finished_at": clock(), "removed": deleted}
        keys = [Delete(path) for path in (home.registry(name),) if path not in of_others]
        fence.commit(run, "complete", keys, record=done, also={FIELD: left}, release=True)
    return deleted


def _check_drained(gone: Standing, now: datetime) -> None:
    if gone.orphaned_at and now < (free := gone.orphaned_at + OLD_CODE):
        raise NotOrphaned(
            f"an instance of the trigger with the old code may still count {gone.name}: remove it after "
            f"{free.isoformat(timespec='seconds')}"
        )

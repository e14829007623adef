"""Compaction: what the old open buckets of a total hold moves into one longer bucket. The total stays small.

**Why it changes no law.** A total is replaced on the condition that it is as it was read (its update time).
So no increment is lost. Its columns stay, and so does the sum of ``recent``. A run that begins after the
compaction has a watermark that is not before ``until``: the merged buckets lie behind it. A compaction does
nothing while a run has not released its lease, whether that run is alive or not. So it needs no lease of its
own. If the LAG is raised meanwhile, a watermark may lie inside a merged bucket. The label says what a bucket
covers, so the run notices, raises `BucketsStraddle` and corrects nothing.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime

from shared.aggregation import Home, Source
from shared.errors import Contention, LeaseHeld
from shared.log import logger
from shared.recompute.fence import COMMIT_TIMEOUT, RETRY
from shared.recompute.lease import Lease, fields_of
from shared.settings import Settings
from shared.store import DOCUMENT_ID, Document, Merge, Query, Store
from shared.watermark import choose_watermark, compacted, stored_watermark

PAGE = 100
"""How many totals are read at once, and compacted in one commit."""

ATTEMPTS = replace(RETRY, attempts=5)
"""How often a page is tried of which triggers keep changing a total, and then each total of it by itself."""


@dataclass(frozen=True, slots=True)
class Compaction:
    """What a compaction has done."""

    until: datetime | None = None
    """Buckets that end after this were left alone. None: totals of a self-written source have no buckets."""
    reads: int = 0
    writes: int = 0
    """The totals that are smaller now."""
    left: int = 0
    """The totals that triggers kept changing: it had no turn at them."""
    unproven_seconds: int | None = None
    """How far behind the clock the last proven watermark is. None: nothing is proven yet."""

    def as_json(self) -> dict[str, object]:
        """For an answer and a log line."""
        return asdict(self) | {"until": self.until.isoformat() if self.until else None}


def compact(
    store: Store,
    source: Source,
    home: Home,
    settings: Settings,
    *,
    sleep: Callable[[float], None] = time.sleep,
    progress: Callable[[str, int], None] = lambda _, __: None,
) -> Compaction:
    """Merge the old open buckets of every total that has many. Triggers keep running.

    It reads every total once, and writes those that lose `shared.watermark.WORTH` buckets or more.

    Raises:
        LeaseHeld: a run or an archive is under way, or it died; nothing was done.
        StateError: the state document is damaged.
        StoreError: Firestore cannot be reached or refuses. What was compacted until then stays so.
    """
    if home.self_written:
        return Compaction()
    now, (state,) = RETRY.call(lambda: store.now([home.state]), sleep)
    lease = Lease.of(fields_of(state))
    if lease and lease.expires_at:  # one that ran out too: a commit of that run may still be in flight
        advice = "wait for it to end; if it died, the next recompute takes over"
        raise LeaseHeld(lease.run_id, lease.expires_at, advice)
    watermark = stored_watermark(fields_of(state))
    until = choose_watermark(now - settings.bucket, settings.lag, settings.bucket)
    done = Compaction(until, reads=1, unproven_seconds=_unproven(fields_of(state).get("proven"), now))
    for aggregation in source.aggregations:
        query = Query(home.collection(aggregation.name), (), (DOCUMENT_ID,), limit=PAGE)
        while page := RETRY.call(lambda query=query: list(store.query(query)), sleep):  # type: ignore[misc]  # binds the loop's query
            done = replace(done, reads=done.reads + len(page))
            done = _compact(store, page, lambda total: _smaller(total, watermark, until), done, sleep)
            progress("compacted", done.writes)
            query = replace(query, start_after=(page[-1].path,))
    logger.info("Totals were compacted", extra={f"compaction_{k}": v for k, v in done.as_json().items()})
    return done


def _unproven(proven: object, now: datetime) -> int | None:
    return int((now - proven).total_seconds()) if isinstance(proven, datetime) else None


def _compact(
    store: Store,
    page: Sequence[Document | None],
    smaller: Callable[[Document | None], Merge | None],
    done: Compaction,
    sleep: Callable[[float], None],
) -> Compaction:
    """Compact a page of totals in one commit, or each by itself if one is busy; what has been done then."""
    reads, wanted = done.reads, [write for total in page if (write := smaller(total))]
    try:
        for attempt in ATTEMPTS.each(sleep):
            with attempt:
                if attempt.number > 1:  # also where only the reply was lost
                    page = store.get([write.path for write in wanted])
                    reads += len(page)
                    wanted = [write for total in page if (write := smaller(total))]
                if wanted:
                    store.commit(wanted, timeout=COMMIT_TIMEOUT)
                break
    except Contention:
        if len(wanted) == 1:
            return replace(done, reads=reads, left=done.left + 1)
        done = replace(done, reads=reads)
        for total in page:
            done = _compact(store, [total], smaller, done, sleep)
        return done
    return replace(done, reads=reads, writes=done.writes + len(wanted))


def _smaller(total: Document | None, watermark: datetime | None, until: datetime) -> Merge | None:
    recent = compacted(fields_of(total).get("recent"), watermark, until)
    if total is None or recent is None:
        return None
    return Merge(total.path, {("recent",): recent}, if_updated=total.update_time)

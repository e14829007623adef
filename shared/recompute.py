"""The recompute: prove the totals at a watermark, and correct what drifted while the triggers run on.

The steps, and why in this order:

1. **Acquire** the lease and the run's record in one commit. Its commit time is Firestore's own clock, so
   the watermark depends on no clock of this process.
2. **Process**: choose the watermark W, ``LAG`` behind that time, and how to count.
3. **Count** exactly the snapshot at W. It may take long and fail; nothing has been changed so far.
4. **Seal** W. From here on the ledger skips whatever was committed at or before W, so that what a total
   says of those entries (`shared.drift`) stands still. Sealing before counting would be as right, but a
   count that failed would leave late entries skipped and uncounted until the next run.
5. **Compare** every stored total with its count: one listing, read after the seal.
6. **Correct** by increments, in batches.
7. **Complete**: the report becomes the run's record and the lease is released.

**Why no correction can land twice, or late.** Every commit from step 2 on is conditional on the state
document being as it was read (its update time), and changes it: the lease in it gets another step number
and another expiry. Before that, the state document is read, and the lease there must be this run's (run id
and fencing token) and not have expired. So of all commits that anyone prepares on one reading of the state
document, one can land. If its reply was lost, the run's record, written in the same commit, has its step
number; if it has not, the commit still in flight can no longer land once its successor has. A run that
lost its lease has a state document that changed since, so its commits fail, whenever they were sent.
(A transaction would prove the same. But the locks of one whose process died keep everybody waiting for a
minute, and those of a living one on a total would keep the triggers waiting.)
So between the listing (step 5) and the commit of a batch, only triggers can have written to its
totals, and what a trigger writes after the seal leaves ``applied``, and with it the drift, as it was. The
totals need not be read again, and no hot document is locked by a read.

Crash anywhere and run again: what was corrected has drift 0, the rest is still to do.
"""

import logging
import random
import secrets
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from shared.aggregation import Source
from shared.counting import Counted, Plan, Snapshot, Strategy, plan
from shared.drift import Correction, compare
from shared.errors import (
    AlreadyExists,
    LeaseHeld,
    LeaseLost,
    LibraError,
    SnapshotTooOld,
    StateError,
    Transient,
)
from shared.log import logger
from shared.settings import Settings
from shared.store import DOCUMENT_ID, Create, Document, FieldPath, Merge, Query, Store, Write
from shared.watermark import choose_watermark, next_watermark, stored_watermark

LEASE = timedelta(minutes=2)
"""How long a run that died keeps others out. A living one renews after a third of it."""

COMMIT_TIMEOUT = 10.0
"""Seconds that one attempt to commit may be in flight."""

ATTEMPTS = 30
"""How often a read or a commit is tried: with the pauses for more than the minute that a trigger which died
in its late path keeps the state document locked (Firestore's limit for idle transactions; the emulator's)."""

LONGEST_PAUSE = 5.0
"""Seconds between two attempts, at most, and half of that at least; the first pauses are shorter."""

BATCH_DOCUMENTS = 200
BATCH_BYTES = 4 * 1024 * 1024
"""What one correcting commit may hold; Firestore's bound is 10 MiB."""

RECORDED = 100
"""How many corrections (the largest) and notes a run's record holds: a document is at most 1 MiB."""

LISTED = 500
"""Totals that one query lists."""

T = TypeVar("T")

FENCED = ("process", "seal", "correct", "rebuild", "renew", "complete", "fail")
STEPS = (
    *("acquire begun", "acquire committed", "counted", "compared"),
    *(f"{name} {moment}" for name in FENCED for moment in ("begun", "committed")),
)
"""Every moment that the ``step`` hook is told of: a commit is about to be sent, or has landed, or read work
is done. A test that dies at each of them has died between any two writes."""


@dataclass(frozen=True, slots=True)
class Corrected:
    """One number that was wrong."""

    document: str
    measure: str
    stored: int
    """What the total said of the entries up to the watermark."""
    exact: int
    """What is true of them."""


@dataclass(frozen=True, slots=True)
class Report:
    """What a run found and did."""

    run_id: str | None
    """None for a dry run, which leaves no record."""
    watermark: datetime
    strategy: str
    why: str
    entries: int
    """Documents in the source's collection at the watermark."""
    documents: int
    """Totals compared, stored or counted."""
    drift: int
    """The sum of the absolute corrections."""
    corrections: tuple[Corrected, ...]
    reads: int
    writes: int
    seconds: float
    notes: tuple[str, ...] = ()
    """What was found that Libra never writes."""

    def as_json(self) -> dict[str, object]:
        """The report as plain JSON values."""
        return asdict(self) | {
            "watermark": self.watermark.isoformat(),
            "corrections": [asdict(each) for each in self.corrections],
            "notes": list(self.notes),
            "seconds": round(self.seconds, 3),
        }


@dataclass(frozen=True, slots=True)
class Lease:
    """Who may write corrections, until when."""

    run_id: str
    token: int
    """One higher with every lease."""
    expires_at: datetime | None
    """None: it was released. By the clock of the run that holds it."""

    @classmethod
    def of(cls, state: Mapping[str, object]) -> "Lease | None":
        """The lease in a state document; None if there is none, or nothing that is one."""
        match state.get("lease"):
            case {"run_id": str(run_id), "token": int(token), "expires_at": datetime() | None as expires_at}:
                return cls(run_id, token, expires_at)
        return None

    def left(self, now: datetime) -> timedelta:
        """How long it still holds; not more than zero if it does not."""
        return self.expires_at - now if self.expires_at else timedelta(0)

    def as_fields(self) -> dict[str, object]:
        """What the state document holds."""
        return {"run_id": self.run_id, "token": self.token, "expires_at": self.expires_at}


@dataclass(slots=True)
class _Run:
    """What a run under way knows."""

    run_id: str
    lease: Lease
    started: datetime
    """By Firestore's clock."""
    stored_watermark: datetime | None
    step: int = 0
    reads: int = 0
    writes: int = 0


class Recompute:
    """Runs recomputes of one source. See the module for the protocol.

    ``step`` is told of each moment of `STEPS`; ``progress`` of the entries counted so far.
    """

    def __init__(
        self,
        store: Store,
        source: Source,
        settings: Settings,
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        sleep: Callable[[float], None] = time.sleep,
        step: Callable[[str], None] = lambda _: None,
        progress: Callable[[str, int], None] = lambda _, __: None,
        lease: timedelta = LEASE,
        workers: int = 8,
    ) -> None:
        self._store = store
        self._source = source
        self._settings = settings
        self._clock = clock
        self._sleep = sleep
        self._told = step
        self._progress = progress
        self._lease = lease
        self._workers = workers

    # -- for callers

    def run(self, strategy: Strategy = "auto") -> Report:
        """Count, seal, correct, report.

        Raises:
            LeaseHeld: another run is under way; nothing was done.
            LeaseLost: this run took too long between two signs of life; another may have begun.
            WatermarkAhead: see `next_watermark`.
            BucketsStraddle: the bucket length was changed a moment ago.
            StrategyUnsupported: ``strategy`` can not count this source.
            IndexMissing: naming the index.
            SnapshotTooOld: the count took longer than Firestore keeps snapshots; nothing was corrected.
            StateError: the state document is damaged.
            StoreError: Firestore can not be reached or refuses.
        """
        begun = self._clock()
        run = self._acquire(strategy)
        try:
            report = self._work(run, strategy, begun)
        except BaseException as error:
            with suppress(LibraError):  # the lease runs out by itself
                self._fail(run, error)
            raise
        _log(report)
        return report

    def verify(self, strategy: Strategy = "auto") -> Report:
        """Count and compare, and write nothing at all: no lease, no record, no seal.

        Without a seal an entry committed up to the watermark may still be applied in between: a late one
        that is on its way shows up as drift. What a recompute corrects meanwhile does not.

        Raises:
            BucketsStraddle, StrategyUnsupported, IndexMissing, SnapshotTooOld, StateError, StoreError:
                as `run`.
        """
        begun = self._clock()
        reads = 0
        while True:
            before = self._sealed()
            watermark, note = self._unsealed(before)
            snapshot = self._snapshot(watermark, lambda counted: self._progress("counted", counted))
            with _window(watermark):
                counted, how = plan(snapshot, strategy).count(snapshot)
            found = self._compare(watermark, counted)
            reads += snapshot.reads + found.reads + 2
            after = self._sealed()
            if after is None or after <= watermark or after == before:
                break  # else a run has meanwhile closed buckets that this comparison still needed
        seconds = (self._clock() - begun).total_seconds()
        return _report(
            None, watermark, how, counted, found, reads=reads, writes=0, seconds=seconds, note=note
        )

    # -- the steps

    def _acquire(self, strategy: Strategy) -> _Run:
        """Take the lease. Trying again is safe: whoever took it stands in the state document."""
        run_id = f"{self._clock().astimezone(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(4)}"
        for attempt in range(1, ATTEMPTS + 1):
            with self._attempt(attempt, ATTEMPTS):
                own = [self._record(run_id)] if attempt > 1 else []
                found, *landed = self._store.get([self._source.state, *own])
                watermark = stored_watermark(_fields(found))  # raises if it is damaged
                held = Lease.of(_fields(found))
                if held is None or held.run_id != run_id:  # else it landed, and the reply was lost
                    if any(landed):
                        raise LeaseLost(
                            f"{run_id} lost its lease before it learned that it had it; run again"
                        )
                    held = self._take(found, run_id, held, strategy)
                (record,) = self._store.get([self._record(run_id)])
                if record is None:
                    raise StateError(f"{self._record(run_id)}: the record of the run under way was deleted")
                self._told("acquire committed")
                return _Run(run_id, held, record.create_time, watermark, 0, 2 * attempt, 2)
        raise AssertionError  # pragma: no cover - the last attempt raises

    def _take(self, found: Document | None, run_id: str, held: Lease | None, strategy: Strategy) -> Lease:
        now = self._clock()
        if held and held.expires_at and held.expires_at > now:
            raise LeaseHeld(held.run_id, held.expires_at)
        lease = Lease(run_id, held.token + 1 if held else 1, now + self._lease)
        queued = {"state": "queued", "queued_at": now, "asked": strategy, "token": lease.token, "step": 0}
        writes: list[Write] = [
            self._leased(found, lease, 0),
            Create(self._record(run_id), queued),
            *(self._bury(held) if held else ()),
        ]
        self._told("acquire begun")
        self._store.commit(writes, timeout=COMMIT_TIMEOUT)
        return lease

    def _leased(self, found: Document | None, lease: Lease, step: int, **fields: object) -> Write:
        """Set the lease, and more, in the state document, if that is as it was found."""
        changed = {**fields, "lease": lease.as_fields() | {"step": step}}
        if found is None:
            return Create(self._source.state, changed)
        return Merge(
            self._source.state,
            {(name,): value for name, value in changed.items()},
            if_updated=found.update_time,
        )

    def _bury(self, dead: Lease) -> Iterator[Write]:
        """Mark the run whose lease is over as failed, if it never said how it ended.

        Whatever ends a run also writes the state document: if it ends meanwhile, this commit fails.
        """
        (record,) = self._store.get([self._record(dead.run_id)])
        if record and under_way(record.fields):
            error = f"it died or lost touch: its lease ran out at {_iso(dead.expires_at)}"
            yield Merge(record.path, {("state",): "failed", ("error",): error})

    def _work(self, run: _Run, strategy: Strategy, begun: datetime) -> Report:
        settings = self._settings
        watermark, note = next_watermark(run.started, run.stored_watermark, settings.lag, settings.bucket)
        snapshot = self._snapshot(watermark, lambda counted: self._keep(run, counted))
        with _window(watermark):
            how = plan(snapshot, strategy)
            chosen = {"watermark": watermark, "strategy": how.strategy, "why": how.why}
            self._fenced(run, "process", record={"state": "processing", **chosen})
            counted, how = how.count(snapshot)
        self._told("counted")
        self._seal(run, watermark)
        found = self._compare(watermark, counted, lambda: self._keep(run, counted.entries))
        self._told("compared")
        self._correct(run, found.corrections)
        seconds = (self._clock() - begun).total_seconds()
        report = _report(
            run.run_id,
            watermark,
            how,
            counted,
            found,
            reads=run.reads + snapshot.reads + found.reads + 2,  # completing reads two documents,
            writes=run.writes + 2,  # and writes two
            seconds=seconds,
            note=note,
        )
        self._fenced(run, "complete", record=_completed(report, self._clock()), release=True)
        return report

    def _seal(self, run: _Run, watermark: datetime) -> None:
        if run.stored_watermark != watermark:
            self._fenced(run, "seal", seal=watermark)

    def _compare(
        self, watermark: datetime, counted: Counted, beat: Callable[[], None] = lambda: None
    ) -> "_Comparison":
        """Compare every total that is stored or counted, after the seal."""
        now, found = self._clock(), _Comparison()
        exact = {cell.path: (cell, measures) for cell, measures in counted.totals.items()}
        for aggregation in self._source.aggregations:
            for stored in self._listed(aggregation.collection, found, beat):
                cell, measures = exact.pop(stored.path, (None, {}))
                key = aggregation.stored_key(cell.key) if cell else None
                found.add(
                    compare(
                        aggregation,
                        stored.path,
                        stored.fields,
                        measures,
                        key=key,
                        watermark=watermark,
                        now=now,
                    )
                )
        for path, (cell, measures) in exact.items():
            aggregation = self._source.aggregation(cell.collection)
            key = aggregation.stored_key(cell.key)
            found.add(compare(aggregation, path, {}, measures, key=key, watermark=watermark, now=now))
        return found

    def _listed(self, collection: str, found: "_Comparison", beat: Callable[[], None]) -> Iterator[Document]:
        after: tuple[str, ...] = ()
        while True:
            query = Query(collection, (), (DOCUMENT_ID,), after, limit=LISTED)
            page = self._retried(lambda query=query: list(self._store.query(query)))  # type: ignore[misc]  # binds the loop's query
            found.reads += max(1, len(page))
            yield from page
            if len(page) < LISTED:
                return
            beat()
            after = (page[-1].path,)

    def _correct(self, run: _Run, corrections: Sequence[Correction]) -> None:
        for batch in _batches(each for each in corrections if not each.rebuild):
            self._fenced(run, "correct", [_correcting(each) for each in batch])
            self._progress("corrected", len(batch))
        for each in corrections:
            if each.rebuild:
                self._fenced(run, "rebuild", rebuild=each)

    def _rebuilding(self, found: Document | None, stale: Correction) -> Merge:
        """Set a total that increments can not put right, if it is still as it was found."""
        aggregation = self._source.aggregation(stale.path.partition("/")[0])
        again = compare(
            aggregation,
            stale.path,
            _fields(found),
            stale.exact,
            key=stale.key,
            watermark=stale.watermark,
            now=self._clock(),
        )
        return replace(_correcting(again), if_updated=found.update_time if found else None)

    # -- the fence

    def _fenced(
        self,
        run: _Run,
        name: str,
        writes: Sequence[Write] = (),
        *,
        record: Mapping[str, object] | None = None,
        seal: datetime | None = None,
        rebuild: Correction | None = None,
        release: bool = False,
        attempts: int = ATTEMPTS,
    ) -> None:
        """Commit a step of this run, once, if the lease is still its own. See the module for the proof.

        Args:
            run: whose step it is.
            name: one of `FENCED`.
            writes: to totals.
            record: fields to set in the run's record.
            seal: the watermark to set.
            rebuild: a total to set instead.
            release: whether the lease ends with this step.
            attempts: how often to try.

        Raises:
            LeaseLost: nothing was written.
            StateError: something else moved the watermark; nothing was written.
            StoreError: whether it was written is not known if it is `Transient`.
        """
        paths = [self._source.state, self._record(run.run_id), *([rebuild.path] if rebuild else ())]
        for attempt in range(1, attempts + 1):
            with self._attempt(attempt, attempts):
                state, recorded, *total = self._store.get(paths)
                run.reads += len(paths)
                if _fields(recorded).get("step") != run.step + 1:  # else it landed, and the reply was lost
                    self._check_lease(run, _fields(state))
                    lease = replace(run.lease, expires_at=None if release else self._clock() + self._lease)
                    what = [
                        self._leased(state, lease, run.step + 1, **self._sealed_by(run, state, seal)),
                        _recording(paths[1], record or {}, run.step + 1),
                        *writes,
                        *(self._rebuilding(found, rebuild) for found in total if rebuild),
                    ]
                    self._told(f"{name} begun")
                    self._store.commit(what, timeout=COMMIT_TIMEOUT)
                    run.lease = lease
                    run.writes += len(what)
                run.step += 1
                self._told(f"{name} committed")
                return

    def _sealed_by(self, run: _Run, state: Document | None, watermark: datetime | None) -> dict[str, object]:
        if watermark is None:
            return {}
        if (found := stored_watermark(_fields(state))) != run.stored_watermark:
            raise StateError(
                f"{self._source.state}: the watermark was {run.stored_watermark} when this run took its "
                f"lease, and is {found} now: something else writes it. Nothing was corrected; run again"
            )
        return {"timestamp": watermark}

    def _check_lease(self, run: _Run, state: Mapping[str, object]) -> None:
        found, now = Lease.of(state), self._clock()
        if found is None or (found.run_id, found.token) != (run.run_id, run.lease.token):
            raise LeaseLost(
                f"{run.run_id} lost its lease to {found.run_id if found else 'nobody'}: it may write no more"
            )
        if found.left(now) <= timedelta(0):
            raise LeaseLost(
                f"the lease of {run.run_id} ran out at {_iso(found.expires_at)}: it may write no more; "
                "run again"
            )
        run.lease = found

    def _due(self, run: _Run) -> bool:
        return run.lease.left(self._clock()) < self._lease * 2 / 3

    def _keep(self, run: _Run, counted: int) -> None:
        """A sign of life between two pieces of work."""
        self._progress("counted", counted)
        if self._due(run):
            self._fenced(run, "renew")

    def _fail(self, run: _Run, error: BaseException) -> None:
        """Say how the run ended, and release the lease, if it is still its own."""
        if isinstance(error, LeaseLost):
            return
        (record,) = self._read([self._record(run.run_id)])
        run.step = int(str(_fields(record).get("step", run.step)))  # a lost reply may hide one step
        failed = {
            "state": "failed",
            "error": f"{type(error).__name__}: {error}",
            "finished_at": self._clock(),
        }
        self._fenced(run, "fail", record=failed, release=True, attempts=3)

    # -- the store

    @contextmanager
    def _attempt(self, number: int, attempts: int) -> Iterator[None]:
        """Let what may go better next time pass, after a pause, unless this was the last attempt."""
        try:
            yield
        except (Transient, AlreadyExists):
            if number == attempts:
                raise
            self._sleep(random.uniform(0.5, 1) * min(LONGEST_PAUSE, 0.1 * 2**number))  # noqa: S311 - jitter

    def _retried(self, read: Callable[[], T]) -> T:
        for attempt in range(1, ATTEMPTS):
            with self._attempt(attempt, ATTEMPTS):
                return read()
        return read()

    def _read(self, paths: Sequence[str]) -> list[Document | None]:
        return self._retried(lambda: self._store.get(paths))

    def _snapshot(self, watermark: datetime, beat: Callable[[int], None]) -> Snapshot:
        return Snapshot(
            self._store, self._source, watermark, workers=self._workers, beat=beat, sleep=self._sleep
        )

    def _record(self, run_id: str) -> str:
        return f"{self._source.runs}/{run_id}"

    def _sealed(self) -> datetime | None:
        return stored_watermark(_fields(self._read([self._source.state])[0]))

    def _unsealed(self, stored: datetime | None) -> tuple[datetime, str | None]:
        """Where to compare without sealing: at the stored watermark, if that is later and has a snapshot."""
        now = self._clock()
        chosen = choose_watermark(now, self._settings.lag, self._settings.bucket)
        if stored is None or stored <= chosen:
            return chosen, None
        if stored <= now:
            return stored, None
        return chosen, f"the watermark {stored.isoformat()} lies in the future: the next run sets it back"


@dataclass(slots=True)
class _Comparison:
    """What was found in all totals. Those in order are counted and forgotten."""

    documents: int = 0
    reads: int = 0
    corrections: list[Correction] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add(self, correction: Correction) -> None:
        self.documents += 1
        self.notes += correction.notes
        if correction:
            self.corrections.append(correction)


# --- pure parts ---------------------------------------------------------------------------------


def under_way(record: Mapping[str, object]) -> bool:
    """Whether a run's record says that it has not ended. It may have died: its lease tells."""
    return record.get("state") in {"queued", "processing"}


def _iso(instant: datetime | None) -> str:
    return instant.isoformat() if instant else "once"


def _fields(document: Document | None) -> Mapping[str, object]:
    return document.fields if document else {}


def _recording(path: str, fields: Mapping[str, object], step: int) -> Merge:
    stepped: dict[str, object] = {**fields, "step": step}
    return Merge(path, {(name,): value for name, value in stepped.items()})


def _correcting(correction: Correction) -> Merge:
    fields: dict[FieldPath, object] = {} if correction.key is None else {("key",): correction.key}
    if correction.rebuild:
        fields |= {(name,): value for name, value in correction.rebuilt().items()}
        return Merge(correction.path, fields, server_times=(("updated_at",),))
    return Merge(
        correction.path,
        fields,
        {(measure,): amount for measure, amount in correction.drift.items()},
        [("recent", label) for label in correction.closed],
        (("updated_at",),) if correction.drift else (),
    )


def _batches(corrections: Iterable[Correction]) -> Iterator[list[Correction]]:
    batch: list[Correction] = []
    size = 0
    for each in corrections:
        if batch and (len(batch) >= BATCH_DOCUMENTS or size + each.size > BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(each)
        size += each.size
    if batch:
        yield batch


def _report(
    run_id: str | None,
    watermark: datetime,
    how: Plan,
    counted: Counted,
    found: _Comparison,
    *,
    reads: int,
    writes: int,
    seconds: float,
    note: str | None,
) -> Report:
    corrections = tuple(
        Corrected(each.path, measure, each.applied[measure], each.exact[measure])
        for each in found.corrections
        for measure in each.drift
    )
    drift = sum(abs(each.exact - each.stored) for each in corrections)
    return Report(
        run_id,
        watermark,
        how.strategy,
        how.why,
        counted.entries,
        found.documents,
        drift,
        corrections,
        reads,
        writes,
        seconds,
        ((note,) if note else ()) + tuple(found.notes),
    )


def _completed(report: Report, now: datetime) -> dict[str, object]:
    """A completed run's record: the report, with only the largest corrections."""
    largest = sorted(report.corrections, key=lambda each: -abs(each.exact - each.stored))
    return report.as_json() | {
        "state": "completed",
        "finished_at": now,
        "watermark": report.watermark,
        "corrected": len(report.corrections),
        "corrections": [asdict(each) for each in largest[:RECORDED]],
        "notes": list(report.notes[:RECORDED]),
    }


def _log(report: Report) -> None:
    summary = report.as_json() | {"corrections": len(report.corrections)}
    level = logging.WARNING if report.drift or report.notes else logging.INFO
    logger.log(
        level,
        "A recompute is completed",
        extra={f"recompute_{name}": value for name, value in summary.items()},
    )


@contextmanager
def _window(watermark: datetime) -> Iterator[None]:
    try:
        yield
    except SnapshotTooOld as error:
        raise SnapshotTooOld(
            f"the snapshot at {watermark.isoformat()} can not be read: Firestore keeps snapshots for an "
            "hour, or, with point-in-time recovery, whole minutes for seven days. Nothing was corrected. If "
            "the count outlived it: use the strategy index, or enable point-in-time recovery (gcloud "
            "firestore databases update --enable-pitr). If LIBRA_LAG_SECONDS is close to an hour: lower it. "
            f"{error}"
        ) from error

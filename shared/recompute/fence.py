"""The fence: each step of a run commits once, and only while the run holds the lease.

**Why no correction can land twice, or late.** Every commit after the lease is taken is conditional on the
state document being as it was read (its update time), and changes it: the lease in it gets another step
number and another expiry. Before that, the state document is read, and the lease there must be this
run's (run id and fencing token) and not have expired. So of all commits that anyone prepares on one reading
of the state document, one can land. If its reply was lost, the run's record, written in the same commit, has
its step number and name; if it has not, the commit still in flight can no longer land once its successor has.
The name tells a run that says it failed from the step that was interrupted, which may land meanwhile. A run
that lost its lease has a state document that changed since, so its commits fail, whenever they were sent.
(A transaction would prove the same. But the locks of one whose process died keep everybody waiting for a
minute, and those of a living one on a total would keep the triggers waiting.)

So between the listing of the totals and the commit of a batch, only triggers can have written to the totals
of the batch, and what a trigger writes after the seal leaves ``applied``, and with it the drift, as it was.
The totals need not be read again, and no hot document is locked by a read.
"""

import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from shared.aggregation import Home
from shared.drift import Correction
from shared.errors import AlreadyExists, LeaseHeld, LeaseLost, LibraError, StateError, Transient
from shared.recompute.corrections import rebuilding
from shared.recompute.lease import Lease, fields_of, iso, under_way
from shared.retry import Attempt, Retry
from shared.store import Create, Document, Merge, Store, Write
from shared.watermark import stored_watermark

COMMIT_TIMEOUT = 10.0
"""Seconds that one attempt to commit may be in flight."""

RETRY = Retry(attempts=30, first=0.1, longest=5.0, least=0.5)
"""How often a read or a commit is tried, and the pauses in seconds. Together they take more than the minute
that a trigger which died in its late path keeps the state document locked (Firestore's limit for idle
transactions; the emulator's)."""

LAST_WORDS = replace(RETRY, attempts=3)
"""The same for a run that failed and says so: its lease runs out by itself."""

FENCED = ("process", "clean", "seal", "correct", "rebuild", "renew", "complete", "fail")
STEPS = (
    *("acquire begun", "acquire committed", "counted", "compared"),
    *(f"{name} {moment}" for name in FENCED for moment in ("begun", "committed")),
)
"""Every moment that the ``step`` hook is called with: a commit is about to be sent, or has landed, or read
work is done. A test that dies at each of them has died between any two writes."""

T = TypeVar("T")


@dataclass(slots=True)
class Run:
    """What a run under way knows."""

    run_id: str
    lease: Lease
    started: datetime
    """By Firestore's clock."""
    stored_watermark: datetime | None
    state: Mapping[str, object]
    """The state document's fields when the lease was taken. What only runs write is still so."""
    step: int = 0
    reads: int = 0
    writes: int = 0


class Fence:
    """Takes the lease of a source, commits a run's steps under it, and gives it back. See the module."""

    def __init__(
        self,
        store: Store,
        home: Home,
        *,
        clock: Callable[[], datetime],
        sleep: Callable[[float], None],
        step: Callable[[str], None],
        lease: timedelta,
    ) -> None:
        self._store = store
        self._home = home
        self._clock = clock
        self._sleep = sleep
        self._step = step
        self._lease = lease

    # -- the lease

    @contextmanager
    def held(self, asked: str) -> Iterator[Run]:
        """Take the lease for a run; whatever ends the run early is recorded, and the lease given back.

        Raises:
            LibraError: as `acquire`.
        """
        run = self.acquire(asked)
        try:
            yield run
        except BaseException as error:
            with suppress(LibraError):  # the lease runs out by itself
                self.fail(run, error)
            raise

    def acquire(self, strategy: str) -> Run:
        """Take the lease. A retry is safe: the state document names the run that took it.

        Raises:
            LeaseHeld: another run is under way.
            LeaseLost: the lease was taken, and lost again before the run learned of it.
            StateError: the state document is damaged.
            StoreError: Firestore cannot be reached or refuses.
        """
        run_id = f"{self._clock().astimezone(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(4)}"
        for attempt in self._attempts(RETRY):
            with attempt:
                own = [self._home.run(run_id)] if attempt.number > 1 else []
                found, *landed = self._store.get([self._home.state, *own])
                watermark = stored_watermark(fields_of(found))  # raises if it is damaged
                held = Lease.of(fields_of(found))
                if held is None or held.run_id != run_id:  # else it landed, and the reply was lost
                    if any(landed):
                        raise LeaseLost(
                            f"the lease of {run_id} expired while the run was acquiring it; run again"
                        )
                    held = self._take(found, run_id, held, strategy)
                (record,) = self._store.get([self._home.run(run_id)])
                if record is None:
                    raise StateError(f"{self._home.run(run_id)}: the record of the run under way was deleted")
                self._step("acquire committed")
                return Run(
                    run_id, held, record.create_time, watermark, fields_of(found), 0, 2 * attempt.number, 2
                )
        raise AssertionError  # pragma: no cover - the last attempt raises

    def _take(self, found: Document | None, run_id: str, held: Lease | None, strategy: str) -> Lease:
        now = self._clock()
        if held and held.expires_at and held.expires_at > now:
            raise LeaseHeld(held.run_id, held.expires_at)
        lease = Lease(run_id, held.token + 1 if held else 1, now + self._lease)
        queued = {"state": "queued", "queued_at": now, "asked": strategy, "token": lease.token, "step": 0}
        writes: list[Write] = [
            self._leased(found, lease, 0),
            Create(self._home.run(run_id), queued),
            *(self._bury(held) if held else ()),
        ]
        self._step("acquire begun")
        self._store.commit(writes, timeout=COMMIT_TIMEOUT)
        return lease

    def _leased(self, found: Document | None, lease: Lease, step: int, **fields: object) -> Write:
        """Set the lease, and more, in the state document, if that is as it was found."""
        changed = {**fields, "lease": lease.as_fields() | {"step": step}}
        if found is None:
            return Create(self._home.state, changed)
        return Merge(
            self._home.state,
            {(name,): value for name, value in changed.items()},
            if_updated=found.update_time,
        )

    def _bury(self, dead: Lease) -> Iterator[Write]:
        """Mark a run as failed if its lease has expired and its record is still open.

        Whatever ends a run also writes the state document: if it ends meanwhile, this commit fails.
        """
        (record,) = self._store.get([self._home.run(dead.run_id)])
        if record and under_way(record.fields):
            error = f"it died or lost its connection: its lease expired at {iso(dead.expires_at)}"
            yield Merge(record.path, {("state",): "failed", ("error",): error})

    # -- the steps

    def commit(
        self,
        run: Run,
        name: str,
        writes: Sequence[Write] | Callable[[], Sequence[Write]] = (),
        *,
        record: Mapping[str, object] | None = None,
        seal: datetime | None = None,
        also: Mapping[str, object] | None = None,
        rebuild: Correction | None = None,
        release: bool = False,
        retry: Retry = RETRY,
    ) -> None:
        """Commit a step of this run, once, if the lease is still its own. See the module for the proof.

        Args:
            run: whose step it is.
            name: one of `FENCED`.
            writes: to totals; or what makes them, called anew for each attempt that may land.
            record: fields to set in the run's record.
            seal: the watermark to set.
            also: other fields to set in the state document.
            rebuild: a total to set instead.
            release: whether the lease ends with this step.
            retry: how often to try.

        Raises:
            LeaseLost: nothing was written.
            StateError: something else moved the watermark; nothing was written.
            StoreError: whether it was written is not known if it is `Transient`.
        """
        paths = [self._home.state, self._home.run(run.run_id), *([rebuild.path] if rebuild else ())]
        for attempt in self._attempts(retry):
            with attempt:
                state, recorded, *total = self._store.get(paths)
                run.reads += len(paths)
                done = fields_of(recorded)
                landed = (done.get("step"), done.get("step_name")) == (run.step + 1, name)
                if not landed:  # else only the reply was lost
                    run.step = int(str(done.get("step", run.step)))  # what was interrupted may land even now
                    run.lease = run.lease.still(Lease.of(fields_of(state)), self._clock())
                    lease = replace(run.lease, expires_at=None if release else self._clock() + self._lease)
                    changed = {**(also or {}), **self._sealed_by(run, state, seal)}
                    what = [
                        self._leased(state, lease, run.step + 1, **changed),
                        _recording(paths[1], record or {}, run.step + 1, name),
                        *(writes() if callable(writes) else writes),
                        *(rebuilding(found, rebuild, self._home) for found in total if rebuild),
                    ]
                    self._step(f"{name} begun")
                    self._store.commit(what, timeout=COMMIT_TIMEOUT)
                    run.lease = lease
                    run.writes += len(what)
                run.step += 1
                self._step(f"{name} committed")
                return

    def _sealed_by(self, run: Run, state: Document | None, watermark: datetime | None) -> dict[str, object]:
        if watermark is None:
            return {}
        if (found := stored_watermark(fields_of(state))) != run.stored_watermark:
            raise StateError(
                f"{self._home.state}: the watermark was {run.stored_watermark} when this run took its "
                f"lease, and is {found} now: something else writes it. Nothing was corrected; run again"
            )
        return {"timestamp": watermark}

    def keep(self, run: Run) -> None:
        """Renew the lease where a third of it is over: a sign of life between two pieces of work."""
        if run.lease.left(self._clock()) < self._lease * 2 / 3:
            self.commit(run, "renew")

    def fail(self, run: Run, error: BaseException) -> None:
        """Say how the run ended, and release the lease, if it is still its own."""
        if isinstance(error, LeaseLost):
            return
        failed = {
            "state": "failed",
            "error": f"{type(error).__name__}: {error}",
            "finished_at": self._clock(),
        }
        self.commit(run, "fail", record=failed, release=True, retry=LAST_WORDS)

    # -- what may go better next time

    def read(self, once: Callable[[], T]) -> T:
        """The answer of a read, tried as long as it may help."""
        return RETRY.call(once, self._sleep)

    def _attempts(self, retry: Retry) -> Iterator[Attempt]:
        return retry.each(self._sleep, retried=(Transient, AlreadyExists))


def _recording(path: str, fields: Mapping[str, object], step: int, name: str) -> Merge:
    stepped: dict[str, object] = {**fields, "step": step, "step_name": name}
    return Merge(path, {(name,): value for name, value in stepped.items()})

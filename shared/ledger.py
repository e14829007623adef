"""How an event becomes increments exactly once: the guarded commit, the late path, group commit."""

import asyncio
import hashlib
import logging
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import Enum

from shared.aggregation import Cell, Contribution, Entry, Source, add, contribution, document_id
from shared.errors import (
    AlreadyExists,
    Contention,
    Invalid,
    Overloaded,
    StateError,
    StoreError,
    Transient,
)
from shared.log import logger
from shared.settings import Settings
from shared.store import Create, FieldPath, Merge, Store, Write
from shared.watermark import Bucket, bucket_of, is_fresh, stored_watermark

MARKER_LIFE = timedelta(days=7)
"""How long a marker is kept. The platform redelivers for 24 hours at most
(https://cloud.google.com/functions/docs/bestpractices/retries, 2026-11)."""

COMMIT_TIMEOUT = 10.0
"""Seconds that one attempt to commit may be in flight: small against `watermark.SAFETY_MARGIN`."""

ATTEMPTS = 5
"""How often a group is tried before the platform is asked to redeliver."""

COMMIT_BUDGET = 45.0
"""Seconds after which a group is not tried again. With the last attempt and with `MAX_WAIT` this stays
below the two minutes that a deployed trigger has to answer."""

FIRST_PAUSE = 0.05
"""Seconds before the second attempt, at most; each later pause may be twice as long."""

CROWD = 8
"""Where a group was larger than this, more are on their way."""

BREATH = 0.01
"""Seconds that the event loop is given after a crowd was answered, before the next group is taken: those who
follow on the answers ride in it too. Without it two half crowds take turns (docs/decisions)."""

LONGEST_PACE = 5.0
"""The most seconds that contention may put between the starts of two commits of one instance."""

MAX_WRITES = 500
"""The most writes in a commit, unless the group size asks for more. Firestore's bound is the request's size;
this was its bound on writes until 2023 and keeps a commit short."""

MAX_BYTES = 3_600_000
"""The most bytes in a commit, by a generous estimate. Firestore's bound is 10 MiB
(https://firebase.google.com/docs/firestore/quotas, 2026-11), the emulator's 4 MiB, and what is over it
would be refused as often as it is tried."""

MAX_WAITING = 10_000
"""The most entries that may wait in one instance."""

MAX_WAIT = timedelta(seconds=30)
"""The longest that an entry waits for its turn to be committed: after that its event is redelivered."""

_BYTES_A_WRITE = 512


class Outcome(Enum):
    """What became of an entry. Each of them is final: acknowledge the event."""

    COUNTED = "counted"
    """This commit counted it, except for what it rejected with the reasons."""
    DUPLICATE = "duplicate"
    """It had been counted before."""
    SUPERSEDED = "superseded"
    """A recompute has counted it: it was committed at or before the watermark."""
    REJECTED = "rejected"
    """Firestore will never take its increments; the reason is recorded."""


@dataclass(slots=True)
class Figures:
    """What a ledger has done since it was made."""

    commits: int = 0
    writes: int = 0
    reads: int = 0
    retries: int = 0
    outcomes: dict[Outcome, int] = field(default_factory=lambda: dict.fromkeys(Outcome, 0))


@dataclass(slots=True)
class _Waiting:
    """An entry between its arrival and its answer."""

    entry: Entry
    marker: str
    contribution: Contribution
    since: datetime
    wake: Callable[[], object]
    """Tells whoever waits that it is answered or, a thread only, that it is to lead."""
    outcome: Outcome | None = None
    error: StoreError | StateError | None = None
    answered: bool = False


class Ledger:
    """Applies each entry once to the totals of a source.

    **The guard.** Every application is one atomic commit that creates the entries' markers and
    increments the totals. A marker's id comes from the entry's document name and create time, so
    whoever tries to apply the entry again (a redelivery, a retry whose first answer was lost, another
    instance) fails as a whole on the marker. The loser reads the markers of its group once, drops what
    is applied, and commits the rest. A commit may therefore be retried blindly: it can land only once.

    **The fence.** An entry younger than the lag less a margin can not be behind any watermark: it is
    committed without a read. A group with an older entry commits in a transaction that reads the
    watermark first and skips what was committed at or before it: a recompute has counted that. If the
    watermark moves underneath, the transaction fails and starts again with the new one. Freshness is
    judged again before every attempt.

    **The group.** Whoever finds nobody leading leads: it takes whatever is waiting, within bounds,
    commits once, and answers every member. So one commit is under way at a time, an instance writes a
    hot document once a commit, an idle instance makes nobody wait, nothing is buffered beyond the
    requests that wait for it, and a server that finishes its requests on SIGTERM has drained the ledger.
    Only the leader touches the store and the figures; the queue and the leadership belong to ``_mutex``.
    Callers are threads (`apply`) or the coroutines of one event loop (`apply_async`), not both at once. A
    thread that leads hands over to the first of those who came meanwhile. In a loop, a task leads until
    nobody waits and makes its calls in the loop's executor: a request given up takes nobody with it.

    **The pace.** Nobody waits for company in an idle instance, and under load the entries that come while a
    commit is under way are the next group. A commit begins at least the linger, where one is set, after
    the one before it, or once a group is full. Contention says that a document is written faster than
    Firestore takes: it stretches that pace, and every commit that lands shortens it again, so that the
    groups grow until the hottest document is written as often as it can be.

    An entry is never acknowledged before the commit that holds it is known to have landed. A group whose
    commit Firestore calls invalid is split until the poisonous entry stands alone; that one is recorded
    among the rejected.
    """

    def __init__(
        self,
        store: Store,
        source: Source,
        settings: Settings,
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._store = store
        self._source = source
        self._settings = settings
        self._clock = clock
        self._sleep = sleep
        self._mutex = threading.Lock()
        self._queue: deque[_Waiting] = deque()
        self._leading = False
        self._full = threading.Event()
        self._wait_for_company = self._full.wait if sleep is time.sleep else sleep
        self._pace = 0.0
        self._begun: datetime | None = None
        self._most_writes = max(MAX_WRITES, settings.group_size * 5 // 4)
        self.figures = Figures()

    # -- for callers

    def apply(self, entry: Entry) -> Outcome:
        """Count ``entry`` and return once that is certain.

        Raises:
            Overloaded: too many entries wait in this instance; nothing was sent.
            Transient: it is not known to be counted; deliver it again.
            Denied: Firestore refuses this instance; deliver it again once that is mended.
            StateError: the watermark's document is damaged; deliver it again once that is mended.
        """
        turn = threading.Lock()
        turn.acquire()
        own = self._prepare(entry, turn.release)
        if not self._enqueue(own):
            turn.acquire()
        if not own.answered:
            self._lead()
        return self._answer(own)

    async def apply_async(self, entry: Entry) -> Outcome:
        """See `apply`."""
        answered: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def wake() -> None:
            if not answered.done():  # it is, where the request was given up
                answered.set_result(None)

        own = self._prepare(entry, wake)
        if self._enqueue(own):
            self._leader = asyncio.create_task(self._lead_in_loop())
        await answered
        return self._answer(own)

    def refuse(self, event_id: str, reason: str) -> None:
        """Record an event that describes no entry, so that it does not vanish with its acknowledgement.

        Raises:
            StoreError: it could not be recorded.
        """
        record = Merge(
            f"{self._source.rejected}/event-{hashlib.sha256(event_id.encode()).hexdigest()[:32]}",
            fields={("event",): event_id, ("reasons",): [{"reason": reason}]},
            server_times=(("rejected_at",),),
        )
        self._store.commit([record], timeout=COMMIT_TIMEOUT)

    # -- the group

    def _prepare(self, entry: Entry, wake: Callable[[], object]) -> _Waiting:
        counted = contribution(self._source, entry.fields)
        return _Waiting(entry, marker_id(entry), counted, self._clock(), wake)

    def _enqueue(self, own: _Waiting) -> bool:
        """True if the caller is to lead."""
        with self._mutex:
            if len(self._queue) >= MAX_WAITING:
                raise Overloaded(
                    f"{MAX_WAITING} entries are waiting in this instance: deliver this one later"
                )
            self._queue.append(own)
            if len(self._queue) >= self._settings.group_size:
                self._full.set()
            lead, self._leading = not self._leading, True
            return lead

    def _lead(self) -> None:
        if wait := self._ahead_of_time():
            self._wait_for_company(wait)
        group = self._take()
        try:
            self._settle(group)
        finally:
            with self._mutex:
                self._leading = bool(self._queue)
                if self._leading:
                    self._queue[0].wake()
            self._wake(group)

    async def _lead_in_loop(self) -> None:
        in_executor = asyncio.get_running_loop().run_in_executor
        leading = True
        while leading:
            if wait := self._ahead_of_time():
                await in_executor(None, self._wait_for_company, wait)
            group = self._take()
            try:
                await in_executor(None, self._settle, group)
            except Exception:  # noqa: BLE001 - logged; a thread would raise it, but a task has nobody to tell
                logger.exception("A group was interrupted")
            finally:
                self._wake(group)
            if len(group) > CROWD:
                await asyncio.sleep(BREATH)
            with self._mutex:
                leading = self._leading = bool(self._queue)

    @staticmethod
    def _wake(group: Sequence[_Waiting]) -> None:
        for member in group:
            member.answered = True
            member.wake()

    @staticmethod
    def _answer(own: _Waiting) -> Outcome:
        """What the caller is told, and what is logged of its entry: in the context of its own request."""
        if own.error:
            # Each member raises an exception of its own: a traceback belongs to one caller.
            raise type(own.error)(*own.error.args) from own.error
        if own.outcome is None:
            raise Transient(f"{own.entry.path}: the commit of its group was interrupted")
        if own.outcome is Outcome.REJECTED:
            logger.error("Firestore refuses an entry's increments", extra={"entry": own.entry.path})
        if own.outcome is Outcome.COUNTED:
            _log_rejections(own)
        return own.outcome

    def _ahead_of_time(self) -> float:
        """Seconds until the pace allows the next commit to begin."""
        pace = max(self._pace, self._settings.linger.total_seconds())
        if not pace or self._begun is None:
            return 0.0
        passed = (self._clock() - self._begun).total_seconds()
        return pace - passed if 0 <= passed < pace else 0.0

    def _take(self) -> list[_Waiting]:
        """The next group: as many as are waiting, while what they write together keeps within the bounds."""
        group: list[_Waiting] = []
        cells: set[Cell] = set()
        writes = size = 0
        with self._mutex:
            while self._queue and len(group) < self._settings.group_size:
                joining = self._queue[0].contribution
                new = joining.deltas.keys() - cells
                writes += 1 + len(new) + bool(joining.rejections)
                size += _BYTES_A_WRITE * (2 + len(joining.rejections)) + sum(map(_bytes_of, new))
                if group and (size > MAX_BYTES or writes > self._most_writes):
                    break
                cells |= new
                group.append(self._queue.popleft())
            if len(self._queue) < self._settings.group_size:
                self._full.clear()
            return group

    # -- one group's way to an answer

    def _settle(self, group: Sequence[_Waiting]) -> None:
        """Give every member an outcome or an error."""
        first: dict[str, _Waiting] = {}
        in_time = [member for member in group if not self._give_up(member)]
        for member in in_time:
            first.setdefault(member.marker, member)
        self._resolve(list(first.values()))
        for member in in_time:
            original = first[member.marker]
            if member is not original:
                counted = original.outcome is Outcome.COUNTED
                member.outcome = Outcome.DUPLICATE if counted else original.outcome
                member.error = original.error
            if member.outcome:
                self.figures.outcomes[member.outcome] += 1
        self._log_figures()

    def _give_up(self, member: _Waiting) -> bool:
        """Refuse an entry that has waited too long: its event is being redelivered, or soon will be."""
        waited = self._clock() - member.since
        if waited <= MAX_WAIT:
            return False
        seconds = waited.total_seconds()
        member.error = Overloaded(f"{member.entry.path}: waited {seconds:.0f} s in vain: deliver it again")
        return True

    def _resolve(self, members: Sequence[_Waiting]) -> None:
        """Apply entries with different markers; halve what is invalid down to the one that is so."""
        try:
            self._apply(members)
        except Invalid as error:
            pending = [member for member in members if member.outcome is None]
            if len(pending) == 1:
                self._reject(pending[0], error)
            else:
                middle = len(pending) // 2
                self._resolve(pending[:middle])
                self._resolve(pending[middle:])
        except (StoreError, StateError) as error:
            for member in members:
                member.error = None if member.outcome else error

    def _apply(self, members: Sequence[_Waiting]) -> None:
        """Commit, again and again while it may help. Members get their outcome as it becomes known."""
        failure: Transient | None = None
        last_start = self._clock() + timedelta(seconds=COMMIT_BUDGET)
        for attempt in range(ATTEMPTS):
            if failure:
                if self._clock() > last_start:
                    break
                longest = max(self._pace, FIRST_PAUSE * 2**attempt)
                self._sleep(random.uniform(0, longest))  # noqa: S311 - jitter
            pending = [member for member in members if member.outcome is None]
            self.figures.retries += bool(attempt)
            try:
                self._commit(pending)
            except AlreadyExists:
                self._drop_applied(pending)
            except Transient as error:
                failure = error
                if isinstance(error, Contention):
                    self._pace = min(LONGEST_PACE, max(FIRST_PAUSE, 2 * self._pace))
            if all(member.outcome for member in members):
                return
        raise failure or Contention(f"{len(members)} markers came and went {ATTEMPTS} times")

    def _commit(self, pending: Sequence[_Waiting]) -> None:
        """One attempt. Members that a watermark has passed get their outcome; so do all, if it lands."""
        now = self._begun = self._clock()
        lag = self._settings.lag
        transaction = None
        if not all(is_fresh(member.entry.create_time, now, lag) for member in pending):
            transaction, (state,) = self._store.begin([self._source.state])
            self.figures.reads += 1
            watermark = stored_watermark(state.fields if state else None)
            for member in pending:
                if watermark and member.entry.create_time <= watermark:
                    member.outcome = Outcome.SUPERSEDED
        applied = [member for member in pending if member.outcome is None]
        try:
            if applied:
                self._send(self._writes(applied, now), transaction)
        except StoreError:
            if transaction:
                self._store.rollback(transaction)
            raise
        if transaction and not applied:
            self._store.rollback(transaction)
        for member in applied:
            member.outcome = Outcome.COUNTED

    def _send(self, writes: Sequence[Write], transaction: bytes | None) -> None:
        self._store.commit(writes, transaction=transaction, timeout=COMMIT_TIMEOUT)
        self._pace = 0.9 * self._pace if self._pace > FIRST_PAUSE / 2 else 0.0
        self.figures.commits += 1
        self.figures.writes += len(writes)

    def _drop_applied(self, pending: Sequence[_Waiting]) -> None:
        markers = self._store.get([f"{self._source.seen}/{member.marker}" for member in pending])
        self.figures.reads += len(markers)
        for member, marker in zip(pending, markers, strict=True):
            if marker:
                member.outcome = Outcome.DUPLICATE

    def _reject(self, member: _Waiting, error: Invalid) -> None:
        reasons = [{"reason": f"Firestore refused its increments: {error}"}]
        try:
            self._send([self._rejected(member, reasons)], None)
        except StoreError as failure:
            member.error = failure
        else:
            member.outcome = Outcome.REJECTED

    # -- what is written

    def _writes(self, members: Sequence[_Waiting], now: datetime) -> list[Write]:
        """Markers first, then the totals, each once with everything that the group adds to it."""
        writes: list[Write] = [
            Create(f"{self._source.seen}/{member.marker}", {"expires_at": now + MARKER_LIFE})
            for member in members
        ]
        by_bucket: dict[Bucket, list[_Waiting]] = {}
        for member in members:
            bucket = bucket_of(member.entry.create_time, self._settings.bucket)
            by_bucket.setdefault(bucket, []).append(member)
        totals: dict[str, tuple[object, dict[FieldPath, int]]] = {}
        for bucket, bucketed in by_bucket.items():
            for cell, measures in add(member.contribution.deltas for member in bucketed).items():
                key = self._source.aggregation(cell.collection).stored_key(cell.key)
                _, increments = totals.setdefault(cell.path, (key, {}))
                for measure, amount in measures.items():
                    increments[(measure,)] = increments.get((measure,), 0) + amount
                    increments[("recent", bucket.label(measure))] = amount
        writes += [
            Merge(path, {("key",): key}, increments, server_times=(("updated_at",),))
            for path, (key, increments) in totals.items()
        ]
        for member in members:
            if rejections := member.contribution.rejections:
                reasons = [
                    {"aggregation": one.aggregation, "field": one.field, "reason": one.reason}
                    for one in rejections
                ]
                writes.append(self._rejected(member, reasons))
        return writes

    def _rejected(self, member: _Waiting, reasons: list[dict[str, str]]) -> Merge:
        return Merge(
            f"{self._source.rejected}/{member.marker}",
            fields={
                ("entry",): member.entry.path,
                ("create_time",): member.entry.create_time,
                ("reasons",): reasons,
            },
            server_times=(("rejected_at",),),
        )

    def _log_figures(self) -> None:
        if logger.isEnabledFor(logging.DEBUG):
            outcomes = {outcome.value: number for outcome, number in self.figures.outcomes.items()}
            figures = {"commits": self.figures.commits, "writes": self.figures.writes}
            figures |= {"reads": self.figures.reads, "retries": self.figures.retries}
            logger.debug("A group is settled; figures since the start", extra=figures | outcomes)


def _bytes_of(cell: Cell) -> int:
    """An upper bound for what a total adds to a commit: its path, its raw key and its increments."""
    return _BYTES_A_WRITE + 4 * len(str(cell.key)) + len(document_id(cell.key))


def _log_rejections(member: _Waiting) -> None:
    for one in member.contribution.rejections:
        logger.warning(
            "An entry could not be counted everywhere",
            extra={
                "entry": member.entry.path,
                "aggregation": one.aggregation,
                "reason": f"{one.field}: {one.reason}",
            },
        )


def marker_id(entry: Entry) -> str:
    """The id of an entry's marker: one for all its deliveries, another when its id is created anew."""
    micros = entry.create_time.astimezone(UTC).isoformat(timespec="microseconds")
    return hashlib.sha256(f"{entry.path}\0{micros}".encode()).hexdigest()[:32]

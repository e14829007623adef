"""The guarded commit: a group of entries, applied once, whatever was applied before and whatever is lost."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from shared.aggregation import Home
from shared.aggregation.bounded import moved
from shared.errors import AlreadyExists, Contention, Invalid, Overloaded, StateError, StoreError
from shared.ledger.outcome import Figures, Member, Outcome
from shared.ledger.placing import Placing
from shared.ledger.queue import MAX_WAIT, Pace
from shared.ledger.writes import Writes
from shared.log import logger
from shared.registry import Registry
from shared.retry import Retry
from shared.settings import Settings
from shared.store import Store, Write
from shared.watermark import is_fresh, stored_watermark

COMMIT_TIMEOUT = 10.0
"""Seconds that one attempt to commit may be in flight: small against `watermark.SAFETY_MARGIN`."""

RETRY = Retry(attempts=5, first=0.05)
"""How often a group is tried before the platform is asked to redeliver, and the pauses in seconds."""

COMMIT_BUDGET = 45.0
"""Seconds after which a group is not tried again. With the last attempt and with `queue.MAX_WAIT` this stays
below the two minutes that a deployed trigger has to answer."""


class Guard:
    """Gives every member of a group its outcome or its error. Only the leader of a ledger uses it.

    Every application is one atomic commit that creates the entries' markers and increments the totals. Who
    tries to apply an entry again fails as a whole on its marker, reads the markers of the group once, drops
    the members that are applied, and commits the rest. So a commit may be retried blindly: it lands once.

    A group with a change that is not fresh commits in a transaction that reads the watermark first and skips
    what was committed at or before it. If the watermark moves underneath, the transaction fails and starts
    again with the new one. Freshness is judged again before every attempt.

    A deletion is placed first (`Placing`): its event does not say when it was committed.
    """

    def __init__(
        self,
        store: Store,
        home: Home,
        writes: Writes,
        pace: Pace,
        settings: Settings,
        *,
        registry: Registry,
        clock: Callable[[], datetime],
        sleep: Callable[[float], None],
    ) -> None:
        self._store = store
        self._home = home
        self._writes = writes
        self._pace = pace
        self._lag = settings.lag
        self._registry = registry
        self._placing = Placing(store, home, settings.bucket)
        self._clock = clock
        self._sleep = sleep
        self.figures = Figures()

    def settle(self, group: Sequence[Member]) -> None:
        """Give every member an outcome or an error. Of equal entries in a group one counts."""
        first: dict[str, Member] = {}
        in_time = [member for member in group if not self.give_up(member)]
        for member in in_time:
            first.setdefault(member.marker, member)
        self._resolve(list(first.values()))
        self._tidy_up(list(first.values()))
        for member in in_time:
            original = first[member.marker]
            if member is not original:
                counted = original.outcome is Outcome.COUNTED
                member.outcome = Outcome.DUPLICATE if counted else original.outcome
                member.error = original.error
            if member.outcome:
                self.figures.outcomes[member.outcome] += 1
        self._log_figures()

    def give_up(self, member: Member) -> bool:
        """Refuse an entry that has waited too long: its event is being redelivered, or soon will be."""
        waited = self._clock() - member.since
        if waited <= MAX_WAIT:
            return False
        seconds = waited.total_seconds()
        member.error = Overloaded(
            f"{member.entry.path}: waited {seconds:.0f} s and was not committed: deliver it again"
        )
        return True

    def _tidy_up(self, members: Sequence[Member]) -> None:
        """Remove the records that a change makes out of date although a run has counted it, or will."""
        skipped = [member for member in members if member.outcome in {Outcome.SUPERSEDED, Outcome.LEFT}]
        if outdated := self._writes.resolved(skipped):
            try:
                self._send(outdated, None)
            except StoreError as error:
                for member in skipped:
                    member.outcome, member.error = None, error

    def _resolve(self, members: Sequence[Member]) -> None:
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

    def _apply(self, members: Sequence[Member]) -> None:
        """Commit, and retry while that may help. Members get their outcome as it becomes known."""
        last_start = self._clock() + timedelta(seconds=COMMIT_BUDGET)
        for attempt in RETRY.each(
            self._sleep,
            pause=lambda failed: RETRY.pause(failed, self._pace.contended),
            spent=lambda: self._clock() > last_start,
        ):
            with attempt:
                pending = [member for member in members if member.outcome is None]
                self.figures.retries += attempt.number > 1
                self._place(pending)
                self._move(pending)
                try:
                    self._commit([member for member in pending if member.outcome is None])
                except AlreadyExists:
                    self._drop_applied(pending)
                except Contention:
                    self._pace.contention()
                    raise
            if all(member.outcome for member in members):
                return
        raise Contention(f"{len(members)} markers came and went {RETRY.attempts} times")

    def _place(self, pending: Sequence[Member]) -> None:
        unplaced = [member for member in pending if member.place is None]
        if unplaced:
            self.figures.reads += self._placing.place(unplaced, self._clock())

    def _move(self, pending: Sequence[Member]) -> None:
        """Move what is counted under a bounded key to where its value belongs."""
        if self._registry:
            place = self._registry.settle(cell for each in pending for cell in each.contribution.deltas)
            for member in pending:
                deltas = moved(member.contribution.deltas, place)
                member.contribution = replace(member.contribution, deltas=deltas)

    def _commit(self, pending: Sequence[Member]) -> None:
        """One attempt. Members that a watermark has passed get their outcome; so do all, if it lands."""
        if not pending:
            return
        now = self._pace.begin()
        transaction = None
        if not all(member.place and is_fresh(member.place.after, now, self._lag) for member in pending):
            transaction, (state,) = self._store.begin([self._home.state])
            self.figures.reads += 1
            watermark = stored_watermark(state.fields if state else None)
            for member in pending:
                if watermark and member.place and member.place.until <= watermark:
                    member.outcome = Outcome.SUPERSEDED
        applied = [member for member in pending if member.outcome is None]
        try:
            if applied:
                self._send(self._writes.of(applied, now), transaction)
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
        self._pace.landed()
        self.figures.commits += 1
        self.figures.writes += len(writes)

    def _drop_applied(self, pending: Sequence[Member]) -> None:
        markers = self._store.get([self._home.marker(member.marker) for member in pending])
        self.figures.reads += len(markers)
        for member, marker in zip(pending, markers, strict=True):
            if marker:
                member.outcome = Outcome.DUPLICATE

    def _reject(self, member: Member, error: Invalid) -> None:
        reasons = [{"reason": f"Firestore refused its increments: {error}"}]
        try:
            self._send([self._writes.rejected(member, reasons)], None)
        except StoreError as failure:
            member.error = failure
        else:
            member.outcome = Outcome.REJECTED

    def _log_figures(self) -> None:
        if logger.isEnabledFor(logging.DEBUG):
            outcomes = {outcome.value: number for outcome, number in self.figures.outcomes.items()}
            figures = {"commits": self.figures.commits, "writes": self.figures.writes}
            figures |= {"reads": self.figures.reads, "retries": self.figures.retries}
            logger.debug("A group is settled; figures since the start", extra=figures | outcomes)

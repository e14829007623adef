"""The guarded commit: a group of entries, applied once, whatever was applied before and whatever is lost."""

from collections.abc import Callable, Sequence
from datetime import datetime

from shared.aggregation import Home
from shared.errors import Invalid, StoreError
from shared.grouping import Outcome, Pace, Settling
from shared.ledger.outcome import Member
from shared.ledger.placing import Placing
from shared.ledger.writes import Writes
from shared.registry import Registry
from shared.settings import Settings
from shared.store import Store
from shared.watermark import is_fresh, stored_watermark


class Guard(Settling[Member]):
    """Applies a group's changes, each with its marker. See `Settling`.

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
        super().__init__(store, pace, registry, clock=clock, sleep=sleep)
        self._home = home
        self._writes = writes
        self._lag = settings.lag
        self._placing = Placing(store, home, settings.bucket)

    def _finish(self, members: Sequence[Member]) -> None:
        """Remove the records that a change makes out of date although a run has counted it, or will."""
        skipped = [member for member in members if member.outcome in {Outcome.SUPERSEDED, Outcome.LEFT}]
        if outdated := self._writes.resolved(skipped):
            try:
                self._send(outdated)
            except StoreError as error:
                for member in skipped:
                    member.outcome, member.error = None, error

    def _prepare(self, pending: Sequence[Member]) -> None:
        unplaced = [member for member in pending if member.place is None]
        if unplaced:
            self.figures.reads += self._placing.place(unplaced, self._clock())

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

    def _drop_applied(self, pending: Sequence[Member]) -> None:
        markers = self._store.get([self._home.marker(member.once) for member in pending])
        self.figures.reads += len(markers)
        for member, marker in zip(pending, markers, strict=True):
            if marker:
                member.outcome = Outcome.DUPLICATE

    def _reject(self, member: Member, error: Invalid) -> None:
        reasons = [{"reason": f"Firestore refused its increments: {error}"}]
        try:
            self._send([self._writes.rejected(member, reasons)])
        except StoreError as failure:
            member.error = failure
        else:
            member.outcome = Outcome.REJECTED

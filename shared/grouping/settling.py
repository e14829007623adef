"""A group is settled: tried again where that may help, halved where it is invalid, and answered."""

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Generic

from shared.aggregation.bounded import moved
from shared.errors import AlreadyExists, Contention, Invalid, Overloaded, StateError, StoreError
from shared.grouping.outcome import Figures, Outcome
from shared.grouping.queue import MAX_WAIT, M, Pace
from shared.log import logger
from shared.registry import Registry
from shared.retry import Retry
from shared.store import Store, Write

COMMIT_TIMEOUT = 10.0
"""Seconds that one attempt to commit may be in flight: small against `watermark.SAFETY_MARGIN`."""

RETRY = Retry(attempts=5, first=0.05)
"""How often a group is tried before the platform is asked to redeliver, and the pauses in seconds."""

COMMIT_BUDGET = 45.0
"""Seconds after which a group is not tried again. With the last attempt and with `queue.MAX_WAIT` this stays
below the two minutes that a deployed trigger has to answer."""


class Settling(ABC, Generic[M]):
    """Gives every member of a group its outcome or its error. Only a leader uses it.

    Every application is one atomic commit that creates a document for each member and increments the totals.
    Who tries to apply a member again fails as a whole on its document, reads the documents of the group once,
    drops the members that are applied, and commits the rest. So a commit may be retried blindly: it lands
    once. A group whose commit Firestore calls invalid is split until the poisonous member stands alone.
    """

    def __init__(
        self,
        store: Store,
        pace: Pace,
        registry: Registry,
        *,
        clock: Callable[[], datetime],
        sleep: Callable[[float], None],
    ) -> None:
        self._store = store
        self._pace = pace
        self._registry = registry
        self._clock = clock
        self._sleep = sleep
        self.figures = Figures()

    def settle(self, group: Sequence[M]) -> None:
        """Give every member an outcome or an error. Of members that are the same one counts."""
        first: dict[str, M] = {}
        in_time = [member for member in group if not self.give_up(member)]
        for member in in_time:
            first.setdefault(member.once, member)
        self._resolve(list(first.values()))
        self._finish(list(first.values()))
        for member in in_time:
            original = first[member.once]
            if member is not original:
                self._repeat(member, original)
            if member.outcome:
                self.figures.outcomes[member.outcome] += 1
        self._log_figures()

    def give_up(self, member: M) -> bool:
        """Refuse a member that has waited too long: its event is being redelivered, or soon will be."""
        waited = self._clock() - member.since
        if waited <= MAX_WAIT:
            return False
        seconds = waited.total_seconds()
        member.error = Overloaded(
            f"{member.path}: waited {seconds:.0f} s and was not committed: deliver it again"
        )
        return True

    # -- what differs

    @abstractmethod
    def _commit(self, pending: Sequence[M]) -> None:
        """One attempt. Members get their outcome, if it lands."""

    @abstractmethod
    def _drop_applied(self, pending: Sequence[M]) -> None:
        """Give those that are applied their outcome."""

    @abstractmethod
    def _reject(self, member: M, error: Invalid) -> None:
        """Firestore will never take this one."""

    def _prepare(self, pending: Sequence[M]) -> None:
        """What comes before an attempt."""

    def _finish(self, members: Sequence[M]) -> None:
        """What comes after a group."""

    def _repeat(self, member: M, original: M) -> None:
        """Answer a member whose ``original`` is in the same group."""
        counted = original.outcome is Outcome.COUNTED
        member.outcome = Outcome.DUPLICATE if counted else original.outcome
        member.error = original.error

    # -- what is shared

    def _resolve(self, members: Sequence[M]) -> None:
        """Apply members that differ; halve what is invalid down to the one that is so."""
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

    def _apply(self, members: Sequence[M]) -> None:
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
                self._prepare(pending)
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

    def _move(self, pending: Sequence[M]) -> None:
        """Move what is counted under a bounded key to where its value belongs."""
        if self._registry:
            cells = {cell for each in pending for cell in each.contribution.deltas}
            place = self._registry.settle(cells)
            moving = {cell for cell in cells if place(cell) != cell}
            for member in pending:
                if not moving.isdisjoint(member.contribution.deltas):
                    deltas = moved(member.contribution.deltas, place)
                    member.contribution = replace(member.contribution, deltas=deltas)

    def _send(self, writes: Sequence[Write], transaction: bytes | None = None) -> None:
        self._store.commit(writes, transaction=transaction, timeout=COMMIT_TIMEOUT)
        self._pace.landed()
        self.figures.commits += 1
        self.figures.writes += len(writes)

    def _log_figures(self) -> None:
        if logger.isEnabledFor(logging.DEBUG):
            outcomes = {outcome.value: number for outcome, number in self.figures.outcomes.items()}
            figures = {"commits": self.figures.commits, "writes": self.figures.writes}
            figures |= {"reads": self.figures.reads, "retries": self.figures.retries}
            logger.debug("A group is settled; figures since the start", extra=figures | outcomes)

"""The commit of an intake: a group of entries, created and counted together, once."""

from collections.abc import Callable, Sequence
from datetime import datetime

from shared.aggregation import Home, Source, add
from shared.errors import Invalid, Transient
from shared.events import Violation
from shared.grouping import Outcome, Pace, Settling
from shared.grouping.writes import total
from shared.intake.verdict import Member
from shared.log import logger
from shared.registry import Registry
from shared.store import Create, Store, Write


class Admission(Settling[Member]):
    """Creates a group's entries and adds to their totals in one commit. See `Settling`.

    The entry is its own marker: a commit that would create it again fails as a whole. So an event is counted
    exactly if its entry is there, at every instant.
    """

    def __init__(
        self,
        store: Store,
        source: Source,
        home: Home,
        pace: Pace,
        *,
        registry: Registry,
        clock: Callable[[], datetime],
        sleep: Callable[[float], None],
    ) -> None:
        super().__init__(store, pace, registry, clock=clock, sleep=sleep)
        self._source = source
        self._home = home

    def _commit(self, pending: Sequence[Member]) -> None:
        if not pending:
            return
        self._pace.begin()
        writes: list[Write] = [Create(member.path, member.event.fields) for member in pending]
        totals = add(member.contribution.deltas for member in pending)
        writes += [
            total(self._source, self._home, cell, {(name,): amount for name, amount in added.items()})
            for cell, added in totals.items()
        ]
        self._send(writes)
        for member in pending:
            member.outcome, member.stored = Outcome.COUNTED, member.event.fields

    def _drop_applied(self, pending: Sequence[Member]) -> None:
        entries = self._store.get([member.path for member in pending])
        self.figures.reads += len(entries)
        for member, entry in zip(pending, entries, strict=True):
            if entry:
                member.outcome, member.stored = Outcome.DUPLICATE, entry.fields

    def _reject(self, member: Member, error: Invalid) -> None:
        """Tell the sender that it cannot be stored. Why, in Firestore's own words, stands in the log."""
        logger.warning("Firestore refuses an event", extra={"entry": member.path, "error": str(error)})
        member.outcome = Outcome.REJECTED
        member.reasons = (Violation("", "one that Firestore refuses", "an event that it can store"),)

    def _repeat(self, member: Member, original: Member) -> None:
        """Answer an event that came twice in a group. Firestore may take it although it refuses the other."""
        super()._repeat(member, original)
        member.stored, member.reasons = original.stored, original.reasons
        if member.outcome is Outcome.REJECTED and not member.event.same_as(original.event.fields):
            member.outcome = None
            member.error = Transient(f"{member.path}: another event of this id was refused: deliver it again")

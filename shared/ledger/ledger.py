"""The ledger: one source's changes in, outcomes out, for threads and for an event loop."""

import time
from collections.abc import Callable
from datetime import UTC, datetime

from shared.aggregation import Entry, Home, Source, change
from shared.errors import DeclarationError
from shared.grouping import COMMIT_TIMEOUT, Figures, Groups, Outcome, Pace
from shared.ledger.guard import Guard
from shared.ledger.outcome import Member, Place
from shared.ledger.writes import Writes, marker_id
from shared.registry import Registry
from shared.retry import Retry
from shared.settings import Settings
from shared.store import Store
from shared.watermark import check_lag


class Ledger:
    """Applies each change of an entry once to the totals of a source. `Guard` says why once, `Groups` when.

    An entry is never acknowledged before the commit that holds it is known to have landed. A group whose
    commit Firestore calls invalid is split until the poisonous entry stands alone; that one is recorded
    among the rejected. Only the leader of a group uses the store and the figures.

    Raises:
        SettingError: the lag is shorter than is safe, and the settings do not say that this is a test.
        DeclarationError: two things would share a collection of the home, or an intake keeps it.
    """

    def __init__(
        self,
        store: Store,
        source: Source,
        home: Home,
        settings: Settings,
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        check_lag(settings.lag, test=settings.test)
        home.check(source)
        if home.self_written:
            raise DeclarationError(
                f"source {source.name}: its home is self_written: an intake counts its entries in the commit "
                "that creates them, and a ledger would count them again"
            )
        self._store = store
        self._source = source
        self._clock = clock
        self._pace = Pace(settings.linger, clock)
        self._writes = Writes(source, home, settings.bucket)
        registry = Registry(store, source, home, sleep=sleep, retry=Retry(attempts=3, first=0.05))
        self._guard = Guard(
            store, home, self._writes, self._pace, settings, registry=registry, clock=clock, sleep=sleep
        )
        self._groups = Groups(self._guard.settle, self._pace, settings.group_size, sleep=sleep)

    @property
    def figures(self) -> Figures:
        """What this ledger has done since it was made."""
        return self._guard.figures

    def apply(self, entry: Entry) -> Outcome:
        """Count a creation, an edit or a deletion from a thread, and return once that is certain.

        The trigger uses `apply_async`. This is for callers that are threads.

        Raises:
            Overloaded: too many entries wait in this instance; nothing was sent.
            Transient: it is not known to be counted; deliver it again.
            Denied: Firestore refuses this instance; deliver it again once that is mended.
            StateError: the watermark's document is damaged; deliver it again once that is mended.
        """
        own = self._member(entry)
        if not own.outcome:
            self._groups.ride(own)
        return own.answer()

    async def apply_async(self, entry: Entry) -> Outcome:
        """Count a change from a coroutine, and return once that is certain. Raises as `apply`."""
        own = self._member(entry)
        if not own.outcome:
            await self._groups.ride_async(own)
        return own.answer()

    def refuse(self, event_id: str, reason: str) -> None:
        """Record an event that describes no entry, so that it does not vanish with its acknowledgement.

        Raises:
            StoreError: it could not be recorded.
        """
        self._store.commit([self._writes.malformed(event_id, reason)], timeout=COMMIT_TIMEOUT)

    def _member(self, entry: Entry) -> Member:
        counted = change(self._source, entry)
        return Member(
            path=entry.path,
            once=marker_id(entry),
            contribution=counted,
            since=self._clock(),
            entry=entry,
            place=None if entry.gone else Place(entry.time, entry.time),
            outcome=None if counted or entry.old is None else Outcome.UNCHANGED,
        )

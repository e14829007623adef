"""The intake: one source's events in, verdicts out, for threads and for an event loop."""

import time
from collections.abc import Callable
from datetime import UTC, datetime

from shared.aggregation import Home
from shared.errors import DeclarationError
from shared.events import EventSource
from shared.grouping import COMMIT_TIMEOUT, Figures, Groups, Outcome, Pace
from shared.grouping.writes import refused
from shared.intake.admission import Admission
from shared.intake.verdict import Member, Verdict
from shared.judgement import Refused, judge
from shared.registry import Registry
from shared.retry import Retry
from shared.settings import Settings
from shared.store import Store

RECORDED = 100_000
"""Characters of a rejected event that its record keeps: a document is at most 1 MiB."""

REASONS = 100
"""Reasons that its record keeps."""


class Intake:
    """Makes an entry of each event, and counts it in the same commit. `Admission` says why once.

    An event is never answered with `COUNTED` or `DUPLICATE` before its entry is known to be there. Many
    intakes may write at once: which of them gets an event does not matter.

    Raises:
        DeclarationError: the home is not `self_written`, or two things would share a collection of it.
    """

    def __init__(
        self,
        store: Store,
        source: EventSource,
        home: Home,
        settings: Settings,
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        home.check(source)
        if not home.self_written:
            raise DeclarationError(
                f"source {source.name}: self_written=False: an intake needs a home whose entries Libra "
                "writes itself"
            )
        self._store = store
        self._source = source
        self._home = home
        self._clock = clock
        self._pace = Pace(settings.linger, clock)
        registry = Registry(store, source, home, sleep=sleep, retry=Retry(attempts=3, first=0.05))
        self._admission = Admission(
            store, source, home, self._pace, registry=registry, clock=clock, sleep=sleep
        )
        self._groups = Groups(self._admission.settle, self._pace, settings.group_size, sleep=sleep)

    @property
    def figures(self) -> Figures:
        """What this intake has done since it was made. It does not count what a schema refused."""
        return self._admission.figures

    @property
    def entries(self) -> str:
        """The collection of the entries."""
        return self._home.entries

    def admit(self, event: object, *, sent: datetime | None = None) -> Verdict:
        """Store and count an event from a thread, and return once that is certain.

        Args:
            event: a mapping of fields, as JSON has them.
            sent: when Libra accepted it, if that was not now: its times are judged as of then.

        Raises:
            Overloaded: too many events wait in this instance; nothing was sent.
            Transient: it is not known to be counted; deliver it again.
            Denied: Firestore refuses this instance; deliver it again once that is mended.
            StateError: the document of a bounded key is damaged; deliver it again once that is mended.
        """
        own = self._member(event, sent)
        if isinstance(own, Verdict):
            return own
        self._groups.ride(own)
        return own.verdict()

    async def admit_async(self, event: object, *, sent: datetime | None = None) -> Verdict:
        """Store and count an event from a coroutine, and return once that is certain. As `admit`."""
        own = self._member(event, sent)
        if isinstance(own, Verdict):
            return own
        await self._groups.ride_async(own)
        return own.verdict()

    def record(self, name: str, verdict: Verdict, content: str | None = None) -> None:
        """Keep a rejected event with its reasons, so that it does not vanish with its acknowledgement.

        Args:
            name: what names its delivery, such as a message's id: another delivery is recorded once.
            verdict: why it is rejected.
            content: what it said, to be kept.

        Raises:
            StoreError: it could not be recorded.
        """
        reasons = [
            {"field": each.field, "reason": f"expected {each.allowed}, found {each.found}"}
            for each in verdict.reasons[:REASONS]
        ]
        kept = {} if content is None else {"content": content[:RECORDED].encode(errors="replace").decode()}
        self._store.commit([refused(self._home, name, reasons, **kept)], timeout=COMMIT_TIMEOUT)

    def _member(self, event: object, sent: datetime | None) -> Member | Verdict:
        now = self._clock()
        judged = judge(self._source, event, sent or now)
        if isinstance(judged, Refused):
            return Verdict(Outcome.REJECTED, judged.id, reasons=judged.reasons)
        read = judged.event
        path = self._home.entry(read.document_id)
        return Member(
            path=path, once=path, contribution=judged.contribution, since=now, size=read.size, event=read
        )

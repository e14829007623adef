"""Where events go, and what became of each: to Pub/Sub, or into Firestore straight away."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, Protocol

import grpc
from pydantic_core import to_json

from services.collector.body import Unreadable
from shared.errors import LibraError, PublishError, StateError, StoreError
from shared.events import Admitted, EventSource, Schema, Violation
from shared.intake import Intake, Outcome
from shared.judgement import Accepted, judge, schema_suffices
from shared.log import logger
from shared.publishing import Alike, Publisher
from shared.topics import ACCEPTED, Topics

Became = Literal["accepted", "counted", "duplicate", "invalid", "unavailable"]


@dataclass(slots=True)
class Verdict:
    """What became of one event."""

    became: Became
    id: str | None = None
    """What names the event; None where it cannot be read."""
    violations: Sequence[Violation] = ()
    """What is wrong with it; of a duplicate, that it differs from the event that came first."""


class Door(Protocol):
    """Takes the events of one source."""

    status: int
    """The answer's status where every event that is not invalid was taken."""

    async def take(self, events: Sequence[object]) -> list[Verdict]:
        """Take events; a verdict for each, in their order. Never raises for an event."""


class Queue:
    """Publishes events. An event is `accepted` once Pub/Sub has acknowledged it."""

    status = 202

    def __init__(
        self,
        source: EventSource,
        publisher: Callable[[], Publisher],
        clock: Callable[[], datetime],
    ) -> None:
        self._source = source
        self._schema = source.schema
        self._schema_suffices = schema_suffices(source)
        self._publisher = publisher
        self._clock = clock
        self._topic = Topics(source.name).topic

    async def take(self, events: Sequence[object]) -> list[Verdict]:
        """See `Door.take`."""
        now = self._clock()
        # When it was accepted rides along: the worker judges its time as of then, however late it comes.
        alike = Alike("id", {"source": self._source.name, ACCEPTED: now.isoformat()})
        first: dict[str, Admitted] = {}
        verdicts: list[Verdict] = []
        taken: list[Verdict] = []
        messages: list[bytes] = []
        for event in events:
            read = self._admitted(event, now)
            if isinstance(read, Verdict):
                verdict = read
            elif earlier := first.get(read.id):
                verdict = _duplicate(self._schema, read.id, differs=not read.same_as(earlier.fields))
                taken.append(verdict)  # no more certain than the event that it repeats
            else:
                verdict = Verdict("accepted", read.id)
                first[read.id] = read
                taken.append(verdict)
                messages.append(alike.message(to_json(event), read.id))
            verdicts.append(verdict)
        if messages and not await self._published(messages):
            for verdict in taken:
                verdict.became = "unavailable"
        return verdicts

    def _admitted(self, event: object, now: datetime) -> Admitted | Verdict:
        """The event, if the worker will count it. The declarations are asked where they may refuse it: that
        takes longer than everything else here."""
        if isinstance(event, Unreadable):
            return _unreadable(event)
        read: Admitted | Sequence[Violation]
        if self._schema_suffices:
            read = self._schema.admit(event, now)
        else:
            judged = judge(self._source, event, now)
            read = judged.event if isinstance(judged, Accepted) else judged.reasons
        if isinstance(read, Admitted):
            return read
        return Verdict("invalid", _named(self._schema, event), read)

    async def _published(self, messages: Sequence[bytes]) -> bool:
        try:
            await self._publisher().publish(self._topic, messages)
        except PublishError as error:
            logger.error("Pub/Sub has not acknowledged events", extra={"reason": str(error)})
            return False
        return True


class Direct:
    """Has events counted before the answer. An event is `counted` once its entry is there."""

    status = 200

    def __init__(self, schema: Schema, intake: Callable[[], Intake]) -> None:
        self._schema = schema
        self._make = intake
        self._made: Intake | None = None

    async def take(self, events: Sequence[object]) -> list[Verdict]:
        """See `Door.take`."""
        intake = self._made
        if intake is None:  # making it connects, so a thread does that; later requests need none
            intake = self._made = await asyncio.to_thread(self._make)
        failures: list[LibraError] = []
        if len(events) == 1:  # as most bodies: it needs no task of its own
            verdicts = [await self._taken(intake, events[0], failures)]
        else:
            verdicts = await asyncio.gather(*(self._taken(intake, event, failures) for event in events))
        if failures:
            said = {"error": type(failures[0]).__name__, "code": _code(failures[0]), "events": len(failures)}
            logger.error("Events were not counted", extra=said)
        return verdicts

    async def _taken(self, intake: Intake, event: object, failures: list[LibraError]) -> Verdict:
        if isinstance(event, Unreadable):
            return _unreadable(event)
        try:
            verdict = await intake.admit_async(event)
        except (StoreError, StateError) as error:
            failures.append(error)
            return Verdict("unavailable", _named(self._schema, event))
        match verdict.outcome:
            case Outcome.COUNTED:
                return Verdict("counted", verdict.id)
            case Outcome.DUPLICATE:
                return _duplicate(self._schema, verdict.id, differs=verdict.differs)
        return Verdict("invalid", verdict.id or _named(self._schema, event), verdict.reasons)


def _duplicate(schema: Schema, event_id: str | None, *, differs: bool) -> Verdict:
    """The verdict on an event whose id came before. If it says something else, the first one stays."""
    found = Violation(schema.id or "", "the id of an event that says something else", "an id for each event")
    return Verdict("duplicate", event_id, [found] if differs else ())


def _unreadable(event: Unreadable) -> Verdict:
    return Verdict("invalid", None, [Violation("", event.why, "a line of JSON")])


def _named(schema: Schema, event: object) -> str | None:
    """What an event that is wrong calls itself, as far as an answer can show it."""
    found = event.get(schema.id) if schema.id and isinstance(event, Mapping) else None
    return found[:200].encode(errors="replace").decode() if isinstance(found, str) else None


def _code(error: BaseException | None) -> str | None:
    """The status that a failed call ended with. Its words may name a document, and so an event: they stay out
    of the log."""
    while error is not None:
        if isinstance(error, grpc.RpcError):
            return str(error.code().name)
        error = error.__cause__
    return None

"""One source's messages: each admitted, then acknowledged. Never the other way round."""

import asyncio
from collections import Counter
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime
from typing import Protocol

from shared.errors import StateError, StoreError
from shared.events import Violation
from shared.intake import Intake, Outcome, Verdict
from shared.log import logger
from shared.messages import UnreadableError, accepted, decode, plain

RECORDING = 4
"""Threads that record what is rejected, apart from the intake's: a flood of it does not hold up commits."""
REFUSED = "refused"
"""What `figures` calls the messages that Pub/Sub is to deliver again."""


DIFFERS = Violation("", "the id of an entry that says other things", "an id that no other event has")
"""Why an event is set aside whose id another event has. The entry stays as it is."""


class Message(Protocol):
    """What a door needs of a message of Pub/Sub's client."""

    @property
    def message_id(self) -> str:
        """What Pub/Sub calls it."""

    @property
    def data(self) -> bytes:
        """What was published."""

    @property
    def attributes(self) -> Mapping[str, str]:
        """What was published beside it."""

    @property
    def publish_time(self) -> datetime:
        """When it was published."""

    def ack(self) -> None:
        """Have it never delivered again."""

    def nack(self) -> None:
        """Have it delivered again, after the subscription's pause."""


class Door:
    """Settles the messages of one source, in one event loop.

    A message is acknowledged only when the commit that holds its event is known to have landed, or its entry
    is known to exist, or its rejection is recorded. Otherwise Pub/Sub delivers it again, which is harmless:
    the entry is its own marker. So a plain acknowledgement is enough. Under exactly-once delivery Pub/Sub
    would confirm each acknowledgement, but an event that was published twice would still come twice.

    Attributes:
        figures: how many messages ended how, since the start.
    """

    def __init__(self, name: str, intake: Intake) -> None:
        self.name = name
        self.figures: Counter[str] = Counter()
        self._intake = intake
        self._recording = ThreadPoolExecutor(RECORDING, thread_name_prefix=f"record-{name}")

    async def take(self, message: Message) -> None:
        """Settle a message and answer it. It never raises: there is nobody to raise to."""
        try:
            verdict = await self._verdict(message)
            if verdict.outcome is Outcome.REJECTED or verdict.differs:
                await self._record(message, verdict)
        except (StoreError, StateError) as error:
            # An entry's name holds the event's id, and that is content.
            named = f"{self._intake.entries}/" in str(error)
            self._refuse(message, error, "it names an entry" if named else str(error))
        except Exception as error:  # noqa: BLE001 - a mistake in this code must not acknowledge what is not stored
            self._refuse(message, error, "not expected: see docs/worker.md")
        else:
            message.ack()
            self.figures[verdict.outcome.value] += 1

    async def _verdict(self, message: Message) -> Verdict:
        try:
            event = decode(message.data)
        except UnreadableError as error:
            wrong = Violation("", str(error), "a JSON object in UTF-8")
            return Verdict(Outcome.REJECTED, reasons=(wrong,))
        sent = accepted(message.attributes, plain(message.publish_time))
        return await self._intake.admit_async(event, sent=sent)

    async def _record(self, message: Message, verdict: Verdict) -> None:
        content = message.data.decode(errors="replace")
        if verdict.differs:
            verdict = replace(verdict, reasons=(DIFFERS,))
        in_thread = asyncio.get_running_loop().run_in_executor
        await in_thread(self._recording, self._intake.record, message.message_id, verdict, content)
        logger.warning("An event is rejected", extra={"source": self.name, "event": message.message_id})

    def _refuse(self, message: Message, error: Exception, reason: str) -> None:
        message.nack()
        self.figures[REFUSED] += 1
        about = {"source": self.name, "event": message.message_id, "error": type(error).__name__}
        logger.error("An event is not counted yet: to be redelivered", extra=about | {"reason": reason})

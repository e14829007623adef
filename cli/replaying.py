"""Bringing dead letters back to the topic that they came from."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from google.api_core.exceptions import DeadlineExceeded, GoogleAPIError
from google.cloud.pubsub_v1 import SubscriberClient

from cli.sending import RefusedError
from cli.writing import credentials_for
from local.errors import StackError
from shared import publishing
from shared.publishing import MOST_BYTES
from shared.topics import ACCEPTED, ACK_SECONDS, Topics

AT_ONCE = 200
PULL_SECONDS = 5
EMPTY = 2
"""Pulls in a row that bring nothing, after which there are no more: an answer may hold less than there is."""
PLATFORM = "CloudPubSubDeadLetter"
"""How the names begin of what Pub/Sub adds to a dead letter."""
PUBLISHED = f"{PLATFORM}SourceTopicPublishTime"
DELIVERIES = f"{PLATFORM}SourceDeliveryCount"


@dataclass(frozen=True)
class Letter:
    """A dead letter.

    Attributes:
        id: what Pub/Sub calls it.
        died: when it became one (aware).
        accepted: when its event was published first.
        deliveries: how often it was delivered before.
        message: what is published again.
    """

    id: str
    died: datetime
    accepted: str
    deliveries: str
    message: bytes

    @property
    def size(self) -> int:
        """Bytes."""
        return len(self.message)


Letters = Mapping[str, Letter]
"""By what acknowledges each."""


class DeadLetters:
    """The dead letters of a source. What is pulled comes again unless it is acknowledged.

    Attributes:
        refused: those that cannot be published again, by their ids, and why. They stay where they are.
    """

    def __init__(self, project: str, source: str) -> None:
        """``PUBSUB_EMULATOR_HOST`` names the emulator, if it is to be one: the client reads it."""
        with credentials_for("Pub/Sub", "PUBSUB_EMULATOR_HOST"):
            self._client = SubscriberClient()
        self._path = self._client.subscription_path(project, Topics(source).dead)
        self.refused: dict[str, tuple[Letter, str]] = {}

    def close(self) -> None:
        """Hang up."""
        self._client.close()

    def replay(self, publish: Callable[[Sequence[bytes]], None]) -> Iterator[Letter]:
        """Publish each letter again, and only then have Pub/Sub forget it. One that dies meanwhile stays.

        Raises:
            StackError: they cannot be pulled, or not be published.
        """
        started = datetime.now(UTC)
        held: list[str] = []
        while pulled := self._pull():
            new = {ack: letter for ack, letter in pulled.items() if letter.id not in self.refused}
            old = {ack: letter for ack, letter in new.items() if letter.died <= started}
            for part in _parts(old):
                yield from self._again(part, publish)
            # What was refused is held, so that it does not come again and again while this goes on.
            held += [ack for ack, letter in pulled.items() if letter.id in self.refused]
            self._release([ack for ack in new if ack not in old])
            if new and not old:
                break
        self._release(held)

    def look(self, most: int) -> list[Letter]:
        """Some of the letters. They stay where they are."""
        found: dict[str, Letter] = {}
        while len(found) < most and (pulled := self._pull()):
            found |= pulled
        self._release(list(found))
        return sorted(found.values(), key=lambda letter: letter.died)

    def _again(self, letters: Letters, publish: Callable[[Sequence[bytes]], None]) -> Iterator[Letter]:
        """Publish letters together; where Pub/Sub refuses them, each alone."""
        try:
            publish([letter.message for letter in letters.values()])
        except RefusedError as error:
            if len(letters) > 1:
                for ack, letter in letters.items():
                    yield from self._again({ack: letter}, publish)
            else:
                self.refused |= {letter.id: (letter, str(error)) for letter in letters.values()}
            return
        with self._asking("were published again and are still here; replay again, each event counts once"):
            self._client.acknowledge(subscription=self._path, ack_ids=list(letters))
        yield from letters.values()

    def _pull(self) -> dict[str, Letter]:
        request = {"subscription": self._path, "max_messages": AT_ONCE}
        for _ in range(EMPTY):
            with self._asking("cannot be pulled; ./deploy.sh up --worker=on makes the subscription"):
                try:
                    answer = self._client.pull(request=request, timeout=PULL_SECONDS, retry=None)
                except DeadlineExceeded:
                    continue
            if answer.received_messages:
                return {each.ack_id: _letter(each.message) for each in answer.received_messages}
        return {}

    def _release(self, ack_ids: Sequence[str]) -> None:
        for first in range(0, len(ack_ids), AT_ONCE):
            part = ack_ids[first : first + AT_ONCE]
            with self._asking(f"are held by this command; Pub/Sub lets go of them after {ACK_SECONDS} s"):
                self._client.modify_ack_deadline(
                    subscription=self._path, ack_ids=part, ack_deadline_seconds=0
                )

    @contextmanager
    def _asking(self, otherwise: str) -> Iterator[None]:
        """Say what a failed call leaves behind.

        Raises:
            StackError: Pub/Sub refused, or did not answer.
        """
        try:
            yield
        except GoogleAPIError as error:
            raise StackError(f"dead letters of {self._path} {otherwise}: {error}") from error


def _parts(letters: Letters) -> Iterator[Letters]:
    """As many together as a publish request holds; one that is larger than that goes alone."""
    part: dict[str, Letter] = {}
    size = 0
    for ack, letter in letters.items():
        size += letter.size
        if part and size > MOST_BYTES:
            yield part
            part, size = {}, letter.size
        part[ack] = letter
    if part:
        yield part


def _letter(message: Any) -> Letter:
    attributes = dict(message.attributes)
    died = datetime.fromtimestamp(message.publish_time.timestamp(), UTC)
    accepted = attributes.get(ACCEPTED) or attributes.get(PUBLISHED) or died.isoformat()
    kept = {name: value for name, value in attributes.items() if not name.startswith(PLATFORM)}
    again = publishing.message(message.data, kept | {ACCEPTED: accepted})
    return Letter(message.message_id, died, accepted, attributes.get(DELIVERIES, "?"), again)

"""Bringing dead letters back to the topic that they came from."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from google.api_core.exceptions import DeadlineExceeded, GoogleAPICallError
from google.cloud.pubsub_v1 import SubscriberClient

from cli.writing import credentials_for
from local.errors import StackError
from shared import publishing
from shared.topics import ACCEPTED, Topics

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


class DeadLetters:
    """The dead letters of a source. What is pulled comes again unless it is acknowledged."""

    def __init__(self, project: str, source: str) -> None:
        """``PUBSUB_EMULATOR_HOST`` names the emulator, if it is to be one: the client reads it."""
        with credentials_for("Pub/Sub", "PUBSUB_EMULATOR_HOST"):
            self._client = SubscriberClient()
        self._path = self._client.subscription_path(project, Topics(source).dead)

    def close(self) -> None:
        """Hang up."""
        self._client.close()

    def replay(self, publish: Callable[[Sequence[bytes]], None]) -> Iterator[Letter]:
        """Publish each letter again, and only then have Pub/Sub forget it. One that dies meanwhile stays.

        Raises:
            StackError: they cannot be pulled, or not be published.
        """
        started = datetime.now(UTC)
        while pulled := self._pull():
            old = {ack: letter for ack, letter in pulled.items() if letter.died <= started}
            if old:
                publish([letter.message for letter in old.values()])
                self._client.acknowledge(subscription=self._path, ack_ids=list(old))
                yield from old.values()
            self._release([ack for ack in pulled if ack not in old])
            if not old:
                return

    def look(self, most: int) -> list[Letter]:
        """Some of the letters. They stay where they are."""
        found: dict[str, Letter] = {}
        while len(found) < most and (pulled := self._pull()):
            found |= pulled
        self._release(list(found))
        return sorted(found.values(), key=lambda letter: letter.died)

    def _pull(self) -> dict[str, Letter]:
        request = {"subscription": self._path, "max_messages": AT_ONCE}
        for _ in range(EMPTY):
            try:
                answer = self._client.pull(request=request, timeout=PULL_SECONDS, retry=None)
            except DeadlineExceeded:
                continue
            except GoogleAPICallError as error:
                raise StackError(
                    f"{self._path} cannot be pulled: {error.message}; ./deploy.sh up --worker=on makes it"
                ) from error
            if answer.received_messages:
                return {each.ack_id: _letter(each.message) for each in answer.received_messages}
        return {}

    def _release(self, ack_ids: Sequence[str]) -> None:
        for first in range(0, len(ack_ids), AT_ONCE):
            part = ack_ids[first : first + AT_ONCE]
            self._client.modify_ack_deadline(subscription=self._path, ack_ids=part, ack_deadline_seconds=0)


def _letter(message: Any) -> Letter:
    attributes = dict(message.attributes)
    died = datetime.fromtimestamp(message.publish_time.timestamp(), UTC)
    accepted = attributes.get(ACCEPTED) or attributes.get(PUBLISHED) or died.isoformat()
    kept = {name: value for name, value in attributes.items() if not name.startswith(PLATFORM)}
    again = publishing.message(message.data, kept | {ACCEPTED: accepted})
    return Letter(message.message_id, died, accepted, attributes.get(DELIVERIES, "?"), again)

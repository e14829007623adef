"""The collector in this process: applications, events, doors that a test holds in its hand."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from shared.errors import PublishError
from shared.publishing import Message

PROJECT = "demo-collector"
ENVIRONMENT = {
    "GOOGLE_CLOUD_PROJECT": PROJECT,
    "FIRESTORE_EMULATOR_HOST": "127.0.0.1:1",
    "PUBSUB_EMULATOR_HOST": "127.0.0.1:1",
    "LIBRA_COLLECTOR_AUDIENCE": "https://collector.example",
    "LIBRA_COLLECTOR_ACCOUNTS": "shop@kitchen.iam.gserviceaccount.com",
    "LIBRA_COLLECTOR_ORIGINS": "https://shop.example, chrome-extension://abcdef",
    "LIBRA_COLLECTOR_SIGNED_IN": "signals",
}
"""Of an application whose Firestore and Pub/Sub do not answer."""


def user_event(number: int = 0, **changed: object) -> dict[str, Any]:
    """An event of the source user_events; `...` leaves a field out."""
    fields = {
        "event_id": f"e{number}",
        "user_id": "ann",
        "event_type": "purchase",
        "value": 12.5,
        "timestamp": datetime.now(UTC).isoformat(),
    } | changed
    return {name: value for name, value in fields.items() if value is not ...}


class Topic:
    """Stands where Pub/Sub stands: what was acknowledged, and what it refuses.

    Attributes:
        published: the messages of each call that was acknowledged.
        failing: raised in place of an acknowledgement.
    """

    def __init__(self) -> None:
        self.published: list[Sequence[Message]] = []
        self.failing: PublishError | None = None

    async def call(self, topic: str, messages: Sequence[Message]) -> None:
        """See `shared.publishing.Publish`."""
        if self.failing:
            raise self.failing
        self.topic = topic
        self.published.append(messages)

    @property
    def messages(self) -> list[Message]:
        """Every message."""
        return [message for call in self.published for message in call]


def outcomes(answer: Mapping[str, Any]) -> list[str]:
    """What became of each event, by an answer's body."""
    assert [each["index"] for each in answer["events"]] == list(range(len(answer["events"])))
    return [each["outcome"] for each in answer["events"]]

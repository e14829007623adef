"""The collector in this process: applications, events, doors that a test holds in its hand."""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

import httpx
from google.pubsub_v1.types import PubsubMessage

from shared import api_keys
from shared.api_keys import ApiKey
from shared.errors import PublishError
from tests.support.api import Api
from tests.support.memory_store import MemoryStore

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


def send(
    collector: Api,
    events: object,
    *,
    source: str = "user_events",
    role: str | None = "device",
    **options: Any,
) -> httpx.Response:
    """Send events as JSON."""
    options.setdefault("content", json.dumps(events).encode())
    headers = {"content-type": "application/json", **options.pop("headers", {})}
    return collector.ask("POST", f"/v1/events/{source}", role=role, headers=headers, **options)


class Message(NamedTuple):
    """What was published."""

    data: bytes
    attributes: Mapping[str, str]


def decoded(message: bytes) -> Message:
    """A message as Pub/Sub reads it."""
    read = PubsubMessage.deserialize(message)
    return Message(read.data, dict(read.attributes))


class Topic:
    """Stands where Pub/Sub stands: what was acknowledged, and what it refuses.

    Attributes:
        published: the messages of each call that was acknowledged, encoded.
        failing: raised in place of an acknowledgement.
    """

    def __init__(self) -> None:
        self.published: list[Sequence[bytes]] = []
        self.failing: PublishError | None = None

    async def call(self, topic: str, messages: Sequence[bytes]) -> None:
        """See `shared.publishing.Publish`."""
        if self.failing:
            raise self.failing
        self.topic = topic
        self.published.append(messages)

    @property
    def messages(self) -> list[Message]:
        """Every message."""
        return [decoded(message) for call in self.published for message in call]


def outcomes(answer: Mapping[str, Any]) -> list[str]:
    """What became of each event, by an answer's body."""
    assert [each["index"] for each in answer["events"]] == list(range(len(answer["events"])))
    return [each["outcome"] for each in answer["events"]]


class Clock:
    """Seconds that a test sets."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


class Keys:
    """Keys in a store, and how often they were read."""

    def __init__(self) -> None:
        self.store = MemoryStore(lambda: datetime.now(UTC))
        self.reads = 0
        self.failing: Exception | None = None

    def make(self, *sources: str) -> str:
        """A key."""
        return api_keys.create(self.store, "a", sources or ["signals"], ["signals", "user_events"])[1]

    def revoke(self, key: str) -> None:
        """Take one back."""
        api_keys.revoke(self.store, api_keys.key_id(key) or "")

    def look(self, found_id: str) -> ApiKey | None:
        """See `Keyring`."""
        self.reads += 1
        if self.failing:
            raise self.failing
        return next((each for each in api_keys.listed(self.store) if each.id == found_id), None)

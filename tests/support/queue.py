"""A source's events in Pub/Sub: published, settled in this process, and what became of them."""

import asyncio
import base64
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Self

import httpx

from local.pubsub import PubSub
from services.worker.door import Door
from shared.intake import Intake
from shared.schemas import self_written
from shared.settings import Settings
from shared.store import Query
from shared.store.client import FirestoreStore
from shared.topics import Topics
from tests.support.kitchen import Kitchen, as_int


class EventQueue:
    """The topic of a source in a project of a test's own, and the books that its events are to be in."""

    def __init__(self, pubsub: PubSub, project: str, firestore: str, source: str = "user_events") -> None:
        """``firestore``: the address of the emulator, without a proxy in front."""
        self.names = Topics(source)
        self.settings = Settings(project=project, emulator_host=firestore, test=True)
        self.store = FirestoreStore.connect(self.settings)
        books = self_written(self.settings)[source]
        self.books = Kitchen(self.store, self.settings, *books)
        self._pubsub = pubsub
        self._project = project
        self._door = Door(source, Intake(self.store, *books, self.settings))
        pubsub.create(project, [source])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.store.close()

    def publish(
        self, events: Iterable[object], *, topic: str = "", attributes: Mapping[str, str] | None = None
    ) -> None:
        """A message for each event, in this order; bytes are published as they are."""
        data = [each if isinstance(each, bytes) else json.dumps(each).encode() for each in events]
        for first in range(0, len(data), 500):
            messages = [
                {"data": base64.b64encode(each).decode(), "attributes": dict(attributes or {})}
                for each in data[first : first + 500]
            ]
            self.call("topics", topic or self.names.topic, "publish", messages=messages)

    def settle(self, most: int = 500) -> int:
        """Settle what is there now, as a worker does; how many messages that were."""
        answer = self.call(
            "subscriptions", self.names.subscription, "pull", maxMessages=most, returnImmediately=True
        )
        pulled = [Pulled(self, received) for received in answer.get("receivedMessages", ())]

        async def all_of_them() -> None:
            await asyncio.gather(*(self._door.take(each) for each in pulled))

        asyncio.run(all_of_them())
        return len(pulled)

    def ids(self) -> list[str]:
        """The ids of the events that are entries, sorted."""
        return sorted(
            str(each.fields["event_id"]) for each in self.store.query(Query(self.books.home.entries))
        )

    def rejected(self) -> int:
        """How many messages were set aside."""
        return len(list(self.store.query(Query(self.books.home.rejected))))

    def counts(self) -> dict[str, int]:
        """The totals of the event types, in which every event counts."""
        found = self.books.documents(self.books.source.aggregations[0].name)
        return {str(each["key"]): as_int(each["count"]) for each in found}

    def exact(self) -> bool:
        """Whether every total is what the entries add up to."""
        return self.books.totals() == self.books.exact()

    def call(self, kind: str, name: str, verb: str, **body: object) -> dict[str, Any]:
        """A request to Pub/Sub."""
        url = f"{self._pubsub.url}/v1/projects/{self._project}/{kind}/{name}:{verb}"
        answer = httpx.post(url, json=body, timeout=60)
        answer.raise_for_status()
        return dict(answer.json())


@dataclass
class Pulled:
    """A message that a request pulled, as a door takes it."""

    queue: EventQueue
    received: dict[str, Any]

    @property
    def message_id(self) -> str:
        return str(self.received["message"]["messageId"])

    @property
    def data(self) -> bytes:
        return base64.b64decode(self.received["message"].get("data", ""))

    @property
    def attributes(self) -> Mapping[str, str]:
        return dict(self.received["message"].get("attributes", {}))

    @property
    def publish_time(self) -> datetime:
        return datetime.fromisoformat(self.received["message"]["publishTime"])

    def ack(self) -> None:
        self._answer("acknowledge")

    def nack(self) -> None:
        self._answer("modifyAckDeadline", ackDeadlineSeconds=0)

    def _answer(self, verb: str, **more: object) -> None:
        name = self.queue.names.subscription
        self.queue.call("subscriptions", name, verb, ackIds=[self.received["ackId"]], **more)


def event(event_id: str, **changed: object) -> dict[str, object]:
    """What a user did, as a sender writes it."""
    now = datetime.now(UTC).replace(microsecond=0)
    return {
        "event_id": event_id,
        "user_id": "u1",
        "event_type": "view",
        "timestamp": now.isoformat(),
    } | changed

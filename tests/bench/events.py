"""What the benchmarks count: entries of a shape, and the CloudEvents that report them."""

import random
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, TypeAlias, get_args

from google.events.cloud.firestore import DocumentEventData

from shared.aggregation import Entry
from shared.store.values import encode_fields, raw, set_instant

Shape: TypeAlias = Literal["hot", "many"]
SHAPES: tuple[Shape, ...] = get_args(Shape)
"""`hot`: every entry adds to the same four totals. `many`: sixty ingredients, six actions (six in ten are
`Served`), every hour of two weeks: a chain's day with late devices, 104 totals."""

ACTIONS = ("Served",) * 12 + ("Heartbeat",) * 4 + ("Refilled", "RanOut", "Starting", "Offline")
EVENT_TYPES = ("view", "click", "search", "add_to_cart", "purchase", "refund")
USERS = 60
_NOON = datetime(2025, 9, 4, 12, tzinfo=UTC)
_Data = raw(DocumentEventData)


@dataclass(frozen=True)
class Feed:
    """Fresh entries of a shape in a project, the same sequence of fields for the same seed."""

    project: str
    shape: Shape
    seed: int = 1

    def entries(self, number: int) -> Iterator[Entry]:
        """That many entries, committed now, with ids of their own."""
        chance = random.Random(self.seed)
        root = f"projects/{self.project}/databases/(default)/documents/libra"
        run = uuid.uuid4().hex[:12]
        for index in range(number):
            now = datetime.now(UTC)
            yield Entry(f"{root}/{run}{index:08}", now, self._fields(chance))

    def _fields(self, chance: random.Random) -> Mapping[str, Any]:
        many = self.shape == "many"
        return {
            "device": {"model": "LibraV0", "serialNumber": "Lib298190"},
            "location": "Caldo Office",
            "ingredient": f"Ingredient {chance.randrange(60)}" if many else "Kettle Chips",
            "dataAction": chance.choice(ACTIONS) if many else "Served",
            "amount": 12.5,
            "timestamp": _NOON + timedelta(hours=chance.randrange(14 * 24)) if many else _NOON,
        }


def user_events(shape: Shape, number: int) -> Iterator[dict[str, Any]]:
    """Events of the source `user_events`, as JSON has them, with ids of their own.

    `hot`: all add to the same four totals. `many`: sixty users, six types, every hour of two weeks.
    """
    chance, run, now = random.Random(1), uuid.uuid4().hex[:12], datetime.now(UTC)
    many = shape == "many"
    for index in range(number):
        ago = timedelta(hours=chance.randrange(14 * 24)) if many else timedelta()
        yield {
            "event_id": f"{run}{index:08}",
            "user_id": f"user-{chance.randrange(USERS) if many else 0}",
            "event_type": chance.choice(EVENT_TYPES) if many else EVENT_TYPES[0],
            "session_id": f"session-{run}",
            "page": "/products/kettle-chips",
            "product_id": "kettle-chips",
            "value": 12.5,
            "timestamp": (now - ago).isoformat(),
        }


def http_request(entry: Entry, host: str) -> bytes:
    """The request that reports the entry's creation: a binary CloudEvent, as the platform sends it."""
    message = _Data()
    message.value.name = entry.path
    encode_fields(message.value.fields, entry.fields)
    set_instant(message.value.create_time, entry.time)
    set_instant(message.value.update_time, entry.time)
    body: bytes = message.SerializeToString()
    project = entry.path.split("/")[1]
    document = entry.path.partition("/documents/")[2]
    headers = {
        "Host": host,
        "Content-Type": "application/protobuf",
        "Content-Length": str(len(body)),
        "ce-id": entry.path.rpartition("/")[2],
        "ce-source": f"//firestore.googleapis.com/projects/{project}/databases/(default)",
        "ce-type": "google.cloud.firestore.document.v1.created",
        "ce-specversion": "1.0",
        "ce-subject": f"documents/{document}",
        "ce-time": entry.time.isoformat().replace("+00:00", "Z"),
        "ce-datacontenttype": "application/protobuf",
        "ce-dataschema": "https://googleapis.github.io/google-cloudevents/schema/google/events/cloud/firestore/v1/data.proto",
        "ce-project": project,
        "ce-database": "(default)",
        "ce-namespace": "(default)",
        "ce-document": document,
        "ce-location": "nam5",
    }
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"POST / HTTP/1.1\r\n{lines}\r\n".encode() + body

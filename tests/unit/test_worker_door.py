"""What a door does with a message: it is acknowledged when its event is safe, and never before."""

import asyncio
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pytest

from services.worker.door import REFUSED, Door
from shared.errors import Denied, StateError, Transient
from shared.intake import Intake
from shared.schemas import self_written
from shared.settings import Settings
from shared.store import Query
from tests.support.memory_store import MemoryStore

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
CANARY = "the-canary-of-a-test"
EVENT = {"event_id": "e1", "user_id": CANARY, "event_type": "view", "timestamp": NOW.isoformat()}


@dataclass
class Delivery:
    """A message that remembers what became of it, and what was stored at that moment."""

    store: MemoryStore
    data: bytes
    message_id: str = "m1"
    attributes: Mapping[str, str] = field(default_factory=dict)
    publish_time: datetime = NOW
    became: list[str] = field(default_factory=list)

    def ack(self) -> None:
        self.became.append(f"ack with {entries(self.store)} entries and {rejected(self.store)} rejected")

    def nack(self) -> None:
        self.became.append("nack")


class Failing(MemoryStore):
    """A store whose commits fail, before or after they were applied."""

    error: Exception | None = None
    applied = False

    def commit(self, writes: Any, *arguments: Any, **options: Any) -> Any:
        if self.error and not self.applied:
            raise self.error
        done = super().commit(writes, *arguments, **options)
        if self.error:
            raise self.error
        return done


def entries(store: MemoryStore) -> int:
    """How many entries there are."""
    return len(list(store.query(Query("user_events"))))


def rejected(store: MemoryStore) -> int:
    """How many records of rejected events there are."""
    return len(list(store.query(Query("user_events_rejected"))))


def counted(store: MemoryStore) -> object:
    """The total of the event type, in which every event counts."""
    (total,) = store.get(["analytics_aggregates/view"])
    return total.fields["count"] if total else 0


@pytest.fixture
def store() -> Failing:
    """An empty store at noon."""
    return Failing(lambda: NOW)


@pytest.fixture
def door(store: Failing) -> Door:
    """The door of `user_events`, whose intake never sleeps."""
    books = self_written(Settings())["user_events"]
    intake = Intake(store, *books, Settings(), clock=lambda: NOW, sleep=lambda _: None)
    return Door("user_events", intake)


def taken(door: Door, *deliveries: Delivery) -> list[str]:
    """Let a door settle deliveries at once; what became of each."""

    async def all_of_them() -> None:
        await asyncio.gather(*(door.take(each) for each in deliveries))

    asyncio.run(all_of_them())
    return [became for each in deliveries for became in each.became]


def delivery(store: MemoryStore, **changed: object) -> Delivery:
    """A delivery of the event, changed."""
    return Delivery(store, json.dumps(EVENT | changed).encode())


def test_an_event_is_stored_and_counted_before_it_is_acknowledged(door: Door, store: Failing) -> None:
    """At the acknowledgement the entry is there."""
    assert taken(door, delivery(store)) == ["ack with 1 entries and 0 rejected"]
    assert counted(store) == 1
    assert door.figures == {"counted": 1}


def test_each_delivery_is_acknowledged_and_one_counts(door: Door, store: Failing) -> None:
    """At once in a group, and again later."""
    taken(door, *(delivery(store) for _ in range(5)))
    assert taken(door, delivery(store)) == ["ack with 1 entries and 0 rejected"]
    assert counted(store) == 1
    assert door.figures == {"counted": 1, "duplicate": 5}


@pytest.mark.parametrize("error", [Transient("no answer"), Denied("no"), StateError("damaged")])
@pytest.mark.parametrize("applied", [False, True])
def test_what_is_not_known_to_be_stored_is_delivered_again(
    door: Door, store: Failing, error: Exception, applied: bool
) -> None:
    """A commit whose reply was lost counts as failed until the next delivery finds the entry."""
    store.error, store.applied = error, applied
    first = taken(door, delivery(store))
    lost_reply = applied and isinstance(error, Transient)
    assert first == (["ack with 1 entries and 0 rejected"] if lost_reply else ["nack"])
    store.error = None
    assert taken(door, delivery(store)) == ["ack with 1 entries and 0 rejected"]
    assert counted(store) == 1


@pytest.mark.parametrize("data", [b"\xff", b"[]", b"{}", json.dumps(EVENT | {"page": 7}).encode()])
def test_what_can_never_be_counted_is_recorded_then_acknowledged(
    door: Door, store: Failing, data: bytes
) -> None:
    """Its record has the reason and what it said, so that it can be looked at and sent again."""
    assert taken(door, Delivery(store, data)) == ["ack with 0 entries and 1 rejected"]
    (record,) = store.query(Query("user_events_rejected"))
    assert record.fields["content"] == data.decode(errors="replace")
    assert record.fields["reasons"]
    assert door.figures == {"rejected": 1}


def test_a_rejection_that_cannot_be_recorded_is_not_acknowledged(door: Door, store: Failing) -> None:
    """It would vanish."""
    store.error = Transient("no answer")
    assert taken(door, Delivery(store, b"{}")) == ["nack"]
    assert door.figures == {REFUSED: 1}


def test_another_event_with_the_same_id_is_set_aside(door: Door, store: Failing) -> None:
    """The first one stays as it is; the second one is not lost silently."""
    taken(door, delivery(store))
    assert taken(door, delivery(store, event_type="buy")) == ["ack with 1 entries and 1 rejected"]
    (record,) = store.query(Query("user_events_rejected"))
    assert "says other things" in str(record.fields["reasons"])


def test_a_replayed_event_is_judged_as_of_its_first_publication(door: Door, store: Failing) -> None:
    """It was eleven months old then, which is allowed; now it is thirteen, which is not."""
    old = delivery(store, timestamp="2025-11-01T12:00:00Z")
    old.attributes = {"accepted": "2026-10-01T12:00:00Z"}
    assert taken(door, old) == ["ack with 1 entries and 0 rejected"]
    assert taken(door, delivery(store, event_id="e2", timestamp="2025-11-01T12:00:00Z")) == [
        "ack with 1 entries and 1 rejected"
    ]


def test_a_mistake_in_the_code_acknowledges_nothing(
    door: Door, store: Failing, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever is raised, the message comes again, and in the end becomes a dead letter."""

    def broken(_: object) -> object:
        raise ZeroDivisionError(CANARY)

    monkeypatch.setattr("services.worker.door.decode", broken)
    assert taken(door, delivery(store)) == ["nack"]


def test_no_log_line_holds_content(
    door: Door, store: Failing, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of what is counted, refused, rejected and broken."""
    monkeypatch.setattr(logging.getLogger("libra"), "propagate", True)
    caplog.set_level("DEBUG", "libra")
    taken(door, delivery(store), delivery(store, event_type=[CANARY]), Delivery(store, CANARY.encode()))
    store.error = Transient("no answer")
    taken(door, delivery(store, event_id="e2"))

    def broken(_: object) -> object:
        raise ZeroDivisionError(CANARY)

    monkeypatch.setattr("services.worker.door.decode", broken)
    taken(door, delivery(store))
    assert len(caplog.records) >= 4
    assert not [record for record in caplog.records if CANARY in str(vars(record))]


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (Transient(f"documents/user_events/0a-{CANARY}: no answer"), "it names an entry"),
        (Transient("UNAVAILABLE: no connection"), "UNAVAILABLE: no connection"),
        (StateError("aggregates/user_events holds a string"), "aggregates/user_events holds a string"),
    ],
)
def test_no_log_line_holds_an_events_id(
    door: Door, store: Failing, logged: list[logging.LogRecord], error: Exception, reason: str
) -> None:
    """Its sender chose it, and it may be anything. What is no entry's name is said."""
    store.error = error
    assert taken(door, delivery(store, event_id=CANARY)) == ["nack"]
    assert [vars(each)["reason"] for each in logged] == [reason]

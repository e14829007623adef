"""Bringing dead letters back: what Pub/Sub refuses stays and stops nothing, and errors say what is left."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from google.api_core.exceptions import Cancelled, GoogleAPIError, ServiceUnavailable

from cli import replaying
from cli.replaying import DeadLetters
from cli.sending import RefusedError
from local.errors import StackError
from shared.publishing import MOST_BYTES

PLATFORM = 10_000_000
"""Bytes of a publish request, at most."""


@dataclass
class Subscriber:
    """Stands where Pub/Sub's client stands: it delivers what is neither held nor acknowledged."""

    waiting: dict[str, Any] = field(default_factory=dict)
    held: set[str] = field(default_factory=set)
    failing: dict[str, GoogleAPIError] = field(default_factory=dict)

    def subscription_path(self, project: str, name: str) -> str:
        return f"projects/{project}/subscriptions/{name}"

    def pull(self, *, request: dict[str, Any], **_: object) -> Any:
        self._fail("pull")
        ids = [it for it in self.waiting if it not in self.held][: request["max_messages"]]
        self.held |= set(ids)
        return SimpleNamespace(
            received_messages=[SimpleNamespace(ack_id=it, message=self.waiting[it]) for it in ids]
        )

    def acknowledge(self, *, ack_ids: list[str], **_: object) -> None:
        self._fail("acknowledge")
        for it in ack_ids:
            del self.waiting[it]
            self.held.discard(it)

    def modify_ack_deadline(self, *, ack_ids: list[str], **_: object) -> None:
        self._fail("modify_ack_deadline")
        self.held -= set(ack_ids)

    def _fail(self, method: str) -> None:
        if error := self.failing.get(method):
            raise error


@pytest.fixture
def subscriber(monkeypatch: pytest.MonkeyPatch) -> Subscriber:
    """Four letters, one of them too large, and one that dies while the others are brought back."""
    made = Subscriber()
    monkeypatch.setattr(replaying, "SubscriberClient", lambda: made)
    sizes = {"a": 3_000_000, "huge": PLATFORM, "b": 3_000_000, "c": 10, "late": 10}
    for name, size in sizes.items():
        died = datetime.now(UTC) + timedelta(hours=name == "late") - timedelta(minutes=1)
        made.waiting[name] = SimpleNamespace(
            message_id=name, data=b"x" * size, attributes={"source": "user_events"}, publish_time=died
        )
    return made


def bounded(calls: list[int]) -> Any:
    """Publishes as Pub/Sub does: a request has a bound."""

    def publish(messages: Sequence[bytes]) -> None:
        size = sum(len(each) + 50 for each in messages)
        calls.append(size)
        if size > PLATFORM:
            raise RefusedError("the request has more than 10,000,000 bytes")

    return publish


def test_a_letter_that_is_too_large_stays_and_the_others_are_brought_back(subscriber: Subscriber) -> None:
    """No request has more than one letter beyond the bound of requests; what stays can be pulled again."""
    letters, calls = DeadLetters("p", "user_events"), list[int]()
    assert [it.id for it in letters.replay(bounded(calls))] == ["a", "b", "c"]
    assert list(letters.refused) == ["huge"]
    assert "10,000,000" in letters.refused["huge"][1]
    assert list(subscriber.waiting) == ["huge", "late"]
    assert not subscriber.held
    assert len([size for size in calls if size > MOST_BYTES]) == 1


@pytest.mark.usefixtures("subscriber")
def test_what_is_refused_together_is_published_one_by_one() -> None:
    """One letter's fault is no other's."""

    def publish(messages: Sequence[bytes]) -> None:
        if any(len(each) < 100 for each in messages):
            raise RefusedError("not this one")

    letters = DeadLetters("p", "user_events")
    assert [it.id for it in letters.replay(publish)] == ["a", "huge", "b"]
    assert list(letters.refused) == ["c"]


@pytest.mark.parametrize(
    ("method", "left"),
    [
        ("pull", "cannot be pulled; ./deploy.sh up --worker=on"),
        ("acknowledge", "were published again and are still here; replay again"),
        ("modify_ack_deadline", "are held by this command; Pub/Sub lets go of them after 60 s"),
    ],
)
@pytest.mark.parametrize("kind", [ServiceUnavailable, Cancelled, GoogleAPIError])
def test_an_error_of_pubsubs_says_what_it_leaves_behind(
    subscriber: Subscriber, method: str, left: str, kind: type[GoogleAPIError]
) -> None:
    """Whatever call fails, and however: the error that every other command gives."""
    subscriber.failing[method] = kind("secret")
    with pytest.raises(StackError, match="user_events-dead") as caught:
        list(DeadLetters("p", "user_events").replay(bounded([])))
    assert left in str(caught.value)
    assert "secret" in str(caught.value)

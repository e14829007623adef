"""How a worker ends whose subscription cannot be pulled: it says so, whatever the others still hold."""

import asyncio
import concurrent.futures
import logging
import os
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from google.api_core.exceptions import NotFound

from services.worker import worker as module
from services.worker.settings import WorkerSettings
from shared.settings import Settings
from shared.store.client import FirestoreStore
from shared.topics import Topics

GONE = Topics("user_events").subscription


class Ended(BaseException):
    """The process has ended, with this status."""


class Held(concurrent.futures.Future[Any]):
    """A pull whose messages are under way for longer than a worker waits."""

    def cancel(self) -> bool:
        return False


@pytest.fixture
def pulls(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, concurrent.futures.Future[Any]]]:
    """The pulls of a worker, by the names of their subscriptions. That of `user_events` is not there."""
    found: dict[str, concurrent.futures.Future[Any]] = {}

    def pull(_: object, path: str, *__: object) -> concurrent.futures.Future[Any]:
        found[path] = Held()
        if path == GONE:
            found[path].set_exception(NotFound("no such subscription"))  # type: ignore[no-untyped-call] # the client has no types
        return found[path]

    def ended(status: int) -> None:
        raise Ended(status)

    store = SimpleNamespace(database="projects/demo/databases/(default)")  # nothing is read or written
    monkeypatch.setattr(FirestoreStore, "connect", lambda _: store)
    monkeypatch.setattr(
        module, "SubscriberClient", lambda: SimpleNamespace(subscription_path=lambda _, name: name)
    )
    monkeypatch.setattr(module, "pull", pull)
    monkeypatch.setattr(os, "_exit", ended)
    monkeypatch.setattr(module, "DRAIN_SECONDS", 0.05)
    yield found
    for each in found.values():
        if not each.done():
            each.set_result(None)


def test_it_says_what_cannot_be_pulled_also_where_others_hold_it_up(
    pulls: dict[str, concurrent.futures.Future[Any]],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Firestore is silent, so what they hold does not end. The status is 1, and the log has the reason."""
    monkeypatch.setattr(logging.getLogger("libra"), "propagate", True)
    with pytest.raises(Ended) as end:
        asyncio.run(module.Worker(WorkerSettings(Settings())).run())
    assert len(pulls) > 1
    assert end.value.args == (1,)
    assert f"the subscription {GONE} cannot be pulled: no such subscription" in caplog.text
    assert "still under way" in caplog.text

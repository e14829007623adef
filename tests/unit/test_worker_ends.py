"""How a worker ends whose subscription cannot be pulled while events of another one are still under way."""

import asyncio
from concurrent.futures import Future
from types import SimpleNamespace
from typing import Any

import pytest
from google.api_core.exceptions import NotFound

from services.worker import worker
from services.worker.settings import WorkerSettings
from services.worker.worker import Worker
from shared.settings import Settings


class Ended(BaseException):
    """The process ends here."""


def test_a_pull_that_failed_is_told_although_events_are_under_way(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """With its status: nobody else says that a subscription is gone."""
    gone: Any = NotFound
    pulls: dict[str, Future[object]] = {"signals": Future(), "user_events": Future()}
    pulls["signals"].set_exception(gone("Subscription does not exist"))
    pulls["user_events"].set_running_or_notify_cancel()  # what runs does not end because it is cancelled

    def end(status: int) -> None:
        raise Ended(status)

    paths = SimpleNamespace(subscription_path=lambda _, name: name)
    monkeypatch.setattr(worker, "SubscriberClient", lambda: paths)
    monkeypatch.setattr(worker, "pull", lambda _, path, *__: pulls[path.removesuffix("-worker")])
    monkeypatch.setattr(worker, "DRAIN_SECONDS", 0)
    monkeypatch.setattr("os._exit", end)
    settings = WorkerSettings(Settings(project="p", emulator_host="127.0.0.1:9", test=True))
    with pytest.raises(Ended, match="1"):
        asyncio.run(Worker(settings).run())
    assert "Subscription does not exist" in caplog.text

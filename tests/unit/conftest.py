"""Fixtures of the unit tests."""

import logging
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from services.collector.application import application
from services.collector.doors import Door, Queue
from services.collector.settings import CollectorSettings
from shared.log import logger
from shared.publishing import Publisher
from shared.schemas import self_written
from shared.settings import Settings
from tests.support.api import Api
from tests.support.collector import ENVIRONMENT, PROJECT, Clock, Keys, Topic


@pytest.fixture
def logged() -> Iterator[list[logging.LogRecord]]:
    """What is logged."""
    records: list[logging.LogRecord] = []
    handler = logging.Handler()
    handler.emit = records.append  # type: ignore[method-assign,assignment]  # the plainest
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    yield records
    logger.removeHandler(handler)
    logger.setLevel(level)


@pytest.fixture
def topic() -> Topic:
    """Where events go."""
    return Topic()


@pytest.fixture
def collector(topic: Topic, monkeypatch: pytest.MonkeyPatch) -> Api:
    """A collector that publishes to the topic, and takes the tokens of the auth emulator."""
    monkeypatch.setenv("FIREBASE_AUTH_EMULATOR_HOST", "127.0.0.1:9099")
    publisher = Publisher(topic.call, PROJECT)
    doors: dict[str, Door] = {}
    for name, (source, _) in self_written(Settings()).items():
        doors[name] = Queue(source, lambda: publisher, lambda: datetime.now(UTC))
    return Api(application(CollectorSettings.from_environment(ENVIRONMENT), doors=doors), PROJECT)


@pytest.fixture
def clock() -> Clock:
    """A clock."""
    return Clock()


@pytest.fixture
def keys() -> Keys:
    """A store of keys."""
    return Keys()

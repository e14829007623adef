"""Fixtures of the unit tests."""

import logging
from collections.abc import Iterator

import pytest

from shared.log import logger


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

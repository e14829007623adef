"""Fixtures of the tests of the pipelines."""

from collections.abc import Iterator

import pytest

from local.emulator import Emulator
from shared.settings import Settings
from shared.store.client import FirestoreStore
from tests.support.kitchen import Kitchen


@pytest.fixture
def kitchen(emulator: Emulator, project: str) -> Iterator[Kitchen]:
    """A kitchen in a project of the test's own."""
    settings = Settings(project=project, emulator_host=emulator.address, test=True)
    store = FirestoreStore.connect(settings)
    yield Kitchen(store, settings)
    store.close()

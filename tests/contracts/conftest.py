"""Fixtures of the contracts: each test runs against the real emulator and against its in-memory twin."""

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from local.emulator import Emulator
from shared.settings import Settings
from shared.store import Store
from shared.store.client import FirestoreStore
from tests.support.kitchen import Kitchen
from tests.support.memory_store import MemoryStore


@pytest.fixture(params=["emulator", "memory"])
def kitchen(request: pytest.FixtureRequest, project: str) -> Iterator[Kitchen]:
    """A kitchen over a store of the test's own, of either kind."""
    if request.param == "memory":
        memory = MemoryStore(lambda: datetime.now(UTC))
        yield Kitchen(memory, Settings())  # type: ignore[arg-type]  # a Store is enough
        return
    emulator: Emulator = request.getfixturevalue("emulator")
    settings = Settings(project=project, emulator_host=emulator.address)
    store = FirestoreStore.connect(settings)
    yield Kitchen(store, settings)
    store.close()


@pytest.fixture(params=["emulator", "memory"])
def store(request: pytest.FixtureRequest, project: str) -> Iterator[Store]:
    """An empty database, of either kind."""
    if request.param == "memory":
        yield MemoryStore(lambda: datetime.now(UTC), root=f"projects/{project}/databases/(default)/documents")
        return
    emulator: Emulator = request.getfixturevalue("emulator")
    firestore = FirestoreStore.connect(Settings(project=project, emulator_host=emulator.address))
    yield firestore
    firestore.close()

"""Fixtures of the tests that need the real Firestore emulator."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from local.emulator import Emulator
from services.api.application import application
from services.api.settings import ApiSettings
from shared.settings import Settings
from shared.store.client import FirestoreStore
from tests.support.api import Api
from tests.support.kitchen import Kitchen
from tests.support.recomputing import QUICK


@pytest.fixture
def kitchen(emulator: Emulator, project: str) -> Iterator[Kitchen]:
    """A kitchen in a project of the test's own, with the default settings."""
    settings = Settings(project=project, emulator_host=f"{emulator.host}:{emulator.port}")
    store = FirestoreStore.connect(settings)
    yield Kitchen(store, settings)
    store.close()


@pytest.fixture
def quick(emulator: Emulator, project: str) -> Iterator[Kitchen]:
    """A kitchen whose watermark trails the clock by a second at most."""
    settings = replace(QUICK, project=project, emulator_host=f"{emulator.host}:{emulator.port}")
    store = FirestoreStore.connect(settings)
    yield Kitchen(store, settings)
    store.close()


@pytest.fixture
def api(quick: Kitchen, emulator: Emulator, project: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Api]:
    """The API over the books of the quick kitchen; it takes the tokens of the auth emulator."""
    monkeypatch.setenv("FIREBASE_AUTH_EMULATOR_HOST", "127.0.0.1:9099")
    environment = {"GOOGLE_CLOUD_PROJECT": project, "FIRESTORE_EMULATOR_HOST": emulator.address}
    app = application(ApiSettings.from_environment(environment))
    app.state.books.source = quick.source
    yield Api(app, project)
    app.state.books.store.close()

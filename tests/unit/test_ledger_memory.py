"""The ledger's tests of the real emulator, once more over its in-memory twin.

They hold the twin to what the ledger needs of it, and are fast enough for a mutation check.
"""

from datetime import UTC, datetime

import pytest

from shared.settings import Settings
from tests.emulator.test_ledger import *  # noqa: F403 - every test of it
from tests.kitchen import Kitchen
from tests.memory_store import MemoryStore


@pytest.fixture
def kitchen() -> Kitchen:
    """A kitchen over a store of the test's own."""
    return Kitchen(MemoryStore(lambda: datetime.now(UTC)), Settings())  # type: ignore[arg-type]  # a Store is enough

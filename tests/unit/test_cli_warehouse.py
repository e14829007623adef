"""What `libra warehouse` prints: statements for `bq query`."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

import pytest
from click.testing import CliRunner

from cli.commands import warehouse
from cli.main import main
from shared.aggregation import Cell
from shared.registry import Registry
from shared.schemas import self_written
from shared.settings import Settings
from tests.support.memory_store import MemoryStore


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> MemoryStore:
    """The store that the environment names."""
    memory = MemoryStore(lambda: datetime.now(UTC))

    @contextmanager
    def connected() -> Iterator[tuple[MemoryStore, Settings]]:
        yield memory, Settings()

    monkeypatch.setattr(warehouse, "connected", connected)
    return memory


def printed(*words: str) -> str:
    found = CliRunner().invoke(main, ["warehouse", *words])
    assert found.exit_code == 0, found.output
    return found.stdout


@pytest.mark.usefixtures("store")
def test_views_are_printed_in_an_order_in_which_they_can_be_made() -> None:
    """With the project of the database and the dataset that is named."""
    text = printed("views", "--dataset", "events")
    names = [line.split("`")[1] for line in text.splitlines() if line.startswith("CREATE OR REPLACE VIEW")]
    assert names[:2] == ["demo-memory.events.dead_letters", "demo-memory.events.user_events"]
    assert names[-1] == "demo-memory.events.signals_aggregates_platforms"
    assert text.count(";\n") == len(names)


def test_what_firestore_has_written_down_of_bounded_keys_is_printed(store: MemoryStore) -> None:
    """As the registry wrote it; before there is any value, a comment that changes nothing."""
    assert printed("bounded") == "-- No bounded key has a value yet.\n"
    source, home = self_written(Settings())["user_events"]
    Registry(store, source, home, sleep=lambda _: None).settle([Cell("analytics_aggregates", "50%/off")])
    text = printed("bounded")
    assert "('analytics_aggregates', 'event_type', '50%25%2Foff')" in text
    assert text.startswith("MERGE `demo-memory.libra.bounded_values`")

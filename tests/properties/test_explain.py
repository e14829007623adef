"""An explanation finds every entry that a total counts, and no other, whatever is declared and stored."""

from collections.abc import Mapping
from datetime import UTC, datetime

from hypothesis import given, settings
from hypothesis import strategies as st

from shared.aggregation import Cell, Entry, Home, Source, contribution, fold
from shared.ledger import Ledger
from shared.settings import Settings
from shared.store import Create
from shared.windows import Explanation, Piece, explain
from tests.support.declarations import entries, sources
from tests.support.memory_store import MemoryStore

HOME = Home(entries="libra")
NOW = datetime(2025, 11, 1, tzinfo=UTC)


def explained(store: MemoryStore, source: Source, cell: Cell, limit: int) -> tuple[list[Piece], Explanation]:
    """Every page of an explanation, and the last one."""
    aggregation = source.aggregation(cell.aggregation)
    stored = aggregation.stored_key(cell.key)
    parts = stored if isinstance(stored, dict) else {aggregation.parts[0].name: stored}
    texts = {name: str(part).lower() if isinstance(part, bool) else str(part) for name, part in parts.items()}
    found: list[Piece] = []
    after = None
    while True:
        page = explain(store, source, HOME, cell.aggregation, texts, after=after, limit=limit)
        found += page.entries
        after = page.after
        if after is None:
            return found, page


@settings(max_examples=150, deadline=None)
@given(sources(most=2), st.lists(entries(), max_size=8), st.integers(1, 3))
def test_the_entries_of_a_total_add_up_to_it(
    source: Source, written: list[Mapping[str, object]], limit: int
) -> None:
    """Any key, filter and measure; every page; nothing is left unexplained once all is counted."""
    store = MemoryStore(lambda: NOW)
    ledger = Ledger(store, source, HOME, Settings(), clock=lambda: NOW, sleep=lambda _: None)
    counted: dict[Cell, set[str]] = {}
    for number, fields in enumerate(written):
        committed = store.commit([Create(f"libra/e{number}", fields)], timeout=10)
        ledger.apply(Entry(store.name(f"libra/e{number}"), committed, fields))
        for cell in contribution(source, fields).deltas:
            counted.setdefault(cell, set()).add(f"e{number}")
    for cell, exact in fold(source, written).items():
        found, last = explained(store, source, cell, limit)
        assert (len(found), {each.id for each in found}) == (len(counted[cell]), counted[cell])
        assert found[-1].running == exact
        assert {each.state for each in found} == {"applied"}
        assert not any((last.unexplained or {"": 1}).values())
        assert last.total.values == {
            name: exact.get(name, 0) for name in source.aggregation(cell.aggregation).columns
        }

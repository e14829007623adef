"""A source in a Firestore of a test's own: what tests write, count and compare."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from shared.aggregation import Cell, Entry, Home, Source, fold
from shared.catalog import LIBRA_HOME, libra
from shared.settings import Settings
from shared.store import Create, Document, Query
from shared.store.client import FirestoreStore

SERVED: dict[str, Any] = {
    "device": {"model": "LibraV0", "serialNumber": "Lib298190"},
    "location": "Caldo Office",
    "ingredient": "Kettle Chips",
    "dataAction": "Served",
    "amount": 12.5,
    "timestamp": datetime(2025, 9, 4, 18, 57, 29, tzinfo=UTC),
}


@dataclass
class Kitchen:
    """A store, a source, and the entries written so far."""

    store: FirestoreStore
    settings: Settings
    source: Source = field(default_factory=lambda: libra(Settings()))
    home: Home = LIBRA_HOME

    def write(self, entry_id: str, **changed: object) -> Entry:
        """Create an entry as a device would, and return it as its event tells it."""
        fields = {name: value for name, value in (SERVED | changed).items() if value is not ...}
        path = f"{self.home.entries}/{entry_id}"
        self.store.commit([Create(path, fields)], timeout=10)
        (document,) = self.store.get([path])
        assert document
        return self.entry(document)

    def entry(self, document: Document) -> Entry:
        """The entry that a stored document is."""
        return Entry(self.store.name(document.path), document.create_time, document.fields)

    def entries(self) -> list[Entry]:
        """Every stored entry."""
        return [self.entry(document) for document in self.store.query(Query(self.home.entries))]

    def exact(self) -> dict[Cell, dict[str, int]]:
        """What the totals must be: the pure fold over the stored entries."""
        return fold(self.source, (entry.fields for entry in self.entries()))

    def totals(self) -> dict[Cell, dict[str, int]]:
        """What the totals are. Each must have its document where its key says."""
        found: dict[Cell, dict[str, int]] = {}
        for aggregation in self.source.aggregations:
            names = aggregation.columns
            for document in self.store.query(Query(aggregation.name)):
                key = aggregation.parse_stored_key(document.fields["key"])
                assert key is not None
                cell = Cell(aggregation.name, key)
                assert self.home.total(cell) == document.path
                found[cell] = {
                    name: as_int(document.fields[name]) for name in names if name in document.fields
                }
        return found

    def documents(self, collection: str) -> list[Mapping[str, Any]]:
        """The fields of every document of a collection."""
        return [document.fields for document in self.store.query(Query(collection))]


def as_int(value: object) -> int:
    """``value``, which must be an integer."""
    assert isinstance(value, int)
    return value


def without_zeros(totals: Mapping[Cell, Mapping[str, int]]) -> dict[Cell, dict[str, int]]:
    """Totals without those that count nothing: a total of 0 says the same as none."""
    return {cell: dict(measures) for cell, measures in totals.items() if any(measures.values())}


def counts(totals: Mapping[Cell, Mapping[str, int]], collection: str) -> dict[Any, int]:
    """The counts of one collection, by key."""
    return {
        cell.key: measures["count"] for cell, measures in totals.items() if cell.aggregation == collection
    }


def reasons(rejected: Iterable[Mapping[str, Any]]) -> list[str]:
    """Every reason in documents of the rejected, sorted."""
    return sorted(reason["reason"] for document in rejected for reason in document["reasons"])

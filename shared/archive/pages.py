"""A page of an archive: the entries that one commit moves, and what that commit writes."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from shared.aggregation import Cell, Deltas, Home, Source, Totals, accumulate, contribution
from shared.aggregation.bounded import moved
from shared.archive.files import File, as_fields, line_of
from shared.ledger import MARKER_LIFE, marker_of
from shared.registry import Registry
from shared.store import Create, Delete, Document, FieldPath, Merge, Store, Write

PAGE_ENTRIES = 500
"""Entries that one page holds at most."""

PAGE_BYTES = 2 * 1024 * 1024
"""Bytes that the entries of a page, and the writes about them, may take together. Firestore's bound for a
commit is 10 MiB, with the index entries that it removes."""

DELTAS_BYTES = 256 * 1024
"""Bytes that the deltas in a page's record may take. Firestore's bound for a document is 1 MiB."""


@dataclass(frozen=True, slots=True)
class Item:
    """One entry on its way into a page."""

    document: Document
    time: datetime
    """By what it was chosen: its event time, or its commit time."""
    line: bytes
    deltas: Deltas
    rejected: bool
    """Whether something of it could not be counted: its record goes with it."""

    @classmethod
    def of(
        cls, store: Store, source: Source, registry: Registry, document: Document, time: datetime
    ) -> "Item":
        """What an entry takes into its page."""
        counted = contribution(source, document.fields)
        deltas = counted.deltas
        placed = moved(deltas, registry.settle(deltas)) if registry else deltas
        return cls(document, time, line_of(store, document), placed, bool(counted.rejections))


def cut(home: Home, items: Iterable[Item]) -> Iterator[list[Item]]:
    """Entries in the order given, as many together as one page may hold. One entry always fits."""
    page: list[Item] = []
    known: set[Cell] = set()
    size = deltas = 0
    for item in items:
        taken = len(item.line) + 4 * len(item.document.path) + 256
        new = {cell: _bytes(home, cell, item) for cell in item.deltas if cell not in known}
        if page and (
            len(page) == PAGE_ENTRIES
            or size + taken + sum(new.values()) > PAGE_BYTES
            or deltas + sum(new.values()) > DELTAS_BYTES
        ):
            yield page
            page, known, size, deltas = [], set(), 0, 0
            new = {cell: _bytes(home, cell, item) for cell in item.deltas}
        page.append(item)
        known |= new.keys()
        size, deltas = size + taken + sum(new.values()), deltas + sum(new.values())
    if page:
        yield page


def _bytes(home: Home, cell: Cell, item: Item) -> int:
    """What a total may take in the page's record and in its commit, generously."""
    measures = sum(len(name) + 32 for name in item.deltas[cell])
    return 256 + 4 * len(home.total(cell)) + 4 * len(str(cell.key)) + measures


@dataclass(frozen=True, slots=True)
class Page:
    """A page as one attempt to commit it has prepared it."""

    number: int
    items: Sequence[Item]
    file: File
    before: Mapping[str, int] = field(default_factory=dict)
    """What was `held` after the page before this one."""

    def held(self, home: Home) -> dict[str, int]:
        """How many archived entries the totals of each collection hold, together, with this page.

        By collection: an aggregation of another name may take over the totals, with what they hold.
        """
        held = dict(self.before)
        for cell, measures in self.deltas().items():
            collection = home.collection(cell.aggregation)
            held[collection] = held.get(collection, 0) + measures["count"]
        return held

    def deltas(self) -> Totals:
        """What its entries have added to the totals."""
        total: Totals = {}
        for item in self.items:
            accumulate(total, item.deltas)
        return total

    def writes(
        self, store: Store, source: Source, home: Home, *, about: Mapping[str, object], now: datetime
    ) -> list[Write]:
        """What moves the page, apart from the step of the lease.

        Args:
            store: where the entries live.
            source: what is counted of them.
            home: where the books are.
            about: what the page's record says of the archive.
            now: to say when the markers expire.
        """
        gone: dict[FieldPath, object] = {("expires_at",): now + MARKER_LIFE}
        deltas = self.deltas()
        writes: list[Write] = []
        for item in self.items:
            path, updated = item.document.path, item.document.update_time
            writes.append(Delete(path, if_updated=updated))
            writes.append(Merge(home.marker(marker_of(store.name(path), updated, gone=True)), gone))
            if item.rejected:
                writes.append(Delete(home.rejection(marker_of(store.name(path), updated))))
        for cell, measures in deltas.items():
            key = source.aggregation(cell.aggregation).stored_key(cell.key)
            writes.append(
                Merge(
                    home.total(cell),
                    {("key",): key, ("archived_page",): self.number},
                    {("archived", name): amount for name, amount in measures.items()},
                )
            )
        times = [item.time for item in self.items]
        record = {
            **about,
            **as_fields(self.file),
            "page": self.number,
            "held": self.held(home),
            "first": min(times),
            "last": max(times),
            "deltas": [
                {"total": home.total(cell), "archived": dict(measures)} for cell, measures in deltas.items()
            ],
        }
        writes.append(Merge(home.state, {("archived_page",): self.number}))
        writes.append(Create(home.page(self.number), record))
        writes.append(Merge(home.page(self.number), server_times=(("committed_at",),)))
        return writes

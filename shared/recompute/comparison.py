"""The comparison of every total that is stored or counted with what was counted."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime

from shared.aggregation import Home, Source
from shared.counting import Counted
from shared.drift import Correction, compare
from shared.store import DOCUMENT_ID, Document, Query, Store

LISTED = 500
"""Totals that one query lists."""


@dataclass(slots=True)
class Comparison:
    """What was found in all totals. Those in order are counted and forgotten."""

    documents: int = 0
    reads: int = 0
    corrections: list[Correction] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add(self, correction: Correction) -> None:
        """Take in what was found in one total."""
        self.documents += 1
        self.notes += correction.notes
        if correction:
            self.corrections.append(correction)


def compare_all(
    store: Store,
    source: Source,
    home: Home,
    counted: Counted,
    *,
    watermark: datetime,
    now: datetime,
    read: Callable[[Callable[[], list[Document]]], list[Document]],
    beat: Callable[[], None],
) -> Comparison:
    """Compare every total that is stored or counted.

    Args:
        store: where the totals are.
        source: what is counted.
        home: where its totals live.
        counted: what is true at ``watermark``.
        watermark: of the snapshot that was counted.
        now: to tell buckets that cannot be.
        read: reads a page, and tries again while it may help.
        beat: called between two pages.
    """
    found = Comparison()
    exact = {home.total(cell): (cell, measures) for cell, measures in counted.totals.items()}
    for aggregation in source.aggregations:
        for stored in _listed(store, home.collection(aggregation.name), found, read, beat):
            cell, measures = exact.pop(stored.path, (None, {}))
            key = aggregation.stored_key(cell.key) if cell else None
            fields = stored.fields
            found.add(
                compare(
                    aggregation,
                    stored.path,
                    fields,
                    measures,
                    key=key,
                    watermark=watermark,
                    now=now,
                    extremes=counted.extremes.get(cell) if cell else None,
                )
            )
    for path, (cell, measures) in exact.items():
        aggregation = source.aggregation(cell.aggregation)
        key = aggregation.stored_key(cell.key)
        extremes = counted.extremes.get(cell)
        found.add(
            compare(aggregation, path, {}, measures, key=key, watermark=watermark, now=now, extremes=extremes)
        )
    return found


def _listed(
    store: Store,
    collection: str,
    found: Comparison,
    read: Callable[[Callable[[], list[Document]]], list[Document]],
    beat: Callable[[], None],
) -> Iterator[Document]:
    after: tuple[str, ...] = ()
    while True:
        query = Query(collection, (), (DOCUMENT_ID,), after, limit=LISTED)
        page = read(lambda query=query: list(store.query(query)))  # type: ignore[misc]  # binds the loop's query
        found.reads += max(1, len(page))
        yield from page
        if len(page) < LISTED:
            return
        beat()
        after = (page[-1].path,)

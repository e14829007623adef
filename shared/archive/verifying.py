"""The proof of an archive: every file is what was written, and its entries add up to what the totals hold."""

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from shared.aggregation import Home, Source, fold
from shared.aggregation.bounded import moved
from shared.archive import manifest
from shared.archive.destinations import Destination, destination
from shared.archive.files import document_of, file_of, unpacked
from shared.archive.records import (
    Amounts,
    Held,
    add,
    held_totals,
    last_page,
    page_records,
    without_zeros,
)
from shared.errors import ArchiveError
from shared.recompute.comparison import deltas_of, page_of
from shared.recompute.fence import RETRY
from shared.registry import Registry
from shared.store import Document, Query, Store

KEPT = 1_000
"""What is wrong in so many places is said; the rest is counted."""


@dataclass(slots=True)
class Verified:
    """What was found. Nothing is wrong if ``faults`` is 0."""

    pages: int = 0
    entries: int = 0
    size: int = 0
    """Bytes of the files."""
    totals: int = 0
    """Totals that hold archived entries."""
    faults: int = 0
    wrong: list[str] = field(default_factory=list)
    """What is wrong, the first `KEPT`."""
    left_over: list[str] = field(default_factory=list)
    """Files that no record names: an archive died after it wrote them. Their entries were not moved."""
    added: Counter[str] = field(default_factory=Counter)
    """Aggregations and measures that were declared after entries were archived, and how many entries their
    totals therefore do not hold."""
    removed: set[str] = field(default_factory=set)
    """Aggregations and measures that are archived and no longer declared: not checked."""

    def fault(self, what: str) -> None:
        """Take in something that is wrong."""
        self.faults += 1
        if len(self.wrong) < KEPT:
            self.wrong.append(what)

    def as_json(self) -> dict[str, object]:
        """The findings as plain JSON values."""
        return {
            "pages": self.pages,
            "entries": self.entries,
            "bytes": self.size,
            "totals": self.totals,
            "faults": self.faults,
            "wrong": self.wrong,
            "left_over": self.left_over,
            "declared_later": dict(self.added),
            "no_longer_declared": sorted(self.removed),
        }


class Verification:
    """Verifies all archives of one source. It reads only, and an archive may be under way.

    The number of the last page is read first, then the totals, then the records. So every page up to that
    number is in every total that it touched, and a total that holds a later page names it.
    """

    def __init__(
        self,
        store: Store,
        source: Source,
        home: Home,
        at: Callable[[str], Destination] = destination,
        *,
        place: str | None = None,
        progress: Callable[[str, int], None] = lambda _, __: None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """``at`` opens a place; ``place``: where all files are now, if not where the records say."""
        self._store = store
        self._source = source
        self._home = home
        self._at = at
        self._place = place
        self._progress = progress
        self._sleep = sleep
        self._registry = Registry(store, source, home, sleep=sleep, writes=False)
        self._destinations: dict[str, Destination] = {}
        self.found = Verified()

    def run(self) -> Verified:
        """Read everything.

        Raises:
            ArchiveError: a destination cannot be read.
            StoreError: Firestore cannot be read.
        """
        certain = page_of(last_page(self._home, self._query), "page")
        held = dict(held_totals(self._source, self._home, self._query))
        self.found.totals = len(held)
        recorded: Amounts = {}
        named: dict[str, set[str]] = {self._place: set()} if self._place else {}
        for record in page_records(self._home, self._query):
            place = self._place or str(record.fields.get("to"))
            named.setdefault(place, set()).add(str(record.fields.get("file")))
            self._page(self._destination(place), record)
            for path, amounts in deltas_of(record.fields):
                last = max(certain, held[path].page if path in held else 0)
                if page_of(record.fields, "page") <= last:
                    add(recorded, path, amounts)
        self._compare(held, recorded)
        self._list_left_over(named)
        return self.found

    def _page(self, where: Destination, record: Document) -> None:
        """Compare a page's record with its file."""
        try:
            file = file_of(record.fields)
        except (KeyError, ValueError) as error:
            self.found.fault(f"{record.path}: the record is damaged: {error}")
            return
        self.found.pages += 1
        data = where.read(file.name)
        try:
            lines = unpacked(file, data)
            entries = [document_of(self._store, line).fields for line in lines]
        except (ArchiveError, ValueError) as error:
            self.found.fault(f"{where.place}/{error}")
            return
        self.found.entries += file.entries
        self.found.size += file.size
        self._progress("archived entries checked", self.found.entries)
        source = self._as_counted(record.fields.get("counted"), file.entries)
        totals = fold(source, entries) if source else {}
        totals = moved(totals, self._registry.settle(totals)) if self._registry else totals
        exact = {self._home.total(cell): dict(measures) for cell, measures in totals.items()}
        if without_zeros(exact) != self._declared(deltas_of(record.fields)):
            self.found.fault(
                f"{record.path}: the entries of {file.name} do not add up to what its commit added to the "
                "totals: a declaration, LIBRA_TIME_ZONE or LIBRA_TIME_ACTION is not what it was when they "
                "were archived, or the record was changed"
            )

    def _as_counted(self, counted: object, entries: int) -> Source | None:
        """The source as it was when a page was archived, as far as it is still declared."""
        then: Mapping[str, object] = counted if isinstance(counted, Mapping) else {}
        kept = []
        for each in self._source.aggregations:
            names = then.get(each.name)
            if not isinstance(names, list):
                self.found.added[each.name] += entries
                continue
            measures = tuple(one for one in each.measures if one.name in names)
            self.found.added.update(
                {f"{each.name}.{one.name}": entries for one in each.measures if one not in measures}
            )
            kept.append(replace(each, measures=measures))
        now = {each.name: {one.name for one in each.measures} for each in self._source.aggregations}
        for name, names in then.items():
            gone = [one for one in names if one not in now.get(name, ())] if isinstance(names, list) else []
            self.found.removed |= {f"{name}.{one}" for one in gone}
        return replace(self._source, aggregations=tuple(kept)) if kept else None

    def _declared(self, deltas: Iterator[tuple[str, Mapping[str, int]]]) -> Amounts:
        """Recorded deltas without what is no longer declared."""
        declared = {self._home.collection(each.name): set(each.columns) for each in self._source.aggregations}
        found: Amounts = {}
        for path, amounts in deltas:
            measures = declared.get(path.rpartition("/")[0], set())
            add(found, path, {name: amount for name, amount in amounts.items() if name in measures})
        return without_zeros(found)

    def _compare(self, held: Mapping[str, Held], recorded: Amounts) -> None:
        """Compare what the totals hold with what the records say."""
        recorded = self._declared(iter(recorded.items()))
        for path in sorted(held.keys() | recorded.keys()):
            archived = held[path].archived if path in held else None
            stored = without_zeros({path: archived}) if isinstance(archived, dict) else {}
            right = recorded.get(path, {})
            if stored.get(path, {}) != right:
                self.found.fault(f"{path}: archived is {archived}, the page records add up to {right}")

    def _list_left_over(self, named: Mapping[str, set[str]]) -> None:
        for place, names in named.items():
            where, mine = self._destination(place), names | {manifest.NAME}
            self.found.left_over += [f"{where.place}/{name}" for name in where.names() if name not in mine]

    def _destination(self, place: str) -> Destination:
        if place not in self._destinations:
            self._destinations[place] = self._at(place)
        return self._destinations[place]

    def _query(self, query: Query) -> list[Document]:
        return RETRY.call(lambda: list(self._store.query(query)), self._sleep)

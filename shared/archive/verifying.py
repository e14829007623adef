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
from shared.archive.records import page_records
from shared.errors import ArchiveError
from shared.recompute.comparison import deltas_of, page_of
from shared.recompute.fence import RETRY
from shared.recompute.lease import fields_of
from shared.registry import Registry
from shared.store import DOCUMENT_ID, Document, Query, Store

LISTED = 500
"""Totals that one query lists."""

KEPT = 1_000
"""What is wrong in so many places is said; the rest is counted."""

Amounts = dict[str, dict[str, int]]
"""What is archived, by the path of a total and by measure; zeros left out."""


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


@dataclass(frozen=True, slots=True)
class Held:
    """What a total holds of archived entries, and the last page that added to it."""

    archived: object
    page: int


class Verification:
    """Verifies all archives of one source. It reads only, and an archive may be under way.

    The state document is read first, then the totals, then the records. So every page up to the number in the
    state document is in every total that it touched, and a total that holds a later page names it.
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
        (state,) = RETRY.call(lambda: self._store.get([self._home.state]), self._sleep)
        certain = page_of(fields_of(state))
        held = dict(self._held())
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
                    _add(recorded, path, amounts)
        self._compare(held, recorded)
        self._list_left_over(named)
        return self.found

    def _held(self) -> Iterator[tuple[str, Held]]:
        for aggregation in self._source.aggregations:
            query = Query(self._home.collection(aggregation.name), (), (DOCUMENT_ID,), limit=LISTED)
            while True:
                listed = self._query(query)
                for total in listed:
                    if "archived" in total.fields or "archived_page" in total.fields:
                        yield total.path, Held(total.fields.get("archived"), page_of(total.fields))
                if len(listed) < LISTED:
                    break
                query = replace(query, start_after=(listed[-1].path,))

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
        if _without_zeros(exact) != self._declared(deltas_of(record.fields)):
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
            _add(found, path, {name: amount for name, amount in amounts.items() if name in measures})
        return _without_zeros(found)

    def _compare(self, held: Mapping[str, Held], recorded: Amounts) -> None:
        """Compare what the totals hold with what the records say."""
        recorded = self._declared(iter(recorded.items()))
        for path in sorted(held.keys() | recorded.keys()):
            archived = held[path].archived if path in held else None
            stored = _without_zeros({path: archived}) if isinstance(archived, dict) else {}
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


def _add(into: Amounts, path: str, amounts: Mapping[str, int]) -> None:
    total = into.setdefault(path, {})
    for name, amount in amounts.items():
        total[name] = total.get(name, 0) + amount


def _without_zeros(amounts: Mapping[str, Mapping[str, int]]) -> Amounts:
    found = {path: {name: n for name, n in each.items() if n} for path, each in amounts.items()}
    return {path: each for path, each in found.items() if each}

"""The comparison of every total that is stored or counted with what was counted.

The totals are read after the seal. Those of a self-written source are read at the watermark itself, as its
entries are: such totals have no buckets, so nothing else says what they held then.

What a total holds as ``archived`` is as of now. What is compared is as of the watermark W. The records of
the pages that were archived after W tell the difference: a total holds those up to its ``archived_page``. A
page's record and its totals are written in one commit. So a reader that reads a total first and the records
after it finds the record of every page that the total holds, also while an archive is under way.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import NamedTuple, TypeAlias

from shared.aggregation import Aggregation, Home, Part, Source
from shared.counting import Counted
from shared.drift import NO_BUCKETS, Correction, compare, with_archived
from shared.errors import ArchiveError
from shared.store import DOCUMENT_ID, Document, Filter, Query, Store
from shared.watermark import SAFETY_MARGIN

LISTED = 500
"""Totals that one query lists."""

LAST = ("page", "held", "sums")
"""What is read of the last page's record."""

PAGES = 50
"""Records of archived pages that one query lists: each is at most some hundred kilobytes."""

Read: TypeAlias = Callable[[Callable[[], list[Document]]], list[Document]]
"""Reads a list of documents, and tries again while it may help."""


@dataclass(slots=True)
class Comparison:
    """What was found in all totals. Those in order are counted and forgotten."""

    documents: int = 0
    reads: int = 0
    corrections: list[Correction] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    counts: dict[str, tuple[int, int]] = field(default_factory=dict)
    """By aggregation, the sums of ``count`` over its totals: as they say it, and as it is true."""

    @property
    def sums(self) -> dict[str, int]:
        """What was counted over all totals, by aggregation."""
        return {name: exact for name, (_, exact) in self.counts.items()}

    def add(self, correction: Correction) -> None:
        """Take in what was found in one total."""
        self.documents += 1
        self.notes += correction.notes
        name = correction.aggregation.name
        stored, exact = self.counts.get(name, (0, 0))
        self.counts[name] = (stored + correction.applied["count"], exact + correction.exact["count"])
        if correction:
            self.corrections.append(correction)


def compare_all(
    store: Store,
    source: Source,
    home: Home,
    counted: Counted,
    *,
    watermark: datetime,
    read: Read,
    beat: Callable[[], None],
) -> Comparison:
    """Compare every total that is stored or counted.

    Args:
        store: where the totals are.
        source: what is counted.
        home: where its totals live.
        counted: what is true at ``watermark``.
        watermark: of the snapshot that was counted.
        read: reads a page, and tries again while it may help.
        beat: called between two pages.

    Raises:
        ArchiveError: the totals do not hold what was archived.
        BucketsStraddle: see `compare`.
        StoreError: Firestore cannot be read.
    """
    found = Comparison()
    listing = _Listing(store, home, watermark, found=found, read=read, beat=beat)
    exact = {home.total(cell): (cell, measures) for cell, measures in counted.totals.items()}
    waiting: dict[str, _Total] = {}
    for aggregation in source.aggregations:
        for stored in listing.totals(aggregation.name):
            cell, measures = exact.pop(stored.path, (None, {}))
            key = aggregation.stored_key(cell.key) if cell else None
            extremes = counted.extremes.get(cell) if cell else None
            now = NO_BUCKETS if home.self_written else stored.update_time
            total = _Total(aggregation, stored.path, stored.fields, measures, key, extremes, now)
            if listing.settled(page_of(stored.fields)):
                found.add(total.compared({}, watermark))
            else:
                waiting[stored.path] = total
    later = listing.later({path: page_of(total.fields) for path, total in waiting.items()})
    listing.check()
    for path, total in waiting.items():
        found.add(total.compared(later.get(path, {}), watermark))
    for path, (cell, measures) in exact.items():
        aggregation = source.aggregation(cell.aggregation)
        key, extremes = aggregation.stored_key(cell.key), counted.extremes.get(cell)
        total = _Total(aggregation, path, {}, measures, key, extremes)
        found.add(total.compared({}, watermark))
    return found


class _Total(NamedTuple):
    """A total that is stored or counted."""

    aggregation: Aggregation
    path: str
    fields: Mapping[str, object]
    living: Mapping[str, int]
    key: Part | dict[str, Part] | None
    extremes: Mapping[str, int] | None
    now: datetime = NO_BUCKETS

    def compared(self, later: Mapping[str, int], watermark: datetime) -> Correction:
        exact, notes = with_archived(self.path, self.fields, self.living, later)
        found = compare(
            self.aggregation,
            self.path,
            self.fields,
            exact,
            key=self.key,
            watermark=watermark,
            now=self.now,
            extremes=self.extremes,
        )
        return replace(found, notes=found.notes + notes) if notes else found


class _Listing:
    """Lists totals, and then what the pages that were archived after the watermark have added to them."""

    def __init__(
        self,
        store: Store,
        home: Home,
        watermark: datetime,
        *,
        found: Comparison,
        read: Read,
        beat: Callable[[], None],
    ) -> None:
        self._store = store
        self._home = home
        self._watermark = watermark
        self._read_time = watermark if home.self_written else None
        self._found = found
        self._read = read
        self._beat = beat
        self._settled: int | None = None
        self._last = self._newest()
        self._archived: dict[str, int] = {}

    def totals(self, aggregation: str) -> Iterator[Document]:
        """Every stored total of an aggregation."""
        collection = self._home.collection(aggregation)
        self._archived[collection] = 0
        for total in self._all(Query(collection, (), (DOCUMENT_ID,), limit=LISTED)):
            self._archived[collection] += number_in(total.fields.get("archived"), "count")
            yield total

    def check(self) -> None:
        """Refuse totals that do not hold what was archived: no entry is left to count it again.

        Raises:
            ArchiveError: naming the collection.
        """
        recorded = sums_of(self._last, self._home)
        sums = {collection: recorded.get(collection, 0) for collection in self._archived}
        if self._archived == sums or page_of(self._newest(), "page") != page_of(self._last, "page"):
            return  # if a page came in between, some totals were listed before it, and some after it
        for collection, held in self._archived.items():
            if held != sums[collection]:
                raise ArchiveError(
                    f"{collection}: its totals hold {held:,} archived entries, but {sums[collection]:,} were "
                    "archived: somebody changed or deleted a total, or a page record. Nothing was corrected. "
                    "Run libra archive repair, and then libra recompute"
                )

    def _newest(self) -> Mapping[str, object]:
        """The number and the sums of the last page of any archive."""
        last = Query(self._home.archives, (), ("-page",), limit=1, select=LAST)
        return next((record.fields for record in self._once(last)), {})

    def settled(self, page: int) -> bool:
        """Whether a page, and with it all that came before, is known to be archived up to the watermark.

        A time that Firestore sets in a commit may lie before the commit time: hence the margin, here and in
        `later`.
        """
        if page and self._settled is None:
            up_to = Filter("committed_at", "<=", self._watermark - SAFETY_MARGIN)
            query = Query(self._home.archives, (up_to,), ("-committed_at",), limit=1, select=("page",))
            last = self._once(query)
            self._settled = page_of(last[0].fields, "page") if last else 0
        return page <= (self._settled or 0)

    def later(self, held: Mapping[str, int]) -> dict[str, dict[str, int]]:
        """What pages after the watermark added to totals, by path and measure.

        Args:
            held: the last page that each total held when it was read.
        """
        added: dict[str, dict[str, int]] = {}
        since = Filter("committed_at", ">", self._watermark - SAFETY_MARGIN)
        order = ("committed_at", DOCUMENT_ID)
        pages = self._all(Query(self._home.archives, (since,), order, limit=PAGES)) if held else iter(())
        for page in pages:
            if page.create_time <= self._watermark:
                continue
            for path, amounts in deltas_of(page.fields):
                if page_of(page.fields, "page") <= held.get(path, 0):
                    total = added.setdefault(path, {})
                    for measure, amount in amounts.items():
                        total[measure] = total.get(measure, 0) + amount
        return added

    def _all(self, query: Query) -> Iterator[Document]:
        """What a query finds, ``limit`` documents at a time."""
        while True:
            page = self._once(query)
            yield from page
            if len(page) < (query.limit or 0):
                return
            self._beat()
            last = page[-1]
            after = [last.path if name == DOCUMENT_ID else last.fields[name] for name in query.order_by]
            query = replace(query, start_after=tuple(after))

    def _once(self, query: Query) -> list[Document]:
        page = self._read(lambda: list(self._store.query(query, read_time=self._read_time)))
        self._found.reads += max(1, len(page))
        return page


def page_of(fields: Mapping[str, object], name: str = "archived_page") -> int:
    """A number in a document's field, such as that of a page; 0 where there is none."""
    found = fields.get(name)
    return found if isinstance(found, int) else 0


def number_in(found: object, name: str) -> int:
    """A number in a map of a document; 0 where there is none."""
    return page_of(found, name) if isinstance(found, Mapping) else 0


def sums_of(record: Mapping[str, object], home: Home) -> dict[str, int]:
    """How many archived entries the totals of each collection hold, by the record of the last page.

    A record that was written before 2026-11-26 says it by the aggregation's name (`sums`), in place of by the
    collection (`held`).
    """
    held, sums = record.get("held"), record.get("sums")
    if isinstance(held, Mapping):
        return {collection: number_in(held, collection) for collection in held}
    if isinstance(sums, Mapping):
        return {home.collection(name): number_in(sums, name) for name in sums}
    return {}


def deltas_of(record: Mapping[str, object]) -> Iterator[tuple[str, Mapping[str, int]]]:
    """What a page's record says that its commit added to ``archived``: by the path of a total, by measure.

    It is a list of maps, because a path may be longer than the name of a field.
    """
    for delta in record.get("deltas", ()):  # type: ignore[attr-defined]  # as `shared.archive` writes it
        yield delta["total"], delta["archived"]

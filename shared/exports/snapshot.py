"""What is exported: the totals of a source, or its entries, as of one instant, a page at a time."""

import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from shared.aggregation import Aggregation, Home, Source
from shared.errors import ExportError, SnapshotTooOld, Transient
from shared.exports.manifest import Held, Manifest
from shared.exports.tables import Row, Table, What, entries_table, entry_row, total_row, totals_table
from shared.retry import Retry
from shared.store import DOCUMENT_ID, Document, Query, Store
from shared.windows import Proof, proof, total_of

PAGE = 1_000
"""Documents that are in memory at once."""

STREAM = 50_000
"""Documents that one request reads."""

RETRY = Retry(attempts=6, first=0.1)
"""How often a read is tried, and the pauses in seconds."""

STEPS = (
    "begun",
    "table begun",
    "page written",
    "table written",
    "publish begun",
    "published half",
    "published",
)
"""Every moment that the ``step`` hook is called with: once, or once for each table or page."""


@dataclass(slots=True)
class Tally:
    """What a table's rows come to, as they are read."""

    rows: int = 0
    sums: dict[str, int] = field(default_factory=dict)


class Snapshot:
    """The totals or the entries of a source, as of one instant. It may be read several times.

    Totals are read at an instant of now, and say how much of them is proven at the watermark of the last
    completed run. Entries are read as they were at that watermark. So the entries of one export fold to
    what the other one calls proven, archived entries apart.

    Attributes:
        name: the snapshot's own.
        tables: what it consists of.
        step: called with each moment of `STEPS`.
    """

    def __init__(
        self,
        store: Store,
        source: Source,
        home: Home,
        what: What,
        *,
        at: datetime | None = None,
        step: Callable[[str], None] = lambda _: None,
        progress: Callable[[str, int], None] = lambda _, __: None,
        sleep: Callable[[float], None] = time.sleep,
        page: int = PAGE,
    ) -> None:
        """Read how far the totals are proven; nothing else yet.

        Args:
            store: what is exported.
            source: what is counted.
            home: where its books are kept.
            what: totals or entries.
            at: when the totals are read, if it is not now.
            step: called with each moment of `STEPS`.
            progress: called with what was read, and how many rows so far.
            sleep: what waits between two tries.
            page: documents that are in memory at once.

        Raises:
            ExportError: nothing is proven yet, or a run is behind its seal.
            StateError: the state document is damaged.
            StoreError: Firestore cannot be read.
        """
        self._store = store
        self._source = source
        self._home = home
        self._sleep = sleep
        self._page = page
        self._progress = progress
        self._read = 0
        self.step = step
        self.what: What = what
        self._proof = RETRY.call(lambda: proof(store, source, home, at=at), sleep)
        self.watermark = _watermark(self._proof, source, home)
        self.read_at = self._proof.at if what == "totals" else self.watermark
        self.name = f"{source.name}-{what}-{self.read_at:%Y%m%dT%H%M%S%fZ}-{secrets.token_hex(4)}"
        self._aggregations: dict[str, Aggregation] = {}
        if what == "totals":
            self._aggregations = {each.name: each for each in source.aggregations}
            self.tables = tuple(map(totals_table, source.aggregations))
        else:
            self.tables = (entries_table(source),)

    @property
    def source(self) -> str:
        """The source's name."""
        return self._source.name

    def pages(self, table: Table, tally: Tally) -> Iterator[list[Row]]:
        """The rows of a table in pages, ascending by `id`; ``tally`` takes them in.

        Raises:
            ExportError: the snapshot is no longer to be had, or a total holds no integer of 64 bits.
            StoreError: Firestore cannot be read.
        """
        aggregation = self._aggregations.get(table.name)
        collection = self._home.collection(table.name) if aggregation else self._home.entries
        added = [(number, each) for number, each in enumerate(table.names) if each in table.added_up]
        tally.sums = {name: 0 for _, name in added}
        for documents in self._documents(collection):
            rows = [self._row(aggregation, each) for each in documents]
            for row in rows:
                for number, name in added:
                    value = row[number]
                    tally.sums[name] += value if isinstance(value, int) else 0
            tally.rows += len(rows)
            self._read += len(rows)
            self._progress(f"{self.what} read", self._read)
            yield rows
            self.step("page written")

    def held(self, table: Table, tally: Tally, file: Mapping[str, str | int] | None = None) -> Held:
        """What the manifest says of a table that was read to its end."""
        through = self._proof.exact_through(table.name) if self.what == "totals" else self.watermark
        return Held(table, tally.rows, tally.sums, through, file or {})

    def manifest(self, tables: tuple[Held, ...]) -> Manifest:
        """The manifest of all tables."""
        database = self._store.root.removesuffix("/documents")
        return Manifest(self.name, database, self.source, self.what, self.watermark, self.read_at, tables)

    def _row(self, aggregation: Aggregation | None, document: Document) -> Row:
        if aggregation is None:
            return entry_row(document)
        one = total_of(aggregation, document, self._proof)
        return total_row(aggregation, one, buckets=not self._home.self_written)

    def _documents(self, collection: str) -> Iterator[list[Document]]:
        """Every document by its id, a page at a time. A stream that breaks off goes on where it did."""
        last: str | None = None
        failed = 0
        while True:
            found: list[Document] = []
            read = 0
            try:
                for document in self._query(collection, last):
                    read += 1
                    last = document.path
                    found.append(document)
                    if len(found) == self._page:
                        yield found
                        found = []
            except Transient:
                failed = 1 if read else failed + 1  # a stream that brings something is no failure
                if failed == RETRY.attempts:
                    raise
                self._sleep(RETRY.pause(failed))
                read = STREAM
            if found:
                yield found
            if read < STREAM:
                return

    def _query(self, collection: str, after: str | None) -> Iterator[Document]:
        query = Query(collection, (), (DOCUMENT_ID,), (after,) if after else (), STREAM)
        try:
            yield from self._store.query(query, read_time=self.read_at)
        except SnapshotTooOld as error:
            raise ExportError(
                f"{collection}: Firestore no longer has the {self.what} of {self.read_at.isoformat()}: "
                "it keeps an hour, or seven days with point-in-time recovery. Run libra recompute, and "
                f"export within the hour ({error})"
            ) from error


def _watermark(now: Proof, source: Source, home: Home) -> datetime:
    if now.watermark is None:
        raise ExportError(
            f"{home.state}: nothing is proven yet: run libra recompute --source {source.name} first"
        )
    if not now.settled:
        held = f"run {now.lease.run_id} is under way" if now.lease else "a run has failed behind its seal"
        raise ExportError(
            f"{home.state}: {held}, so no total says at which watermark it is exact: see libra status, and "
            "export once a run has completed"
        )
    return now.watermark

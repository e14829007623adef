"""Where the books of a source are kept in Firestore: entries, totals, markers, runs, pages, state. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from shared.aggregation.declarations import Source
from shared.aggregation.deltas import Cell
from shared.aggregation.ids import document_id
from shared.errors import DeclarationError

_REGISTRY = "keys-"


@dataclass(frozen=True)
class Home:
    """The collections and documents of one source. Paths are relative to the database's documents."""

    entries: str
    """The collection of entries."""
    totals: Mapping[str, str] = field(default_factory=dict)
    """The collection of an aggregation's totals, by the aggregation's name, where it is not that name."""
    state: str = "aggregates/last_processed"
    """The document that holds the watermark and the lease."""
    seen: str = "aggregates_seen"
    """The collection of markers, one for each applied entry."""
    rejected: str = "aggregates_rejected"
    """The collection of what could not be counted, with the reasons."""
    runs: str = "aggregates_runs"
    """The collection of recompute runs."""
    archives: str = "aggregates_archives"
    """The collection of page records, one for each page of entries that an archive has moved."""
    self_written: bool = False
    """Whether Libra creates the entries itself, each in the commit that counts it (`shared.intake`). Then the
    totals agree with the entries at every instant, and need no markers and no buckets."""

    def collection(self, aggregation: str) -> str:
        """The collection that the totals of an aggregation live in."""
        return self.totals.get(aggregation, aggregation)

    def total(self, cell: Cell) -> str:
        """The path of a total."""
        return f"{self.collection(cell.aggregation)}/{document_id(cell.key)}"

    def registry(self, aggregation: str) -> str:
        """The path of the document that names the values of an aggregation's bounded keys."""
        return f"{self.state.rpartition('/')[0]}/{_REGISTRY}{document_id(aggregation)}"

    def marker(self, marker_id: str) -> str:
        """The path of an entry's marker."""
        return f"{self.seen}/{marker_id}"

    def entry(self, entry_id: str) -> str:
        """The path of an entry."""
        return f"{self.entries}/{entry_id}"

    def rejection(self, marker_id: str) -> str:
        """The path of the record of a version that could not be counted, or not everywhere."""
        return f"{self.rejected}/{marker_id}"

    def run(self, run_id: str) -> str:
        """The path of a run's record."""
        return f"{self.runs}/{run_id}"

    def page(self, number: int) -> str:
        """The path of the record of an archived page: ids sort as numbers do."""
        return f"{self.archives}/{number:09}"

    def used(self, source: Source) -> list[str]:
        """Every collection that the source uses, one for each purpose."""
        used = [self.collection(aggregation.name) for aggregation in source.aggregations]
        return [
            *used,
            self.entries,
            self.seen,
            self.rejected,
            self.runs,
            self.archives,
            self.state.rpartition("/")[0],
        ]

    def check(self, source: Source) -> None:
        """Refuse a home in which two things would share a collection.

        Raises:
            DeclarationError: naming the collections.
        """
        if self.state.rpartition("/")[2].startswith(_REGISTRY):
            raise DeclarationError(
                f"source {source.name}: the id in state={self.state!r} begins with {_REGISTRY!r}, which "
                "names the documents of bounded keys"
            )
        used = self.used(source)
        if len(set(used)) < len(used):
            raise DeclarationError(f"source {source.name}: each collection serves one purpose: {used}")

"""What an archive moved, or would move."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from shared.aggregation import Home
from shared.archive.pages import Page

TOP = 100
"""Totals that a report names, the ones that move most."""

A_PAGE = 4
"""Writes of a page to the books: its record, twice, the state document and the run's record."""


@dataclass(slots=True)
class Moved:
    """What has been moved so far."""

    entries: int = 0
    pages: int = 0
    size: int = 0
    """Bytes of the files."""
    changed: int = 0
    """Entries that were edited or deleted between read and commit, and left."""
    first: datetime | None = None
    last: datetime | None = None
    writes: int = 0
    """About what was or will be written, besides deletions: markers, totals, records."""
    totals: dict[str, dict[str, int]] = field(default_factory=dict)
    """What ``archived`` gained, by path and measure."""

    def add(self, home: Home, page: Page) -> None:
        """Take in a page that has been moved, or would be."""
        deltas = page.deltas()
        times = [item.time for item in page.items]
        self.pages += 1
        self.entries += len(page.items)
        self.size += page.file.size
        self.writes += len(page.items) + len(deltas) + A_PAGE
        self.first = min(*times, self.first or times[0])
        self.last = max(*times, self.last or times[0])
        for cell, measures in deltas.items():
            total = self.totals.setdefault(home.total(cell), {})
            for measure, amount in measures.items():
                total[measure] = total.get(measure, 0) + amount


@dataclass(frozen=True, slots=True)
class ArchiveReport:
    """What an archive did."""

    run_id: str | None
    """None for a dry run."""
    place: str
    """Where the files are."""
    by: str
    """The field that an entry's age was told by, or ``commit time``."""
    before: datetime
    """Older entries were moved."""
    watermark: datetime
    """Entries that were written after it were left."""
    moved: Moved
    unsealed: int
    """Entries that are old enough and were left, because they were written after the watermark."""
    reads: int
    writes: int
    seconds: float

    def largest(self, most: int = TOP) -> Sequence[tuple[str, Mapping[str, int]]]:
        """The totals that moved most, by count."""
        return sorted(self.moved.totals.items(), key=lambda each: (-each[1].get("count", 0), each[0]))[:most]

    def as_json(self) -> dict[str, object]:
        """The report as plain JSON values; of the totals only the largest."""
        moved = self.moved
        return {
            "run_id": self.run_id,
            "to": self.place,
            "by": self.by,
            "before": self.before.isoformat(),
            "watermark": self.watermark.isoformat(),
            "entries": moved.entries,
            "first": moved.first.isoformat() if moved.first else None,
            "last": moved.last.isoformat() if moved.last else None,
            "pages": moved.pages,
            "bytes": moved.size,
            "unsealed": self.unsealed,
            "changed": moved.changed,
            "totals": len(moved.totals),
            "largest": [{"total": path, "archived": dict(measures)} for path, measures in self.largest()],
            "reads": self.reads,
            "writes": self.writes,
            "deletes": self.moved.entries,
            "seconds": round(self.seconds, 3),
        }


def completed(report: ArchiveReport, now: datetime) -> dict[str, object]:
    """A completed archive's record among the runs: the report. It has no watermark: it proves nothing."""
    fields = {name: value for name, value in report.as_json().items() if name not in {"run_id", "watermark"}}
    return fields | {"state": "completed", "finished_at": now}

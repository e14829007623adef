"""What a run found and did: for its caller, for its record and for the log."""

import logging
from dataclasses import asdict, dataclass
from datetime import datetime

from shared.counting import Counted, Plan
from shared.log import logger
from shared.recompute.comparison import Comparison
from shared.recompute.loss import Loss

RECORDED = 100
"""How many corrections (the largest) and notes a run's record holds: a document is at most 1 MiB."""


@dataclass(frozen=True, slots=True)
class Corrected:
    """One number that was wrong."""

    document: str
    measure: str
    stored: int
    """The total's value for the entries up to the watermark."""
    exact: int
    """What is true of them."""


@dataclass(frozen=True, slots=True)
class Report:
    """What a run found and did."""

    run_id: str | None
    """None for a dry run, which leaves no record."""
    watermark: datetime
    strategy: str
    why: str
    entries: int
    """Documents in the source's collection at the watermark."""
    documents: int
    """Totals compared, stored or counted."""
    drift: int
    """The sum of the absolute corrections."""
    corrections: tuple[Corrected, ...]
    reads: int
    writes: int
    seconds: float
    notes: tuple[str, ...] = ()
    """What was found that Libra never writes."""
    losses: tuple[Loss, ...] = ()
    """The aggregations that lost more than `LIBRA_MAX_LOSS` allows: what this run was told to accept; or, of
    a dry run, what a run refuses."""

    def as_json(self) -> dict[str, object]:
        """The report as plain JSON values."""
        return asdict(self) | {
            "watermark": self.watermark.isoformat(),
            "corrections": [asdict(each) for each in self.corrections],
            "notes": list(self.notes),
            "losses": [asdict(each) for each in self.losses],
            "seconds": round(self.seconds, 3),
        }


def report_of(
    run_id: str | None,
    watermark: datetime,
    how: Plan,
    counted: Counted,
    found: Comparison,
    *,
    reads: int,
    writes: int,
    seconds: float,
    note: str | None,
    lost: tuple[Loss, ...],
) -> Report:
    """The report of a run, or of a dry run, from what was counted and found."""
    corrections = tuple(
        Corrected(each.path, measure, each.applied[measure], each.exact[measure])
        for each in found.corrections
        for measure in each.drift
    )
    drift = sum(abs(each.exact - each.stored) for each in corrections)
    return Report(
        run_id,
        watermark,
        how.strategy,
        how.why,
        counted.entries,
        found.documents,
        drift,
        corrections,
        reads,
        writes,
        seconds,
        ((note,) if note else ()) + tuple(found.notes),
        lost,
    )


def completed(report: Report, now: datetime) -> dict[str, object]:
    """A completed run's record: the report, with only the largest corrections."""
    largest = sorted(report.corrections, key=lambda each: -abs(each.exact - each.stored))
    return report.as_json() | {
        "state": "completed",
        "finished_at": now,
        "watermark": report.watermark,
        "corrected": len(report.corrections),
        "corrections": [asdict(each) for each in largest[:RECORDED]],
        "notes": list(report.notes[:RECORDED]),
    }


def log(report: Report) -> None:
    """One line for a completed run: a warning where something was wrong."""
    summary = report.as_json() | {"corrections": len(report.corrections)}
    level = logging.WARNING if report.drift or report.notes else logging.INFO
    logger.log(
        level,
        "A recompute is completed",
        extra={f"recompute_{name}": value for name, value in summary.items()},
    )

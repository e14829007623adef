"""What a run found and did: for its caller, for its record and for the log."""

import logging
from dataclasses import asdict, dataclass
from datetime import datetime

from shared.counting import Counted, Plan, proposal
from shared.log import logger
from shared.recompute.comparison import Comparison
from shared.recompute.loss import Loss
from shared.recompute.standing import Standings

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
class Filling:
    """An aggregation that was filling when the run began."""

    aggregation: str
    why: str
    """See `Standing.why`."""
    filled: int
    """The sum of the absolute corrections of its totals, if they were expected; else they are drift."""
    exact_from: datetime | None
    """A run with this watermark, or a later one, makes it exact. None: a dry run, and no run has seen it."""
    exact_since: datetime | None
    """The run's watermark, if this run made it exact."""

    def as_json(self) -> dict[str, object]:
        """As plain JSON values."""
        return asdict(self) | {"exact_from": iso(self.exact_from), "exact_since": iso(self.exact_since)}


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
    """The sum of the absolute corrections, those of ``filled`` aside."""
    corrections: tuple[Corrected, ...]
    """What drifted."""
    reads: int
    writes: int
    seconds: float
    notes: tuple[str, ...] = ()
    """What was found that Libra never writes."""
    losses: tuple[Loss, ...] = ()
    """The aggregations that lost more than `LIBRA_MAX_LOSS` allows: what this run was told to accept; or, of
    a dry run, what a run refuses."""

    filled: int = 0
    """The sum of the absolute corrections in new or changed aggregations, where they are expected."""
    filling: tuple[Filling, ...] = ()
    """The aggregations that are not exact yet, and those that this run made exact."""
    proposal: str = ""
    """Another way to count, where this one takes long; else nothing."""

    def as_json(self) -> dict[str, object]:
        """The report as plain JSON values."""
        return asdict(self) | {
            "watermark": self.watermark.isoformat(),
            "corrections": [asdict(each) for each in self.corrections],
            "notes": list(self.notes),
            "losses": [asdict(each) for each in self.losses],
            "filling": [each.as_json() for each in self.filling],
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
    notes: tuple[str, ...],
    lost: tuple[Loss, ...],
    before: Standings,
    after: Standings,
) -> Report:
    """The report of a run, or of a dry run, from what was counted and found.

    ``before`` and ``after`` say how the aggregations stood when the run began, and how it leaves them.
    """
    corrections = tuple(
        Corrected(each.path, measure, each.applied[measure], each.exact[measure])
        for each in found.corrections
        if each.aggregation.name not in before.expected
        for measure in each.drift
    )
    drift = sum(abs(each.exact - each.stored) for each in corrections)
    filled = dict.fromkeys(before.expected, 0)
    for each in found.corrections:
        if each.aggregation.name in filled:
            filled[each.aggregation.name] += sum(map(abs, each.drift.values()))
    filling = tuple(
        Filling(now.name, now.why, filled.get(now.name, 0), now.exact_from, now.exact_since)
        for then, now in zip(before.declared, after.declared, strict=True)
        if then.filling
    )
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
        notes + before.notes + tuple(found.notes),
        lost,
        sum(filled.values()),
        filling,
        proposal(how.strategy, counted.entries),
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


def iso(instant: datetime | None) -> str | None:
    """An instant for JSON."""
    return instant.isoformat() if instant else None


def log(report: Report, source: str) -> None:
    """One line for a completed run: a warning where something was wrong."""
    summary = report.as_json() | {"corrections": len(report.corrections), "source": source}
    level = logging.WARNING if report.drift or report.notes else logging.INFO
    logger.log(
        level,
        "A recompute is completed",
        extra={f"recompute_{name}": value for name, value in summary.items()},
    )

"""What was counted in the last day, beside what `libra cost` predicts for the same load.

The records of the recomputes tell something, and Google's own metrics of a real project the rest.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from cli.cost import Load, bills, recompute_reads
from shared.aggregation import Home
from shared.errors import NotFound
from shared.status import newest
from shared.store import Store

DAY = timedelta(days=1)
RUNS = 20
TRIGGERS = (
    ' AND resource.type="cloud_run_revision" AND '
    'resource.labels.service_name=monitoring.regex.full_match("libra-on-(created|updated|deleted)")'
)
METRICS = {
    "writes": (("firestore.googleapis.com/document/write_count", ""),),
    "reads": (("firestore.googleapis.com/document/read_count", ""),),
    "deletes": (
        ("firestore.googleapis.com/document/delete_count", ""),
        ("firestore.googleapis.com/document/ttl_deletion_count", ""),
    ),
    "invocations": (("run.googleapis.com/request_count", TRIGGERS),),
}
"""Google's metrics (https://cloud.google.com/monitoring/api/metrics_gcp, 2026-11), and of what."""

Call = Callable[[str], Mapping[str, Any]]
"""Asks Cloud Monitoring for a path, and gives its answer."""


@dataclass(frozen=True, slots=True)
class Fact:
    """One number of a day.

    Attributes:
        name: of what.
        predicted: by `cli/cost.py`.
        observed: None, where nothing tells.
    """

    name: str
    predicted: float
    observed: float | None

    def as_json(self) -> dict[str, object]:
        """For a script."""
        observed = None if self.observed is None else round(self.observed)
        return {"name": self.name, "predicted": round(self.predicted), "observed": observed}


def load_of(store: Store, home: Home, load: Load) -> tuple[Load, int]:
    """The load, with the entries that the last two runs tell of; and what the last one has read.

    Raises:
        NotFound: there are not two completed runs that are an hour apart.
        StoreError: Firestore cannot be read.
    """
    completed = [
        fields
        for fields in (document.fields for document in store.query(newest(home, RUNS)))
        if fields.get("state") == "completed"
    ]
    for before in completed[1:]:
        last = completed[0]
        apart = _instant(last) - _instant(before)
        if apart >= timedelta(hours=1):
            came = max(0, _number(last, "entries") - _number(before, "entries"))
            events = round(came / (apart / DAY))
            return replace(load, events=events, stored=_number(last, "entries")), _number(last, "reads")
    raise NotFound(
        f"{home.runs}: two completed recomputes that are an hour apart tell how many entries come a day; "
        f"found {len(completed)} completed ones. Run one now and one later, or say --events-per-day"
    )


def _instant(run: Mapping[str, object]) -> datetime:
    found = run["watermark"]
    assert isinstance(found, datetime)  # noqa: S101 - the record of a completed run has one
    return found


def _number(run: Mapping[str, object], name: str) -> int:
    found = run.get(name)
    return found if isinstance(found, int) else 0


def counters(call: Call, project: str, now: datetime) -> dict[str, float]:
    """What Google counted in the day before ``now``; without those that it has no data of."""
    found: dict[str, float] = {}
    for name, metrics in METRICS.items():
        sums = [total for metric in metrics if (total := _total(call, project, now, *metric)) is not None]
        if sums:
            found[name] = sum(sums)
    return found


def _total(call: Call, project: str, now: datetime, metric: str, resource: str) -> float | None:
    asked = {
        "filter": f'metric.type="{metric}"{resource}',
        "interval.startTime": f"{now - DAY:%Y-%m-%dT%H:%M:%SZ}",
        "interval.endTime": f"{now:%Y-%m-%dT%H:%M:%SZ}",
        "aggregation.alignmentPeriod": f"{int(DAY.total_seconds())}s",
        "aggregation.perSeriesAligner": "ALIGN_SUM",
        "aggregation.crossSeriesReducer": "REDUCE_SUM",
    }
    answer = call(f"v3/projects/{project}/timeSeries?{urlencode(asked)}")
    values = [point["value"] for series in answer.get("timeSeries", []) for point in series["points"]]
    return sum(float(next(iter(it.values()))) for it in values) if values else None


def facts(load: Load, reads: int, counted: Mapping[str, float]) -> Iterator[Fact]:
    """Prediction beside fact. Google counts the devices' own writes too, so the prediction here does."""
    bill = bills(load)[0]
    yield Fact("entries", load.events, load.events)
    yield Fact("reads of the last recompute", recompute_reads(load), reads)
    yield Fact("writes, the devices' own included", bill.writes + load.events, counted.get("writes"))
    yield Fact("reads", bill.reads, counted.get("reads"))
    yield Fact("deletes, by time-to-live too", bill.deletes, counted.get("deletes"))
    yield Fact("invocations of the triggers", bill.events, counted.get("invocations"))

"""What the commit of a group holds: markers, totals, and records of what could not be counted."""

import hashlib
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta

from shared.aggregation import Cell, Entry, Home, Source, add
from shared.grouping.writes import refused, total
from shared.ledger.outcome import Member
from shared.store import Create, Delete, FieldPath, Merge, Write
from shared.watermark import Bucket, bucket_of

MARKER_LIFE = timedelta(days=7)
"""How long a marker is kept. The platform redelivers for 24 hours at most
(https://cloud.google.com/functions/docs/bestpractices/retries, 2026-11)."""


def marker_id(entry: Entry) -> str:
    """The id of a change's marker: one for all its deliveries, another for each version of the document."""
    return marker_of(entry.path, entry.time, gone=entry.gone)


def marker_of(path: str, time: datetime, *, gone: bool = False) -> str:
    """The id of the marker of a version, or of its deletion.

    Args:
        path: the full document name.
        time: the version's update time.
        gone: whether the deletion of that version is meant.
    """
    micros = time.astimezone(UTC).isoformat(timespec="microseconds")
    named = f"{path}\0{micros}" + ("\0gone" if gone else "")
    return hashlib.sha256(named.encode()).hexdigest()[:32]


class Writes:
    """Makes the writes of one source's commits."""

    def __init__(self, source: Source, home: Home, bucket: timedelta) -> None:
        self._source = source
        self._home = home
        self._bucket = bucket

    def of(self, members: Sequence[Member], now: datetime) -> list[Write]:
        """Markers first, then the totals, each once with everything that the group adds to it."""
        marker = {"expires_at": now + MARKER_LIFE}
        writes: list[Write] = [Create(self._home.marker(member.once), marker) for member in members]
        writes += self._totals(members)
        resolved = self.resolved(members)
        outdated = {write.path for write in resolved}
        for member in members:
            if rejections := member.contribution.rejections:
                reasons = [
                    {"aggregation": one.aggregation, "field": one.field, "reason": one.reason}
                    for one in rejections
                ]
                record = self.rejected(member, reasons)
                if record.path not in outdated:
                    writes.append(record)
        return writes + resolved

    def resolved(self, members: Iterable[Member]) -> list[Delete]:
        """Remove the records of versions that could not be counted and are now replaced or gone."""
        return [
            Delete(self._home.rejection(marker_of(member.entry.path, member.entry.old.time)))
            for member in members
            if member.contribution.resolved and member.entry.old
        ]

    def _totals(self, members: Sequence[Member]) -> list[Merge]:
        by_bucket: dict[Bucket, list[Member]] = {}
        for member in members:
            if member.place:  # whatever is applied has one
                bucket = bucket_of(member.place.until, self._bucket)
                by_bucket.setdefault(bucket, []).append(member)
        totals: dict[Cell, dict[FieldPath, int]] = {}
        for bucket, bucketed in by_bucket.items():
            labels: dict[str, FieldPath] = {}
            for cell, measures in add(member.contribution.deltas for member in bucketed).items():
                increments = totals.setdefault(cell, {})
                for measure, amount in measures.items():
                    if measure not in labels:
                        labels[measure] = ("recent", bucket.label(measure))
                    increments[(measure,)] = increments.get((measure,), 0) + amount
                    increments[labels[measure]] = amount
        return [total(self._source, self._home, *each) for each in totals.items()]

    def rejected(self, member: Member, reasons: list[dict[str, str]]) -> Merge:
        """The record of a version that could not be counted, or not everywhere."""
        return Merge(
            self._home.rejection(member.once),
            fields={
                ("entry",): member.entry.path,
                ("create_time",): member.entry.time,
                ("reasons",): reasons,
            },
            server_times=(("rejected_at",),),
        )

    def malformed(self, event_id: str, reason: str) -> Merge:
        """The record of an event that describes no entry."""
        return refused(self._home, event_id, [{"reason": reason}])

"""Commit-time arithmetic: buckets, their labels, watermarks and freshness. Pure: time is an argument.

Every instant here is an aware datetime. A *bucket* covers ``(end - length, end]``: it is open at the
start and closed at the end, so that an entry committed exactly at a watermark belongs to the bucket
which that watermark closes. A *label* names a bucket by its end and its length in seconds, as
``t20250904T191000Z_600``: a field name that Firestore takes unquoted, that sorts by time among labels
of one length, and that still says what it covers after the setting has changed. Counts are filed under
the bare label, any other measure under the label, ``_`` and the measure's name.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from shared.errors import SettingError, StateError, WatermarkAhead

SAFETY_MARGIN = timedelta(minutes=5)
"""How much younger than the lag an entry must be to be applied without reading the watermark: room for
clock skew between instances plus the longest that a commit may be in flight (`ledger.COMMIT_BUDGET`)."""

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
"""Where Unix time begins, and buckets with it."""

MICROSECOND = timedelta(microseconds=1)
"""What Firestore's commit times and Timestamps are accurate to."""

WEEK = timedelta(weeks=1)
"""What one merged bucket covers at most, and a day more: a label has room for six digits of seconds."""

WORTH = 6
"""How many buckets of a total must go for a compaction to be worth the write."""

_FIRST = datetime.min.replace(tzinfo=UTC)

_LABEL = re.compile(
    r"t(\d{4})(\d{2})(\d{2})T(\d{2})(\d{2})(\d{2})Z_([1-9]\d{0,5})(?:_([A-Za-z_]\w*))?", re.ASCII
)


@dataclass(frozen=True, slots=True)
class Bucket:
    """The commit times after ``end - length``, up to and including ``end`` (UTC)."""

    end: datetime
    length: timedelta

    def __post_init__(self) -> None:
        check_aware(self.end, "a bucket's end")

    def label(self, measure: str = "count") -> str:
        """The field of ``recent`` that this bucket's increments of ``measure`` are filed under."""
        end = self.end
        return (
            f"t{end.year:04}{end.month:02}{end.day:02}T{end.hour:02}{end.minute:02}{end.second:02}Z"
            f"_{int(self.length.total_seconds())}" + ("" if measure == "count" else f"_{measure}")
        )

    def straddles(self, watermark: datetime) -> bool:
        """True if ``watermark`` lies inside: part of the bucket is closed and part is open."""
        return self.end - self.length < watermark < self.end


def check_aware(instant: datetime, what: str) -> None:
    """Refuse a naive datetime: it would mean whatever zone the machine is in.

    Raises:
        ValueError: naming ``what``.
    """
    if instant.tzinfo is None:
        raise ValueError(f"{what} must carry a time zone, found the naive {instant.isoformat()}")


def check_lag(lag: timedelta, *, test: bool) -> None:
    """Refuse a lag that leaves no room for the safety margin.

    A lag of no more than the margin makes every event read the watermark in a transaction: the triggers and
    each run then wait for each other's locks. Beside an instance that still has a longer lag, it also lets a
    run seal a watermark past entries that the instance takes for fresh, and they count twice.

    Raises:
        SettingError: ``lag`` is that short, and this is no ``test``.
    """
    if lag <= SAFETY_MARGIN and not test:
        raise SettingError(
            "LIBRA_LAG_SECONDS",
            f"{lag.total_seconds():.0f}",
            f"more than {SAFETY_MARGIN.total_seconds():.0f}, the margin for clocks and commits in flight; "
            "a shorter lag is for tests, with FIRESTORE_EMULATOR_HOST set",
        )


def bucket_of(commit_time: datetime, length: timedelta) -> Bucket:
    """The bucket that an entry committed at ``commit_time`` is filed under: rounded **up**."""
    check_aware(commit_time, "a commit time")
    return Bucket(EPOCH - (EPOCH - commit_time) // length * length, length)


def parse_label(label: str) -> tuple[Bucket, str]:
    """The inverse of `Bucket.label`: the bucket and the measure.

    Raises:
        ValueError: ``label`` is not one.
    """
    match = _LABEL.fullmatch(label)
    if not match:
        raise ValueError(f"{label!r} is not a bucket's label such as t20250904T191000Z_600")
    *end, length = map(int, match.groups()[:-1])
    return Bucket(datetime(*end, tzinfo=UTC), timedelta(seconds=length)), match[8] or "count"  # type: ignore[arg-type,misc]  # six numbers


def open_amounts(recent: object, watermark: datetime | None, until: datetime) -> dict[str, int]:
    """What the open buckets of a total hold, by measure: what was added after a watermark.

    What Libra never writes into ``recent`` counts for nothing here. A run makes a note of it.

    Args:
        recent: what the total's field of that name holds.
        watermark: a bucket that ends at or before it is closed; None: every bucket is open.
        until: a bucket that ends after this holds no commit.
    """
    filed: dict[str, int] = {}
    for label, amount in recent.items() if isinstance(recent, Mapping) else ():
        try:
            bucket, measure = parse_label(label)
        except (ValueError, OverflowError):
            continue
        if type(amount) is int and (watermark or _FIRST) < bucket.end <= until:
            filed[measure] = filed.get(measure, 0) + amount
    return filed


def compacted(recent: object, watermark: datetime | None, until: datetime) -> dict[str, object] | None:
    """What ``recent`` holds, with the buckets of a measure between two instants as one, for each week.

    Open buckets grow by one for each bucket's length without a run, and whoever listens to a total receives
    them all with each change. A merged bucket says what it covers, so that a watermark that lies inside is
    noticed like any other (`Bucket.straddles`).

    Args:
        recent: what the total's field of that name holds.
        watermark: the stored one: a bucket that begins before it stays as it is. None: there is none.
        until: a bucket that ends after this stays as it is.

    Returns:
        None where fewer than `WORTH` labels would go, or something is there that Libra never writes.
    """
    if not isinstance(recent, Mapping):
        return None
    kept: dict[str, object] = {}
    merged: dict[tuple[str, Bucket], list[tuple[Bucket, int]]] = {}
    for label, amount in recent.items():
        try:
            bucket, measure = parse_label(label)
            begin = bucket.end - bucket.length
        except (ValueError, OverflowError):
            return None
        if type(amount) is not int:
            return None
        if bucket.end <= until and (watermark or _FIRST) <= begin:
            merged.setdefault((measure, bucket_of(bucket.end, WEEK)), []).append((bucket, amount))
        else:
            kept[label] = amount
    for (measure, _), buckets in merged.items():
        begin = min(bucket.end - bucket.length for bucket, _ in buckets)
        end = max(bucket.end for bucket, _ in buckets)
        kept[Bucket(end, end - begin).label(measure)] = sum(amount for _, amount in buckets)
    return kept if len(recent) - len(kept) >= WORTH else None


def choose_watermark(now: datetime, lag: timedelta, length: timedelta) -> datetime:
    """The watermark of a recompute starting at ``now``: ``now - lag`` rounded **down** to a bucket's end."""
    check_aware(now, "now")
    return EPOCH + (now.astimezone(UTC) - lag - EPOCH) // length * length


def stored_watermark(state: Mapping[str, object] | None) -> datetime | None:
    """The watermark that the fields of a source's state document hold; None before the first recompute.

    Raises:
        StateError: ``timestamp`` is something else. Taking that for "no watermark" could count twice.
    """
    found = (state or {}).get("timestamp")
    if found is None or isinstance(found, datetime):
        return found
    raise StateError(
        f"the watermark's document holds timestamp={found!r}: expected a Timestamp; "
        "put back the watermark of the last completed run (see the runs collection)"
    )


def next_watermark(
    now: datetime, stored: datetime | None, lag: timedelta, length: timedelta
) -> tuple[datetime, str | None]:
    """The watermark that a recompute starting at ``now`` seals, and a note if the stored one is set back.

    A watermark does not move back: a run may have corrected at the stored one. So where the stored one is
    the later, it is used again once it is ``lag`` old (the bucket length was changed). Younger, it would
    still be passed by fresh commits, and the run has to wait. Only one that lies in the future can be set
    back: no run has corrected at it, for there is no snapshot of the future. What the ledger skipped because
    of it is counted by this run or the next.

    Args:
        now: by Firestore's clock.
        stored: the watermark there is; None before the first run.
        lag: how far a watermark trails the clock, at least.
        length: of a bucket.

    Raises:
        WatermarkAhead: saying when to run again.
    """
    chosen = choose_watermark(now, lag, length)
    if stored is None or stored <= chosen:
        return chosen, None
    if stored > now:
        return (
            chosen,
            f"the watermark {stored.isoformat()} lay in the future: set back to {chosen.isoformat()}",
        )
    if stored <= now - lag:
        return stored, None
    raise WatermarkAhead(
        f"the watermark {stored.isoformat()} is later than LIBRA_LAG_SECONDS={lag.total_seconds():.0f} "
        "allows now: it was sealed under a shorter lag, or written by hand. Nothing was changed; run again "
        f"after {(stored + lag).isoformat()}"
    )


def unsealed_watermark(
    now: datetime, stored: datetime | None, lag: timedelta, length: timedelta
) -> tuple[datetime, str | None]:
    """Where to compare without sealing: at the stored watermark, if that is later and has a snapshot.

    The arguments, and what is returned, are those of `next_watermark`.
    """
    chosen = choose_watermark(now, lag, length)
    if stored is None or stored <= chosen:
        return chosen, None
    if stored <= now:
        return stored, None
    return chosen, f"the watermark {stored.isoformat()} lies in the future: the next run sets it back"


def is_fresh(commit_time: datetime, now: datetime, lag: timedelta, margin: timedelta = SAFETY_MARGIN) -> bool:
    """True if no watermark can have passed ``commit_time`` before a commit sent at ``now`` lands.

    Holds as long as the clocks of the trigger and the recompute differ, together with the time that
    a commit is in flight, by no more than ``margin``. A lag no longer than the margin leaves no entry fresh.
    """
    return now - commit_time < lag - margin

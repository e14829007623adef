"""What a stored total says, how far that is from the truth, and what puts it right. Pure.

A total's ``count`` is everything ever added to it; ``recent`` says which of that was added for entries of
which commit-time bucket. So ``applied = count - sum of recent[label > W]`` is what was added for entries
committed at or before the watermark W, all corrections included. Once W is sealed no increment for such an
entry can commit any more, while one for a later entry moves ``count`` and an open bucket alike: ``applied``
stands still while the triggers keep running, and ``drift = exact - applied`` can be added whenever.

The same holds for every measure. What is written is an increment and the removal of closed buckets,
neither of which minds what triggers write in between. Only a total whose numbers are no whole numbers
has to be set (`Correction.rebuild`), on the condition that it is still as it was read.

Entries that were archived stay counted: ``archived`` says how many of a total's entries no longer live. So
what is true at W is what lives in the snapshot at W plus what was archived up to W (`with_archived`).
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from shared.aggregation import Aggregation, Extreme, Part, decode_id, type_name
from shared.errors import BucketsStraddle
from shared.watermark import EPOCH, Bucket, parse_label

FAR = timedelta(days=1)
"""A bucket that ends so long after its total was last written holds no commit: both times are Firestore's."""

NO_BUCKETS = EPOCH
"""What ``now`` is to `compare` for the totals of a self-written source: any bucket is one that cannot be."""


@dataclass(frozen=True, slots=True)
class Correction:
    """What is wrong with one total at a watermark. Falsy if nothing is, and nothing is to be tidied up."""

    aggregation: Aggregation
    path: str
    key: Part | dict[str, Part] | None
    """What ``key`` is to be set to; None to leave it."""
    applied: Mapping[str, int]
    """What the total says of the entries up to the watermark, by column."""
    exact: Mapping[str, int]
    """The true value for these entries, by column."""
    watermark: datetime
    """The watermark at which ``applied`` and ``exact`` are compared."""
    closed: tuple[str, ...] = ()
    """Labels to remove: closed buckets, and what is no bucket."""
    open: Mapping[str, int] | None = None
    """If the total is to be rebuilt: all that ``recent`` may keep. None: increments will do."""
    notes: tuple[str, ...] = ()
    """What was found that Libra never writes."""
    extremes: Mapping[str, int] = field(default_factory=dict)
    """The true least and greatest values of the entries up to the watermark, by name."""
    stale: tuple[str, ...] = ()
    """The extremes that the total does not say. That is no drift: only a run keeps them."""
    stored: Mapping[str, object] = field(default_factory=dict)
    """If the total is to be rebuilt: its fields, as they were compared."""

    @property
    def drift(self) -> dict[str, int]:
        """What to add, by column; columns that are right are not in it."""
        return {
            column: exact - self.applied[column]
            for column, exact in self.exact.items()
            if exact != self.applied[column]
        }

    @property
    def rebuild(self) -> bool:
        """Whether increments cannot put it right."""
        return self.open is not None

    def __bool__(self) -> bool:
        return bool(self.drift or self.closed or self.rebuild or self.stale or self.key is not None)

    @property
    def size(self) -> int:
        """Bytes that its write may take, generously."""
        names = (*self.closed, *self.stale)
        return 512 + 2 * len(self.path) + 4 * len(str(self.key)) + sum(2 * len(each) + 16 for each in names)

    def extremes_to_set(self) -> dict[str, object]:
        """The fields that say the extremes that are stale, and at which watermark they are exact."""
        return {
            name: value
            for each in self.aggregation.extremes
            if each.name in self.stale and each.name in self.extremes
            for name, value in ((each.name, self.extremes[each.name]), (each.at, self.watermark))
        }

    def extremes_to_remove(self) -> list[str]:
        """The fields of the extremes that no entry has any more."""
        return [
            name
            for each in self.aggregation.extremes
            if each.name in self.stale and each.name not in self.extremes
            for name in (each.name, each.at)
        ]

    def rebuilt(self) -> dict[str, object]:
        """The fields to set if it is to be rebuilt."""
        kept = self.open or {}
        fields: dict[str, object] = {
            measure: exact + sum(amount for label, amount in kept.items() if parse_label(label)[1] == measure)
            for measure, exact in self.exact.items()
        }
        return fields | {"recent": dict(kept)}


def compare(
    aggregation: Aggregation,
    document: str,
    stored: Mapping[str, object],
    exact: Mapping[str, int],
    *,
    key: Part | dict[str, Part] | None,
    watermark: datetime,
    now: datetime,
    extremes: Mapping[str, int] | None = None,
) -> Correction:
    """Compare a total with what was counted at ``watermark``.

    Args:
        aggregation: whose total it is.
        document: its path.
        stored: its fields; none if it is not there.
        exact: what was counted, by column; a column that is not in it is 0.
        key: what its ``key`` should hold; None if no entry has this key.
        watermark: at which ``exact`` was counted.
        now: when the total was last written, to tell buckets that cannot be.
        extremes: the least and greatest values that were found, by name; None if there are none.

    Raises:
        BucketsStraddle: the watermark lies inside one of its buckets.
    """
    reading = _Reading(document, stored, watermark, now + FAR)
    applied = {column: reading.applied(column) for column in aggregation.columns}
    if key is None:
        key = _own_key(aggregation, document, reading)
    return Correction(
        aggregation,
        document,
        None if key is None or _same(stored.get("key"), key) else key,
        applied,
        {column: exact.get(column, 0) for column in aggregation.columns},
        watermark,
        tuple(reading.closed),
        reading.open if reading.broken else None,
        tuple(reading.notes),
        extremes or {},
        tuple(each.name for each in aggregation.extremes if not _says(stored, each, extremes or {})),
        stored if reading.broken else {},
    )


def _says(stored: Mapping[str, object], extreme: Extreme, exact: Mapping[str, int]) -> bool:
    """Whether a total says what is true of an extreme, and when that was found."""
    if extreme.name not in exact:
        return extreme.name not in stored and extreme.at not in stored
    return _same(stored.get(extreme.name), exact[extreme.name]) and isinstance(
        stored.get(extreme.at), datetime
    )


def with_archived(
    document: str,
    stored: Mapping[str, object],
    living: Mapping[str, int],
    later: Mapping[str, int],
) -> tuple[dict[str, int], tuple[str, ...]]:
    """What is true of a total at a watermark: what lives in that snapshot, and what was archived up to it.

    Args:
        document: the total's path.
        stored: its fields; none if it is not there.
        living: what was counted in the snapshot, by measure.
        later: what pages that were archived after the watermark have added to ``archived`` as it is stored.

    Returns:
        The true values by measure, and notes about what Libra never writes into ``archived``.
    """
    archived, notes = stored.get("archived", {}), []
    if not isinstance(archived, Mapping):
        archived, notes = {}, [_never(document, "archived", archived)]
    exact = dict(living)
    for measure, value in archived.items():
        if not _is_whole(value):
            notes.append(_never(document, f"archived.{measure}", value))
        exact[measure] = exact.get(measure, 0) + whole(value) - later.get(measure, 0)
    return exact, tuple(notes)


def _own_key(aggregation: Aggregation, document: str, reading: "_Reading") -> Part | dict[str, Part] | None:
    """The key that a total's id encodes; None if the id is hashed, or the document is not a total."""
    try:
        return aggregation.stored_key(decode_id(document.rpartition("/")[2], aggregation.parts))
    except ValueError:
        if (
            aggregation.parse_stored_key(reading.stored.get("key")) is None
            and reading.stored.get("count") != 0
        ):
            reading.notes.append(f"{document}: its id is no key of {aggregation.name}")
        return None


def _same(stored: object, key: object) -> bool:
    """Equal in value and type: True is no 1, in a composite key neither."""
    if isinstance(stored, Mapping) and isinstance(key, Mapping):
        return stored.keys() == key.keys() and all(_same(stored[name], key[name]) for name in key)
    return type(stored) is type(key) and stored == key


class _Reading:
    """A stored total, taken apart. What Libra never writes is noted, and never stops a run."""

    def __init__(
        self, document: str, stored: Mapping[str, object], watermark: datetime, far: datetime
    ) -> None:
        self.document = document
        self.stored = stored
        self.open: dict[str, int] = {}
        self.closed: list[str] = []
        self.notes: list[str] = []
        self.broken = False
        self._sums: dict[str, int] = {}
        recent = stored.get("recent", {})
        if isinstance(recent, Mapping):
            for label, amount in recent.items():
                self._file(label, amount, watermark, far)
        else:
            self._note("recent", recent)
            self.broken = True

    def applied(self, measure: str) -> int:
        """What was added for entries up to the watermark."""
        return self._number(measure, self.stored.get(measure, 0)) - self._sums.get(measure, 0)

    def _file(self, label: str, amount: object, watermark: datetime, far: datetime) -> None:
        bucket = _bucket(label)
        if bucket is None or bucket[0].end > far:
            self._note(f"recent.{label}", amount)
            self.closed.append(label)
        elif bucket[0].end <= watermark:
            self.closed.append(label)
        elif bucket[0].straddles(watermark):
            raise BucketsStraddle(
                f"{self.document} holds the bucket {label}, which begins before the watermark "
                f"{watermark.isoformat()} and ends after it: LIBRA_BUCKET_SECONDS or "
                "LIBRA_LAG_SECONDS was changed, or a compaction came in between. Nothing was "
                f"corrected; run again when LIBRA_LAG_SECONDS have passed since {bucket[0].end.isoformat()}"
            )
        else:
            number = self._number(f"recent.{label}", amount)
            if not isinstance(amount, float):
                self.open[label] = number
            self._sums[bucket[1]] = self._sums.get(bucket[1], 0) + number

    def _number(self, field: str, value: object) -> int:
        """What an increment would add to: 0 for what is no number."""
        if not _is_whole(value):
            self._note(field, value)
            self.broken |= isinstance(value, float)  # an increment would leave it a floating-point number
        return whole(value)

    def _note(self, field: str, value: object) -> None:
        self.notes.append(_never(self.document, field, value))


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def whole(value: object) -> int:
    """What an increment would add to, rounded: 0 for what is no number."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return 0
    return round(value)


def _never(document: str, field: str, value: object) -> str:
    return f"{document}: {field} holds {type_name(value)}, which Libra never writes there"


def _bucket(label: str) -> tuple[Bucket, str] | None:
    try:
        return parse_label(label)
    except (ValueError, OverflowError):
        return None

"""What corrects a total, and how many corrections ride in one commit. Pure."""

import math
from collections.abc import Iterable, Iterator
from dataclasses import replace

from shared.aggregation import Home
from shared.drift import NO_BUCKETS, Correction, compare
from shared.recompute.lease import fields_of
from shared.store import Document, FieldPath, Merge

BATCH_DOCUMENTS = 200
BATCH_BYTES = 4 * 1024 * 1024
"""What one correcting commit may hold; Firestore's bound is 10 MiB."""


def correcting(correction: Correction) -> Merge:
    """The write that puts a total right: increments, or all of it where increments cannot."""
    fields: dict[FieldPath, object] = {} if correction.key is None else {("key",): correction.key}
    fields |= {(name,): value for name, value in correction.extremes_to_set().items()}
    removed: list[FieldPath] = [(name,) for name in correction.extremes_to_remove()]
    if correction.rebuild:
        fields |= {(name,): value for name, value in correction.rebuilt().items()}
        return Merge(correction.path, fields, deletes=removed, server_times=(("updated_at",),))
    return Merge(
        correction.path,
        fields,
        {(measure,): amount for measure, amount in correction.drift.items()},
        [*removed, *(("recent", label) for label in correction.closed)],
        (("updated_at",),) if correction.drift or correction.stale else (),
    )


def rebuilding(found: Document | None, stale: Correction, home: Home) -> Merge:
    """Set a total that increments cannot put right, if it is still as it was ``found``.

    What was added after the watermark stands in the buckets of the total. That of a self-written source has
    none: the difference between what is found now and what was compared says it.
    """
    fields, exact = fields_of(found), stale.exact
    if home.self_written:
        exact = {
            column: value + _added(stale.stored.get(column), fields.get(column))
            for column, value in exact.items()
        }
    again = compare(
        stale.aggregation,
        stale.path,
        fields,
        exact,
        key=stale.key,
        watermark=stale.watermark,
        now=found.update_time if found and not home.self_written else NO_BUCKETS,
        extremes=stale.extremes,
    )
    return replace(correcting(again), if_updated=found.update_time if found else None)


def _added(before: object, after: object) -> int:
    """What increments added to a number; nothing where that cannot be told: the next run finds it."""
    if isinstance(after, bool) or not isinstance(after, int | float):
        return 0
    if isinstance(before, bool) or not isinstance(before, int | float):
        before = 0
    added = after - before
    return round(added) if math.isfinite(added) else 0


def batches(corrections: Iterable[Correction]) -> Iterator[list[Correction]]:
    """Corrections in the order given, as many together as one commit may hold."""
    batch: list[Correction] = []
    size = 0
    for each in corrections:
        if batch and (len(batch) >= BATCH_DOCUMENTS or size + each.size > BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(each)
        size += each.size
    if batch:
        yield batch

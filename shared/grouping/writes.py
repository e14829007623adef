"""The writes that the ledger and the intake make alike."""

import hashlib
from collections.abc import Mapping, Sequence

from shared.aggregation import Cell, Home, Source
from shared.store import FieldPath, Merge


def total(source: Source, home: Home, cell: Cell, increments: Mapping[FieldPath, int]) -> Merge:
    """Add to a total, which says its raw key and when it changed."""
    key = source.aggregation(cell.aggregation).stored_key(cell.key)
    return Merge(home.total(cell), {("key",): key}, increments, server_times=(("updated_at",),))


def refused(home: Home, event_id: str, reasons: Sequence[Mapping[str, str]], **more: object) -> Merge:
    """The record of an event that can never be counted, under its id: another delivery changes nothing."""
    fields: dict[FieldPath, object] = {("event",): event_id, ("reasons",): list(reasons)}
    return Merge(
        home.rejection(f"event-{hashlib.sha256(event_id.encode()).hexdigest()[:32]}"),
        fields=fields | {(name,): value for name, value in more.items()},
        server_times=(("rejected_at",),),
    )

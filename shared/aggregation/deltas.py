"""From entries to deltas: what one entry adds, and the sum of what many add. Pure."""

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

from shared.aggregation.declarations import Aggregation, Source
from shared.aggregation.entries import Entry, Rejection, Unusable
from shared.aggregation.keys import Key


class Cell(NamedTuple):
    """One total: an aggregation, by its name, and a key."""

    aggregation: str
    key: Key


Deltas: TypeAlias = Mapping[Cell, Mapping[str, int]]
"""What to add, by cell and column. ``{}`` is the neutral element of `add`."""

Totals: TypeAlias = dict[Cell, dict[str, int]]
"""A sum of deltas under way."""


@dataclass(frozen=True, slots=True)
class Contribution:
    """What one change adds, and what of it could not be counted."""

    deltas: Deltas
    rejections: tuple[Rejection, ...] = ()
    resolved: bool = False
    """Whether something of the version before could not be counted: its record is out of date."""

    def __bool__(self) -> bool:
        return bool(self.deltas or self.rejections or self.resolved)


def contribution(source: Source, fields: Mapping[str, object]) -> Contribution:
    """What an entry with these fields adds to the source's totals. Never raises for any fields.

    An aggregation counts the entry if it can derive its key; a measure that cannot be read is
    rejected by itself and the others still count.
    """
    deltas: dict[Cell, dict[str, int]] = {}
    rejections: list[Rejection] = []
    for aggregation in source.aggregations:
        if aggregation.where and not aggregation.where.admits(fields):
            continue
        try:
            cell = Cell(aggregation.name, aggregation.key_of(fields))
        except Unusable as unusable:
            rejections.append(Rejection(aggregation.name, unusable.field, unusable.reason))
            continue
        deltas[cell] = _measure(aggregation, fields, rejections)
    return Contribution(deltas, tuple(rejections))


def change(source: Source, entry: Entry) -> Contribution:
    """What a change adds: what the new version adds, less what the old one added. Never raises.

    The changes of a document telescope: in whatever order they are summed up, what comes out is what its last
    version adds. Cells and measures that a change leaves as they were are not in it.
    """
    if entry.old is None:
        return contribution(source, entry.fields)
    after = Contribution({}) if entry.gone else contribution(source, entry.fields)
    before = contribution(source, entry.old.fields)
    totals = add([after.deltas])
    accumulate(totals, before.deltas, -1)
    changed = {
        cell: {name: amount for name, amount in measures.items() if amount}
        for cell, measures in totals.items()
        if any(measures.values())
    }
    return Contribution(changed, after.rejections, bool(before.rejections))


def _measure(
    aggregation: Aggregation, fields: Mapping[str, object], rejections: list[Rejection]
) -> dict[str, int]:
    added: dict[str, int] = {}
    for measure in aggregation.measures:
        try:
            added |= measure.of(fields)
        except Unusable as unusable:
            rejections.append(Rejection(aggregation.name, unusable.field, unusable.reason))
    return added


def accumulate(into: Totals, deltas: Deltas, times: int = 1) -> None:
    """Add ``deltas``, ``times`` over, to ``into``."""
    for cell, measures in deltas.items():
        added = into.setdefault(cell, {})
        for name, amount in measures.items():
            added[name] = added.get(name, 0) + times * amount


def add(deltas: Iterable[Deltas]) -> Totals:
    """The sum of many deltas. Associative, commutative, ``{}`` neutral."""
    total: Totals = {}
    for each in deltas:
        accumulate(total, each)
    return total


Extremes: TypeAlias = dict[Cell, dict[str, int]]
"""The least and greatest values of many entries, by cell and `Extreme`."""


def extremes(source: Source, fields: Mapping[str, object]) -> Extremes:
    """The values that an entry brings to the extremes of the source's totals. Never raises for any fields."""
    found: Extremes = {}
    for aggregation in source.aggregations:
        if not aggregation.extremes or (aggregation.where and not aggregation.where.admits(fields)):
            continue
        with suppress(Unusable):
            cell = Cell(aggregation.name, aggregation.key_of(fields))
            for each in aggregation.extremes:
                with suppress(Unusable):
                    found.setdefault(cell, {})[each.name] = each.value(fields)
    return found


def widen(source: Source, into: Extremes, found: Mapping[Cell, Mapping[str, int]]) -> None:
    """Take ``found`` into the extremes ``into``. In any order, and as often as one likes."""
    for cell, values in found.items():
        kept = into.setdefault(cell, {})
        for each in source.aggregation(cell.aggregation).extremes:
            if each.name in values:
                value = values[each.name]
                kept[each.name] = each.of_two(kept.get(each.name, value), value)


def fold(source: Source, entries: Iterable[Mapping[str, object]]) -> Totals:
    """The totals of a whole collection, from the fields of its entries: what every strategy must give."""
    return add(contribution(source, fields).deltas for fields in entries)

"""From entries to deltas: what one entry adds, and the sum of what many add. Pure."""

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

from shared.aggregation.declarations import Aggregation, Source
from shared.aggregation.entries import Rejection, Unusable
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
    """What one entry adds, and what of it could not be counted."""

    deltas: Deltas
    rejections: tuple[Rejection, ...] = ()


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

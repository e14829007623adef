"""Keys whose number is bounded: the first values have totals of their own, all others share one. Pure.

What an entry is counted under may depend on nothing but the value, or a total could not be proven. So the
values that have a total of their own are written down (`shared.registry`). A value that is admitted stays
admitted, and a list that is full stays full. `contribution` knows no list: it names the raw value, and the
ledger and the counters move what it says to where it belongs (`moved`).
"""

import hashlib
from collections.abc import Callable, Mapping, Set
from typing import TypeAlias

from shared.aggregation.declarations import Source
from shared.aggregation.deltas import Cell, Deltas, Totals, accumulate
from shared.aggregation.ids import document_id
from shared.aggregation.keys import Key, Part
from shared.aggregation.lists import Bounded

Admitted: TypeAlias = Mapping[str, Set[str]]
"""What is written down for an aggregation: the names of values (`name_of`), by the name of the part."""

LONGEST_NAME = 100
"""Bytes of a value's name. `MAX_VALUES` of them fit a document of 1 MiB twice."""


def name_of(value: Part) -> str:
    """What a value is written down as: its document id, or a digest of one that is long."""
    encoded = document_id(value)
    raw = encoded.encode()
    return encoded if len(raw) <= LONGEST_NAME else "%sha256-" + hashlib.sha256(raw).hexdigest()


class Bounds:
    """The bounded parts of a source's keys. Falsy if there is none."""

    def __init__(self, source: Source) -> None:
        self.parts = {
            each.name: tuple(part if isinstance(part, Bounded) else None for part in each.parts)
            for each in source.aggregations
            if any(isinstance(part, Bounded) for part in each.parts)
        }

    def __bool__(self) -> bool:
        return bool(self.parts)

    def undecided(self, cell: Cell, admitted: Admitted) -> dict[str, str]:
        """The values of a cell that are not admitted while there is room, by the name of the part."""
        parts = self.parts.get(cell.aggregation, ())
        return {
            part.name: name
            for part, value in zip(parts, _values(cell.key), strict=False)
            if part and not part.full(admitted) and value != part.other
            if (name := name_of(value)) not in admitted.get(part.name, ())
        }

    def place(self, cell: Cell, admitted: Admitted) -> Cell:
        """Where what is counted under a raw key belongs."""
        parts = self.parts.get(cell.aggregation)
        if parts is None:
            return cell
        placed = tuple(
            value if part is None or name_of(value) in admitted.get(part.name, ()) else part.other
            for part, value in zip(parts, _values(cell.key), strict=True)
        )
        return Cell(cell.aggregation, placed if isinstance(cell.key, tuple) else placed[0])


def moved(deltas: Deltas, place: Callable[[Cell], Cell]) -> Totals:
    """The deltas where they belong: those of cells that become one add up; what comes to 0 is left out."""
    total: Totals = {}
    for cell, amounts in deltas.items():
        accumulate(total, {place(cell): amounts})
    kept = {
        cell: {name: amount for name, amount in amounts.items() if amount} for cell, amounts in total.items()
    }
    return {cell: amounts for cell, amounts in kept.items() if amounts}


def _values(key: Key) -> tuple[Part, ...]:
    return key if isinstance(key, tuple) else (key,)

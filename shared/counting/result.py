"""The result of a count that another process made: lines of JSON, named by what was counted. Pure.

The first line says what was counted: the source, its collection, the read time and the digest of the
declarations. A line for each cell follows. The last line says how many entries and cells there were, so a
result that was cut off is none. A result of anything but what was asked for is refused: who compares totals
with the entries of another moment, or of other declarations, would correct what is right.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Any, TypeAlias

from shared.aggregation import Cell, Extremes, Home, Key, Source, Totals, accumulate, widen
from shared.aggregation.digest import digest
from shared.counting.snapshot import Counted
from shared.errors import PipelineError

FORMAT = 1
"""The first line says it. A reader refuses any other."""

CHUNK = 20_000
"""Cells that are settled at once, a few hundred bytes each: where a bounded key has met millions of values,
most of them end up in one cell."""

Settle: TypeAlias = Callable[[Iterable[Cell]], Callable[[Cell], Cell]]


@dataclass(frozen=True, slots=True)
class Asked:
    """What is counted."""

    source: str
    collection: str
    read_time: datetime
    declarations: str
    """The digest of the source's declarations; see `declarations_of`."""

    @classmethod
    def of(cls, source: Source, home: Home, read_time: datetime) -> "Asked":
        """What a count of this source at this time is asked for."""
        return cls(source.name, home.entries, read_time, declarations_of(source))

    def head(self) -> str:
        """The first line of its result."""
        said = {
            "libra_count": FORMAT,
            "source": self.source,
            "collection": self.collection,
            "read_time": self.read_time.isoformat(),
            "declarations": self.declarations,
        }
        return json.dumps(said)


def declarations_of(source: Source) -> str:
    """The digest of everything that decides what a source's entries add up to.

    Raises:
        DeclarationError: a declaration holds what has no digest.
    """
    said = json.dumps([source.name, *map(digest, source.aggregations)])
    return hashlib.sha256(said.encode()).hexdigest()[:32]


def line_of(cell: Cell, measures: Mapping[str, int], extremes: Mapping[str, int]) -> str:
    """The line of a cell."""
    return json.dumps([cell.aggregation, cell.key, measures, extremes])


@dataclass(frozen=True, slots=True)
class Result:
    """What a result holds."""

    counted: Counted
    reads: int
    how: str
    """How it was counted, in words."""


def read(
    lines: Iterable[str],
    asked: Asked,
    source: Source,
    settle: Settle,
    beat: Callable[[], None] = lambda: None,
) -> Result:
    """The result that ``lines`` are, if they are the one that was asked for.

    ``settle`` decides where raw cells belong: see `shared.registry`. ``beat`` is called for each `CHUNK`: ten
    million cells take longer than a lease.

    Raises:
        PipelineError: it is of something else, is incomplete, or is no result.
    """
    parsed = map(_parsed, lines)
    _check(next(parsed, None), asked)
    totals: Totals = {}
    extremes: Extremes = {}
    cells = 0
    last: object = None
    while chunk := list(islice(parsed, CHUNK)):
        if isinstance(last := chunk[-1], dict):
            chunk.pop()
        beat()
        found = list(map(_cell, chunk))
        cells += len(found)
        place = settle([cell for cell, _, _ in found])
        for cell, measures, values in found:
            accumulate(totals, {place(cell): measures})
            if values:
                widen(source, extremes, {place(cell): values})
    match last:
        case {"entries": int(entries), "reads": int(reads), "cells": int(said), "how": str(how)}:
            if said == cells:
                return Result(Counted(totals, entries, extremes), reads, how)
    raise PipelineError(
        f"the result is incomplete: it holds {cells} cells, and its last line does not say so"
    )


def _check(first: object, asked: Asked) -> None:
    wanted = json.loads(asked.head())
    if not isinstance(first, dict):
        raise PipelineError(f"the first line of the result does not say what was counted: expected {wanted}")
    for name, value in wanted.items():
        if first.get(name) != value:
            raise PipelineError(
                f"the result is of {name} {first.get(name)!r}, and {value!r} was asked for. Nothing was "
                "corrected. If the declarations differ: the pipeline has other code or other LIBRA_ variables"
            )


def _parsed(line: str) -> Any:
    try:
        return json.loads(line)
    except ValueError:
        raise PipelineError("a line of the result is no JSON") from None  # what it holds is of an entry


def _cell(line: object) -> tuple[Cell, dict[str, int], dict[str, int]]:
    match line:
        case [str(aggregation), str() | int() | list() as key, dict(measures), dict(extremes)]:
            stored: Key = tuple(key) if isinstance(key, list) else key
            return Cell(aggregation, stored), measures, extremes
    raise PipelineError("a line of the result is no cell")


def joined(
    parts: Iterable[Iterable[str]], asked: Asked, figures: Mapping[str, int], how: str
) -> Iterator[str]:
    """A whole result, from the lines of its parts, the number of entries and reads, and how it was done."""
    cells = 0
    yield asked.head()
    for part in parts:
        for line in part:
            cells += 1
            yield line.rstrip("\n")
    yield json.dumps({**figures, "cells": cells, "how": how})

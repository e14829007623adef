"""What a snapshot of totals says and what Firestore says, key by key."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeAlias

from shared.errors import ExportError
from shared.exports.manifest import Held, Manifest
from shared.exports.snapshot import Snapshot, Tally
from shared.exports.tables import Row, Table
from shared.exports.target import Target

_Numbers: TypeAlias = tuple[str, Mapping[str, int]]

KEPT = 1_000
"""So many differences are said; the rest is counted."""


@dataclass(frozen=True, slots=True)
class Difference:
    """One number that the two do not agree on."""

    total: str
    """The aggregation and the id of the total's document."""
    column: str
    exported: int | None
    """None: the export has no such total, or no such column."""
    firestore: int | None
    """None: Firestore has none."""


@dataclass(slots=True)
class Comparison:
    """What was found. The two agree exactly if ``faults`` is 0."""

    manifest: Manifest
    read_at: datetime
    """The instant at which Firestore was read."""
    watermark: datetime
    """Up to which Firestore's totals were proven then."""
    totals: int = 0
    """Keys that were compared."""
    faults: int = 0
    differences: list[Difference] = field(default_factory=list)
    """The first `KEPT`."""
    missing: list[str] = field(default_factory=list)
    """Aggregations that are declared and that the export does not have."""
    undeclared: list[str] = field(default_factory=list)
    """Tables of the export that no aggregation is declared for any more: not compared."""
    damaged: list[str] = field(default_factory=list)
    """Tables whose rows are not what the manifest says."""

    @property
    def certain(self) -> bool:
        """Whether both were read as of one instant. Else a difference may be what came in between."""
        return self.read_at == self.manifest.read_at

    def found(self, difference: Difference) -> None:
        """Take in a difference."""
        self.faults += 1
        if len(self.differences) < KEPT:
            self.differences.append(difference)


def compare(target: Target, manifest: Manifest, snapshot: Snapshot) -> Comparison:
    """Compare the last snapshot of a destination with Firestore's totals as of the instant of ``snapshot``.

    It reads every total once on each side, and keeps a page of each in memory. Numbers are compared: a key
    is what its id says.

    Raises:
        ExportError: the destination or Firestore's snapshot cannot be read, or the export was replaced.
        StoreError: Firestore cannot be read.
    """
    result = Comparison(manifest, snapshot.read_at, snapshot.watermark)
    tables = {each.table.name: each for each in manifest.tables}
    for table in snapshot.tables:
        held = tables.pop(table.name, None)
        if held is None:
            result.missing.append(table.name)
            result.faults += 1
        else:
            _compare(target, held, snapshot, table, result)
    result.undeclared += sorted(tables)
    if target.manifest(manifest.source, manifest.what) != manifest:
        raise ExportError(
            f"{target.place}: another export has replaced {manifest.snapshot} meanwhile: compare again"
        )
    return result


def _compare(target: Target, held: Held, snapshot: Snapshot, table: Table, result: Comparison) -> None:
    kept = Tally(sums=dict.fromkeys(held.sums, 0))
    exported = _counted(held, target.rows(result.manifest, held), kept)
    stored = (_numbers(table, row) for page in snapshot.pages(table, Tally()) for row in page)
    for total_id, ours, theirs in _paired(exported, stored):
        result.totals += 1
        for column in dict.fromkeys((*ours, *theirs)):
            if ours.get(column) != theirs.get(column):
                name = f"{table.name}/{total_id}"
                result.found(Difference(name, column, ours.get(column), theirs.get(column)))
    if (kept.rows, kept.sums) != (held.rows, held.sums):
        result.damaged.append(
            f"{table.name}: it holds {kept.rows:,} rows and the sums {kept.sums}, the manifest says "
            f"{held.rows:,} and {dict(held.sums)}"
        )
        result.faults += 1


def _counted(held: Held, rows: Iterator[Row], kept: Tally) -> Iterator[_Numbers]:
    for row in rows:
        kept.rows += 1
        total_id, numbers = _numbers(held.table, row)
        for name in kept.sums:
            kept.sums[name] += numbers.get(name) or 0
        yield total_id, numbers


def _numbers(table: Table, row: Row) -> _Numbers:
    """The id of a row, and its numbers. An integer that is a part of the key is one too: it does no harm."""
    cells = zip(table.columns, row, strict=True)
    return str(row[0]), {
        column.name: value for column, value in cells if column.kind == "integer" and isinstance(value, int)
    }


def _paired(
    exported: Iterator[_Numbers], stored: Iterator[_Numbers]
) -> Iterator[tuple[str, Mapping[str, int], Mapping[str, int]]]:
    """The rows of both, by id, which ascends by its bytes in UTF-8; without numbers where one has none."""
    ours, theirs = next(exported, None), next(stored, None)
    while ours or theirs:
        first = min((each[0] for each in (ours, theirs) if each), key=str.encode)
        here = ours if ours and ours[0] == first else None
        there = theirs if theirs and theirs[0] == first else None
        yield first, here[1] if here else {}, there[1] if there else {}
        ours = next(exported, None) if here else ours
        theirs = next(stored, None) if there else theirs

"""What a snapshot holds and what it is of: the manifest, which is written last."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any, get_args

from shared.errors import ExportError
from shared.exports.tables import Column, Table, What, iso

FORMAT = "libra export 1"


@dataclass(frozen=True, slots=True)
class Held:
    """What a snapshot holds of a table."""

    table: Table
    rows: int
    sums: Mapping[str, int]
    """Over all rows, by column."""
    exact_through: datetime | None
    """The watermark that the proven columns are exact at; None: the aggregation is not proven yet."""
    file: Mapping[str, str | int] = field(default_factory=dict)
    """Of a file: `name`, `bytes` and `sha256`."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """A snapshot, complete."""

    snapshot: str
    """Its name, which no other snapshot has."""
    database: str
    """Where it was read: ``projects/P/databases/D``."""
    source: str
    what: What
    watermark: datetime
    """Everything that was committed at or before this is in it, exactly."""
    read_at: datetime
    """The instant at which everything was read. For entries it is the watermark."""
    tables: tuple[Held, ...]

    def as_json(self) -> dict[str, Any]:
        """The manifest as plain JSON values."""
        tables = [
            {
                "name": each.table.name,
                "columns": [asdict(column) for column in each.table.columns],
                "rows": each.rows,
                "sums": dict(each.sums),
                "exact_through": iso(each.exact_through) if each.exact_through else None,
                **({"file": dict(each.file)} if each.file else {}),
            }
            for each in self.tables
        ]
        return {
            "format": FORMAT,
            "snapshot": self.snapshot,
            "database": self.database,
            "source": self.source,
            "what": self.what,
            "watermark": iso(self.watermark),
            "read_at": iso(self.read_at),
            "tables": tables,
        }

    def packed(self, indent: int | None = None) -> str:
        """The manifest as text; on one line without ``indent``."""
        return json.dumps(self.as_json(), indent=indent, ensure_ascii=False)


def unpacked(text: str, where: str) -> Manifest:
    """The inverse of `Manifest.packed`.

    Raises:
        ExportError: it is no manifest.
    """
    try:
        found = json.loads(text)
        _check(found["format"], found["what"])
        return Manifest(
            found["snapshot"],
            found["database"],
            found["source"],
            found["what"],
            datetime.fromisoformat(found["watermark"]),
            datetime.fromisoformat(found["read_at"]),
            tuple(map(_held, found["tables"])),
        )
    except (ValueError, KeyError, TypeError) as error:
        raise ExportError(f"{where}: no manifest of an export ({FORMAT}): {error}") from error


def _check(form: object, what: object) -> None:
    if form != FORMAT or what not in get_args(What):
        raise ValueError(f"its format is {form!r}, and it is of {what!r}")


def _held(found: Mapping[str, Any]) -> Held:
    columns = tuple(Column(each["name"], each["kind"]) for each in found["columns"])
    through = found["exact_through"]
    return Held(
        Table(found["name"], columns, tuple(found["sums"])),
        found["rows"],
        found["sums"],
        datetime.fromisoformat(through) if through else None,
        found.get("file", {}),
    )

"""What an export consists of: tables of totals, or one of entries, whatever holds them.

An aggregation is a table, and a total is a row of it. So is an entry, with its fields as JSON.
"""

import json
import re
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, TypeAlias

from shared.aggregation import Aggregation, FieldKey, KeyPart, OneOf, Source, TimeKey
from shared.aggregation.keys import MAX_INTEGER, MIN_INTEGER
from shared.aggregation.lists import Bounded
from shared.errors import ExportError
from shared.store import Document
from shared.store.plain import plain
from shared.windows import Total

What: TypeAlias = Literal["totals", "entries"]
Kind: TypeAlias = Literal["text", "integer", "boolean", "time", "json"]
Value: TypeAlias = str | int | bool | datetime | None
"""A cell of a row. JSON is text."""
Row: TypeAlias = tuple[Value, ...]

_KINDS: dict[type, Kind] = {str: "text", int: "integer", bool: "boolean"}


@dataclass(frozen=True, slots=True)
class Column:
    """A column, whatever a destination calls its type."""

    name: str
    kind: Kind


@dataclass(frozen=True, slots=True)
class Table:
    """A table of an export. Its first column is `id`, which is unique and in which rows ascend."""

    name: str
    columns: tuple[Column, ...]
    added_up: tuple[str, ...] = ()
    """The columns whose sums the manifest has."""

    @property
    def names(self) -> tuple[str, ...]:
        """What the columns are called."""
        return tuple(each.name for each in self.columns)


def totals_table(aggregation: Aggregation) -> Table:
    """The table of an aggregation's totals.

    The columns: the `id` of the total's document, the `key` or each part of a composite one, what the total
    says when it is read, its extremes, how much of each measure is proven, how much of it is of archived
    entries, when the total changed, and the watermark.
    """
    taken = {"id"}
    simple = len(aggregation.parts) == 1
    parts = tuple(
        Column(_free("key" if simple else part.name, taken), _kind(part)) for part in aggregation.parts
    )
    said = tuple(Column(_free(name, taken), "integer") for name in aggregation.columns)
    extremes = tuple(Column(_free(each.name, taken), "integer") for each in aggregation.extremes)
    beside = tuple(
        Column(_free(f"{about}_{name}", taken), "integer")
        for about in ("proven", "archived")
        for name in aggregation.columns
    )
    last = tuple(Column(_free(name, taken), "time") for name in ("updated_at", "exact_through"))
    columns = (Column("id", "text"), *parts, *said, *extremes, *beside, *last)
    return Table(aggregation.name, columns, tuple(each.name for each in (*said, *beside)))


def entries_table(source: Source) -> Table:
    """The table of a source's entries."""
    times = (Column("created_at", "time"), Column("updated_at", "time"))
    return Table(f"{source.name}_entries", (Column("id", "text"), *times, Column("data", "json")))


def total_row(aggregation: Aggregation, one: Total, *, buckets: bool = True) -> Row:
    """A total as a row of `totals_table`.

    Args:
        aggregation: its declaration.
        one: the total.
        buckets: whether totals say what came after the watermark. Without, nothing tells what is proven.

    Raises:
        ExportError: a number of it has more than 64 bits.
    """
    key: tuple[Value, ...] = one.key if isinstance(one.key, tuple) else (one.key,) * len(aggregation.parts)
    columns = aggregation.columns
    proven = buckets and one.exact_through is not None
    numbers: tuple[Value, ...] = (
        *(one.values[name] for name in columns),
        *(one.extremes.get(each.name) for each in aggregation.extremes),
        *(one.values[name] - one.pending[name] if proven else None for name in columns),
        *(one.archived[name] for name in columns),
    )
    for each in numbers:
        if isinstance(each, int) and not MIN_INTEGER <= each <= MAX_INTEGER:
            raise ExportError(
                f"{aggregation.name}/{one.id}: it holds {each:.3e}, which is no integer of 64 bits: "
                "run libra recompute, which mends it, and export again"
            )
    return (one.id, *key, *numbers, one.updated_at, one.exact_through)


def entry_row(document: Document) -> Row:
    """An entry as a row of `entries_table`."""
    fields = {name: plain(value, iso) for name, value in document.fields.items()}
    data = json.dumps(fields, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return (document.path.rpartition("/")[2], document.create_time, document.update_time, data)


def iso(value: datetime) -> str:
    """An instant as text: RFC 3339 in UTC, always with microseconds, so that it sorts as text."""
    return value.strftime("%Y-%m-%dT%H:%M:%S.%fZ").rjust(27, "0")


def _kind(part: KeyPart) -> Kind:
    if isinstance(part, TimeKey):
        return "integer" if part.grain in ("hour", "weekday") else "text"
    return _KINDS[part.kind] if isinstance(part, FieldKey | OneOf | Bounded) else "text"


def _free(name: str, taken: set[str]) -> str:
    """A name that every destination takes, and that no other column has."""
    found = re.sub(r"\W", "_", name, flags=re.ASCII)
    found = f"_{found}" if found[:1].isdigit() or not found else found
    while found.lower() in taken:
        found += "_"
    taken.add(found.lower())
    return found

"""The tables of the warehouse, as BigQuery's API describes them: one for each source, and two more. Pure."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

from shared.aggregation import TimeKey
from shared.errors import DeclarationError
from shared.events import Boolean, EventSource, Field, Integer, Map, Number, Text, Timestamp
from shared.messages import LONGEST_AGO

Column = Mapping[str, object]
"""A column as BigQuery's API has it: `name`, `type`, `mode`, `description`, and `fields` of a RECORD."""

ID, ACCEPTED, MESSAGE, DIGEST = "libra_id", "libra_accepted", "libra_message", "libra_digest"
"""The columns that Libra adds to an event's own."""
DEAD = "dead_letters"
"""The view of what could not be accepted; its table is called `rows_table` of it."""
BOUNDED = "bounded_values"
"""The table of the values of bounded keys that have totals of their own, as Firestore has them."""

TYPES = {
    Text: "STRING",
    Integer: "INTEGER",
    Number: "FLOAT",
    Boolean: "BOOLEAN",
    Timestamp: "TIMESTAMP",
    Map: "JSON",
}
"""What holds each kind. A `Map` is JSON: its fields are not declared, and any sender may add one."""

STREAMED = timedelta(days=3_650), timedelta(days=365)
"""How far back, and how far ahead, the partition of a streamed row may lie: BigQuery refuses any other row
(https://cloud.google.com/bigquery/docs/write-api#time-unit_column_partitioning, and the same for `insertAll`:
https://cloud.google.com/bigquery/docs/streaming-data-into-bigquery, 2026-11)."""
WAITED = timedelta(days=31)
"""How long a message may wait before its row is written: Pub/Sub keeps none for longer
(https://cloud.google.com/pubsub/docs/subscription-properties, 'Message retention duration', 2026-11)."""

MOST_CLUSTERED = 4
"""Columns that a table is clustered by, at most
(https://cloud.google.com/bigquery/docs/clustered-tables, 'Limitations', 2026-11)."""

_COLUMN = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,299}", re.ASCII)
_TAKEN = re.compile(
    r"(libra_|_table_|_file_|_partition|_row_timestamp|__root__|_colidentifier).*", re.IGNORECASE
)
"""Libra's own columns, and what BigQuery allows no column to begin with
(https://cloud.google.com/bigquery/docs/schemas, 'Column names', 2026-11)."""


@dataclass(frozen=True, slots=True)
class Table:
    """A table: rows are only ever added to it."""

    name: str
    description: str
    columns: tuple[Column, ...]
    partition: str | None = None
    """The TIMESTAMP column whose day, in UTC, is a row's partition."""
    cluster: tuple[str, ...] = ()
    """The columns that rows of a partition are sorted by."""


def rows_table(view: str) -> str:
    """The table behind a view that keeps one row of each event."""
    return f"{view}_rows"


def tables(sources: Mapping[str, EventSource]) -> list[Table]:
    """Every table.

    Raises:
        DeclarationError: a source cannot have one; the message names its field.
    """
    return [*(_events(source) for source in sources.values()), _dead_letters(), _bounded_values()]


def declared(source: EventSource) -> dict[str, Field]:
    """The fields of a source's events, by their names, which are the names of columns.

    Raises:
        DeclarationError: a field has a name that no column may have.
    """
    seen: dict[str, str] = {}
    for field in source.schema.fields:
        if not _COLUMN.fullmatch(field.name) or _TAKEN.fullmatch(field.name):
            raise DeclarationError(
                f"source {source.name}: the field {field.name!r} is no column of BigQuery's: expected "
                "letters, digits and _, no digit first, and none of the beginnings libra_, _TABLE_, _FILE_, "
                "_PARTITION, _ROW_TIMESTAMP, __ROOT__, _COLIDENTIFIER"
            )
        if (other := seen.setdefault(field.name.lower(), field.name)) != field.name:
            raise DeclarationError(
                f"source {source.name}: the fields {other!r} and {field.name!r} would be one column: "
                "BigQuery does not tell upper case from lower case"
            )
    return {field.name: field for field in source.schema.fields}


def _events(source: EventSource) -> Table:
    fields = declared(source)
    own = tuple(
        column(each.name, TYPES[type(each.kind)], "REQUIRED" if each.required else "NULLABLE")
        for each in fields.values()
    )
    time = fields.get(source.event_time or "")
    return Table(
        rows_table(source.name),
        f"The events of {source.name} as they came, an event once or more: query {source.name}",
        (
            *own,
            column(ID, "STRING", "REQUIRED", "What names the event: each delivery has the same one"),
            column(ACCEPTED, "TIMESTAMP", "REQUIRED", "When Libra accepted it"),
            column(MESSAGE, "STRING", "REQUIRED", "The message that brought it"),
            column(DIGEST, "STRING", "REQUIRED", "The same exactly for events that say the same"),
        ),
        time.name if time and isinstance(time.kind, Timestamp) and _streamed(time.kind) else ACCEPTED,
        _clustered(source, fields),
    )


def _streamed(kind: Timestamp) -> bool:
    """Whether BigQuery takes every time that a field of this kind admits. It takes every acceptance."""
    back, ahead = STREAMED
    return kind.past + LONGEST_AGO + WAITED <= back and kind.future <= ahead


def _clustered(source: EventSource, fields: Mapping[str, Field]) -> tuple[str, ...]:
    """What totals are asked by: the fields of keys, in the order of the declarations."""
    parts = (part for each in source.aggregations for part in each.parts if not isinstance(part, TimeKey))
    return tuple(dict.fromkeys(part.field for part in parts if part.field in fields))[:MOST_CLUSTERED]


def _dead_letters() -> Table:
    reason = [column("field", "STRING", "REQUIRED"), column("reason", "STRING", "REQUIRED")]
    return Table(
        rows_table(DEAD),
        f"Messages that hold no event that can be accepted, a message once or more: query {DEAD}",
        (
            column("source", "STRING", "REQUIRED", "The source whose topic it came through"),
            column(MESSAGE, "STRING", "REQUIRED", "The message"),
            column(ACCEPTED, "TIMESTAMP", "REQUIRED", "When it was published first"),
            {**column("reasons", "RECORD", "REPEATED", "Everything that is wrong with it"), "fields": reason},
            column("content", "BYTES", "NULLABLE", "What it held, or the beginning of that"),
            column("content_bytes", "INTEGER", "REQUIRED", "How many bytes it held"),
        ),
        ACCEPTED,
        ("source",),
    )


def _bounded_values() -> Table:
    return Table(
        BOUNDED,
        "The values of bounded keys that have totals of their own: `libra warehouse bounded` fills it",
        (
            column("aggregation", "STRING", "REQUIRED"),
            column("part", "STRING", "REQUIRED", "The part of the key"),
            column("name", "STRING", "REQUIRED", "What the value is written down as in Firestore"),
        ),
    )


def column(name: str, kind: str, mode: str, description: str = "") -> Column:
    """A column as BigQuery's API has it."""
    return {"name": name, "type": kind, "mode": mode} | ({"description": description} if description else {})

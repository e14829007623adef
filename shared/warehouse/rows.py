"""What a message becomes: a row of its source, or a dead letter. Pure.

The same message gives the same row, however often it is delivered. So a row may be written again: the views
take one row of each event.
"""

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from shared.events import Admitted, EventSource, Violation
from shared.judgement import Refused, judge
from shared.messages import UnreadableError, accepted, decode
from shared.warehouse.tables import ACCEPTED, DEAD, DIGEST, ID, MESSAGE, rows_table

MOST_CONTENT = 1_000_000
"""Bytes of a message that its dead letter keeps: BigQuery takes a row of 10 MB, in which bytes take a third
more (https://cloud.google.com/bigquery/quotas, 'Streaming inserts', 2026-11)."""
MOST_REASONS = 100
"""Reasons that its dead letter keeps."""


@dataclass(frozen=True, slots=True)
class Message:
    """A message of Pub/Sub's."""

    id: str
    """What Pub/Sub calls it."""
    data: bytes
    attributes: Mapping[str, str]
    published: datetime


@dataclass(frozen=True, slots=True)
class Row:
    """What is written to a table."""

    table: str
    name: str
    """Rows of a table with the same name are one: they say the same."""
    columns: Mapping[str, object]
    """Text, numbers, booleans, aware times, bytes; JSON as text; a list of mappings for a repeated RECORD."""


def row_of(source: EventSource, message: Message) -> Row:
    """The row that a message becomes. Never raises for any message."""
    at = accepted(message.attributes, message.published)
    try:
        event = decode(message.data)
    except UnreadableError as error:
        return dead_letter(source.name, message, [Violation("", str(error), "a JSON object in UTF-8")])
    judged = judge(source, event, at)
    if isinstance(judged, Refused):
        return dead_letter(source.name, message, judged.reasons)
    return _event(source, message, judged.event, at)


def dead_letter(source: str, message: Message, reasons: Sequence[Violation]) -> Row:
    """A message that is set aside, with everything that is wrong with it."""
    told = [
        {"field": each.field, "reason": f"expected {each.allowed}, found {each.found}"}
        for each in reasons[:MOST_REASONS]
    ]
    columns = {
        "source": source,
        MESSAGE: message.id,
        ACCEPTED: accepted(message.attributes, message.published),
        "reasons": told,
        "content": message.data[:MOST_CONTENT],
        "content_bytes": len(message.data),
    }
    return Row(rows_table(DEAD), message.id, columns)


def _event(source: EventSource, message: Message, event: Admitted, at: datetime) -> Row:
    own = {
        name: _json(value) if isinstance(value, Mapping) else value for name, value in event.fields.items()
    }
    digest = hashlib.sha256(_json(event.fields).encode()).hexdigest()[:32]
    columns = own | {ID: event.id, ACCEPTED: at, MESSAGE: message.id, DIGEST: digest}
    return Row(rows_table(source.name), f"{event.id}/{digest}", columns)


def _json(value: object) -> str:
    """Text that is the same exactly for the same value."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=_time)


def _time(value: datetime) -> str:
    """The only value of an event that JSON has no type for."""
    return value.astimezone(UTC).isoformat(timespec="microseconds")


def encoded(row: Row) -> dict[str, object]:
    """A row as JSON has it for BigQuery."""
    return {name: _encoded(value) for name, value in row.columns.items()}


def _encoded(value: object) -> object:
    """An integer is text: readers of JSON may round beyond 2^53."""
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if isinstance(value, datetime):
        return _time(value)
    return base64.b64encode(value).decode() if isinstance(value, bytes) else value

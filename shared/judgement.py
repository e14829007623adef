"""Whether an event is accepted: by its schema, and by every aggregation of its source. Pure.

The intake asks it before it stores an event, the pipeline before it writes a row. So the warehouse holds
exactly the events that Firestore holds.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from shared.aggregation import (
    Aggregation,
    Bounded,
    Contribution,
    Count,
    Exists,
    FieldKey,
    KeyPart,
    TimeKey,
    contribution,
)
from shared.events import Admitted, EventSource, Kind, Schema, Text, Timestamp, Violation


@dataclass(frozen=True, slots=True)
class Accepted:
    """An event that may be stored and counted."""

    event: Admitted
    contribution: Contribution
    """What it adds to the totals of its source."""


@dataclass(frozen=True, slots=True)
class Refused:
    """An event that never can be counted."""

    reasons: tuple[Violation, ...]
    """Everything that is wrong with it."""
    id: str | None = None
    """What names the event; None where it cannot be read."""


def judge(source: EventSource, event: object, accepted: datetime) -> Accepted | Refused:
    """What becomes of an event. Never raises for any event.

    Args:
        source: what is counted.
        event: a mapping of fields, as JSON has them.
        accepted: when Libra accepted it: its times are judged as of then.
    """
    read = source.schema.admit(event, accepted)
    if isinstance(read, list):
        return Refused(tuple(read))
    counted = contribution(source, read.fields)
    if counted.rejections:
        return Refused(tuple(_violations(counted)), read.id)
    return Accepted(read, counted)


def schema_suffices(source: EventSource) -> bool:
    """Whether every aggregation counts whatever the schema admits: then `judge` refuses nothing besides.

    It reads the declarations alone, and says no where they leave it open.
    """
    return all(_counts_all(each, source.schema) for each in source.aggregations)


def _counts_all(aggregation: Aggregation, schema: Schema) -> bool:
    there = {
        field.name: field.kind
        for field in schema.fields
        if "." not in field.name and (field.required or aggregation.where == Exists(field.name))
    }
    return aggregation.measures == (Count(),) and all(
        _reads(part, there.get(part.field)) for part in aggregation.parts
    )


def _reads(part: KeyPart, kind: Kind | None) -> bool:
    key = part.key if isinstance(part, Bounded) else part
    if isinstance(key, FieldKey):
        return key.kind is str and isinstance(kind, Text)
    return isinstance(key, TimeKey) and isinstance(kind, Timestamp)


def _violations(counted: Contribution) -> Iterator[Violation]:
    for one in counted.rejections:
        found, allowed = f"one that it cannot ({one.reason})", f"a value that {one.aggregation} counts"
        yield Violation(one.field, found, allowed)

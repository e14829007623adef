"""Whether an event is accepted: by its schema, and by every aggregation of its source. Pure.

The intake asks it before it stores an event, the pipeline before it writes a row. So the warehouse holds
exactly the events that Firestore holds.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from shared.aggregation import Contribution, contribution
from shared.events import Admitted, EventSource, Violation


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


def _violations(counted: Contribution) -> Iterator[Violation]:
    for one in counted.rejections:
        found, allowed = f"one that it cannot ({one.reason})", f"a value that {one.aggregation} counts"
        yield Violation(one.field, found, allowed)

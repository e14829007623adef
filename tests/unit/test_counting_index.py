"""What the index strategy refuses, before it starts."""

import pytest

from shared.aggregation import (
    Aggregation,
    And,
    Count,
    Equals,
    Exists,
    FieldKey,
    Not,
    OneOf,
    Source,
    Sum,
    TimeKey,
)
from shared.counting.index import unsupported
from shared.settings import UTC as UTC_ZONE


@pytest.mark.parametrize(
    ("aggregation", "reason"),
    [
        (Aggregation("a", FieldKey("x")), None),
        (Aggregation("a", FieldKey("x"), measures=(Count(), Sum("y", "z"))), "adds up more than a count"),
        (Aggregation("a", (FieldKey("x"), FieldKey("y"))), "a has a key of several parts"),
        (Aggregation("a", (FieldKey("x"), TimeKey("t", "date", UTC_ZONE))), "a has a key of several parts"),
        (Aggregation("a", (TimeKey("t", "date", UTC_ZONE), TimeKey("u", "hour", UTC_ZONE))), "several parts"),
        (Aggregation("a", (TimeKey("t", "date", UTC_ZONE), TimeKey("t", "hour", UTC_ZONE))), None),
        (Aggregation("a", TimeKey("t", "week", UTC_ZONE)), None),
        (Aggregation("a", OneOf(FieldKey("x"), ("b",), "other")), None),
        (Aggregation("a", FieldKey("x", kind=bool)), None),
        (Aggregation("a", FieldKey("x", kind=int)), "a has the integer x as its key"),
        (Aggregation("a", OneOf(FieldKey("x", kind=int), (1,), 0)), "the indexes do not tell 1 from 1.0"),
        (Aggregation("a", FieldKey("x"), Equals("y", True)), None),
        (Aggregation("a", FieldKey("x"), And(Equals("y", "z"), Equals("z", False))), None),
        (Aggregation("a", FieldKey("x"), Equals("y", 1)), "a has a filter on the integer y"),
        (Aggregation("a", FieldKey("x"), Equals("y", "z" * 1_500)), "a has a filter on 1500 bytes or more"),
        (Aggregation("a", FieldKey("x"), And(Equals("y", "z"), Exists("z"))), "And of several: Exists"),
        (Aggregation("a", FieldKey("x"), Not(Equals("y", "z"))), "more than Equals, or And of several: Not"),
    ],
)
def test_the_index_says_what_it_can_not_prove(aggregation: Aggregation, reason: str | None) -> None:
    """Before it starts, naming the aggregation."""
    found = unsupported(Source("libra", (aggregation,)))
    assert (found is None) == (reason is None)
    assert reason is None or reason in str(found)

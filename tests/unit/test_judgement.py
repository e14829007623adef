"""Where a source's schema alone says whether an event is counted."""

from datetime import timedelta

import pytest

from shared.aggregation import (
    Aggregation,
    And,
    Bounded,
    Count,
    Equals,
    Exists,
    FieldKey,
    OneOf,
    Sum,
    TimeKey,
)
from shared.events import EventSource, Field, Integer, Schema, Text, Timestamp
from shared.judgement import schema_suffices
from shared.schemas import self_written
from shared.settings import UTC as ZONE
from shared.settings import Settings

HOUR = timedelta(hours=1)
SCHEMA = Schema(
    (
        Field("kind", Text()),
        Field("page", Text(), required=False),
        Field("n", Integer()),
        Field("at", Timestamp(HOUR, HOUR)),
        Field("later", Timestamp(HOUR, HOUR), required=False),
        Field("a.b", Text()),
    )
)
KIND, PAGE = FieldKey("kind"), FieldKey("page")


@pytest.mark.parametrize(
    "aggregation",
    [
        Aggregation("a", KIND),
        Aggregation("a", FieldKey("kind", allow_empty=False), where=Equals("n", 1)),
        Aggregation("a", (Bounded(KIND, 5, "other"), TimeKey("at", "date", ZONE))),
        Aggregation("a", PAGE, where=Exists("page")),
    ],
)
def test_a_field_that_each_event_has_as_it_is_read_is_always_counted(aggregation: Aggregation) -> None:
    """Or that each event has which the aggregation looks at."""
    assert schema_suffices(EventSource("s", (aggregation,), SCHEMA))


@pytest.mark.parametrize(
    "aggregation",
    [
        Aggregation("a", PAGE),
        Aggregation("a", Bounded(PAGE, 5, "other")),
        Aggregation("a", (KIND, PAGE), where=Exists("later")),
        Aggregation("a", PAGE, where=And(Exists("page"), Exists("later"))),
        Aggregation("a", TimeKey("later", "date", ZONE)),
        Aggregation("a", TimeKey("kind", "date", ZONE)),
        Aggregation("a", FieldKey("kind", kind=int)),
        Aggregation("a", FieldKey("n")),
        Aggregation("a", FieldKey("nowhere")),
        Aggregation("a", FieldKey("a.b")),
        Aggregation("a", OneOf(KIND, ("x",), "other")),
        Aggregation("a", KIND, measures=(Count(), Sum("n", "total"))),
    ],
)
def test_where_the_declarations_leave_it_open_they_are_asked(aggregation: Aggregation) -> None:
    """A field may be missing or of another type, or more than a measure adds. It may be asked in vain."""
    assert not schema_suffices(EventSource("s", (Aggregation("b", KIND), aggregation), SCHEMA))


def test_the_schemas_of_the_catalog_suffice() -> None:
    """What an event costs the collector is measured without the declarations."""
    assert all(schema_suffices(source) for source, _ in self_written(Settings()).values())

"""What the events of the sources that Libra writes itself must hold: the doors' part of the catalog. Pure.

`shared.catalog` says what of their entries is counted. That is all that the functions need.
"""

from datetime import timedelta
from typing import NamedTuple

from shared.aggregation import Home
from shared.catalog import sources
from shared.events import EventSource, Field, Map, Number, QuickSchema, Text, Timestamp
from shared.settings import Settings

EARLY, LATE = timedelta(days=366), timedelta(hours=1)
"""How far back an event's time may lie, and how far ahead: a device may have been offline for long, and its
clock may be wrong. A time beyond that is a mistake."""

SCHEMAS = {
    "user_events": QuickSchema(
        id="event_id",
        fields=(
            Field("event_id", Text()),
            Field("user_id", Text()),
            Field("event_type", Text(100)),
            Field("session_id", Text(), required=False),
            Field("page", Text(1_500), required=False),
            Field("product_id", Text(), required=False),
            Field("value", Number(-1e12, 1e12), required=False),
            Field("timestamp", Timestamp(EARLY, LATE)),
        ),
    ),
    "signals": QuickSchema(
        fields=(
            Field("user_id", Text()),
            Field("timestamp", Timestamp(EARLY, LATE)),
            Field("signal_type", Text(100)),
            Field("flag_type", Text(100), required=False),
            Field("confidence", Number(0, 1), required=False),
            Field("topic_category", Text(), required=False),
            Field("source_platform", Text(100), required=False),
            Field("event_details", Map(), required=False),
        ),
    ),
}
"""By the name of a source."""


class EventBooks(NamedTuple):
    """A source that Libra writes itself, and where its books are kept."""

    source: EventSource
    home: Home


def self_written(settings: Settings) -> dict[str, EventBooks]:
    """The sources that events may be sent to: those whose entries Libra writes itself."""
    return {
        name: EventBooks(EventSource(name, source.aggregations, SCHEMAS[name]), home)
        for name, (source, home) in sources(settings).items()
        if home.self_written
    }

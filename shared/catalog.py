"""What Libra counts, and where its books are kept. To count something more, add one declaration here.

Totals of entries that were there before come with the next recompute.
"""

from datetime import timedelta
from typing import NamedTuple

from shared.aggregation import (
    Aggregation,
    Bounded,
    Equals,
    Exists,
    Field,
    FieldKey,
    Home,
    Map,
    Number,
    Schema,
    Source,
    Text,
    TimeKey,
    Timestamp,
)
from shared.settings import Settings

LIBRA_HOME = Home(entries="libra")
"""Where the books of `libra` are kept."""

EARLY, LATE = timedelta(days=366), timedelta(hours=1)
"""How far back an event's time may lie, and how far ahead: a device may have been offline for long, and its
clock may be wrong. A time beyond that is a mistake."""

EVENT_TYPES = 500
"""Event types that have totals of their own: whoever may send events chooses the names."""


def libra(settings: Settings) -> Source:
    """The source that smart scales write to: one entry for each event of a scale."""
    served = Equals("dataAction", settings.time_action) if settings.time_action else None
    zone = settings.time_zone
    return Source(
        "libra",
        aggregations=(
            Aggregation("aggregates_categories", FieldKey("ingredient")),
            Aggregation("aggregates_actions", FieldKey("dataAction", allow_empty=False)),
            Aggregation("aggregates_time_hours", TimeKey("timestamp", "hour", zone), where=served),
            Aggregation("aggregates_time_dates", TimeKey("timestamp", "date", zone), where=served),
        ),
    )


USER_EVENTS_HOME = Home(
    entries="user_events",
    state="aggregates/user_events",
    seen="user_events_seen",
    rejected="user_events_rejected",
    runs="user_events_runs",
    archives="user_events_archives",
    self_written=True,
)
"""Where the books of `user_events` are kept."""


def user_events(settings: Settings) -> Source:
    """What users do on a site or in an app. Libra writes the entries (`shared.intake`)."""
    zone = settings.time_zone
    event_type = Bounded(FieldKey("event_type"), most=EVENT_TYPES, other="other")
    return Source(
        "user_events",
        aggregations=(
            Aggregation("analytics_aggregates", event_type),
            Aggregation("analytics_aggregates_hours", TimeKey("timestamp", "hour", zone)),
            Aggregation("analytics_aggregates_dates", TimeKey("timestamp", "date", zone)),
            Aggregation("analytics_aggregates_users", (FieldKey("user_id"), event_type)),
        ),
        schema=Schema(
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
    )


SIGNALS_HOME = Home(
    entries="signals",
    state="aggregates/signals",
    seen="signals_seen",
    rejected="signals_rejected",
    runs="signals_runs",
    archives="signals_archives",
    self_written=True,
)
"""Where the books of `signals` are kept."""


def signals(settings: Settings) -> Source:
    """What a classifier flags in what users see. Libra writes the entries (`shared.intake`)."""
    signal_type = Bounded(FieldKey("signal_type"), most=EVENT_TYPES, other="other")
    flag_type = Bounded(FieldKey("flag_type"), most=EVENT_TYPES, other="other")
    platform = Bounded(FieldKey("source_platform"), most=EVENT_TYPES, other="other")
    date = TimeKey("timestamp", "date", settings.time_zone)
    return Source(
        "signals",
        aggregations=(
            Aggregation("signals_aggregates", signal_type),
            Aggregation("signals_aggregates_flags", flag_type, where=Exists("flag_type")),
            Aggregation("signals_aggregates_platforms", (platform, date), where=Exists("source_platform")),
        ),
        schema=Schema(
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
    )


class Books(NamedTuple):
    """A source and where its books are kept."""

    source: Source
    home: Home


def sources(settings: Settings) -> dict[str, Books]:
    """Every source by its name, in the order in which they are recomputed."""
    books = (
        Books(libra(settings), LIBRA_HOME),
        Books(user_events(settings), USER_EVENTS_HOME),
        Books(signals(settings), SIGNALS_HOME),
    )
    return {each.source.name: each for each in books}


def of_others(settings: Settings, source: str) -> frozenset[str]:
    """The collections, and the documents of bounded keys, that every source but this one uses."""
    return frozenset(
        path
        for name, (declared, home) in sources(settings).items()
        if name != source
        for path in (*home.used(declared), *(home.registry(each.name) for each in declared.aggregations))
    )


def self_written(settings: Settings) -> dict[str, Books]:
    """The sources that events may be sent to: those whose entries Libra writes itself."""
    return {name: books for name, books in sources(settings).items() if books.home.self_written}

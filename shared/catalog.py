"""What Libra counts, and where its books are kept. To count something more, add one declaration here.

Totals of entries that were there before come with the next recompute.
"""

from typing import NamedTuple

from shared.aggregation import Aggregation, Bounded, Equals, Exists, FieldKey, Home, Source, TimeKey
from shared.settings import Settings

LIBRA_HOME = Home(entries="libra")
"""Where the books of `libra` are kept."""

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
    """What users do on a site or in an app. Libra writes the entries (`shared.schemas`)."""
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
    """What a classifier flags in what users see. Libra writes the entries (`shared.schemas`)."""
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

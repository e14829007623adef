"""What Libra counts, and where its books are kept. To count something more, add one declaration here.

Totals of entries that were there before come with the next recompute.
"""

from shared.aggregation import Aggregation, Equals, FieldKey, Home, Source, TimeKey
from shared.settings import Settings

LIBRA_HOME = Home(entries="libra")
"""Where the books of `libra` are kept."""


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

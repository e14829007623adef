"""The aggregations of `libra`. To count something more, add one declaration here and nothing else.

Totals of entries that were there before come with the next recompute.
"""

from shared.aggregation import Aggregation, Equals, FieldKey, Source, TimeKey
from shared.settings import Settings


def libra(settings: Settings) -> Source:
    """The source that smart scales write to: one entry for each event of a scale."""
    served = Equals("dataAction", settings.time_action) if settings.time_action else None
    zone = settings.time_zone
    return Source(
        collection="libra",
        aggregations=(
            Aggregation("aggregates_categories", FieldKey("ingredient")),
            Aggregation("aggregates_actions", FieldKey("dataAction", allow_empty=False)),
            Aggregation("aggregates_time_hours", TimeKey("timestamp", "hour", zone), where=served),
            Aggregation("aggregates_time_dates", TimeKey("timestamp", "date", zone), where=served),
        ),
    )

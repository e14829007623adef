"""What the three baselines share: the same four totals, written as a user of the high-level client would."""

from collections.abc import Mapping
from typing import Any, TypeAlias

from cloudevents.http import CloudEvent
from google.cloud import firestore
from google.events.cloud.firestore import DocumentEventData

from shared.aggregation import Entry

Fields: TypeAlias = Mapping[str, Any]
Totals: TypeAlias = dict[tuple[str, str], int]
"""Counts by collection and document id."""

COLLECTIONS = (
    "aggregates_categories",
    "aggregates_actions",
    "aggregates_time_hours",
    "aggregates_time_dates",
)


def entry_of(event: CloudEvent) -> Entry:
    """The entry, decoded as Google's samples for Firestore triggers do."""
    payload = DocumentEventData()
    payload._pb.ParseFromString(event.data)
    fields: Fields = payload.value.fields
    return Entry(
        payload.value.name,
        payload.value.create_time,  # type: ignore[arg-type]  # proto-plus gives a datetime
        {
            "ingredient": fields["ingredient"].string_value,
            "dataAction": fields["dataAction"].string_value,
            "timestamp": fields["timestamp"].timestamp_value,
        },
    )


def totals_of(fields: Fields) -> list[tuple[str, str]]:
    """The totals that an entry adds to: collection and document id."""
    counted = [("aggregates_categories", fields["ingredient"]), ("aggregates_actions", fields["dataAction"])]
    if fields["dataAction"] == "Served":
        when = fields["timestamp"]
        counted += [
            ("aggregates_time_hours", str(when.hour)),
            ("aggregates_time_dates", when.date().isoformat()),
        ]
    return counted


def read_counts(client: firestore.Client) -> Totals:
    """Every total, one document each."""
    return {
        (collection, document.id): document.get("count")
        for collection in COLLECTIONS
        for document in client.collection(collection).stream()
    }

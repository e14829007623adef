"""The naive trigger: four increments an event, in one batch, with no guard against a second delivery."""

from functools import cache

import functions_framework
from cloudevents.http import CloudEvent
from google.cloud import firestore

from shared.aggregation import Entry
from tests.bench.baselines.common import Totals, entry_of, read_counts, totals_of


@cache
def client() -> firestore.Client:
    """The process's client, made on first use: a channel does not survive gunicorn's fork."""
    return firestore.Client()


def apply(entry: Entry) -> None:
    """Count an entry."""
    batch = client().batch()
    for collection, key in totals_of(entry.fields):
        reference = client().collection(collection).document(key)
        batch.set(reference, {"count": firestore.Increment(1)}, merge=True)
    batch.commit()


def totals() -> Totals:
    """What the totals are."""
    return read_counts(client())


@functions_framework.cloud_event
def on_created(event: CloudEvent) -> None:
    """The trigger."""
    apply(entry_of(event))

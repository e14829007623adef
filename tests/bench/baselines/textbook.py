"""The idempotent trigger of the textbooks: a transaction reads a marker and the totals, and writes both."""

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


@firestore.transactional
def _count(transaction: firestore.Transaction, entry: Entry) -> None:
    marker = client().collection("markers").document(entry.path.rpartition("/")[2])
    references = [
        client().collection(collection).document(key) for collection, key in totals_of(entry.fields)
    ]
    documents = {
        document.reference.path: document
        for document in client().get_all([marker, *references], transaction=transaction)
    }
    if documents[marker.path].exists:
        return
    transaction.create(marker, {"seen_at": firestore.SERVER_TIMESTAMP})
    for reference in references:
        stored = documents[reference.path].to_dict() or {}
        transaction.set(reference, {"count": stored.get("count", 0) + 1})


def apply(entry: Entry) -> None:
    """Count an entry."""
    _count(client().transaction(), entry)


def totals() -> Totals:
    """What the totals are."""
    return read_counts(client())


@functions_framework.cloud_event
def on_created(event: CloudEvent) -> None:
    """The trigger."""
    apply(entry_of(event))

"""Distributed counters: each total is spread over ten shards; an event adds to one of each, unguarded.

https://firebase.google.com/docs/firestore/solutions/counters (2026-11). A reader sums the shards: ten
documents for one total.
"""

import random
from collections import Counter
from functools import cache

import functions_framework
from cloudevents.http import CloudEvent
from google.cloud import firestore

from shared.aggregation import Entry
from tests.bench.baselines.common import COLLECTIONS, Totals, entry_of, totals_of

SHARDS = 10


@cache
def client() -> firestore.Client:
    """The process's client, made on first use: a channel does not survive gunicorn's fork."""
    return firestore.Client()


def apply(entry: Entry) -> None:
    """Count an entry."""
    batch = client().batch()
    for collection, key in totals_of(entry.fields):
        shard = random.randrange(SHARDS)
        reference = client().document(f"{collection}/{key}/shards/{shard}")
        batch.set(reference, {"total": f"{collection}/{key}", "count": firestore.Increment(1)}, merge=True)
    batch.commit()


def totals() -> Totals:
    """The sum over the shards, which each reader has to take."""
    counts: Counter[tuple[str, str]] = Counter()
    for document in client().collection_group("shards").stream():
        collection, _, key = document.get("total").partition("/")
        counts[collection, key] += document.get("count")
    return {total: count for total, count in counts.items() if total[0] in COLLECTIONS}


@functions_framework.cloud_event
def on_created(event: CloudEvent) -> None:
    """The trigger."""
    apply(entry_of(event))

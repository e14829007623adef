"""Libra's ledger, called as the baselines are."""

import os
from functools import cache

from google.cloud import firestore

from shared.aggregation import Entry
from shared.runtime import Process
from shared.settings import Settings
from tests.bench.baselines.common import Totals, read_counts


@cache
def process() -> Process:
    """What `functions/main.py` makes."""
    return Process(Settings.from_environment(os.environ))


@cache
def client() -> firestore.Client:
    """Reads the totals as any reader would."""
    return firestore.Client()


def apply(entry: Entry) -> None:
    """Count an entry."""
    process().runtime().ledger.apply(entry)


def totals() -> Totals:
    """What the totals are."""
    return read_counts(client())

"""How Firestore bills what is read. Pure."""

ENTRIES_A_READ = 1_000
"""Index entries that ``count()`` covers for the price of one read; every query costs one at least
(https://firebase.google.com/docs/firestore/pricing, 'Aggregation queries', 2026-11)."""

"""What counting would cost, and which strategy is cheaper. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from shared.counting.billing import ENTRIES_A_READ

REQUEST_SECONDS = 0.02
"""A short query's round trip inside a region, generously; only the order of magnitude matters."""

SCANNED_A_SECOND = 15_000
"""Entries that one instance scans a second, on two virtual CPUs (docs/recompute.md has the measurement)."""

PATIENCE_SECONDS = 1_800.0
"""A count longer than this is worth reads to avoid: a snapshot lives an hour, and so may a request."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a strategy is expected to take."""

    reads: int
    seconds: float

    def __str__(self) -> str:
        return f"about {self.reads:,} reads in {self.seconds:,.0f} s"


def scan_cost(entries: int) -> Estimate:
    """A read for each entry."""
    return Estimate(max(1, entries), entries / SCANNED_A_SECOND)


def index_cost(entries: int, keys: Sequence[int], stretches: Sequence[int], workers: int) -> Estimate:
    """``keys``: distinct values of each field that is a key. ``stretches``: hours with entries, of each time.

    A key costs a read to find and its count; the finding is one request after another. An hour costs
    its count and, at the ends of empty stretches, a query that jumps over them.
    """
    passes = 1 + len(keys) + len(stretches)
    requests = 2 * sum(keys) + 2 * sum(stretches) + passes
    reads = passes * -(-entries // ENTRIES_A_READ) + requests
    in_turn = max([*keys, 0])
    return Estimate(reads, max(in_turn, requests / workers) * REQUEST_SECONDS)


def proposal(strategy: str, entries: int) -> str:
    """Advice for a scan of so many entries, once it takes half of the hour that it has; else nothing."""
    cost = scan_cost(entries)
    if strategy != "scan" or cost.seconds <= PATIENCE_SECONDS:
        return ""
    return (
        f"A scan of {entries:,} entries takes {cost.seconds / 60:,.0f} minutes or more. After an hour the "
        "function's time is over, and Firestore keeps snapshots no longer without point-in-time recovery: "
        "consider the strategy beam (docs/pipelines.md)"
    )


def choose(scan: Estimate, index: Estimate) -> tuple[str, str]:
    """The strategy with fewer reads, unless only the other one ends in good time; and why."""
    names = {"scan": scan, "index": index}
    order = sorted(names, key=lambda name: (names[name].seconds > PATIENCE_SECONDS, names[name].reads))
    best, other = order
    slow = names[other].seconds > PATIENCE_SECONDS >= names[best].seconds
    why = f"{names[best]}; {other}: {names[other]}" + (", which is too long" if slow else "")
    return best, why

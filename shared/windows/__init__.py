"""What readers ask, over HTTP or in the terminal. It only reads, except for `retry`.

Every answer about totals is read as of one instant (`proof`), at which it also says how far it is proven.
Nothing in here knows HTTP or a terminal. A question that has no answer raises a `WindowError`, which names
what was found and what is allowed.
"""

from shared.windows.entries import StoredEntry, distinct, entries
from shared.windows.entry_status import EntryStatus, entry_status
from shared.windows.explanations import Explanation, Piece, explain
from shared.windows.paging import LONGEST, Page
from shared.windows.proof import Freshness, Proof, freshness, proof, proof_of
from shared.windows.questions import named, parse_key
from shared.windows.rejected import Rejected, Retried, rejected, retry
from shared.windows.runs import Run, run, runs
from shared.windows.series import series
from shared.windows.totals import Order, Total, order_of, total, total_of, totals, zero

__all__ = [
    "LONGEST",
    "EntryStatus",
    "Explanation",
    "Freshness",
    "Order",
    "Page",
    "Piece",
    "Proof",
    "Rejected",
    "Retried",
    "Run",
    "StoredEntry",
    "Total",
    "distinct",
    "entries",
    "entry_status",
    "explain",
    "freshness",
    "named",
    "order_of",
    "parse_key",
    "proof",
    "proof_of",
    "rejected",
    "retry",
    "run",
    "runs",
    "series",
    "total",
    "total_of",
    "totals",
    "zero",
]

"""What readers ask, over HTTP or in the terminal. It only reads, except for `retry`.

Every answer about totals is read as of one instant (`proof`), at which it also says how far it is proven.
Nothing in here knows HTTP or a terminal. A question that has no answer raises a `WindowError`, which names
what was found and what is allowed.
"""

from shared.windows.paging import LONGEST, Page
from shared.windows.proof import Freshness, Proof, freshness, proof
from shared.windows.questions import named, parse_key
from shared.windows.runs import Run, run, runs
from shared.windows.totals import Total, total, totals

__all__ = [
    "LONGEST",
    "Freshness",
    "Page",
    "Proof",
    "Run",
    "Total",
    "freshness",
    "named",
    "parse_key",
    "proof",
    "run",
    "runs",
    "total",
    "totals",
]

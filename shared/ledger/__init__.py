"""How an event becomes increments exactly once.

`outcome` says what may become of a change, `queue` who waits and what rides together, `placing` when a
deletion was committed, `guard` how a group is committed once, `writes` what a commit holds, and `ledger`
joins them for threads and for an event loop.
"""

from shared.ledger.guard import COMMIT_TIMEOUT, Guard
from shared.ledger.ledger import Ledger
from shared.ledger.outcome import Figures, Outcome
from shared.ledger.writes import MARKER_LIFE, marker_id, marker_of

__all__ = ["COMMIT_TIMEOUT", "MARKER_LIFE", "Figures", "Guard", "Ledger", "Outcome", "marker_id", "marker_of"]

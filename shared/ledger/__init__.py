"""How an event becomes increments exactly once.

`outcome` is a change on its way, `placing` says when a deletion was committed, `guard` how a group is
committed once, `writes` what a commit holds, and `ledger` joins them. `shared.grouping` forms the groups.
"""

from shared.grouping import COMMIT_TIMEOUT, Figures, Outcome
from shared.ledger.guard import Guard
from shared.ledger.ledger import Ledger
from shared.ledger.writes import MARKER_LIFE, marker_id, marker_of

__all__ = ["COMMIT_TIMEOUT", "MARKER_LIFE", "Figures", "Guard", "Ledger", "Outcome", "marker_id", "marker_of"]

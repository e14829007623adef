"""How what waits in an instance is committed together: what the ledger and the intake share.

`outcome` says what may become of a member, `queue` who waits and what rides together, `groups` who leads, for
threads and for an event loop, and `settling` how a group is tried again, split and answered.
"""

from shared.grouping.groups import Groups
from shared.grouping.outcome import Figures, Member, Outcome
from shared.grouping.queue import Pace
from shared.grouping.settling import COMMIT_TIMEOUT, Settling

__all__ = ["COMMIT_TIMEOUT", "Figures", "Groups", "Member", "Outcome", "Pace", "Settling"]

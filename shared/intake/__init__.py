"""Events become entries, each in the commit that counts it: for sources that Libra writes itself.

`verdict` says what became of an event, `admission` how a group of events is committed once, and `intake`
joins them. `shared.grouping` forms the groups. docs/intake.md has the law and its proof.
"""

from shared.grouping import Figures, Outcome
from shared.intake.intake import Intake
from shared.intake.verdict import Verdict

__all__ = ["Figures", "Intake", "Outcome", "Verdict"]

"""The recompute: prove the totals at a watermark, and correct what drifted while the triggers run on.

The steps, and why in this order:

1. **Acquire** the lease and the run's record in one commit. Its commit time is Firestore's own clock, so
   the watermark depends on no clock of this process.
2. **Process**: choose the watermark W, ``LAG`` behind that time, and how to count.
3. **Count** exactly the snapshot at W. It may take long and fail; nothing has been changed so far.
4. **Clean** what is recorded as rejected and has been edited or deleted since (`records`).
5. **Seal** W. From here on the ledger skips whatever was committed at or before W, so that what a total
   says of those entries (`shared.drift`) stands still. Sealing before counting would be as right, but a
   count that failed would leave late entries skipped and uncounted until the next run.
6. **Compare** every stored total with its count: one listing, read after the seal. A run that would take too
   much away ends here, before it has corrected anything.
7. **Correct** by increments, in batches.
8. **Complete**: the report becomes the run's record, the state document says that W is proven, and the lease
   is released.

Crash anywhere and run again: what was corrected has drift 0, the rest is still to do.

`watermarks` chooses where to compare, `lease` says who may write, `fence` commits each step once and only
while the lease is held, `records` finds outdated rejections, `comparison` reads the totals, `loss` stops a
run that would take too much away, `corrections` writes the totals, `standing` says since when each
aggregation is exact, `report` what was found, and `run` joins them. `compaction` keeps totals small between
runs. `removal` deletes the totals of what is declared no more, as a run of its own.
"""

from shared.recompute.compaction import Compaction
from shared.recompute.fence import COMMIT_TIMEOUT, FENCED, STEPS
from shared.recompute.lease import LEASE, Lease, under_way
from shared.recompute.loss import Loss
from shared.recompute.report import Corrected, Filling, Report
from shared.recompute.run import Recompute

__all__ = [
    "COMMIT_TIMEOUT",
    "FENCED",
    "LEASE",
    "STEPS",
    "Compaction",
    "Corrected",
    "Filling",
    "Lease",
    "Loss",
    "Recompute",
    "Report",
    "under_way",
]

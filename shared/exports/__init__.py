"""Exports: totals or entries of a source as a snapshot at a watermark, complete or absent.

`tables` says which tables and rows there are, `snapshot` reads them a page at a time, and `manifest` says
what a snapshot holds. `folder`, `bucket`, `warehouse` and `database` are the destinations,
and `comparing` compares a snapshot with Firestore, key by key.
"""

from shared.exports.comparing import Comparison, Difference, compare
from shared.exports.formats import FORMATS
from shared.exports.manifest import Manifest
from shared.exports.places import opened
from shared.exports.snapshot import STEPS, Snapshot
from shared.exports.target import Target

__all__ = [
    "FORMATS",
    "STEPS",
    "Comparison",
    "Difference",
    "Manifest",
    "Snapshot",
    "Target",
    "compare",
    "opened",
]

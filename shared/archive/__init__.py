"""Retention that keeps the truth: old entries leave Firestore for files, and stay counted.

`reading` finds the entries, `pages` cuts them and says what a page's commit writes, `files` is the format of
its file, `destinations` and `bucket` store it, `moving` commits the page, `records` and `manifest` list all
pages, `archive` joins these, and `verifying` proves files, records and totals against each other.
"""

from shared.archive.archive import STEPS, Archive
from shared.archive.destinations import Destination, Folder, destination
from shared.archive.report import ArchiveReport
from shared.archive.verifying import Verification, Verified

__all__ = [
    "STEPS",
    "Archive",
    "ArchiveReport",
    "Destination",
    "Folder",
    "Verification",
    "Verified",
    "destination",
]

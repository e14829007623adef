"""Where an export goes, and what every destination promises."""

from collections.abc import Iterator
from typing import Protocol

from shared.exports.manifest import Held, Manifest
from shared.exports.snapshot import Snapshot
from shared.exports.tables import Row, What


class Target(Protocol):
    """A destination. It has the last complete snapshot of each source's totals and entries, or none."""

    place: str
    """How an operator names it."""

    def save(self, snapshot: Snapshot) -> Manifest:
        """Store a snapshot: all of it, or nothing. Until then a reader finds the one before.

        Raises:
            ExportError: the destination cannot be written.
            StoreError: Firestore cannot be read.
        """

    def manifest(self, source: str, what: What) -> Manifest | None:
        """The manifest of the last complete snapshot; None if there is none.

        Raises:
            ExportError: it cannot be read.
        """

    def rows(self, manifest: Manifest, held: Held) -> Iterator[Row]:
        """The rows of a table of a snapshot, ascending by `id`.

        Raises:
            ExportError: they cannot be read, or they are not what was written.
        """

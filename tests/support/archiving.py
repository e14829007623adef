"""What the tests of the archive share: files in memory, and the law *retain*."""

import gzip
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from shared.aggregation import fold
from shared.archive import Archive, ArchiveReport
from shared.archive.files import document_of
from shared.catalog import LIBRA_HOME
from shared.store import Document, Query
from tests.support.recomputing import World, totals


@dataclass
class Shelf:
    """A destination in memory."""

    place: str = "/archive"
    files: dict[str, bytes] = field(default_factory=dict)

    def write(self, name: str, data: bytes, *, replace: bool = False) -> None:
        """See `Destination.write`."""
        assert replace or name not in self.files, f"{name} is written again"
        self.files[name] = data

    def read(self, name: str) -> bytes | None:
        """See `Destination.read`."""
        return self.files.get(name)

    def names(self) -> Iterator[str]:
        """See `Destination.names`."""
        yield from sorted(self.files)


@dataclass
class Kept:
    """A world whose old entries are archived."""

    world: World = field(default_factory=World)
    shelf: Shelf = field(default_factory=Shelf)

    def archive(self, **options: object) -> Archive:
        """An archive into the shelf."""
        world = self.world
        options = {"clock": world.clock, "sleep": world.clock.sleep} | options
        return Archive(world.store, world.source, world.home, self.shelf, **options)  # type: ignore[arg-type]  # as named

    def run(self, before: datetime | None = None, **options: object) -> ArchiveReport:
        """Archive everything that is sealed, unless ``before`` says otherwise."""
        return self.archive(**options).run(before or self.world.clock.now)

    def living(self) -> list[Document]:
        """The entries that live."""
        return list(self.world.memory.query(Query(LIBRA_HOME.entries)))

    def records(self) -> list[Document]:
        """The records of pages."""
        return list(self.world.memory.query(Query(LIBRA_HOME.archives)))

    def filed(self) -> list[Document]:
        """The entries in the files that records name."""
        return [
            document_of(self.world.memory, line)
            for record in self.records()
            for line in gzip.decompress(self.shelf.files[str(record.fields["file"])]).splitlines()
        ]

    def shown(self) -> dict[str, object]:
        """What a reader sees: the count of every total."""
        return {
            path: total.fields["count"]
            for path, total in totals(self.world.memory, self.world.source).items()
            if "count" in total.fields
        }

    def archived(self) -> dict[str, Mapping[str, int]]:
        """What every total holds of archived entries."""
        return {
            path: total.fields["archived"]  # type: ignore[misc]  # a map, or the comparison fails
            for path, total in totals(self.world.memory, self.world.source).items()
            if "archived" in total.fields
        }

    def retained(self) -> None:
        """Law *retain*, now: an entry lives or is filed, `archived` is the fold of the files, nothing drifts.

        The dry run compares at the watermark that it chooses: up to then every event has been counted.
        """
        alive, filed = ({each.path for each in found} for found in (self.living(), self.filed()))
        assert not alive & filed
        folded = fold(self.world.source, (document.fields for document in self.filed()))
        assert self.archived() == {self.world.home.total(cell): found for cell, found in folded.items()}
        report = self.world.recompute().verify("scan")
        assert (report.drift, report.notes) == (0, ())


def sealed(entries: int = 5) -> Kept:
    """A world with entries that are counted and sealed by a run, and some minutes later."""
    kept = Kept()
    kept.world.serve(entries)
    kept.world.later(minutes=30)
    kept.world.run()
    return kept

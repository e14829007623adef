"""Puts back what totals hold of archived entries, where somebody changed or deleted a total."""

import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from shared.aggregation import Home, Source
from shared.archive.records import (
    Amounts,
    Held,
    add,
    held_totals,
    last_page,
    page_records,
)
from shared.errors import ArchiveError, LibraError
from shared.recompute import LEASE
from shared.recompute.comparison import deltas_of, page_of, sums_of
from shared.recompute.corrections import BATCH_DOCUMENTS
from shared.recompute.fence import Fence, Run
from shared.store import Document, Merge, Query, Store


@dataclass(frozen=True, slots=True)
class Repaired:
    """A total that did not hold what was archived."""

    total: str
    was: object
    archived: Mapping[str, int]
    """What it holds now."""


class Repair:
    """Sets ``archived`` in totals to what the page records add up to, under the lease of a run.

    While the lease is held nothing else writes ``archived``. The repair does not touch ``count``: the next
    recompute finds what is missing there. It reads every page record.
    """

    def __init__(
        self,
        store: Store,
        source: Source,
        home: Home,
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        sleep: Callable[[float], None] = time.sleep,
        step: Callable[[str], None] = lambda _: None,
        lease: timedelta = LEASE,
    ) -> None:
        self._store = store
        self._source = source
        self._home = home
        self._clock = clock
        self._fence = Fence(store, home, clock=clock, sleep=sleep, step=step, lease=lease)

    def run(self) -> list[Repaired]:
        """Repair every total that needs it.

        Raises:
            ArchiveError: page records are missing; nothing was repaired.
            LeaseHeld, LeaseLost, StateError, StoreError: as a recompute.
        """
        run = self._fence.acquire("archive repair")
        try:
            begun = {"state": "processing", "strategy": "archive repair"}
            self._fence.commit(run, "process", record=begun)
            recorded, pages = self._recorded(run)
            repaired = self._repair(run, recorded, pages)
            done = {"state": "completed", "finished_at": self._clock(), "repaired": len(repaired)}
            self._fence.commit(run, "complete", record=done, release=True)
        except BaseException as error:
            with suppress(LibraError):  # the lease runs out by itself
                self._fence.fail(run, error)
            raise
        return repaired

    def _recorded(self, run: Run) -> tuple[Amounts, dict[str, int]]:
        """What every total must hold, and the last page that added to it."""
        recorded: Amounts = {}
        pages: dict[str, int] = {}
        for record in page_records(self._home, self._query):
            self._fence.keep(run)
            for path, amounts in deltas_of(record.fields):
                add(recorded, path, amounts)
                pages[path] = page_of(record.fields, "page")
        held = sums_of(last_page(self._home, self._query), self._home)
        for each in self._source.aggregations:
            collection = self._home.collection(each.name)
            found = sum(
                amounts["count"]
                for path, amounts in recorded.items()
                if path.rpartition("/")[0] == collection
            )
            if found != held.get(collection, 0):
                raise ArchiveError(
                    f"{self._home.archives}: its records add up to {found:,} archived entries in "
                    f"{collection}, but {held.get(collection, 0):,} were archived: records are missing or "
                    "changed. Nothing was repaired; restore the collection from a backup"
                )
        return recorded, pages

    def _repair(self, run: Run, recorded: Amounts, pages: Mapping[str, int]) -> list[Repaired]:
        held = dict(held_totals(self._source, self._home, self._query))
        declared = {self._home.collection(each.name) for each in self._source.aggregations}
        repaired = []
        for path in sorted(held.keys() | recorded.keys()):
            found, right = held.get(path, Held(None, 0)), recorded.get(path, {})
            if path.rpartition("/")[0] in declared and found != Held(right, pages.get(path, 0)):
                repaired.append(Repaired(path, found.archived, right))
        for begin in range(0, len(repaired), BATCH_DOCUMENTS):
            batch = repaired[begin : begin + BATCH_DOCUMENTS]
            self._fence.commit(run, "repair", [_repairing(each, pages.get(each.total, 0)) for each in batch])
        return repaired

    def _query(self, query: Query) -> list[Document]:
        return self._fence.read(lambda: list(self._store.query(query)))


def _repairing(total: Repaired, page: int) -> Merge:
    if not total.archived:
        return Merge(total.total, deletes=[("archived",), ("archived_page",)])
    return Merge(total.total, {("archived",): total.archived, ("archived_page",): page})

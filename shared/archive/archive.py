"""An archive, from the lease to the manifest; and a dry run, which writes nothing."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from itertools import islice

from shared.aggregation import Home, Source
from shared.archive.destinations import Destination
from shared.archive.files import packed
from shared.archive.manifest import NAME, manifest
from shared.archive.moving import Mover
from shared.archive.pages import Item, Page, cut
from shared.archive.reading import Old, event_time
from shared.archive.records import MANIFESTED, last_page, page_records
from shared.archive.report import ArchiveReport, Moved, completed
from shared.errors import ArchiveError, DeclarationError, LibraError
from shared.recompute import LEASE
from shared.recompute.comparison import page_of
from shared.recompute.fence import Fence, Run
from shared.recompute.lease import fields_of
from shared.registry import Registry
from shared.store import Document, Query, Store
from shared.watermark import stored_watermark

FENCED = ("process", "page", "renew", "complete", "fail")
STEPS = (
    *("acquire begun", "acquire committed", "file begun", "file written", "file verified"),
    *("manifest begun", "manifest written"),
    *(f"{name} {moment}" for name in FENCED for moment in ("begun", "committed")),
)
"""Every moment that the ``step`` hook is called with, as `shared.recompute.STEPS` for a run."""


class Archive:
    """Moves old entries of one source into files, a page at a time, while the triggers keep running.

    Only the holder of the lease moves entries, and a recompute needs the same lease. Each page is one commit.
    It deletes each entry if that is still as it was read, leaves a marker for each deletion, adds to
    ``archived`` what the entries had added to ``count``, and writes the page's record. The page's file is
    complete and verified before. So whatever dies, an entry lives in the collection, or it is in a file and
    in ``archived``: never both, never neither. The next archive goes on with what lives.

    ``step`` is called with each moment of `STEPS`, ``progress`` with what is counted and how many so far.
    """

    def __init__(
        self,
        store: Store,
        source: Source,
        home: Home,
        destination: Destination,
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        sleep: Callable[[float], None] = time.sleep,
        step: Callable[[str], None] = lambda _: None,
        progress: Callable[[str, int], None] = lambda _, __: None,
        lease: timedelta = LEASE,
    ) -> None:
        home.check(source)
        if home.self_written:
            raise DeclarationError(
                f"source {source.name}: its home is self_written, so an entry is the only proof that its "
                "event was counted: an event that came again after its entry was archived would count twice"
            )
        self._store = store
        self._source = source
        self._home = home
        self._destination = destination
        self._clock = clock
        self._sleep = sleep
        self._step = step
        self._progress = progress
        self._fence = Fence(store, home, clock=clock, sleep=sleep, step=step, lease=lease)

    # -- for callers

    def run(
        self, before: datetime, *, by_commit_time: bool = False, at_most: int | None = None
    ) -> ArchiveReport:
        """Move every sealed entry whose event time is older than ``before``.

        Args:
            before: the age at which entries are archived.
            by_commit_time: read the whole collection, and go by the time at which an entry was committed.
            at_most: the entries after which it ends, so that a recompute can run; None: no bound.

        Raises:
            ArchiveError: nothing is sealed, there is no event time, or a file cannot be written or read back.
            LeaseHeld: a recompute or another archive is under way; nothing was done.
            LeaseLost: this archive took too long between two signs of life; another run may have begun.
            StateError: the state document is damaged.
            StoreError: Firestore cannot be reached or refuses.
        """
        begun, moved = self._clock(), Moved()
        old = self._old(before, by_commit_time=by_commit_time)
        run = self._fence.acquire("archive")
        try:
            self._work(run, old, at_most, moved)
            report = self._report(run, old, moved, begun)
            self._fence.commit(run, "complete", record=completed(report, self._clock()), release=True)
        except BaseException as error:
            with suppress(LibraError):  # the lease runs out by itself
                self._fence.fail(run, error)
            raise
        return report

    def dry_run(
        self, before: datetime, *, by_commit_time: bool = False, at_most: int | None = None
    ) -> ArchiveReport:
        """Say what `run` would move, and write nothing at all. It reads every entry that would be moved.

        Raises:
            ArchiveError, StateError, StoreError: as `run`.
        """
        begun, moved = self._clock(), Moved()
        old = self._old(before, by_commit_time=by_commit_time)
        for items in self._pages(old, at_most, writes=False):
            file, _ = packed("", (item.line for item in items))
            self._add(moved, Page(0, items, file))
        return self._report(None, old, moved, begun)

    # -- the steps

    def _work(self, run: Run, old: Old, at_most: int | None, moved: Moved) -> None:
        old.beat = lambda: self._fence.keep(run)
        why = f"entries whose {old.by} is before {old.before.isoformat()}, to {self._destination.place}"
        self._fence.commit(run, "process", record={"state": "processing", "strategy": "archive", "why": why})
        mover = Mover(
            self._store,
            self._source,
            self._home,
            self._destination,
            self._fence,
            run=run,
            by=old.by,
            last=self._last_page(),
            clock=self._clock,
            step=self._step,
        )
        for items in self._pages(old, at_most):
            for page in mover.move(items):
                self._add(moved, page)
        moved.changed = mover.changed
        self._step("manifest begun")
        if listed := manifest(self._destination.place, self._records(run)):
            self._destination.write(NAME, listed, replace=True)
        self._step("manifest written")

    def _pages(self, old: Old, at_most: int | None, *, writes: bool = True) -> Iterator[list[Item]]:
        registry = Registry(self._store, self._source, self._home, sleep=self._sleep, writes=writes)
        found = islice(old, at_most)
        items = (Item.of(self._store, self._source, registry, entry, when) for entry, when in found)
        return cut(self._home, items)

    def _add(self, moved: Moved, page: Page) -> None:
        moved.add(self._home, page)
        self._progress("entries archived", moved.entries)

    # -- what is read

    def _old(self, before: datetime, *, by_commit_time: bool) -> Old:
        (state,) = self._get([self._home.state])
        watermark = stored_watermark(fields_of(state))
        if watermark is None:
            raise ArchiveError(
                f"{self._home.state}: no watermark is stored, so no entry is proven to be counted: "
                "run libra recompute first"
            )
        if watermark > self._clock():
            raise ArchiveError(
                f"{self._home.state}: the watermark {watermark.isoformat()} lies in the future: "
                "run libra recompute first, which sets it back"
            )
        return Old(
            self._store,
            self._home,
            before,
            watermark,
            field=None if by_commit_time else event_time(self._source),
            read=self._fence.read,
        )

    def _last_page(self) -> Mapping[str, object]:
        """The number and the sums of the last page of any archive: numbers ascend with the commits.

        The state document has the number too, in case that somebody removed records.
        """
        (state,) = self._get([self._home.state])
        last = last_page(self._home, self._query)
        return {**last, "page": max(page_of(fields_of(state)), page_of(last, "page"))}

    def _records(self, run: Run) -> Iterator[Document]:
        for record in page_records(self._home, self._query, select=MANIFESTED):
            self._fence.keep(run)
            yield record
            run.reads += 1

    def _get(self, paths: Sequence[str]) -> list[Document | None]:
        return self._fence.read(lambda: self._store.get(paths))

    def _query(self, query: Query) -> list[Document]:
        return self._fence.read(lambda: list(self._store.query(query)))

    def _report(self, run: Run | None, old: Old, moved: Moved, begun: datetime) -> ArchiveReport:
        seconds = (self._clock() - begun).total_seconds()
        return ArchiveReport(
            run.run_id if run else None,
            self._destination.place,
            old.by,
            old.before,
            old.watermark,
            moved,
            old.unsealed,
            reads=old.reads + (run.reads if run else 0),
            writes=run.writes - moved.entries if run else moved.writes,
            seconds=seconds,
        )

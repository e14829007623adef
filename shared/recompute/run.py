"""A run of the recompute, from the lease to the report; and a dry run, which writes nothing."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from shared.aggregation import Home, Source
from shared.counting import Beam, Counted, Snapshot, Strategy, plan, startable
from shared.drift import Correction
from shared.errors import SnapshotTooOld
from shared.recompute.compaction import Compaction, compact
from shared.recompute.comparison import Comparison, compare_all
from shared.recompute.corrections import batches, correcting
from shared.recompute.fence import Fence, Run
from shared.recompute.lease import LEASE
from shared.recompute.loss import fallen, losses, refuse
from shared.recompute.records import clean
from shared.recompute.report import Report, completed, log, report_of
from shared.recompute.standing import FIELD, Standings, standings
from shared.recompute.watermarks import Watermarks
from shared.registry import Registry
from shared.settings import Settings
from shared.store import Store
from shared.watermark import check_lag


class Recompute:
    """Runs recomputes of one source. See the module for the protocol.

    ``step`` is called with each moment of `STEPS`, ``progress`` with the entries counted so far.
    """

    def __init__(
        self,
        store: Store,
        source: Source,
        home: Home,
        settings: Settings,
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        sleep: Callable[[float], None] = time.sleep,
        step: Callable[[str], None] = lambda _: None,
        progress: Callable[[str, int], None] = lambda _, __: None,
        lease: timedelta = LEASE,
        workers: int = 8,
        beam: Beam | None = None,
    ) -> None:
        check_lag(settings.lag, test=settings.test)
        home.check(source)
        standings(source, home, {})  # so that a declaration without a digest stops the start
        self._store = store
        self._source = source
        self._home = home
        self._settings = settings
        self._clock = clock
        self._sleep = sleep
        self._step = step
        self._progress = progress
        self._fence = Fence(store, home, clock=clock, sleep=sleep, step=step, lease=lease)
        self._watermarks = Watermarks(store, home, settings, self._fence, clock)
        self._workers = workers
        self._beam = beam

    # -- for callers

    def run(self, strategy: Strategy = "auto", *, accept_loss: bool = False) -> Report:
        """Count, seal, correct, report.

        Args:
            strategy: how to count.
            accept_loss: whether to correct although that takes away more than the settings allow.

        Raises:
            LeaseHeld: another run is under way; nothing was done.
            LeaseLost: this run took too long between two signs of life; another may have begun.
            WatermarkAhead: see `next_watermark`.
            BucketsStraddle: the bucket length was changed a moment ago.
            MassLoss: it would take too much away; nothing was corrected.
            StrategyUnsupported: ``strategy`` cannot count this source, or not in this process.
            IndexMissing: naming the index.
            PipelineError: the pipeline that was to count failed; nothing was corrected.
            SnapshotTooOld: the count took longer than Firestore keeps snapshots; nothing was corrected.
            ArchiveError: the totals do not hold what was archived; nothing was corrected.
            StateError: the state document is damaged.
            StoreError: Firestore cannot be reached or refuses.
        """
        if strategy == "beam":
            startable(self._beam)  # before the lease is taken, and a record made
        begun = self._clock()
        with self._fence.held(strategy) as run:
            report = self._work(run, strategy, begun, accept_loss=accept_loss)
        log(report, self._source.name)
        return report

    def verify(self, strategy: Strategy = "auto") -> Report:
        """Count and compare, and write nothing at all: no lease, no record, no seal.

        Without a seal an entry committed up to the watermark may still be applied in between: a late one
        that is on its way shows up as drift. What a recompute corrects meanwhile does not.

        Raises:
            BucketsStraddle, StrategyUnsupported, IndexMissing, SnapshotTooOld, ArchiveError, StateError,
                StoreError: as `run`.
        """
        begun, settings, reads = self._clock(), self._settings, 0
        while True:
            watermark, note, state = self._watermarks.unsealed()
            snapshot = self._snapshot(
                watermark, lambda counted: self._progress("counted", counted), writes=False
            )
            with _window(watermark):
                counted, how = plan(snapshot, strategy, self._beam).count(snapshot)
            found = self._compare(watermark, counted)
            reads += snapshot.reads + found.reads + 2
            if self._watermarks.stands(watermark, state):
                break
        seconds = (self._clock() - begun).total_seconds()
        standing = standings(self._source, self._home, state)
        return report_of(
            None,
            watermark,
            how,
            counted,
            found,
            reads=reads,
            writes=0,
            seconds=seconds,
            notes=_notes(note, standing, found, settings.max_loss),
            lost=losses(found.counts, settings.max_loss, standing.expected),
            before=standing,
            after=standing,
        )

    def compact(self) -> Compaction:
        """Keep totals small between two runs; raises as `compaction.compact`."""
        return compact(
            self._store, self._source, self._home, self._settings, sleep=self._sleep, progress=self._progress
        )

    # -- the steps

    def _work(self, run: Run, strategy: Strategy, begun: datetime, *, accept_loss: bool) -> Report:
        settings, standing = self._settings, standings(self._source, self._home, run.state)
        watermark, note = self._watermarks.next(run)
        snapshot = self._snapshot(watermark, lambda counted: self._keep(run, counted))
        with _window(watermark):
            how = plan(snapshot, strategy, self._beam)
            chosen = {"watermark": watermark, "strategy": how.strategy, "why": how.why}
            self._fence.commit(run, "process", record={"state": "processing", **chosen})
            counted, how = how.count(snapshot)
        self._step("counted")
        clean(self._store, self._home, self._fence, run)
        self._seal(run, watermark)
        found = self._compare(watermark, counted, lambda: self._keep(run, counted.entries))
        self._step("compared")
        lost = losses(found.counts, settings.max_loss, standing.expected)
        if not accept_loss:
            entries = self._store.name(self._home.entries)
            refuse(lost, settings.max_loss, self._source.name, entries, watermark)
        self._correct(run, found.corrections)
        proven = standing.proven(watermark, run.started, found.sums)
        seconds = (self._clock() - begun).total_seconds()
        report = report_of(
            run.run_id,
            watermark,
            how,
            counted,
            found,
            reads=run.reads + snapshot.reads + found.reads + 2,  # completing reads two documents,
            writes=run.writes + 2,  # and writes two
            seconds=seconds,
            notes=_notes(note, standing, found, self._settings.max_loss),
            lost=lost,
            before=standing,
            after=proven,
        )
        record = completed(report, self._clock())
        state = {"proven": watermark, FIELD: proven.as_fields()}
        self._fence.commit(run, "complete", record=record, also=state, release=True)
        return report

    def _seal(self, run: Run, watermark: datetime) -> None:
        if run.stored_watermark != watermark:
            self._fence.commit(run, "seal", seal=watermark)

    def _compare(
        self, watermark: datetime, counted: Counted, beat: Callable[[], None] = lambda: None
    ) -> Comparison:
        """Compare every total that is stored or counted, after the seal."""
        return compare_all(
            self._store,
            self._source,
            self._home,
            counted,
            watermark=watermark,
            read=self._fence.read,
            beat=beat,
        )

    def _correct(self, run: Run, corrections: Sequence[Correction]) -> None:
        for batch in batches(each for each in corrections if not each.rebuild):
            self._fence.commit(run, "correct", [correcting(each) for each in batch])
            self._progress("corrected", len(batch))
        for each in corrections:
            if each.rebuild:
                self._fence.commit(run, "rebuild", rebuild=each)

    def _keep(self, run: Run, counted: int) -> None:
        self._progress("counted", counted)
        self._fence.keep(run)

    # -- what is read

    def _snapshot(self, watermark: datetime, beat: Callable[[int], None], *, writes: bool = True) -> Snapshot:
        registry = Registry(self._store, self._source, self._home, sleep=self._sleep, writes=writes)
        return Snapshot(
            self._store,
            self._source,
            self._home,
            watermark,
            workers=self._workers,
            beat=beat,
            sleep=self._sleep,
            settle=registry.settle,
        )


def _notes(note: str | None, standing: Standings, found: Comparison, allowed: Decimal) -> tuple[str, ...]:
    before = {each.name: each.sum for each in standing.declared if each.sum is not None}
    return (*((note,) if note else ()), *fallen(before, found.sums, allowed, standing.expected))


@contextmanager
def _window(watermark: datetime) -> Iterator[None]:
    try:
        yield
    except SnapshotTooOld as error:
        raise SnapshotTooOld(
            f"the snapshot at {watermark.isoformat()} cannot be read: Firestore keeps snapshots for an "
            "hour, or, with point-in-time recovery, whole minutes for seven days. Nothing was corrected. If "
            "the count outlived it: use the strategy index or beam, or enable point-in-time recovery (gcloud "
            "firestore databases update --enable-pitr). If LIBRA_LAG_SECONDS is close to an hour: lower it. "
            f"{error}"
        ) from error

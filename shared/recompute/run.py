"""A run of the recompute, from the lease to the report; and a dry run, which writes nothing."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta

from shared.aggregation import Home, Source
from shared.counting import Counted, Snapshot, Strategy, plan
from shared.drift import Correction
from shared.errors import LibraError, SnapshotTooOld
from shared.recompute.comparison import Comparison, compare_all
from shared.recompute.corrections import batches, correcting
from shared.recompute.fence import Fence, Run
from shared.recompute.lease import LEASE, fields_of
from shared.recompute.report import Report, completed, log, report_of
from shared.settings import Settings
from shared.store import Store
from shared.watermark import check_lag, choose_watermark, next_watermark, stored_watermark


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
    ) -> None:
        check_lag(settings.lag, test=settings.test)
        home.check(source)
        self._store = store
        self._source = source
        self._home = home
        self._settings = settings
        self._clock = clock
        self._sleep = sleep
        self._step = step
        self._progress = progress
        self._fence = Fence(store, home, clock=clock, sleep=sleep, step=step, lease=lease)
        self._workers = workers

    # -- for callers

    def run(self, strategy: Strategy = "auto") -> Report:
        """Count, seal, correct, report.

        Raises:
            LeaseHeld: another run is under way; nothing was done.
            LeaseLost: this run took too long between two signs of life; another may have begun.
            WatermarkAhead: see `next_watermark`.
            BucketsStraddle: the bucket length was changed a moment ago.
            StrategyUnsupported: ``strategy`` cannot count this source.
            IndexMissing: naming the index.
            SnapshotTooOld: the count took longer than Firestore keeps snapshots; nothing was corrected.
            ArchiveError: the totals do not hold what was archived; nothing was corrected.
            StateError: the state document is damaged.
            StoreError: Firestore cannot be reached or refuses.
        """
        begun = self._clock()
        run = self._fence.acquire(strategy)
        try:
            report = self._work(run, strategy, begun)
        except BaseException as error:
            with suppress(LibraError):  # the lease runs out by itself
                self._fence.fail(run, error)
            raise
        log(report)
        return report

    def verify(self, strategy: Strategy = "auto") -> Report:
        """Count and compare, and write nothing at all: no lease, no record, no seal.

        Without a seal an entry committed up to the watermark may still be applied in between: a late one
        that is on its way shows up as drift. What a recompute corrects meanwhile does not.

        Raises:
            BucketsStraddle, StrategyUnsupported, IndexMissing, SnapshotTooOld, ArchiveError, StateError,
                StoreError: as `run`.
        """
        begun = self._clock()
        reads = 0
        while True:
            before = self._sealed()
            watermark, note = self._unsealed(before)
            snapshot = self._snapshot(watermark, lambda counted: self._progress("counted", counted))
            with _window(watermark):
                counted, how = plan(snapshot, strategy).count(snapshot)
            found = self._compare(watermark, counted)
            reads += snapshot.reads + found.reads + 2
            after = self._sealed()
            if after is None or after <= watermark or after == before:
                break  # else a run has meanwhile closed buckets that this comparison still needed
        seconds = (self._clock() - begun).total_seconds()
        return report_of(
            None, watermark, how, counted, found, reads=reads, writes=0, seconds=seconds, note=note
        )

    # -- the steps

    def _work(self, run: Run, strategy: Strategy, begun: datetime) -> Report:
        settings = self._settings
        watermark, note = next_watermark(run.started, run.stored_watermark, settings.lag, settings.bucket)
        snapshot = self._snapshot(watermark, lambda counted: self._keep(run, counted))
        with _window(watermark):
            how = plan(snapshot, strategy)
            chosen = {"watermark": watermark, "strategy": how.strategy, "why": how.why}
            self._fence.commit(run, "process", record={"state": "processing", **chosen})
            counted, how = how.count(snapshot)
        self._step("counted")
        self._seal(run, watermark)
        found = self._compare(watermark, counted, lambda: self._keep(run, counted.entries))
        self._step("compared")
        self._correct(run, found.corrections)
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
            note=note,
        )
        self._fence.commit(run, "complete", record=completed(report, self._clock()), release=True)
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
            now=self._clock(),
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

    def _snapshot(self, watermark: datetime, beat: Callable[[int], None]) -> Snapshot:
        return Snapshot(
            self._store,
            self._source,
            self._home,
            watermark,
            workers=self._workers,
            beat=beat,
            sleep=self._sleep,
        )

    def _sealed(self) -> datetime | None:
        (state,) = self._fence.read(lambda: self._store.get([self._home.state]))
        return stored_watermark(fields_of(state))

    def _unsealed(self, stored: datetime | None) -> tuple[datetime, str | None]:
        """Where to compare without sealing: at the stored watermark, if that is later and has a snapshot."""
        now = self._clock()
        chosen = choose_watermark(now, self._settings.lag, self._settings.bucket)
        if stored is None or stored <= chosen:
            return chosen, None
        if stored <= now:
            return stored, None
        return chosen, f"the watermark {stored.isoformat()} lies in the future: the next run sets it back"


@contextmanager
def _window(watermark: datetime) -> Iterator[None]:
    try:
        yield
    except SnapshotTooOld as error:
        raise SnapshotTooOld(
            f"the snapshot at {watermark.isoformat()} cannot be read: Firestore keeps snapshots for an "
            "hour, or, with point-in-time recovery, whole minutes for seven days. Nothing was corrected. If "
            "the count outlived it: use the strategy index, or enable point-in-time recovery (gcloud "
            "firestore databases update --enable-pitr). If LIBRA_LAG_SECONDS is close to an hour: lower it. "
            f"{error}"
        ) from error

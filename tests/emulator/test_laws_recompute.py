"""The laws of the recompute on the real emulator, with triggers running.

Over 300 lines because a law is held at every step, with the process that is killed there.
"""

import random
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest

from shared.aggregation import Entry
from shared.errors import LeaseHeld, LeaseLost, Transient
from shared.ledger import Ledger
from shared.recompute import STEPS, Recompute, Report, under_way
from shared.store import Create, Delete, Merge, Query
from tests.emulator import killed_recompute
from tests.support.forked import forked
from tests.support.kitchen import SERVED, Kitchen
from tests.support.recomputing import converged, exact_at, fence_holds, next_second, totals

CATEGORY = "aggregates_categories/Kettle Chips"
LEASE = timedelta(seconds=3)


def recompute(kitchen: Kitchen, **options: object) -> Recompute:
    """A recompute of the kitchen."""
    options = {"lease": LEASE, "workers": 4} | options
    return Recompute(kitchen.store, kitchen.source, kitchen.home, kitchen.settings, **options)  # type: ignore[arg-type]  # as named


def run_when_free(kitchen: Kitchen, seconds: float = 60) -> Report:
    """Recompute as soon as nobody holds the lease any more."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            return recompute(kitchen).run()
        except LeaseHeld:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


# --- traffic --------------------------------------------------------------------------------------


@dataclass
class Traffic:
    """Devices that write, and triggers that count, lose, double and delay what was written."""

    kitchen: Kitchen
    dice: random.Random
    lost: int = 0
    delivered: int = 0
    _late: list[Entry] = field(default_factory=list)
    _ids: list[str] = field(default_factory=list)
    _mutex: threading.Lock = field(default_factory=threading.Lock)

    def turn(self, ledger: Ledger, prefix: str, number: int) -> None:
        """Create an entry, deliver it somehow; now and then edit or delete an older one."""
        entry_id = f"{prefix}-{number}"
        fields = SERVED | {
            "ingredient": self.dice.choice(["Kettle Chips", "Basil", "Oats", 7]),
            "dataAction": self.dice.choice(["Served", "Served", "Refilled"]),
        }
        path = f"libra/{entry_id}"
        committed = self.kitchen.store.commit([Create(path, fields)], timeout=30)
        self._ids.append(entry_id)
        entry = Entry(self.kitchen.store.name(path), committed, fields)
        fate = self.dice.random()
        if fate < 0.1:
            self.lost += 1
        elif fate < 0.3:
            self._late.append(entry)
        else:
            for _ in range(2 if fate > 0.8 else 1):
                self.deliver(ledger, entry)
        if fate > 0.7 and (late := self._one_late()):
            self.deliver(ledger, late)
        self._meddle()

    def _one_late(self) -> Entry | None:
        with self._mutex:
            return self._late.pop(self.dice.randrange(len(self._late))) if self._late else None

    def _meddle(self) -> None:
        fate = self.dice.random()
        with self._mutex:
            chosen = self.dice.choice(self._ids)
            if fate < 0.1:
                self._ids.remove(chosen)
        if fate < 0.1:
            self.kitchen.store.commit([Delete(f"libra/{chosen}")], timeout=30)
        elif fate < 0.2:
            edit = Merge(f"libra/{chosen}", {("ingredient",): "Basil"})
            self.kitchen.store.commit([edit], timeout=30)

    def deliver(self, ledger: Ledger, entry: Entry) -> None:
        """As the platform does: until it is acknowledged."""
        while True:
            try:
                ledger.apply(entry)
            except Transient:
                continue
            self.delivered += 1
            return

    def settle(self) -> None:
        """Deliver what is late."""
        ledger = Ledger(self.kitchen.store, self.kitchen.source, self.kitchen.home, self.kitchen.settings)
        while self._late:
            self.deliver(ledger, self._late.pop())


@contextmanager
def flowing(kitchen: Kitchen, seed: int, instances: int = 2) -> Iterator[Traffic]:
    """Traffic through several instances until the block ends; late events are still on their way then."""
    traffic, over = Traffic(kitchen, random.Random(seed)), threading.Event()

    def instance(name: int) -> int:
        ledger = Ledger(kitchen.store, kitchen.source, kitchen.home, kitchen.settings)
        turns = 0
        while not over.is_set():
            traffic.turn(ledger, f"i{name}", turns)
            turns += 1
        return turns

    with ThreadPoolExecutor(instances) as pool:
        running = [pool.submit(instance, name) for name in range(instances)]
        try:
            yield traffic
        finally:
            over.set()
        assert sum(each.result() for each in running) > 0


# --- laws -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("strategy", ["scan", "index"])
def test_law_fence(quick: Kitchen, strategy: str) -> None:
    """After each run count - sum of recent[> W] = exact(W) for every document, while triggers run."""
    with flowing(quick, seed=1) as traffic:
        for _ in range(4):
            next_second()
            report = recompute(quick).run(strategy)  # type: ignore[arg-type]  # one of the strategies
            fence_holds(quick.store, quick.source, report.watermark)
    assert traffic.delivered > 20


def test_the_fence_holds_while_totals_are_compacted(quick: Kitchen) -> None:
    """Triggers running: no increment is lost, what is proven stays so, and the next run finds the lost."""
    with flowing(quick, seed=4) as traffic:
        next_second()
        proven = recompute(quick).run().watermark
        compacted = 0
        while compacted < 3:
            next_second()
            compacted += recompute(quick).compact().writes
            fence_holds(quick.store, quick.source, proven)
        next_second()
        report = recompute(quick).run()
        fence_holds(quick.store, quick.source, report.watermark)
    next_second()
    recompute(quick).run()
    converged(quick.store, quick.source)
    assert traffic.lost > 0


def test_law_converge(quick: Kitchen) -> None:
    """Lost events, edits and deletions are right after the next run, late ones never count twice."""
    with flowing(quick, seed=2) as traffic:
        for _ in range(2):
            next_second()
            recompute(quick).run()
    next_second()
    recompute(quick).run()
    converged(quick.store, quick.source)
    traffic.settle()
    converged(quick.store, quick.source)
    assert traffic.lost > 0


def test_law_idempotent(quick: Kitchen) -> None:
    """A second run finds drift 0 and writes no total."""
    with flowing(quick, seed=3):
        next_second()
    next_second()
    assert recompute(quick).run().drift > 0
    before = totals(quick.store, quick.source)
    assert recompute(quick).run().drift == 0
    assert totals(quick.store, quick.source) == before


def test_a_dry_run_writes_nothing_and_finds_the_drift(quick: Kitchen) -> None:
    """No document of the database changes."""
    quick.write("lost")
    next_second()
    report = recompute(quick).verify()
    assert (report.drift, report.run_id, report.writes) == (4, None, 0)
    assert totals(quick.store, quick.source) == {}
    assert quick.store.get([quick.home.state]) == [None]
    assert quick.documents(quick.home.runs) == []


def test_two_that_start_together_never_correct_twice(quick: Kitchen) -> None:
    """One is refused, or they follow each other."""
    for number in range(5):
        quick.write(f"lost{number}")
    next_second()
    barrier = threading.Barrier(3)

    def racing() -> Report | LeaseHeld:
        barrier.wait()
        try:
            return recompute(quick, lease=timedelta(minutes=1)).run()
        except LeaseHeld as held:
            return held

    with ThreadPoolExecutor(3) as pool:
        ended = [each.result() for each in [pool.submit(racing) for _ in range(3)]]
    reports = [each for each in ended if isinstance(each, Report)]
    assert sorted(report.drift for report in reports) == [*[0] * (len(reports) - 1), 20]
    converged(quick.store, quick.source)


@pytest.mark.parametrize("step", ["counted", "compared", "correct begun"])
def test_a_run_whose_lease_expires_in_the_middle_writes_no_more(quick: Kitchen, step: str) -> None:
    """Another takes over, and the first one's commits fail."""
    quick.write("lost")
    next_second()
    overtaking: list[Report] = []

    def pause(reported: str) -> None:
        if reported == step:
            overtaking.append(run_when_free(quick))

    with pytest.raises((LeaseLost, Transient)):
        recompute(quick, lease=timedelta(milliseconds=300), step=pause).run()
    assert [report.drift for report in overtaking] == [4]
    converged(quick.store, quick.source)
    states = sorted(str(run["state"]) for run in quick.documents(quick.home.runs))
    assert states == ["completed", "failed"]


@pytest.mark.parametrize("step", STEPS)
def test_law_survive_kill_9_at_every_step(quick: Kitchen, step: str) -> None:
    """The next run puts everything right; the dead run shows as failed."""
    ledger = Ledger(quick.store, quick.source, quick.home, quick.settings)
    for number in range(4):
        ledger.apply(quick.write(f"e{number}"))
    ledger.apply(quick.write("bad", ingredient=None))  # recorded as rejected, and deleted without an event
    quick.write("lost", ingredient="Basil")
    quick.store.commit(
        [Delete("libra/e0"), Delete("libra/bad"), Merge(CATEGORY, {("count",): 2.5})], timeout=10
    )
    next_second()
    assert _killed_at(quick, step) == -9
    ledger.apply(quick.write("meanwhile"))
    run_when_free(quick)
    fence_holds(quick.store, quick.source)
    runs = quick.documents(quick.home.runs)
    assert not any(under_way(run) for run in runs)
    if step != "acquire begun":
        assert sorted(str(run["state"]) for run in runs) == [
            "completed",
            "completed" if step == "complete committed" else "failed",
        ]
    next_second()
    assert recompute(quick).run().drift == 0
    assert quick.documents(quick.home.rejected) == []
    converged(quick.store, quick.source)


def _killed_at(kitchen: Kitchen, step: str) -> int | None:
    where = (kitchen.settings.project, kitchen.settings.emulator_host)
    return forked(killed_recompute.main, *where, step, 1.5, seconds=60).status


# --- failures of others ---------------------------------------------------------------------------


def test_what_lands_during_a_run_is_not_lost_to_it(quick: Kitchen) -> None:
    """Between count, seal and correction entries come, go, and are delivered late: the next run has them."""
    ledger = Ledger(quick.store, quick.source, quick.home, quick.settings)
    late = [quick.write(f"late{number}") for number in range(3)]
    quick.write("lost")
    next_second()
    done: list[str] = []

    def interrupt(reported: str) -> None:
        if reported in {"counted", "seal committed", "compared"}:
            ledger.apply(late[len(done)])
            ledger.apply(quick.write(f"during{len(done)}"))
            done.append(reported)

    report = recompute(quick, step=interrupt).run()
    assert len(done) == 3
    fence_holds(quick.store, quick.source, report.watermark)
    converged(quick.store, quick.source)


def test_a_watermark_in_the_future_heals(quick: Kitchen) -> None:
    """It made the ledger skip entries; the next run sets it back and counts them."""
    ahead = datetime.now(UTC) + timedelta(days=30)
    quick.store.commit([Merge(quick.home.state, {("timestamp",): ahead})], timeout=10)
    Ledger(quick.store, quick.source, quick.home, quick.settings).apply(quick.write("skipped"))
    assert totals(quick.store, quick.source) == {}
    next_second()
    assert "lay in the future" in recompute(quick).run().notes[0]
    converged(quick.store, quick.source)


def test_late_data_outside_any_window_heals(quick: Kitchen) -> None:
    """Event times decades away, their events lost: counted by the next run."""
    for number, year in enumerate((1, 1970, 1999, 9999)):
        quick.write(f"lost{number}", timestamp=datetime(year, 6, 1, tzinfo=UTC))
    next_second()
    recompute(quick).run("index")
    converged(quick.store, quick.source)


def test_thousands_of_closed_buckets_go_in_one_run(quick: Kitchen) -> None:
    """A month without a run: 4,320 buckets of ten minutes in one document."""
    begin = datetime(2025, 8, 1, tzinfo=UTC)
    recent = {f"t{begin + number * timedelta(minutes=10):%Y%m%dT%H%M%SZ}_600": 1 for number in range(4_320)}
    stored: dict[str, object] = {"key": "Kettle Chips", "count": 4_320, "recent": recent}
    quick.store.commit([Create(CATEGORY, stored)], timeout=10)
    quick.write("only")
    next_second()
    report = recompute(quick).run(accept_loss=True)
    assert (CATEGORY, 4_320, 1) in {(each.document, each.stored, each.exact) for each in report.corrections}
    assert totals(quick.store, quick.source)[CATEGORY].fields["recent"] == {}
    converged(quick.store, quick.source)


def test_the_snapshot_is_the_watermark(quick: Kitchen) -> None:
    """What is counted is what the snapshot at the sealed watermark holds, whatever came since."""
    with flowing(quick, seed=5):
        next_second()
        report = recompute(quick).run("scan")
    exact = exact_at(quick.store, quick.source, report.watermark)
    entries = quick.store.count(Query("libra"), read_time=report.watermark)
    assert (report.entries, bool(exact)) == (entries, entries > 0)

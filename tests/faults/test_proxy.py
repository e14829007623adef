"""Calls that fail, hang, come late or break off between a recompute, a trigger and the real emulator."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import grpc
import pytest

from local.emulator import Emulator
from shared.aggregation import Entry
from shared.errors import LibraError, Transient
from shared.ledger import Ledger
from shared.recompute import Recompute
from shared.store.client import FirestoreStore
from tests.support.grpc_proxy import GrpcProxy
from tests.support.kitchen import Kitchen
from tests.support.recomputing import QUICK, converged, fence_holds

FAULTS: dict[str, Callable[[GrpcProxy, str], None]] = {
    "reply swallowed": lambda proxy, method: proxy.swallow_replies(method),
    "replies swallowed": lambda proxy, method: proxy.swallow_replies(method, times=3),
    "refused": lambda proxy, method: proxy.fail(method, code=grpc.StatusCode.RESOURCE_EXHAUSTED),
    "aborted": lambda proxy, method: proxy.fail(method, times=2, code=grpc.StatusCode.ABORTED),
    "late": lambda proxy, method: proxy.delay(method, 0.7, times=2),
    "stalled": lambda proxy, method: proxy.stall(method),
}
METHODS = ("Commit", "BatchGetDocuments", "RunQuery", "RunAggregationQuery", "Rollback")


@dataclass
class Line:
    """A kitchen on the emulator, and a store whose calls run through a proxy."""

    kitchen: Kitchen
    proxy: GrpcProxy
    store: FirestoreStore

    def recompute(self, **options: object) -> Recompute:
        return Recompute(
            self.store,
            self.kitchen.source,
            self.kitchen.home,
            self.kitchen.settings,
            sleep=pause,
            **options,  # type: ignore[arg-type]  # as named
        )


def pause(seconds: float) -> None:
    """Waits between attempts, shortened."""
    threading.Event().wait(min(seconds, 0.05))


@pytest.fixture
def line(emulator: Emulator, project: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Line]:
    # What a stall may take before it counts as unanswered: the test waits for it.
    for module in ("shared.grouping.settling", "shared.recompute.fence"):
        monkeypatch.setattr(f"{module}.COMMIT_TIMEOUT", 0.5)
    monkeypatch.setattr("shared.store.client.READ_TIMEOUT", 0.5)
    settings = replace(QUICK, project=project, emulator_host=emulator.address)
    direct = FirestoreStore.connect(settings)
    with GrpcProxy(emulator.address) as proxy:
        through = FirestoreStore.connect(replace(settings, emulator_host=proxy.address))
        yield Line(Kitchen(direct, settings), proxy, through)
        through.close()
    direct.close()


def drifted(line: Line) -> None:
    """Totals with something to correct, in another second than now."""
    ledger = Ledger(line.kitchen.store, line.kitchen.source, line.kitchen.home, line.kitchen.settings)
    for number in range(4):
        ledger.apply(line.kitchen.write(f"e{number}"))
    line.kitchen.write("lost", ingredient="Basil")
    wait_until_past(line.kitchen.write("last").time)


def wait_until_past(instant: datetime) -> None:
    """Until a bucket has ended behind an instant."""
    while datetime.now(UTC) < instant + 2 * QUICK.bucket:
        threading.Event().wait(0.02)


@pytest.mark.parametrize("strategy", ["scan", "index"])
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("fault", FAULTS)
def test_law_survive_a_fault_of_any_call_of_a_recompute(
    line: Line, method: str, fault: str, strategy: str
) -> None:
    """The run completes in spite of it, or fails and leaves all to the next; no total is ever wrong twice."""
    drifted(line)
    FAULTS[fault](line.proxy, method)
    try:
        line.recompute().run(strategy)  # type: ignore[arg-type]  # one of them
    except LibraError:
        line.proxy.clear()
        _when_free(line)
    line.proxy.clear()
    fence_holds(line.kitchen.store, line.kitchen.source)
    assert line.recompute().run().drift == 0
    converged(line.kitchen.store, line.kitchen.source)


def _when_free(line: Line) -> None:
    """A run under a clock that has outlived every lease and every transaction of the one that failed."""
    later = timedelta(minutes=3)
    for _ in range(100):
        try:
            line.recompute(clock=lambda: datetime.now(UTC) + later).run()
        except Transient:
            continue
        return
    pytest.fail("the lease or a lock was never given back")


def test_connections_cut_under_load_lose_nothing(line: Line) -> None:
    """Every connection is reset again and again while events are counted: redelivered, exact."""
    entries = [line.kitchen.write(f"e{number}", ingredient=f"i{number % 5}") for number in range(60)]
    ledger = Ledger(
        line.store, line.kitchen.source, line.kitchen.home, line.kitchen.settings, sleep=lambda _: None
    )
    finished = threading.Event()

    def deliver(entry: Entry) -> None:
        while True:
            try:
                ledger.apply(entry)
            except Transient:
                finished.wait(0.01)
            else:
                return

    def cut() -> None:
        while not finished.wait(0.15):
            line.proxy.hang_up()

    with ThreadPoolExecutor(13) as threads:
        scissors = threads.submit(cut)
        list(threads.map(deliver, entries + entries[::2]))
        finished.set()
        scissors.result()
    assert line.kitchen.totals() == line.kitchen.exact()

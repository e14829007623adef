"""kill -9 of a trigger before and after every call it makes to Firestore, then redelivery: exact.

The points are not written down but recorded from a run: a call that is added to the ledger is in the
matrix by itself. The recompute's matrix, from its own step names, is `tests/emulator/test_laws_recompute.py`.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from local.emulator import Emulator
from shared.settings import Settings
from shared.store import Query
from shared.store.client import FirestoreStore
from tests.faults.killed_ledger import AGES, Watched, apply_all, counted, events, prepare, rice, run
from tests.support.forked import forked
from tests.support.memory_store import MemoryStore

TEN = timedelta(minutes=10)
PAST = timedelta(minutes=5)
"""How far the ledger's clock is past a boundary of a bucket: so every run makes the same calls."""
NOON = datetime(2025, 9, 4, 12, tzinfo=UTC) + PAST
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def points() -> list[str]:
    """Every moment before or after a call, as a run on the in-memory twin comes by them."""
    store = MemoryStore(lambda: NOON)
    prepare(store, NOON)
    reported: list[str] = []
    apply_all(Watched(store, reported.append), store.root, NOON, lambda _: None)
    return reported


POINTS = points()


@pytest.fixture(scope="module")
def now() -> datetime:
    """A time of which the emulator still has a snapshot."""
    return datetime.now(UTC) - (datetime.now(UTC) - EPOCH) % TEN - TEN + PAST


@pytest.fixture
def store(emulator: Emulator, project: str, now: datetime) -> Iterator[FirestoreStore]:
    firestore = FirestoreStore.connect(Settings(project=project, emulator_host=emulator.address))
    prepare(firestore, now)
    yield firestore
    firestore.close()


def test_the_matrix_has_every_kind_of_call() -> None:
    """Both paths, the guard's refusal, the skipped entry and the search for a deletion are recorded."""
    calls = {point.split()[-1] for point in POINTS}
    assert {"commit", "begin", "get", "rollback", "now"} <= calls
    assert len(POINTS) >= 2 * len(AGES)


@pytest.mark.parametrize("point", POINTS)
def test_law_survive_kill_9_of_a_trigger(
    emulator: Emulator, project: str, store: FirestoreStore, now: datetime, point: str
) -> None:
    """What it acknowledged is counted, what it did not is counted by the redelivery, and nothing twice."""
    died = forked(run, project, emulator.address, now, point, seconds=60)
    assert died.status == -9, died.err
    acknowledged = len(died.out.split())
    adds = [rice(entry, now) for entry in events(store.root, now)]
    shown = counted(store).get("aggregates_categories/Rice", 0)
    assert shown in {sum(adds[:acknowledged]), sum(adds[: acknowledged + 1])}
    apply_all(store, store.root, now, lambda _: None)  # the platform delivers everything again
    assert set(counted(store).values()) == {sum(adds)} == {1}
    assert list(store.query(Query("aggregates_rejected"))) == []

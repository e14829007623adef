"""Commits whose reply is lost, with a real proxy between the client and the real emulator.

The client cannot know whether such a commit was applied, so it sends it again. The guard is what makes
that harmless; the controls show what happens without it.
"""

import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import grpc
import pytest

from local.emulator import Emulator
from shared.aggregation import Entry
from shared.errors import Transient
from shared.grouping.settling import RETRY
from shared.ledger import Ledger, Outcome
from shared.settings import Settings
from shared.store import Create, Merge
from shared.store.client import FirestoreStore
from tests.support.grpc_proxy import GrpcProxy
from tests.support.kitchen import Kitchen, counts
from tests.support.memory_guardless import Guardless

SETTINGS = {"fresh": Settings(), "late": Settings(test=True, lag=timedelta(0))}


@dataclass
class Line:
    """A store whose calls run through a proxy; the kitchen beside it looks at the emulator directly."""

    proxy: GrpcProxy
    store: FirestoreStore
    kitchen: Kitchen

    def ledger(self, settings: Settings = SETTINGS["fresh"], *, guarded: bool = True) -> Ledger:
        store: Any = self.store if guarded else Guardless(self.store)
        return Ledger(store, self.kitchen.source, self.kitchen.home, settings, sleep=lambda _: None)


@pytest.fixture
def line(emulator: Emulator, kitchen: Kitchen) -> Iterator[Line]:
    with GrpcProxy(emulator.address) as proxy:
        store = FirestoreStore.connect(replace(kitchen.settings, emulator_host=proxy.address))
        yield Line(proxy, store, kitchen)
        store.close()


@pytest.mark.parametrize("path", SETTINGS)
@pytest.mark.parametrize("code", [grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED])
def test_swallowed_replies_count_nothing_twice(line: Line, path: str, code: grpc.StatusCode) -> None:
    """Each of ten commits lands, loses its reply and is sent again: the totals are exact."""
    ledger = line.ledger(SETTINGS[path])
    for n in range(10):
        entry = line.kitchen.write(f"entry-{n}")
        line.proxy.swallow_replies("Commit", code=code)
        # The retry meets the marker of its own first attempt; which of the two names it is the same to all.
        assert ledger.apply(entry) in (Outcome.COUNTED, Outcome.DUPLICATE)
    assert line.proxy.struck == {("Commit", "swallow"): 10}
    assert line.kitchen.totals() == line.kitchen.exact()


def test_without_the_guard_swallowed_replies_count_twice(line: Line) -> None:
    """The control: the same ten commits without their markers count twenty."""
    ledger = line.ledger(guarded=False)
    for n in range(10):
        entry = line.kitchen.write(f"entry-{n}")
        line.proxy.swallow_replies("Commit")
        ledger.apply(entry)
    assert counts(line.kitchen.totals(), "aggregates_actions") == {"Served": 20}


def test_an_entry_that_landed_but_was_never_answered_is_a_duplicate_when_redelivered(line: Line) -> None:
    """When nothing comes back at all the event is not acknowledged, and its redelivery counts nothing."""
    entry = line.kitchen.write("entry-1")
    line.proxy.swallow_replies("Commit", times=RETRY.attempts)
    line.proxy.fail("BatchGetDocuments", times=RETRY.attempts)
    ledger = line.ledger()
    with pytest.raises(Transient):
        ledger.apply(entry)
    line.proxy.clear()
    assert ledger.apply(entry) is Outcome.DUPLICATE
    assert line.kitchen.totals() == line.kitchen.exact()


def test_requests_that_never_arrive_lose_nothing(line: Line) -> None:
    """A commit that failed before it was sent is tried again and counts once."""
    entry = line.kitchen.write("entry-1")
    line.proxy.fail("Commit", times=RETRY.attempts - 1)
    assert line.ledger().apply(entry) is Outcome.COUNTED
    assert line.kitchen.totals() == line.kitchen.exact()


def storm(line: Line, ledger: Ledger) -> None:
    """120 deliveries of 80 entries by 16 threads, while a third of all calls goes wrong somehow."""
    entries = [line.kitchen.write(f"entry-{n}", ingredient=f"ingredient {n % 7}") for n in range(80)]
    rng = random.Random(6)
    deliveries = entries + rng.sample(entries, 40)
    rng.shuffle(deliveries)
    for _ in range(12):
        line.proxy.swallow_replies("Commit", matches=lambda _: rng.random() < 0.3)
        line.proxy.fail("Commit", matches=lambda _: rng.random() < 0.2, code=grpc.StatusCode.ABORTED)
        line.proxy.fail("BatchGetDocuments", matches=lambda _: rng.random() < 0.2)

    def deliver(entry: Entry) -> None:
        for _ in range(50):
            try:
                ledger.apply(entry)
            except Transient:
                continue  # as the platform does: deliver it again
            return
        pytest.fail(f"{entry.path} was never acknowledged")

    with ThreadPoolExecutor(16) as threads:
        list(threads.map(deliver, deliveries))


@pytest.mark.parametrize("path", SETTINGS)
def test_a_storm_of_faults_and_duplicates_is_exact(line: Line, path: str) -> None:
    """Groups, duplicates, lost replies, aborts and lost requests at once: still each entry once."""
    storm(line, line.ledger(replace(SETTINGS[path], group_size=8)))
    assert line.proxy.struck[("Commit", "swallow")] > 0
    assert line.kitchen.totals() == line.kitchen.exact()


def test_without_the_guard_the_storm_counts_too_much(line: Line) -> None:
    """The control: the same storm without markers."""
    storm(line, line.ledger(replace(SETTINGS["fresh"], group_size=8), guarded=False))
    (counted,) = counts(line.kitchen.totals(), "aggregates_actions").values()
    assert counted > 80


def test_a_transaction_is_given_up_over_a_connection_that_was_lost(line: Line) -> None:
    """Its locks go when the connection is back, not after the minute that they last by themselves."""
    direct, state = line.kitchen.store, "aggregates/last_processed"
    direct.commit([Create(state, {"n": 0})], timeout=10)
    transaction, _ = line.store.begin([state])
    with ThreadPoolExecutor(1) as threads:
        with line.proxy.away():
            giving_up = threads.submit(line.store.rollback, transaction)
            wait([giving_up], timeout=0.3)  # long enough to find nobody there
        giving_up.result()
    direct.commit([Merge(state, {("n",): 1})], timeout=10)

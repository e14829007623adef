"""What an event costs at the database: RPCs, writes, reads. None of it depends on the machine."""

import asyncio
from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Any

import pytest

from shared.aggregation import Entry
from shared.catalog import libra
from shared.ledger import Ledger, Outcome
from shared.settings import Settings
from tests.bench.events import Feed
from tests.support.kitchen import Kitchen
from tests.support.wire import counted_store


class Bench:
    """A ledger whose calls are counted."""

    def __init__(self, kitchen: Kitchen, **settings: Any) -> None:
        host = kitchen.settings.emulator_host
        assert host
        assert kitchen.settings.project
        store, self.wire, self._channel = counted_store(host, kitchen.settings.project)
        self.ledger = Ledger(
            store,
            kitchen.source,
            kitchen.home,
            Settings(project=kitchen.settings.project, test=True, **settings),
        )

    def close(self) -> None:
        self._channel.close()

    def together(self, entries: Sequence[Entry]) -> list[Outcome]:
        """Apply entries at once: those that arrive in one turn of the loop are one group."""

        async def apply() -> list[Outcome]:
            return await asyncio.gather(*map(self.ledger.apply_async, entries))

        return asyncio.run(apply())


@pytest.fixture
def bench(kitchen: Kitchen) -> Iterator[Bench]:
    made = Bench(kitchen)
    yield made
    made.close()


@pytest.fixture
def late(kitchen: Kitchen) -> Iterator[Bench]:
    made = Bench(kitchen, lag=timedelta(0))
    yield made
    made.close()


def feed(kitchen: Kitchen, shape: Any, number: int) -> list[Entry]:
    assert kitchen.settings.project
    return list(Feed(kitchen.settings.project, shape).entries(number))


def test_a_fresh_entry_takes_one_rpc_and_reads_nothing(kitchen: Kitchen, bench: Bench) -> None:
    """One commit: its marker and its four totals."""
    for entry in feed(kitchen, "hot", 3):
        bench.ledger.apply(entry)
    assert (bench.wire.rpcs, bench.wire.written, bench.wire.read) == ({"Commit": 3}, [5, 5, 5], 0)


def test_a_late_entry_takes_one_read_more(kitchen: Kitchen, late: Bench) -> None:
    """The watermark is read in the transaction that commits."""
    late.ledger.apply(feed(kitchen, "hot", 1)[0])
    assert late.wire.rpcs == {"BatchGetDocuments": 1, "Commit": 1}
    assert (late.wire.written, late.wire.read) == ([5], 1)


def test_a_late_group_reads_the_watermark_once(kitchen: Kitchen, late: Bench) -> None:
    """A hundred late entries at once cost one transaction, not a hundred."""
    assert late.together(feed(kitchen, "hot", 100)) == [Outcome.COUNTED] * 100
    assert late.wire.rpcs == {"BatchGetDocuments": 1, "Commit": 1}
    assert (late.wire.written, late.wire.read) == ([104], 1)


def test_three_hundred_events_on_one_hot_key_take_one_commit(kitchen: Kitchen, bench: Bench) -> None:
    """A marker an event, and each hot total once a commit."""
    assert bench.together(feed(kitchen, "hot", 300)) == [Outcome.COUNTED] * 300
    assert (bench.wire.rpcs, bench.wire.written) == ({"Commit": 1}, [304])


def test_three_hundred_events_over_a_hundred_totals_write_less_than_one_and_a_half_each(
    kitchen: Kitchen, bench: Bench
) -> None:
    """Sixty ingredients, six actions, the hours and dates of two weeks; the naive trigger writes 4."""
    entries = feed(kitchen, "many", 300)
    assert bench.together(entries) == [Outcome.COUNTED] * 300
    assert bench.wire.rpcs == {"Commit": 1}
    assert sum(bench.wire.written) <= 1.5 * len(entries)


def test_a_thousand_entries_fit_one_commit_where_the_group_size_says_so(kitchen: Kitchen) -> None:
    """Firestore takes more than five hundred writes in a commit."""
    bench = Bench(kitchen, group_size=1000)
    assert bench.together(feed(kitchen, "hot", 1000)) == [Outcome.COUNTED] * 1000
    assert bench.wire.written == [1004]
    bench.close()


def test_a_redelivered_entry_writes_nothing(kitchen: Kitchen, bench: Bench) -> None:
    """The commit that fails on the marker, and one read of it."""
    (entry,) = feed(kitchen, "hot", 1)
    assert [bench.ledger.apply(entry) for _ in range(2)] == [Outcome.COUNTED, Outcome.DUPLICATE]
    assert bench.wire.rpcs == {"Commit": 2, "BatchGetDocuments": 1}
    assert bench.wire.read == 1
    assert bench.ledger.figures.writes == 5


def test_a_duplicate_in_a_group_costs_one_read_of_the_groups_markers(kitchen: Kitchen, bench: Bench) -> None:
    """The group fails once, its markers are read once, the rest commits once."""
    entries = feed(kitchen, "hot", 50)
    bench.ledger.apply(entries[20])
    outcomes = bench.together(entries)
    assert outcomes.count(Outcome.DUPLICATE) == 1
    assert bench.wire.rpcs == {"Commit": 3, "BatchGetDocuments": 1}
    assert (bench.wire.written, bench.wire.read) == ([5, 54, 53], 50)


def test_the_sources_fields_are_the_benchmarks(kitchen: Kitchen) -> None:
    """The benchmarks' entries are whole: nothing of them is rejected."""
    read = libra(Settings()).fields
    assert all(read <= entry.fields.keys() for entry in feed(kitchen, "many", 50))

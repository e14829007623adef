"""What an event that Libra stores itself costs at the database, as counts: none depends on the machine."""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pytest

from local.emulator import Emulator
from shared.intake import Intake, Outcome
from shared.schemas import self_written
from shared.settings import Settings
from tests.bench.events import user_events
from tests.support.wire import counted_store

NAIVE = 5
"""Documents that a naive trigger's four totals and the entry are, whatever the rate."""


class Bench:
    """An intake of `user_events` whose calls are counted."""

    def __init__(self, emulator: Emulator, project: str) -> None:
        store, self.wire, self._channel = counted_store(emulator.address, project)
        settings = Settings(project=project, test=True, group_size=1_000)
        self._intake = Intake(store, *self_written(settings)["user_events"], settings)

    def close(self) -> None:
        self._channel.close()

    def together(self, events: Sequence[Mapping[str, Any]]) -> list[Outcome]:
        """Admit events at once: those that arrive in one turn of the loop are one group."""

        async def admit() -> list[Outcome]:
            verdicts = await asyncio.gather(*map(self._intake.admit_async, events))
            return [each.outcome for each in verdicts]

        return asyncio.run(admit())


@pytest.fixture
def bench(emulator: Emulator, project: str) -> Iterator[Bench]:
    """One that has seen the type of event before."""
    made = Bench(emulator, project)
    made.together(list(user_events("hot", 1)))
    assert made.wire.rpcs == {"BatchGetDocuments": 2, "Commit": 3}  # two lists of types that have totals
    made.wire.rpcs.clear()
    made.wire.written.clear()
    made.wire.read = 0
    yield made
    made.close()


@pytest.mark.parametrize(("rate", "most"), [(1, NAIVE), (10, NAIVE), (100, 1.1), (1_000, 1.1)])
def test_a_seconds_events_in_one_commit(bench: Bench, rate: int, most: float) -> None:
    """Which is what a total that takes one write a second makes of them. Nothing is read."""
    assert bench.together(list(user_events("hot", rate))) == [Outcome.COUNTED] * rate
    assert (bench.wire.rpcs, bench.wire.read) == ({"Commit": 1}, 0)
    assert bench.wire.written == [rate + 4]
    assert bench.wire.written[0] / rate <= most


def test_users_of_their_own_are_one_write_more(bench: Bench) -> None:
    """What docs/costs.md says that no grouping saves: the total of each user."""
    events = [each | {"user_id": f"u{number}"} for number, each in enumerate(user_events("hot", 100))]
    assert bench.together(events) == [Outcome.COUNTED] * 100
    assert bench.wire.written == [2 * 100 + 3]


def test_an_event_that_comes_again_writes_nothing(bench: Bench) -> None:
    """The commit that fails on the entries, one read of each, and a commit of what is new."""
    events = list(user_events("hot", 10))
    bench.together(events[:1])
    assert bench.together(events).count(Outcome.DUPLICATE) == 1
    assert bench.wire.rpcs == {"Commit": 3, "BatchGetDocuments": 1}
    assert bench.wire.written == [5, 14, 13]
    assert bench.wire.read == 10

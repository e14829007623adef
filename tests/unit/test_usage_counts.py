"""What a process has counted: what is due, confirmed, sent again and forgotten, without a server."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta

import pytest

from services.usage.counters import Raise
from services.usage.counts import Counts
from services.usage.sending import BATCH, Sender
from shared.errors import Overloaded, StoreError, Transient
from shared.parts import KEEP
from shared.settings import UTC as ZONE
from tests.support.usage import MemoryCounters

NOON = datetime(2026, 11, 25, 12, tzinfo=UTC)


class Clock:
    """The time of day."""

    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> float:
        return self.now.timestamp()


class Redis(MemoryCounters):
    """A Redis that may be away, and during whose calls something may happen."""

    def __init__(self) -> None:
        super().__init__()
        self.away = False
        self.meanwhile: Callable[[], None] = lambda: None

    def raise_to(self, raises: Sequence[Raise]) -> list[list[int] | StoreError]:
        """See `Counters.raise_to`."""
        self.meanwhile()
        if self.away:
            raise Transient("Redis is away")
        return super().raise_to(raises)


def made(most: int = 10_000) -> tuple[Counts, Sender, Redis, Clock]:
    """Counts, what sends them, where to, and the clock."""
    clock, redis = Clock(), Redis()
    counts = Counts(ZONE, clock, most=most)
    return counts, Sender(counts, redis), redis, clock


def test_an_outage_keeps_each_count_once() -> None:
    """What is counted while a message fails is due once, however long the outage: memory does not grow."""
    counts, sender, redis, _ = made()
    redis.away = True
    redis.meanwhile = lambda: counts.add(f"m{BATCH}", "requests", 1)
    for n in range(BATCH + 6):
        counts.add(f"m{n}", "requests", 1)
    for _ in range(50):
        assert isinstance(sender.send(), Transient)
    assert len(counts.due()) == BATCH + 6
    assert counts.unconfirmed == BATCH + 56


def test_what_is_counted_while_a_message_is_under_way_is_sent_by_the_next() -> None:
    """And is not taken for confirmed."""
    counts, sender, redis, _ = made()
    counts.add("acme", "requests", 5)
    redis.meanwhile = lambda: counts.add("acme", "requests", 1)
    assert sender.send() is None
    assert counts.unconfirmed == 1
    redis.meanwhile = lambda: None
    assert sender.send() is None
    assert counts.unconfirmed == 0
    ((fields),) = redis.hashes.values()
    assert list(fields.values()) == ["6"]


def test_confirmed_counts_are_forgotten_some_hours_after_their_hour() -> None:
    """What is not confirmed is kept for as long as it takes."""
    counts, sender, redis, clock = made()
    counts.add("acme", "requests", 1)
    sender.send()
    clock.now = NOON + timedelta(hours=1) + KEEP - timedelta(seconds=1)
    counts.add("b", "requests", 1)
    sender.send()
    assert counts.kept == 2
    redis.away = True
    counts.add("b", "requests", 1)
    clock.now += timedelta(days=1)
    sender.send()
    assert counts.kept == 1
    redis.away = False
    sender.send()
    assert (counts.kept, counts.unconfirmed) == (0, 0)


def test_what_was_forgotten_goes_on_as_another_part() -> None:
    """The sum of the parts is what was counted."""
    counts, sender, redis, _ = made(most=2)
    for _ in range(3):
        counts.add("acme", "requests", 1)
        counts.add("b", "requests", 1)
        sender.send()
    assert counts.kept == 0
    values = [int(it) for fields in redis.hashes.values() for it in fields.values()]
    assert values == [1] * 6


def test_a_full_memory_says_so_and_goes_on_counting_what_it_has() -> None:
    """Nothing that is not confirmed is forgotten for it."""
    counts, sender, redis, _ = made(most=2)
    redis.away = True
    counts.add("acme", "requests", 1)
    counts.add("b", "requests", 1)
    sender.send()
    with pytest.raises(Overloaded, match=r"2 counts wait for Redis.*requests of 'c' was not counted"):
        counts.add("c", "requests", 1)
    counts.add("acme", "requests", 1)
    assert (counts.kept, counts.unconfirmed) == (2, 3)

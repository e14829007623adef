"""The API keys as an instance knows them, and the bucket of each caller."""

import asyncio
import threading
from collections.abc import Awaitable, Callable
from typing import TypeVar

import pytest

from services.collector import keyring, throttle
from services.collector.keyring import KEPT_SECONDS, STRANGERS_AT_ONCE, Keyring
from services.collector.throttle import Throttle
from shared.api_keys import ApiKey
from shared.errors import StateError, Transient
from shared.http.problems import Problem
from tests.support.collector import Clock, Keys

T = TypeVar("T")


def ask(*questions: Callable[[], Awaitable[T]]) -> list[T]:
    """Ask in one event loop, one after the other."""

    async def run() -> list[T]:
        return [await each() for each in questions]

    return asyncio.run(run())


def test_a_key_is_read_once_a_minute(keys: Keys, clock: Clock) -> None:
    """However often it is used."""
    ring, key = Keyring(keys.look, clock), keys.make()

    async def run() -> None:
        for _ in range(3):
            assert await ring.find(key)
        assert keys.reads == 1
        clock.now += KEPT_SECONDS
        assert await ring.find(key)
        assert keys.reads == 2

    asyncio.run(run())


def test_a_revoked_key_stops_within_a_minute(keys: Keys, clock: Clock) -> None:
    """Counted from before the read, so an answer that took long is believed for no longer."""

    def slow(found_id: str) -> ApiKey | None:
        found = keys.look(found_id)
        clock.now += 50  # the answer is on its way
        return found

    ring, key = Keyring(slow, clock), keys.make()

    async def run() -> None:
        assert await ring.find(key)
        keys.revoke(key)
        clock.now += 9
        assert await ring.find(key)
        clock.now += 1
        assert await ring.find(key) is None

    asyncio.run(run())
    assert KEPT_SECONDS <= 60


def test_one_read_serves_all_who_wait_for_it(keys: Keys, clock: Clock) -> None:
    """And a request that is given up leaves the read to the others."""
    release = threading.Event()

    def slow(found_id: str) -> ApiKey | None:
        release.wait(30)
        return keys.look(found_id)

    ring, key = Keyring(slow, clock), keys.make()

    async def run() -> None:
        waiting = [asyncio.create_task(ring.find(key)) for _ in range(5)]
        await asyncio.sleep(0)
        waiting[0].cancel()
        await asyncio.sleep(0)
        release.set()
        found = await asyncio.gather(*waiting, return_exceptions=True)
        assert isinstance(found[0], asyncio.CancelledError)
        assert all(isinstance(each, ApiKey) for each in found[1:])
        assert keys.reads == 1

    asyncio.run(run())


def test_a_key_whose_secret_is_another_is_none(keys: Keys, clock: Clock) -> None:
    """The id alone, which logs and lists show, opens nothing; nor does it cost a read each time."""
    ring, key = Keyring(keys.look, clock), keys.make()
    forged = key[:-64] + "0" * 64
    assert ask(*[lambda: ring.find(forged)] * 3) == [None] * 3
    assert keys.reads == 1


def test_what_looks_like_no_key_is_not_looked_up(keys: Keys, clock: Clock) -> None:
    """It costs no read."""
    ring = Keyring(keys.look, clock)
    assert ask(lambda: ring.find("lk_x"), lambda: ring.find("lk_../x_" + "0" * 64)) == [None, None]
    assert keys.reads == 0


@pytest.mark.parametrize("error", [Transient("no answer"), StateError("damaged")])
def test_a_read_that_failed_is_tried_again(keys: Keys, clock: Clock, error: Exception) -> None:
    """Nobody gets in meanwhile, and nobody is refused for a minute."""
    ring, key = Keyring(keys.look, clock), keys.make()

    async def run() -> None:
        keys.failing = error
        with pytest.raises(type(error)):
            await ring.find(key)
        keys.failing = None
        assert await ring.find(key)

    asyncio.run(run())


def test_guesses_are_bounded_and_known_keys_are_not(keys: Keys, clock: Clock) -> None:
    """A flood of made-up keys costs few reads, and who has sent before still may, after the minute too."""
    ring, key = Keyring(keys.look, clock), keys.make()

    async def refused(first: int) -> int:
        found = 0
        for number in range(first, first + 2 * STRANGERS_AT_ONCE):
            try:
                assert await ring.find(f"lk_{number:012x}_{'0' * 64}") is None
            except Problem as problem:
                found += (problem.status_code, problem.headers) == (503, {"Retry-After": "1"})
        return found

    async def run() -> None:
        assert await ring.find(key)
        clock.now += KEPT_SECONDS
        assert await refused(0) == STRANGERS_AT_ONCE
        assert await ring.find(key)
        clock.now += KEPT_SECONDS
        assert await refused(0) == STRANGERS_AT_ONCE  # what was looked up and was no key is a guess again
        assert await ring.find(key)

    asyncio.run(run())
    assert keys.reads == 3 + 2 * STRANGERS_AT_ONCE


def test_a_known_key_stays_known_where_it_cannot_be_read(keys: Keys, clock: Clock) -> None:
    """Firestore fails once during a flood of guesses: whoever sent before is no guess because of that."""
    ring, key = Keyring(keys.look, clock), keys.make()

    async def run() -> None:
        assert await ring.find(key)
        clock.now += KEPT_SECONDS
        for number in range(STRANGERS_AT_ONCE):
            assert await ring.find(f"lk_{number:012x}_{'0' * 64}") is None
        keys.failing = Transient("no answer")
        for _ in range(2):
            with pytest.raises(Transient):
                await ring.find(key)
        keys.failing = None
        assert await ring.find(key)

    asyncio.run(run())


def test_memory_is_bounded(keys: Keys, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither keys nor buckets are kept for ever."""
    monkeypatch.setattr(keyring, "REMEMBERED", 5)
    monkeypatch.setattr(throttle, "REMEMBERED", 5)
    ring, buckets = Keyring(keys.look, clock), Throttle(clock, burst=10)

    async def run() -> None:
        for number in range(20):
            await ring.find(f"lk_{number:012x}_{'0' * 64}")
            buckets.take(str(number), 1, 10)

    asyncio.run(run())
    assert len(ring._reads) == len(buckets._buckets) == 5


def test_a_bucket_lets_a_burst_through_and_then_its_rate(clock: Clock) -> None:
    """What was taken beyond the burst is a debt that the next requests wait for."""
    buckets = Throttle(clock, burst=1_000)
    assert buckets.wait("a", 10) == 0
    buckets.take("a", 10, 999)
    assert buckets.wait("a", 10) == 0
    buckets.take("a", 10, 1_000)
    assert buckets.wait("a", 10) == pytest.approx(100)
    assert buckets.wait("b", 10) == 0
    clock.now += 99.9
    assert 0 <= buckets.wait("a", 10) < 0.2
    clock.now += 10_000
    assert buckets.wait("a", 10) == 0
    buckets.take("a", 10, 1_000)
    assert buckets.wait("a", 10) == pytest.approx(0.1)


def test_a_caller_gets_its_rate_over_time(clock: Clock) -> None:
    """Bodies of any size: what passes in an hour is the rate, and a burst at most."""
    buckets, passed = Throttle(clock, burst=1_000), 0
    for step in range(36_000):
        clock.now += 0.1
        size = 1 + step % 1_000
        if not buckets.wait("a", 50):
            buckets.take("a", 50, size)
            passed += size
    assert 50 * 3_600 <= passed <= 50 * 3_600 + 2 * 1_000

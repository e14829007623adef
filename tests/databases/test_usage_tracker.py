"""The tracker on a real Valkey: threads, forks, kills, outages, evictions."""

import asyncio
import gc
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from local.databases import ValkeyServer
from local.process import free_port, wait_until
from services.usage.counters import Counters
from services.usage.tracker import UsageTracker
from shared.errors import Invalid, Overloaded, SettingError, Transient
from shared.parts import MOST, Unreadable

ROOT = Path(__file__).resolve().parents[2]
OFTEN = timedelta(seconds=0.02)


def parts(redis: Counters) -> list[tuple[str, int]]:
    """Every part, by field."""
    found = []
    for page in redis.scan():
        for _, fields in redis.read(page):
            assert not isinstance(fields, Unreadable)
            found += [(field.decode(), int(raw)) for field, raw in fields]
    return sorted(found)


def total(redis: Counters) -> int:
    """The sum of all parts."""
    return sum(value for _, value in parts(redis))


def process(server: ValkeyServer, mode: str) -> "subprocess.Popen[str]":
    """A process that counts."""
    return subprocess.Popen(
        [sys.executable, "-m", "tests.support.usage_process", server.url, mode],
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )


def test_threads_count_and_every_count_arrives(redis: Counters, valkey_server: ValkeyServer) -> None:
    """In the parts, and in the counter that applications read."""
    with UsageTracker(valkey_server.url, interval=OFTEN) as tracker:

        def count() -> None:
            for n in range(5_000):
                tracker.track(f"m{n % 7}", "requests", 2)

        threads = [threading.Thread(target=count) for _ in range(4)]
        for each in threads:
            each.start()
        for each in threads:
            each.join(60)
    assert tracker.unconfirmed == 0
    assert total(redis) == 40_000
    counters = list(redis._client.scan_iter(match="usage:*"))
    assert len(counters) == 7
    assert sum(int(redis._client.get(key)) for key in counters) == 40_000
    assert all(redis._client.ttl(key) > 0 for key in counters)


def test_coroutines_count_and_the_loop_goes_on(redis: Counters, valkey_server: ValkeyServer) -> None:
    """`async with` sends what is left, in a thread."""

    async def serve() -> None:
        async with UsageTracker(valkey_server.url) as tracker:
            for _ in range(100):
                tracker.track("acme", "requests")
                await asyncio.sleep(0)

    asyncio.run(serve())
    assert total(redis) == 100


def test_what_cannot_be_counted_is_refused_with_its_reason(valkey_server: ValkeyServer) -> None:
    """And nothing is counted."""
    tracker = UsageTracker(valkey_server.url, most=2)
    for merchant, metric, amount in (("", "requests", 1), ("acme", "x" * 101, 1), ("a\0", "requests", 1)):
        with pytest.raises(Invalid, match=r"merchant|metric"):
            tracker.track(merchant, metric, amount)
    wrong: tuple[Any, ...] = (0, -1, MOST + 1, 1.5, True)
    for amount in wrong:
        with pytest.raises(Invalid, match=r"the amount .*: a whole number from 1 to 9007199254740991"):
            tracker.track("acme", "requests", amount)
    assert tracker.unconfirmed == 0
    with pytest.raises(SettingError, match="LIBRA_REDIS_URL='http://x'"):
        UsageTracker("http://x")
    for url in ("redis://:12/secret@h", "redis://:secret@h?socket_timeout=x", "http://h?password=secret"):
        with pytest.raises(SettingError, match=r"LIBRA_REDIS_URL='(http://)?h': redis://") as refused:
            UsageTracker(url)
        assert "secret" not in str(refused.value)


def test_a_cluster_that_does_not_answer_is_tried_again() -> None:
    """Its client raises an error that is none of the errors of Redis."""
    with pytest.raises(Transient, match=r"Redis 127\.0\.0\.1:1: Redis Cluster cannot be connected"):
        Counters.connect("redis+cluster://127.0.0.1:1")


def test_a_full_part_goes_on_as_another(redis: Counters, valkey_server: ValkeyServer) -> None:
    """Above 2^53 nothing is exact in Redis."""
    with UsageTracker(valkey_server.url) as tracker:
        tracker.track("acme", "bytes", MOST - 1)
        tracker.track("acme", "bytes", 5)
        tracker.track("acme", "bytes", 5)
    assert sorted(value for _, value in parts(redis)) == [10, MOST - 1]


def test_while_redis_is_down_the_process_counts_on_and_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Memory is bounded by keys. What was counted arrives when Redis is back, and so does what Redis lost."""
    caplog.set_level(logging.INFO, "libra")
    with ValkeyServer(tmp_path) as server:
        tracker = UsageTracker(server.url, interval=OFTEN, most=3)
        tracker.track("acme", "requests", 5)
        wait_until(lambda: tracker.unconfirmed == 0, seconds=60, what="sent")
        server.kill()
        for merchant in ("acme", "b", "c", "b"):
            tracker.track(merchant, "requests")
        with pytest.raises(Overloaded, match="3 counts wait for Redis"):
            tracker.track("d", "requests")
        wait_until(lambda: "counts on" in caplog.text, seconds=60, what="said so")
        assert tracker.unconfirmed == 4
        server.start()
        wait_until(lambda: "takes counts again" in caplog.text, seconds=60, what="said so")
        assert tracker.close()
        redis = Counters.connect(server.url)
        assert total(redis) in {4, 9}  # the lost 5 were sent again, unless memory was full and forgot them


def test_what_redis_lost_is_sent_again(redis: Counters, valkey_server: ValkeyServer) -> None:
    """An idle part too: once a reply shows a loss, and from time to time without one."""
    with UsageTracker(valkey_server.url, interval=OFTEN, again=timedelta(seconds=0.2)) as tracker:
        tracker.track("idle", "requests", 5)
        wait_until(lambda: tracker.unconfirmed == 0, seconds=60, what="sent")
        redis._client.flushall()
        wait_until(lambda: total(redis) == 5, seconds=60, what="sent again")
    tracker = UsageTracker(valkey_server.url, interval=OFTEN)
    tracker.track("idle", "requests", 5)
    tracker.track("busy", "requests", 1)
    wait_until(lambda: tracker.unconfirmed == 0, seconds=60, what="sent")
    redis._client.flushall()
    tracker.track("busy", "requests", 1)
    wait_until(lambda: total(redis) == 7, seconds=60, what="noticed")
    tracker.close()


def test_a_key_of_the_wrong_type_holds_up_no_other(
    redis: Counters, valkey_server: ValkeyServer, caplog: pytest.LogCaptureFixture
) -> None:
    """Its counts stay unconfirmed, and arrive once somebody has mended it. It is named once."""
    tracker = UsageTracker(valkey_server.url, interval=OFTEN)
    tracker.track("acme", "requests", 3)
    wait_until(lambda: tracker.unconfirmed == 0, seconds=60, what="sent")
    (key,) = [it for page in redis.scan() for it in page]
    redis._client.set(key, "no hash")
    tracker.track("acme", "requests")
    tracker.track("b", "requests", 10)
    wait_until(lambda: tracker.unconfirmed == 1, seconds=60, what="the other one is confirmed")
    assert not tracker.flush(timeout=0.2)
    begun = time.monotonic()
    for _ in range(40):
        tracker.track("b", "requests")
        wait_until(lambda: tracker.unconfirmed == 1, seconds=60, what="the other one is confirmed")
    assert time.monotonic() - begun < 40 * 0.5, "others waited as they wait for a Redis that is down"
    (said,) = [it.__dict__["error"] for it in caplog.records if "counts on" in it.getMessage()]
    assert f"{key.decode()}: WRONGTYPE" in said
    assert "delete or rename it" in said
    redis._client.delete(key)
    assert tracker.close()
    assert total(redis) == 54


def test_a_counter_of_the_wrong_type_costs_no_count(redis: Counters, valkey_server: ValkeyServer) -> None:
    """It is only read: parts are what is billed."""
    tracker = UsageTracker(valkey_server.url)
    tracker.track("acme", "requests")
    tracker.flush()
    (counter,) = redis._client.scan_iter(match="usage:*")
    redis._client.set(counter, "five")
    tracker.track("acme", "requests")
    assert tracker.close()
    assert total(redis) == 2
    assert redis._client.get(counter) == b"five"


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # its client leaves a socket
def test_a_cluster_takes_the_keys_of_a_merchant_together(tmp_path: Path) -> None:
    """The script touches two keys, which a cluster allows only in one slot: here, of one node."""
    bus = ("--cluster-port", str(free_port()))
    with ValkeyServer(tmp_path, "--cluster-enabled", "yes", *bus) as server:
        alone = Counters.connect(server.url)
        alone._client.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16_383)
        wait_until(
            lambda: "'ok'" in str(alone._client.execute_command("CLUSTER INFO")),
            seconds=60,
            what="the cluster is up",
        )
        url = server.url.replace("redis://", "redis+cluster://")
        odd = ("acme", "a}b{c", "}", "{}", "x:y", "é" * 256)
        cluster = Counters.connect(url)
        with UsageTracker(counters=cluster, interval=OFTEN) as tracker:
            for merchant in odd * 3:
                tracker.track(merchant, "requests")
        assert [value for _, value in parts(cluster)] == [3] * len(odd)
        for page in cluster.scan():
            assert cluster.forget(
                [(key, fields) for key, fields in cluster.read(page) if isinstance(fields, list)]
            )
        assert parts(cluster) == []
        for each in (alone, cluster):
            each.close()
        del each, cluster, tracker
        gc.collect()  # here, and not in the middle of another test


def test_a_fork_counts_for_itself(redis: Counters, valkey_server: ValkeyServer) -> None:
    """What the parent had not sent is the parent's: 1,010 once, and 100 from each.

    Another thread of the parent is in the middle of its client: the child waits for no lock of the parent's.
    """
    with process(valkey_server, "fork") as child:
        assert child.wait(60) == 0
    assert [value for _, value in sorted(parts(redis), key=lambda it: it[1])] == [100, 1_110]


@pytest.mark.parametrize("mode", ["exit", "worker"])
def test_the_end_of_a_process_sends_what_is_left(
    redis: Counters, valkey_server: ValkeyServer, mode: str
) -> None:
    """Without a call of `close`; also that of a worker, which ends without `atexit`."""
    with process(valkey_server, mode) as child:
        assert child.wait(60) == 0
    assert total(redis) == 1_000


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_killed_process_loses_at_most_what_was_not_confirmed(
    redis: Counters, valkey_server: ValkeyServer, number: signal.Signals
) -> None:
    """SIGTERM loses nothing, and still ends the process as a signal does."""
    with process(valkey_server, "count") as child:
        assert child.stdout
        said = [child.stdout.readline() for _ in range(500)]
        os.kill(child.pid, number)
        said += child.stdout.readlines()
        assert child.wait(60) == -number
    counted, unconfirmed = (int(it) for it in [it for it in said if it.endswith("\n")][-1].split())
    sent = total(redis)
    if number == signal.SIGTERM:
        assert counted <= sent <= counted + 1  # it may have counted once more, and not printed it
    else:
        assert counted - unconfirmed <= sent <= counted + 1


def test_a_thread_that_cannot_start_costs_no_count(
    redis: Counters, valkey_server: ValkeyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next count tries again, and the end of the process waits for no thread that never was."""

    def none_left(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    tracker = UsageTracker(valkey_server.url)
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", none_left)
        with pytest.raises(RuntimeError, match="start new thread"):
            tracker.track("acme", "requests")
    assert tracker.close()
    assert total(redis) == 1

"""What is billed is what was served, on the real servers, while processes are killed and Redis is emptied."""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from local.databases import PostgresServer, ValkeyServer
from services.usage.counters import Counters
from shared.parts import Unreadable
from tests.support.databases import fresh_url

ROOT = Path(__file__).resolve().parents[2]
KILLED_FLUSHES = 6


class Serving:
    """A process that counts, and what it said."""

    def __init__(self, url: str, log: Path, mode: str = "count") -> None:
        self.log = log
        with log.open("w", encoding="utf-8") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tests.support.usage_process", url, mode], stdout=out, cwd=ROOT
            )

    def said(self) -> tuple[int, int]:
        """What it has counted, and what of that Redis had not confirmed."""
        lines = [it for it in self.log.read_text("utf-8").splitlines(keepends=True) if it.endswith("\n")]
        counted, unconfirmed = lines[-1].split() if lines else (0, 0)
        return int(counted), int(unconfirmed)

    def wait_for(self, more: int) -> None:
        """Wait until it has counted that many more."""
        wanted = self.said()[0] + more
        wait_until(lambda: self.said()[0] >= wanted)

    def end(self, number: signal.Signals) -> None:
        """End it."""
        self.process.send_signal(number)
        self.process.wait(60)


def wait_until(condition: Callable[[], bool]) -> None:
    """Wait for a condition."""
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def held(redis: Counters) -> int:
    """The sum of the parts in Redis."""
    fields = [found for page in redis.scan() for _, found in redis.read(page)]
    return sum(int(raw) for each in fields if not isinstance(each, Unreadable) for _, raw in each)


@pytest.fixture
def urls(postgres_server: PostgresServer, valkey_server: ValkeyServer) -> Iterator[tuple[Counters, str]]:
    """An empty Redis and an empty database."""
    redis = Counters.connect(valkey_server.url)
    redis._client.flushall()
    with fresh_url(postgres_server) as url:
        yield redis, url
    redis.close()


def test_a_bill_is_what_was_served(
    urls: tuple[Counters, str], valkey_server: ValkeyServer, tmp_path: Path
) -> None:
    """Only what a killed process had not sent yet may be missing.

    Three processes serve. Flushes race and are killed at any moment, one process is killed outright, and
    Redis loses everything three times.
    """
    redis, url = urls
    rng = random.Random(7)
    environment = os.environ | {"LIBRA_REDIS_URL": valkey_server.url, "LIBRA_POSTGRES_URL": url}
    job = [sys.executable, "-m", "services.usage"]

    def flush() -> None:
        done = subprocess.run(
            job, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 0, done.stdout

    def kill_two_flushes(after: float) -> None:
        both = [subprocess.Popen(job, env=environment, cwd=ROOT, stdout=subprocess.DEVNULL) for _ in range(2)]
        time.sleep(after)  # wherever they are then
        for each in both:
            each.kill()
            each.wait(60)

    flush()
    serving = [Serving(valkey_server.url, tmp_path / f"{n}.txt") for n in range(3)]
    try:
        for number in range(KILLED_FLUSHES // 2):
            serving[0].wait_for(200)
            kill_two_flushes(rng.uniform(0.3, 1.2))
            if number < 2:
                lost_at = sum(each.said()[0] for each in serving)
                redis._client.flushall()
                wait_until(lambda least=lost_at: held(redis) >= least)  # type: ignore[misc]  # bound at once
        serving[1].wait_for(100)
        serving[2].end(signal.SIGKILL)
        flush()
        redis._client.flushall()
        serving[0].wait_for(100)
        serving[1].wait_for(100)
        for each in serving[:2]:
            each.end(signal.SIGTERM)
    finally:
        for each in serving:
            each.process.kill()
            each.process.wait(60)
    flush()
    flush()
    with psycopg.connect(url) as connection:
        (billed,) = connection.execute("SELECT sum(metric_value)::bigint FROM merchant_usage").fetchone() or (
            0,
        )
    served = [each.said() for each in serving]
    counted, lost = sum(it[0] for it in served), served[2][1]
    print(f"served {counted}, billed {billed}, and {lost} were not confirmed when a process was killed")
    assert (
        counted - lost <= billed <= counted + len(serving)
    )  # each may have counted once more before it could say so


@pytest.mark.parametrize(("mode", "status"), [("broken", -signal.SIGTERM), ("init", 128 + signal.SIGTERM)])
def test_sigterm_ends_a_process_whatever_stands_in_the_way(
    valkey_server: ValkeyServer, tmp_path: Path, mode: str, status: int
) -> None:
    """What is left cannot be sent, or the process is a container's first."""
    serving = Serving(valkey_server.url, tmp_path / "said.txt", mode)
    try:
        serving.wait_for(1)
        serving.process.send_signal(signal.SIGTERM)
        assert serving.process.wait(30) == status
    finally:
        serving.process.kill()
        serving.process.wait(30)

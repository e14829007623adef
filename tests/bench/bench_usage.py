"""Usage metering on a real Valkey and PostgreSQL: `track` beside an INCRBY for each call, and the flush.

Everything shares the cores of this machine: the application, the flush, Valkey and PostgreSQL. So the figures
are lower bounds for each of them.
"""

import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import quantiles

import psycopg

from local.databases import PostgresServer, ValkeyServer
from services.usage.counters import Counters, Raise
from services.usage.tracker import UsageTracker
from shared.parts import hour_of
from shared.settings import UTC as ZONE
from tests.bench.bench_recompute import ROOT, STORED

MERCHANTS = 1_000
METRICS = 10
SLOW_MICROS = 5_000


@dataclass(frozen=True)
class Called:
    """What a call costs its caller."""

    way: str
    calls: int
    calls_per_second: float
    p50_micros: float
    p99_micros: float


@dataclass(frozen=True)
class Flushed:
    """One run of `python -m services.usage`."""

    what: str
    parts: int
    seconds: float
    parts_per_minute: float
    peak_mb: float
    slow_commands: int
    """Commands of Valkey that took more than 5 ms meanwhile."""


def main(*, quick: bool) -> None:
    """Measure, print, and store unless it is a quick look."""
    calls, sizes = (20_000, (10_000, 50_000)) if quick else (200_000, (100_000, 1_000_000))
    with tempfile.TemporaryDirectory() as folder, ValkeyServer(Path(folder)) as valkey:
        called = [_track(valkey, calls), _incrby(valkey, calls // 4)]
        flushed = [it for size in sizes for it in _flush(valkey, Path(folder), size)]
    lines = list(_lines(called, flushed))
    print("\n".join(lines))
    if not quick:
        found = {"called": [asdict(it) for it in called], "flushed": [asdict(it) for it in flushed]}
        (STORED / "usage.json").write_text(json.dumps(found, indent=1) + "\n")
        (STORED / "usage.md").write_text("\n".join(["# Usage metering", "", *lines, ""]))


def _measured(way: str, calls: int, call: Callable[[int], object]) -> Called:
    clock = time.perf_counter
    took, started = [], clock()
    for n in range(calls):
        before = clock()
        call(n)
        took.append(clock() - before)
    seconds = clock() - started
    cuts = quantiles(took, n=100)
    return Called(way, calls, calls / seconds, cuts[49] * 1e6, cuts[98] * 1e6)


def _track(valkey: ValkeyServer, calls: int) -> Called:
    names = [f"m{n}" for n in range(MERCHANTS)]
    with UsageTracker(valkey.url) as tracker:
        return _measured("track", calls, lambda n: tracker.track(names[n % MERCHANTS], "requests"))


def _incrby(valkey: ValkeyServer, calls: int) -> Called:
    client = Counters.connect(valkey.url)._client
    names = [f"plain:m{n}:2026-11-25:requests" for n in range(MERCHANTS)]
    return _measured("INCRBY for each call", calls, lambda n: client.incrby(names[n % MERCHANTS], 1))


def _flush(valkey: ValkeyServer, folder: Path, size: int) -> list[Flushed]:
    redis = Counters.connect(valkey.url)
    redis._client.flushall()
    redis._client.config_set("slowlog-log-slower-than", SLOW_MICROS)
    hour = hour_of(datetime.now(UTC) - timedelta(minutes=5), ZONE)
    for begin in range(0, size, 10_000):
        raises = [
            Raise(f"m{n}", hour, tuple((f"metric{k}", "0123456789abcdef", n + 1) for k in range(METRICS)))
            for n in range(begin // METRICS, (begin + 10_000) // METRICS)
        ]
        redis.raise_to(raises)
    with PostgresServer(folder) as postgres:
        first = _run(valkey, postgres, f"{size:,} new parts", size, redis)
        again = _run(valkey, postgres, f"{size:,} parts that are booked", size, redis)
        with psycopg.connect(postgres.url()) as connection:
            (billed,) = connection.execute(
                "SELECT sum(metric_value)::bigint FROM merchant_usage"
            ).fetchone() or (0,)
    assert billed == METRICS * sum(range(1, size // METRICS + 1))
    redis.close()
    return [first, again]


def _run(valkey: ValkeyServer, postgres: PostgresServer, what: str, parts: int, redis: Counters) -> Flushed:
    redis._client.slowlog_reset()
    environment = os.environ | {"LIBRA_REDIS_URL": valkey.url, "LIBRA_POSTGRES_URL": postgres.url()}
    command = [sys.executable, "-m", "services.usage"]
    with subprocess.Popen(command, env=environment, cwd=ROOT, stdout=subprocess.PIPE, text=True) as run:
        assert run.stdout
        told = json.loads(run.stdout.readlines()[-1])
        _, status, used = os.wait4(run.pid, 0)
        run.returncode = os.waitstatus_to_exitcode(status)
    assert (run.returncode, told["records"]) == (0, parts)
    seconds = told["seconds"]
    slow = len(redis._client.slowlog_get(100))
    return Flushed(what, parts, seconds, 60 * parts / seconds, used.ru_maxrss / 1024, slow)


def _lines(called: list[Called], flushed: list[Flushed]) -> list[str]:
    track, plain = called
    rate, late = track.calls_per_second / plain.calls_per_second, track.p99_micros / plain.p99_micros
    where = f"{os.cpu_count()} cores, {platform.system()}, Python {platform.python_version()}"
    calls = [
        f"| {it.way} | {it.calls_per_second:,.0f} | {it.p50_micros:.1f} | {it.p99_micros:.1f} |"
        for it in called
    ]
    runs = [
        f"| {it.what} | {it.seconds:.1f} | {it.parts_per_minute:,.0f} | {it.peak_mb:.0f} | "
        f"{it.slow_commands} |"
        for it in flushed
    ]
    return [
        f"Measured {datetime.now(UTC):%Y-%m-%d} with `make bench NAME=usage` on {where}.",
        "Valkey and PostgreSQL share the cores.",
        "",
        f"`track` makes {rate:.0f} times the calls a second of an INCRBY for each, at {late:.3f} of its p99.",
        "",
        "| way | calls a second | p50, µs | p99, µs |",
        "|---|---|---|---|",
        *calls,
        "",
        "| flush of | seconds | parts a minute | peak memory, MB | commands of Valkey over 5 ms |",
        "|---|---|---|---|---|",
        *runs,
    ]

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
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import quantiles
from typing import Any

import psycopg

from local.databases import PostgresServer, ValkeyServer
from services.usage.counters import Counters, Raise
from services.usage.tracker import UsageTracker
from shared.parts import hour_of
from shared.settings import UTC as ZONE
from tests.bench.bench_recompute import ROOT, STORED
from tests.bench.entering import Entered, enter

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
    cpu_micros: float
    """Of its process, for each part."""
    peak_mb: float
    slow_commands: int
    """Commands of Valkey that took more than 5 ms meanwhile."""
    slowest: str
    """The slowest of them, and its milliseconds."""
    waited_ms: float
    """How long Valkey was ready to run meanwhile, and had no core."""
    commands: dict[str, float]
    """The p99 of Valkey's commands, by name, in milliseconds."""


def main(*, quick: bool) -> None:
    """Measure, print, and store unless it is a quick look."""
    calls, sizes = (20_000, (10_000, 50_000)) if quick else (200_000, (100_000, 1_000_000))
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as folder, ValkeyServer(Path(folder)) as valkey:
        _say("calls")
        called = [_track(valkey, calls), _incrby(valkey, calls // 4)]
        flushed = [it for size in sizes for it in _flush(valkey, Path(folder), size)]
        flushed.append(_delete(valkey, Path(folder), sizes[0]))
        _say("ways into PostgreSQL")
        entered = enter(Path(folder), quick=quick)
    lines = list(_lines(called, flushed, entered, (load, os.getloadavg()[0])))
    print("\n".join(lines))
    if not quick:
        found = {
            it: [asdict(row) for row in rows]
            for it, rows in (("called", called), ("flushed", flushed), ("entered", entered))
        }
        (STORED / "usage.json").write_text(json.dumps(found, indent=1) + "\n")
        (STORED / "usage.md").write_text("\n".join(["# Usage metering", "", *lines, ""]))


def _say(what: str) -> None:
    print(f"{datetime.now(UTC):%H:%M:%S} {what}", flush=True)


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


def _fill(redis: Counters, size: int, before: timedelta) -> None:
    """That many parts, ten for each merchant, of an hour some time ago."""
    _say(f"{size:,} parts")
    redis._client.flushall()
    hour = hour_of(datetime.now(UTC) - before, ZONE)
    for begin in range(0, size, 10_000):
        raises = [
            Raise(f"m{n}", hour, tuple((f"metric{k}", "0123456789abcdef", n + 1) for k in range(METRICS)))
            for n in range(begin // METRICS, (begin + 10_000) // METRICS)
        ]
        redis.raise_to(raises)


def _flush(valkey: ValkeyServer, folder: Path, size: int) -> list[Flushed]:
    redis = Counters.connect(valkey.url)
    _fill(redis, size, timedelta(minutes=5))
    with PostgresServer(folder) as postgres:
        first, _ = _run(valkey, postgres, f"{size:,} new parts", size, redis)
        again, _ = _run(valkey, postgres, f"{size:,} parts that are booked", size, redis)
        with _before_all_others(valkey):
            before, _ = _run(valkey, postgres, "the same, Valkey before all others", size, redis)
        with psycopg.connect(postgres.url()) as connection:
            (billed,) = connection.execute(
                "SELECT sum(metric_value)::bigint FROM merchant_usage"
            ).fetchone() or (0,)
    assert billed == METRICS * sum(range(1, size // METRICS + 1))
    redis.close()
    return [first, again, before]


def _delete(valkey: ValkeyServer, folder: Path, size: int) -> Flushed:
    redis = Counters.connect(valkey.url)
    _fill(redis, size, timedelta(hours=7))
    with PostgresServer(folder) as postgres:
        _run(valkey, postgres, "booked and sealed", size, redis)
        deleted, told = _run(valkey, postgres, f"{size:,} parts that are sealed, and deleted", size, redis)
    assert told["forgotten"] == size
    redis.close()
    return deleted


def _run(
    valkey: ValkeyServer, postgres: PostgresServer, what: str, parts: int, redis: Counters
) -> tuple[Flushed, dict[str, Any]]:
    _say(what)
    environment = os.environ | {"LIBRA_REDIS_URL": valkey.url, "LIBRA_POSTGRES_URL": postgres.url()}
    command = [sys.executable, "-m", "services.usage"]
    client = redis._client
    client.config_set("slowlog-log-slower-than", SLOW_MICROS)
    client.config_set("slowlog-max-len", 1_000)
    client.slowlog_reset()
    client.execute_command("CONFIG", "RESETSTAT")
    waited = _waited_ms(valkey)
    with (
        _busy(valkey),
        subprocess.Popen(command, env=environment, cwd=ROOT, stdout=subprocess.PIPE, text=True) as run,
    ):
        assert run.stdout
        told = json.loads(run.stdout.readlines()[-1])
        _, status, used = os.wait4(run.pid, 0)
        run.returncode = os.waitstatus_to_exitcode(status)
    assert (run.returncode, told["records"]) == (0, parts)
    seconds, cpu = told["seconds"], used.ru_utime + used.ru_stime
    slow = sorted(client.slowlog_get(1_000), key=lambda it: -it["duration"])
    slowest = ""
    if slow:
        asked = " ".join(slow[0]["command"].decode("utf-8", "replace").split())
        slowest = f"{asked[:40]}: {slow[0]['duration'] / 1e3:.1f}"
    found = client.info("latencystats")
    commands = {
        name: found[f"latency_percentiles_usec_{name}"]["p99"] / 1e3
        for name in ("scan", "hscan", "eval", "incrby")
        if f"latency_percentiles_usec_{name}" in found
    }
    return Flushed(
        what,
        parts,
        seconds,
        60 * parts / seconds,
        1e6 * cpu / parts,
        used.ru_maxrss / 1024,
        len(slow),
        slowest,
        _waited_ms(valkey) - waited,
        commands,
    ), told


def _waited_ms(valkey: ValkeyServer) -> float:
    """How long Valkey's thread of commands was ready and had no core, since it started (Linux)."""
    assert valkey._child
    pid = valkey._child.pid
    return int(Path(f"/proc/{pid}/task/{pid}/schedstat").read_text("ascii").split()[1]) / 1e6


@contextmanager
def _before_all_others(valkey: ValkeyServer) -> Iterator[None]:
    """Valkey waits for no core: then SLOWLOG has what its commands take by themselves. For root on Linux."""
    assert valkey._child
    tasks = [int(it) for it in os.listdir(f"/proc/{valkey._child.pid}/task")]
    try:
        for each in tasks:
            os.sched_setscheduler(each, os.SCHED_FIFO, os.sched_param(1))
    except PermissionError:
        _say("no right to do so: the next run is as the one before")
    try:
        yield
    finally:
        for each in tasks:
            os.sched_setscheduler(each, os.SCHED_OTHER, os.sched_param(0))


@contextmanager
def _busy(valkey: ValkeyServer) -> Iterator[None]:
    """An application uses Redis meanwhile, some hundred times a second."""
    client, done = Counters.connect(valkey.url)._client, threading.Event()

    def use() -> None:
        while not done.wait(0.002):
            client.incrby("plain:busy", 1)

    thread = threading.Thread(target=use)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
        client.close()


def _lines(
    called: list[Called], flushed: list[Flushed], entered: list[Entered], load: tuple[float, float]
) -> list[str]:
    track, plain = called
    rate, late = track.calls_per_second / plain.calls_per_second, track.p99_micros / plain.p99_micros
    where = f"{os.cpu_count()} cores, {platform.system()}, Python {platform.python_version()}"
    return [
        f"Measured {datetime.now(UTC):%Y-%m-%d} with `make bench NAME=usage` on {where}; the load average",
        f"was {load[0]:.1f} at first and {load[1]:.1f} at the end. Valkey and PostgreSQL share the cores.",
        "",
        f"`track` makes {rate:.0f} times the calls a second of an INCRBY for each, at {late:.3f} of its p99.",
        "",
        "| way | calls a second | p50, µs | p99, µs |",
        "|---|---|---|---|",
        *(
            f"| {it.way} | {it.calls_per_second:,.0f} | {it.p50_micros:.1f} | {it.p99_micros:.1f} |"
            for it in called
        ),
        "",
        "| flush of | seconds | parts a minute | CPU of its process a part, µs | peak memory, MB |",
        "|---|---|---|---|---|",
        *(
            f"| {it.what} | {it.seconds:.1f} | {it.parts_per_minute:,.0f} | {it.cpu_micros:.1f} | "
            f"{it.peak_mb:.0f} |"
            for it in flushed
        ),
        "",
        "Commands of Valkey meanwhile; an application calls INCRBY. SLOWLOG and the percentiles measure",
        "a command from its begin to its end, so also the time in which the server's thread had no core.",
        "A command asks for 1,000 keys or fields, or changes 100 fields, at most: a test holds that.",
        "",
        "| flush of | p99 by command, ms | over 5 ms | the slowest, ms | without a core, ms |",
        "|---|---|---|---|---|",
        *(
            f"| {it.what} | {', '.join(f'{name} {ms:.2f}' for name, ms in it.commands.items())} | "
            f"{it.slow_commands} | {it.slowest} | {it.waited_ms:,.0f} |"
            for it in flushed
        ),
        "",
        "Ways of new parts into PostgreSQL, in one statement each time: arrays as text, arrays in the binary",
        "format (which a flush uses), and a binary COPY into a temporary table that the statement reads.",
        "",
        "| parts in a batch | way | µs a part | CPU of the client, µs | CPU of PostgreSQL, µs |",
        "|---|---|---|---|---|",
        *(
            f"| {it.batch:,} | {it.way} | {it.micros:.1f} | {it.client_cpu:.1f} | {it.server_cpu:.1f} |"
            for it in entered
        ),
    ]

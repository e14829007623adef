"""The recompute's two counters: entries a second, reads billed, peak memory.

The scan stands between two marks, measured in the same rounds on the same emulator: `stream()` of the
high-level client, which is what one would write first, and the scan's own request received as raw bytes and
thrown away, which is the most that a Python client of gRPC can make of it. Each measurement is a process
of its own, so that its peak memory is its own. The emulator shares this machine's cores with the client:
wall-clock figures are a lower bound, CPU microseconds an entry are the client's own. At 100,000 entries it
is the emulator that is measured: it sorts the collection anew for each request.
"""

import json
import os
import platform
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from statistics import median

from google.cloud import firestore

from local.emulator import Emulator
from shared.catalog import LIBRA_HOME, libra
from shared.counting import Snapshot
from shared.counting.cost import index_cost, scan_cost
from shared.counting.index import index
from shared.counting.scan import scan
from shared.settings import Settings
from shared.store import DOCUMENT_ID, Create, Query
from shared.store.client import READ_TIMEOUT, FirestoreStore, _RunQueryRequest
from shared.store.values import set_instant
from tests.support.kitchen import SERVED

ROOT = Path(__file__).parents[2]
STORED = ROOT / "docs" / "benchmarks"
INGREDIENTS, DAYS, WORKERS = 30, 7, 4
PATIENCE = 900.0
"""Seconds that a read may take: the emulator sorts a million entries before it sends the first one."""
ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"  # of Firestore's own ids
COUNTERS = ("stream", "select", "raw", "scan")


@dataclass(frozen=True)
class Measured:
    """One pass over a collection."""

    what: str
    entries: int
    seconds: float
    cpu_micros: float
    """Of this client, an entry."""
    peak_mb: float
    reads: int


def main(*, quick: bool) -> None:
    """Measure, print, and store unless it is a quick look."""
    sizes, rounds = ((1_000, 5_000), 2) if quick else ((10_000, 100_000), 3)
    with tempfile.TemporaryDirectory() as folder:
        environment = {name: value for name, value in os.environ.items() if name != "FIRESTORE_EMULATOR_HOST"}
        with Emulator.prepare(environment, Path(folder) / "emulator.txt") as emulator:
            found = [one for size in sizes for one in _at_size(emulator.address, size, rounds)]
    lines = list(_lines(found, sizes))
    print("\n".join(lines))
    if not quick:
        STORED.mkdir(parents=True, exist_ok=True)
        (STORED / "recompute.json").write_text(json.dumps([asdict(one) for one in found], indent=1) + "\n")
        (STORED / "recompute.md").write_text("\n".join(["# The recompute's counters", "", *lines, ""]))


# --- what is measured -----------------------------------------------------------------------------


def _at_size(address: str, size: int, rounds: int) -> list[Measured]:
    project = f"demo-bench-{size}"
    print(f"writing {size:,} entries ...", file=sys.stderr)
    _fill(_store(address, project), size)
    found = []
    for _ in range(rounds):
        found += [_measured_apart(what, address, project) for what in COUNTERS]
    print(f"counting {size:,} by index: the emulator takes long over it ...", file=sys.stderr)
    return [*found, _measured_apart("index", address, project)]


def _store(address: str, project: str, patience: float = READ_TIMEOUT) -> FirestoreStore:
    return FirestoreStore.connect(Settings(project=project, emulator_host=address), patience=lambda: patience)


def _fill(store: FirestoreStore, size: int) -> None:
    dice, begin = random.Random(size), datetime(2025, 9, 1, tzinfo=UTC)

    def entry() -> Create:
        fields = SERVED | {
            "ingredient": f"Ingredient {dice.randrange(INGREDIENTS)}",
            "dataAction": dice.choices(["Served", "Refilled", "RanOut", "Heartbeat"], [6, 1, 1, 2])[0],
            "timestamp": begin + dice.random() * timedelta(days=DAYS),
        }
        return Create(f"libra/{''.join(dice.choices(ALPHABET, k=20))}", fields)

    entries = iter(entry, None)
    for first in range(0, size, 500):
        store.commit(list(islice(entries, min(500, size - first))), timeout=60)
        if first and first % 100_000 == 0:
            print(f"  {first:,}", file=sys.stderr)


def _measured_apart(what: str, address: str, project: str) -> Measured:
    command = [sys.executable, "-m", __name__, what, address, project]
    environment = os.environ | {"FIRESTORE_EMULATOR_HOST": address}
    result = subprocess.run(command, cwd=ROOT, env=environment, check=True, capture_output=True, text=True)
    return Measured(**json.loads(result.stdout))


def _child(what: str, address: str, project: str) -> None:
    counter: dict[str, Callable[[Snapshot], int]] = {
        "stream": lambda _: _high_level(project, None),
        "select": lambda snapshot: _high_level(project, sorted(snapshot.source.fields)),
        "raw": _raw,
        "scan": lambda snapshot: scan(snapshot).entries,
        "index": lambda snapshot: index(snapshot).entries,
    }
    settings = Settings(project=project, emulator_host=address)
    snapshot = Snapshot(
        *(_store(address, project, PATIENCE), libra(settings), LIBRA_HOME, datetime.now(UTC)),
        workers=WORKERS,
    )
    began, cpu = time.perf_counter(), time.process_time()
    entries = counter[what](snapshot)
    seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
    reads = snapshot.reads or entries
    print(json.dumps(asdict(Measured(what, entries, seconds, cpu / entries * 1e6, _peak_mb(), reads))))


def _peak_mb() -> float:
    """This process's own peak: `ru_maxrss` would start with that of the process that started it."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def _high_level(project: str, fields: list[str] | None) -> int:
    query = firestore.Client(project=project).collection("libra")
    return sum(1 for document in (query.select(fields) if fields else query).stream() if document.to_dict())


def _raw(snapshot: Snapshot) -> int:
    """The scan's own request, its answers received as bytes and thrown away."""
    store = snapshot.store
    assert isinstance(store, FirestoreStore)
    call = store._channel.unary_stream(
        "/google.firestore.v1.Firestore/RunQuery", request_serializer=None, response_deserializer=None
    )

    request = _RunQueryRequest(parent=store.root)
    query = Query("libra", (), (DOCUMENT_ID,), select=tuple(sorted(snapshot.source.fields)))
    store._messages.query(request.structured_query, query)
    set_instant(request.read_time, snapshot.read_time)
    return sum(1 for _ in call(request.SerializeToString(), metadata=store._metadata))


# --- what is told ---------------------------------------------------------------------------------


def _lines(found: list[Measured], sizes: tuple[int, int]) -> list[str]:
    small, large = sizes
    about = (
        f"{platform.machine()}, {os.cpu_count()} cores shared with the emulator, Python "
        f"{platform.python_version()}; {INGREDIENTS} ingredients, 4 actions, {DAYS} days of hours; "
        "medians, each pass a process of its own."
    )
    lines = [
        about,
        "",
        "| counter | entries | entries/s | CPU us/entry | peak MB | reads |",
        "|---|--:|--:|--:|--:|--:|",
    ]
    names = {
        "stream": "client `stream()`",
        "select": "client `select().stream()`",
        "raw": "raw bytes (the limit)",
    }
    for size in sizes:
        for what in (*COUNTERS, "index"):
            rows = _of(found, what, size)
            speed, cpu = _speed(found, what, size), median(row.cpu_micros for row in rows)
            peak = median(row.peak_mb for row in rows)
            lines.append(
                f"| {names.get(what, f'**{what}**')} | {size:,} | {speed:,.0f} | {cpu:,.1f} | {peak:,.1f} "
                f"| {rows[0].reads:,} |"
            )
    cpu_ratio = _cpu(found, "stream", large) / _cpu(found, "scan", large)
    ratios = [
        *(_ratio(found, "scan", "stream", size, "4") for size in sizes),
        *(_ratio(found, "scan", "raw", size, "0.7") for size in sizes),
        f"CPU an entry of `stream()` / of scan at {large:,}: {cpu_ratio:.2f}",
    ]
    reads = {what: _of(found, what, large)[0].reads for what in ("scan", "index")}
    grown = _peak(found, "scan", large) - _peak(found, "scan", small)
    hours = DAYS * 24
    ten = scan_cost(10_000_000), index_cost(10_000_000, [INGREDIENTS, 4], [hours], WORKERS)
    year = index_cost(10_000_000, [INGREDIENTS, 4], [365 * 24], WORKERS)
    lines += [
        "",
        *(f"- {ratio}" for ratio in ratios),
        f"- reads, index / scan at {large:,}: 1/{reads['scan'] / reads['index']:,.0f} (aim: at most 1/100)",
        f"- memory of the scan from {small:,} to {large:,}: {grown:+.1f} MB (aim: at most +10)",
        f"- at 10 million entries, as `auto` estimates: scan {ten[0].reads:,} reads, index {ten[1].reads:,}",
        f"- the same, spread over a year in place of {DAYS} days: index {year.reads:,} reads",
    ]
    return lines


def _of(found: list[Measured], what: str, size: int) -> list[Measured]:
    return [one for one in found if (one.what, one.entries) == (what, size)]


def _speed(found: list[Measured], what: str, size: int) -> float:
    return median(one.entries / one.seconds for one in _of(found, what, size))


def _cpu(found: list[Measured], what: str, size: int) -> float:
    return median(one.cpu_micros for one in _of(found, what, size))


def _peak(found: list[Measured], what: str, size: int) -> float:
    return median(one.peak_mb for one in _of(found, what, size))


def _ratio(found: list[Measured], what: str, other: str, size: int, aim: str) -> str:
    pairs = zip(_of(found, what, size), _of(found, other, size), strict=True)
    ratio = median(theirs.seconds / ours.seconds for ours, theirs in pairs)
    return f"{what} / {other} at {size:,}, median of the rounds: {ratio:.2f} (aim: at least {aim})"


if __name__ == "__main__":
    _child(*sys.argv[1:])

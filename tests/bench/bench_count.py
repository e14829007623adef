"""The strategy beam beside scan: entries a second and peak memory, with 1, 2 and 4 local workers.

Scan is measured as `bench_recompute` does. Beam is `python -m pipelines.count` in the pipelines' environment:
one worker in the process itself, more of them in processes of their own. Its memory is that of all of them
together. Its seconds are those of the pipeline, with the start of its workers; what it takes to start Beam
itself is told beside.

The emulator shares this machine's cores, and sorts the whole collection for each range: the more workers, the
more it sorts. So what more workers gain shows on Dataflow alone. What an entry costs them shows here.

LIBRA_BENCH_MILLION=1 measures a million entries too, LIBRA_BENCH_ROUNDS=1 takes a third of the time. The
emulator then takes 8 GB: it needs a machine with 16. It sorts a million entries for each request, in about
17 s of CPU, so on a busy machine the first entry comes later than the minute that a read may take elsewhere.
"""

import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

from cli.beam import pipelines_python
from cli.prices import LOCATIONS
from local.emulator import Emulator
from pipelines.prices import GB_HOUR, VCPU_HOUR
from shared.counting.cost import SCANNED_A_SECOND, index_cost
from tests.bench.bench_recompute import (
    DAYS,
    INGREDIENTS,
    PATIENCE,
    ROOT,
    STORED,
    _fill,
    _measured_apart,
    _store,
)

WORKERS = (1, 2, 4)
BILLION = 1_000_000_000
HEAP = ("-Xms8g", "-Xmx11g", "-XX:+UseParallelGC")
"""What the emulator's Java is given for a million entries. With its own choice, a quarter of the memory and
another collector of garbage, writing them took 225 s in place of 94 (2026-11-25)."""
PATIENT = f"import shared.store.client\n\nshared.store.client.READ_TIMEOUT = {PATIENCE}\n"
"""A `sitecustomize` for the processes of a pipeline, workers too."""
MACHINES, VCPUS, GB = 20, 4, 15
"""What a count on Dataflow is given: n1-standard-4."""


@dataclass(frozen=True)
class Pass:
    """One count of a collection."""

    what: str
    entries: int
    seconds: float
    starting: float
    """Seconds before and after: Beam is loaded, workers start."""
    cpu_micros: float
    """Of all processes, an entry."""
    peak_mb: float
    """Of all processes together."""


def main(*, quick: bool) -> None:
    """Measure, print, and store unless it is a quick look."""
    million = [1_000_000] if os.environ.get("LIBRA_BENCH_MILLION") else []
    sizes, rounds = (
        ([1_000], 1)
        if quick
        else ([10_000, 100_000, *million], int(os.environ.get("LIBRA_BENCH_ROUNDS", "3")))
    )
    with tempfile.TemporaryDirectory() as folder:
        environment = {name: value for name, value in os.environ.items() if name != "FIRESTORE_EMULATOR_HOST"}
        java = HEAP if million and not quick else ()
        with Emulator.prepare(environment, Path(folder) / "emulator.txt", java=java) as emulator:
            found = [one for size in sizes for one in _at_size(emulator.address, size, rounds)]
    lines = list(_lines(found, sizes))
    print("\n".join(lines))
    if not quick:
        (STORED / "count.json").write_text(json.dumps([asdict(one) for one in found], indent=1) + "\n")
        (STORED / "count.md").write_text("\n".join(["# Counting by a pipeline", "", *lines, ""]))


def _at_size(address: str, size: int, rounds: int) -> Iterator[Pass]:
    project = f"demo-count-{size}"
    print(f"writing {size:,} entries ...", file=sys.stderr)
    _fill(_store(address, project), size)
    for _ in range(1 if size > 100_000 else rounds):
        scan = _measured_apart("scan", address, project)
        yield Pass("scan", scan.entries, scan.seconds, 0, scan.cpu_micros, scan.peak_mb)
        for workers in WORKERS:
            yield _beam(workers, address, project)


def _beam(workers: int, address: str, project: str) -> Pass:
    mode = "in_memory" if workers == 1 else "multi_processing"
    with tempfile.TemporaryDirectory() as folder:
        result = Path(folder) / "result.jsonl"
        command = [
            *(pipelines_python(), "-m", "pipelines.count", f"--result={result}"),
            f"--read_time={datetime.now(UTC).isoformat()}",
            *(f"--direct_num_workers={workers}", f"--direct_running_mode={mode}"),
        ]
        (Path(folder) / "sitecustomize.py").write_text(PATIENT)
        environment = os.environ | {
            "GOOGLE_CLOUD_PROJECT": project,
            "FIRESTORE_EMULATOR_HOST": address,
            "PYTHONPATH": os.pathsep.join((folder, str(ROOT))),
        }
        began, cpu = time.perf_counter(), _children()
        with subprocess.Popen(command, cwd=ROOT, env=environment) as child:
            peak = 0.0
            while child.poll() is None:
                peak = max(peak, sum(map(_rss_mb, _tree(child.pid))))
                time.sleep(0.1)
        whole, cpu = time.perf_counter() - began, _children() - cpu
        last = json.loads(result.read_text(encoding="utf-8").splitlines()[-1])
    seconds = float(last["how"].split(", ")[2].removesuffix(" s"))
    entries = int(last["entries"])
    return Pass(f"beam, {workers}", entries, seconds, whole - seconds, cpu / entries * 1e6, peak)


def _children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _tree(pid: int) -> Iterator[int]:
    yield pid
    for tasks in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            children = tasks.read_text().split()
        except OSError:  # it has ended
            continue
        for child in children:
            yield from _tree(int(child))


def _rss_mb(pid: int) -> float:
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:  # it has ended
        return 0.0
    found = status.partition("VmRSS:")[2].split()
    return int(found[0]) / 1024 if found else 0.0


# --- what is told ---------------------------------------------------------------------------------


def _lines(found: list[Pass], sizes: list[int]) -> Iterator[str]:
    yield (
        f"`make bench NAME=count`: {platform.machine()}, {os.cpu_count()} cores shared with the emulator, "
        f"Python {platform.python_version()}; {INGREDIENTS} ingredients, 4 actions, {DAYS} days of hours; "
        f"medians of {sum(one.what == 'scan' for one in found) // len(sizes)}; load average "
        f"{os.getloadavg()[1]:.0f} of the machine."
    )
    yield from ("", "| counter | entries | entries/s | starting, s | CPU us/entry | peak MB |")
    yield "|---|--:|--:|--:|--:|--:|"
    names = list(dict.fromkeys(one.what for one in found))
    for size in sizes:
        for name in names:
            rows = [one for one in found if (one.what, one.entries) == (name, size)]
            if not rows:
                continue  # the run was cut short
            speed = median(one.entries / one.seconds for one in rows)
            starting, cpu = median(one.starting for one in rows), median(one.cpu_micros for one in rows)
            peak = median(one.peak_mb for one in rows)
            yield f"| {name} | {size:,} | {speed:,.0f} | {starting:,.1f} | {cpu:,.1f} | {peak:,.0f} |"
    if sizes[-1] >= 1_000_000:
        told = (
            "For a million entries the emulator's Java is given 11 GB. It takes 8 GB, and sorts all entries",
            "for each request of 250,000, in about 17 s of CPU. Entries a second are the emulator's there;",
            "what an entry costs in CPU, and the memory, are the counter's own.",
        )
        yield from ("", " ".join(told))
    if len(sizes) > 1:
        yield from _on_paper(found, sizes)


def _micros(found: list[Pass], sizes: list[int]) -> float:
    """CPU of one entry more, with one worker: what starting costs is in both sizes."""
    small, large = (
        median(one.cpu_micros * one.entries for one in found if (one.what, one.entries) == ("beam, 1", size))
        for size in sizes[:2]
    )
    return (large - small) / (sizes[1] - sizes[0])


def _on_paper(found: list[Pass], sizes: list[int]) -> Iterator[str]:
    micros = _micros(found, sizes)
    price = LOCATIONS["nam5"].reads / 100_000
    vcpu_hours = BILLION * micros / 1e6 / 3_600
    # A vCPU reads what an instance of two reads, by half; the CPU of an entry would allow more.
    seconds = BILLION / (SCANNED_A_SECOND / 2 * MACHINES * VCPUS)
    paid_hours = seconds / 3_600 * MACHINES * VCPUS
    dataflow = paid_hours * (VCPU_HOUR + GB / VCPUS * GB_HOUR)
    alone = BILLION / SCANNED_A_SECOND / 3_600
    index = index_cost(BILLION, [INGREDIENTS, 4], [365 * 24], 8)
    told = (
        f"One more entry costs a worker {micros:.1f} us of CPU: {vcpu_hours:,.1f} vCPU hours for a billion.",
        f"The table plans with less than that allows: {SCANNED_A_SECOND:,} entries a second for two vCPUs.",
        f"{MACHINES} machines have {VCPUS} vCPUs and {GB} GB each. {INGREDIENTS} ingredients, 4 actions, a",
        "year of hours; prices of nam5 and us-central1.",
    )
    reads = f"{BILLION:,} | {BILLION * price:,.0f}"
    yield from ("", "## A billion entries, on paper", "", " ".join(told), "")
    yield from ("| strategy | hours | reads | reads, USD | machines, USD |", "|---|--:|--:|--:|--:|")
    yield f"| beam, {MACHINES} machines | {seconds / 3_600:,.1f} | {reads} | {dataflow:,.2f} |"
    yield f"| scan, one instance, if it had the time | {alone:,.1f} | {reads} | |"
    yield f"| index | {index.seconds / 3_600:,.2f} | {index.reads:,} | {index.reads * price:,.2f} | |"
    why = (
        "The reads are nearly all of the price, and beam saves none of them. So it is for totals that the",
        "index cannot prove (sums, composite keys): [pipelines.md](../pipelines.md#a-billion-entries).",
    )
    yield from ("", " ".join(why))

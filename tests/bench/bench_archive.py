"""The archive and its verification: entries a second, peak memory, what is billed, on the emulator.

Each of the two is a process of its own, so that its peak memory is its own. The emulator shares the cores of
this machine, and sorts the collection anew for each query. So entries a second are a lower bound for the
client, and say nothing about Firestore, where the time of the commits decides.
"""

import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from local.emulator import Emulator
from shared.archive import Archive, Folder, Verification
from shared.catalog import LIBRA_HOME, libra
from shared.recompute import Recompute
from shared.settings import Settings
from tests.bench.bench_recompute import ROOT, STORED, _fill, _peak_mb, _store
from tests.support.recomputing import QUICK


@dataclass(frozen=True)
class Measured:
    """One pass over a collection, or over the files that came of it."""

    what: str
    entries: int
    seconds: float
    cpu_micros: float
    """Of this client, an entry."""
    peak_mb: float
    file_bytes: int
    reads: int
    writes: int


def main(*, quick: bool) -> None:
    """Measure, print, and store unless it is a quick look."""
    sizes = (1_000, 5_000) if quick else (5_000, 50_000)
    found = []
    with tempfile.TemporaryDirectory() as folder:
        environment = {name: value for name, value in os.environ.items() if name != "FIRESTORE_EMULATOR_HOST"}
        with Emulator.prepare(environment, Path(folder) / "emulator.txt") as emulator:
            for size in sizes:
                found += _at_size(emulator.address, size, Path(folder))
    lines = list(_lines(found))
    print("\n".join(lines))
    if not quick:
        (STORED / "archive.json").write_text(json.dumps([asdict(one) for one in found], indent=1) + "\n")
        (STORED / "archive.md").write_text("\n".join(["# The archive", "", *lines, ""]))


def _at_size(address: str, size: int, folder: Path) -> list[Measured]:
    project = f"demo-archive-{size}"
    print(f"writing and proving {size:,} entries ...", file=sys.stderr)
    _fill(_store(address, project), size)
    settings = replace(QUICK, project=project, emulator_host=address)
    recompute = Recompute(_store(address, project), libra(settings), LIBRA_HOME, settings, workers=2)
    sealed = datetime.now(UTC)
    while recompute.run("scan").watermark <= sealed:
        time.sleep(0.1)  # a watermark trails the clock by up to a second
    found = [_apart(what, address, project, folder / str(size)) for what in ("archive", "verify")]
    assert recompute.verify("scan").drift == 0
    return found


def _apart(what: str, address: str, project: str, folder: Path) -> Measured:
    command = [sys.executable, "-m", __name__, what, address, project, str(folder)]
    result = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    return Measured(**json.loads(result.stdout))


def _child(what: str, address: str, project: str, folder: str) -> None:
    store, source = _store(address, project), libra(Settings())
    begun, cpu = time.perf_counter(), time.process_time()
    if what == "archive":
        report = Archive(store, source, LIBRA_HOME, Folder(folder)).run(datetime.now(UTC) + timedelta(days=1))
        moved = report.moved
        entries, size, reads, writes = moved.entries, moved.size, report.reads, report.writes + moved.entries
    else:
        found = Verification(store, source, LIBRA_HOME).run()
        assert not found.faults, found.wrong
        entries, size, reads, writes = found.entries, found.size, found.pages + found.totals, 0
    seconds, cpu = time.perf_counter() - begun, time.process_time() - cpu
    measured = Measured(what, entries, seconds, cpu / entries * 1e6, _peak_mb(), size, reads, writes)
    print(json.dumps(asdict(measured)))


def _lines(found: list[Measured]) -> list[str]:
    about = (
        f"{platform.machine()}, {os.cpu_count()} cores shared with the emulator, Python "
        f"{platform.python_version()}; each pass a process of its own; writes with deletes."
    )
    lines = [
        about,
        "",
        "| what | entries | entries/s | CPU us/entry | peak MB | bytes/entry in files | reads | writes |",
        "|---|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for one in found:
        lines.append(
            f"| {one.what} | {one.entries:,} | {one.entries / one.seconds:,.0f} | {one.cpu_micros:,.0f} "
            f"| {one.peak_mb:,.1f} | {one.file_bytes / one.entries:,.1f} | {one.reads:,} | {one.writes:,} |"
        )
    small, *_, large = [one for one in found if one.what == "archive"]
    grown = large.peak_mb - small.peak_mb
    return [
        *lines,
        "",
        f"- memory of the archive from {small.entries:,} to {large.entries:,}: {grown:+.1f} MB",
    ]


if __name__ == "__main__":
    _child(*sys.argv[1:])

"""Creations by the trigger as it is, beside the trigger as it was at another commit: is it still as fast?

`BEFORE=COMMIT make bench NAME=before`; without it, the last commit before today's. Both serve in turn on one
emulator, so the ratios are the figures to trust.
"""

import os
import shutil
import statistics
import subprocess
import tempfile
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from local.emulator import Emulator
from tests.bench.bench_trigger import Bench, Plan
from tests.bench.report import Cell, Row
from tests.bench.systems import LIBRA, ROOT, System

FULL = Plan(http=(1, 100, 300), direct=(), rounds=7, seconds=2.0)
QUICK = replace(FULL, http=(100,), rounds=3)
FIGURES = {
    "events/s": "per_second",
    "p50": "p50",
    "p99": "p99",
    "CPU": "cpu",
    "writes": "writes",
    "RPCs": "rpcs",
}


def main(*, quick: bool = False) -> None:
    """Measure both, and print the ratios of now to before: the median and the range over the rounds."""
    plan = QUICK if quick else FULL
    commit = os.environ.get("BEFORE") or _git("rev-list", "-1", "--before=midnight", "HEAD")
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        before = _as_it_was(commit, Path(name) / "before")
        emulator = stack.enter_context(Emulator.prepare(os.environ, Path(name) / "emulator.txt"))
        bench = Bench(emulator, Path(name), stack)
        print(f"now {_git('rev-parse', '--short', 'HEAD')} to before {commit[:7]}, {plan.rounds} rounds")
        for cell in plan.cells():
            rounds = []
            for number in range(plan.rounds):
                order = (LIBRA, before) if number % 2 else (before, LIBRA)
                rows = {system.name: bench.measure(cell, system, plan.seconds) for system in order}
                rounds.append((rows[LIBRA.name], rows[before.name]))
            print(_line(cell, rounds), flush=True)


def _as_it_was(commit: str, folder: Path) -> System:
    folder.mkdir()
    packed = subprocess.run(["git", "archive", commit], cwd=ROOT, capture_output=True, check=True)
    subprocess.run(["tar", "-x", "-C", folder], input=packed.stdout, check=True)
    for name in ("meter.py", "serve.py"):  # what measures is today's
        shutil.copy(ROOT / "tests" / "bench" / name, folder / "tests" / "bench" / name)
    return replace(LIBRA, name="before", root=folder)


def _line(cell: Cell, rounds: list[tuple[Row, Row]]) -> str:
    exact = all(row.exact for pair in rounds for row in pair)
    found = []
    for title, figure in FIGURES.items():
        ratios = sorted(getattr(now, figure) / getattr(then, figure) for now, then in rounds)
        found.append(f"{title} {statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})")
    return (
        f"{cell.shape:5} {cell.concurrency:4} at once: {', '.join(found)}; exact: {'yes' if exact else 'NO'}"
    )


def _git(*words: str) -> str:
    return subprocess.run(
        ["git", *words], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.strip()

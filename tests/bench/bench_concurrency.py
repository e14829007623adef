"""How many events at once and how many in a commit: the trigger over HTTP, for every pair of the two.

Concurrency bounds how many events wait in an instance, and so how many can ride in one commit; the group size
bounds that a second time. `docs/decisions` says what was chosen by these figures.
"""

import os
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from statistics import median

from local.emulator import Emulator
from tests.bench.bench_trigger import Bench
from tests.bench.events import SHAPES
from tests.bench.report import Cell, Row
from tests.bench.systems import LIBRA, ROOT

CONCURRENCY = (40, 80, 160, 300, 500)
GROUP_SIZES = (40, 80, 150, 300, 500)
SECONDS = 2.0
ROUNDS = 3
TITLES = {"hot": "One hot key", "many": "Many keys"}


def table(found: dict[tuple[str, int, int], list[Row]], shape: str) -> list[str]:
    """Medians of the rounds, a row for each pair."""
    lines = ["| events at once | group size | events/s | p50 ms | p99 ms | CPU µs | writes an event |"]
    lines.append("|---|---|---|---|---|---|---|")
    for (of, concurrency, size), rows in found.items():
        if of == shape:
            per_second, p50, p99, cpu, writes = (
                median(getattr(row, name) for row in rows)
                for name in ("per_second", "p50", "p99", "cpu", "writes")
            )
            cells = (f"{concurrency}", f"{size}", f"{per_second:,.0f}", f"{p50:.0f}", f"{p99:.0f}")
            lines.append(f"| {' | '.join(cells)} | {cpu:.0f} | {writes:.2f} |")
    return lines


def main(*, quick: bool = False) -> None:
    """Measure, print, and, unless it is quick, write docs/benchmarks/concurrency.md."""
    rounds, sizes = (1, (80, 300)) if quick else (ROUNDS, GROUP_SIZES)
    found: dict[tuple[str, int, int], list[Row]] = {}
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        emulator = stack.enter_context(Emulator.prepare(os.environ, Path(name) / "emulator.txt"))
        benches = {}
        for size in sizes:
            folder = Path(name) / str(size)
            folder.mkdir()
            benches[size] = Bench(emulator, folder, stack, {"LIBRA_GROUP_SIZE": str(size)})
        for _ in range(rounds):
            for shape in SHAPES:
                for concurrency in CONCURRENCY:
                    for size in (size for size in sizes if size <= concurrency):
                        row = benches[size].measure(Cell("http", shape, concurrency), LIBRA, SECONDS)
                        if not row.exact:
                            raise RuntimeError(f"not exact: {row}")
                        found.setdefault((shape, concurrency, size), []).append(row)
                        sys.stderr.write(f"{shape} {concurrency} {size}: {row.per_second:,.0f}/s\n")
    parts = ["# Events at once, and entries in a commit", ""]
    parts += [
        f"`make bench NAME=concurrency`: medians of {rounds} rounds of {SECONDS:g} s each, exact in all."
    ]
    for shape in SHAPES:
        parts += ["", f"## {TITLES[shape]}", "", *table(found, shape)]
    text = "\n".join(parts) + "\n"
    sys.stdout.write(text)
    if not quick:
        (ROOT / "docs" / "benchmarks" / "concurrency.md").write_text(text, encoding="utf-8")

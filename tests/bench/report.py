"""What the trigger's benchmark shows: tables with the ratios first, JSON, and a picture.

Over 300 lines because a study, its tables and its picture are read together, and used by one benchmark.
"""

import json
import os
import platform
import subprocess
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from tests.bench.events import Shape

PACKAGES = (
    "functions-framework",
    "gunicorn",
    "uvicorn",
    "httptools",
    "grpcio",
    "protobuf",
    "google-cloud-firestore",
)
STARVED = 30
"""Events acknowledged in a round: with fewer, a figure an event is shown as none."""

COLOURS = {
    "libra": "#0b6e4f",
    "naive": "#c0392b",
    "textbook": "#8e6bbf",
    "sharded": "#d98e04",
    "noop": "#7f8c8d",
}


class Cell(NamedTuple):
    """What was asked of all systems alike."""

    mode: str
    shape: Shape
    concurrency: int


@dataclass(frozen=True)
class Row:
    """One system in one cell and round. Times in milliseconds, CPU in microseconds an event."""

    mode: str
    shape: Shape
    concurrency: int
    system: str
    events: int
    per_second: float
    p50: float
    p99: float
    cpu: float
    rpcs: float
    writes: float
    reads: float
    aborted: int
    errors: int
    unanswered: int
    exact: bool

    @classmethod
    def of(
        cls, cell: Cell, system: str, result: dict[str, Any], counted: dict[str, int], exact: bool
    ) -> "Row":
        """From what the load generator saw and the meter counted."""
        events, latencies = max(1, result["acknowledged"]), sorted(result["latencies"]) or [float("nan")]
        return cls(
            *cell,
            system,
            events=result["acknowledged"],
            per_second=result["acknowledged"] / max(result["seconds"], 1e-9),
            p50=1e3 * latencies[len(latencies) // 2],
            p99=1e3 * latencies[int(len(latencies) * 0.99)],
            cpu=1e6 * result["cpu"] / events,
            rpcs=counted["rpcs"] / events,
            writes=counted["writes"] / events,
            reads=counted["reads"] / events,
            aborted=counted["aborted"],
            errors=sum(result["errors"].values()),
            unanswered=result["unanswered"],
            exact=exact,
        )


def _machine() -> dict[str, str]:
    """Where and with what this runs."""
    processors = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    model = next((line.partition(":")[2].strip() for line in processors if line.startswith("model name")), "")
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    ).stdout.strip()
    return {
        "processor": f"{os.cpu_count()} cores, {model or platform.machine()}",
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "commit": commit,
        **{name: version(name) for name in PACKAGES},
    }


@dataclass
class Study:
    """Everything measured: each round is one row a system, taken right after each other."""

    method: str
    rounds: list[list[Row]] = field(default_factory=list)
    when: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="minutes"))
    machine: dict[str, str] = field(default_factory=_machine)

    def cells(self) -> list[Cell]:
        """In the order they were measured."""
        return list(dict.fromkeys(_cell(rows[0]) for rows in self.rounds))

    def rows(self, cell: Cell, system: str) -> list[Row]:
        """One system's rounds of a cell."""
        return [row for rows in self.rounds for row in rows if (_cell(row), row.system) == (cell, system)]

    def typical(self, cell: Cell, system: str, name: str) -> float:
        """The median over the rounds."""
        return float(median(getattr(row, name) for row in self.rows(cell, system)))

    def starved(self, cell: Cell, system: str) -> bool:
        """Whether a system got so little done that figures for an event say nothing."""
        return self.typical(cell, system, "events") < STARVED

    def ratio(self, cell: Cell, name: str, other: str = "naive") -> tuple[float, float, float]:
        """Libra to another system, round by round: the median, the least and the most."""
        ratios = [
            getattr(mine, name) / getattr(theirs, name)
            for mine, theirs in zip(self.rows(cell, "libra"), self.rows(cell, other), strict=True)
        ]
        return median(ratios), min(ratios), max(ratios)


def _cell(row: Row) -> Cell:
    return Cell(row.mode, row.shape, row.concurrency)


# --- targets ------------------------------------------------------------------------------------


class Target(NamedTuple):
    """A ratio to another system that is to hold, or a figure of Libra's own."""

    says: str
    cell: Cell
    name: str
    limit: float
    at_least: bool
    other: str = "naive"
    """The system that it is a ratio to; empty: none."""


TARGETS = (
    Target("HTTP, 100 at once: events a second", Cell("http", "hot", 100), "per_second", 3.0, True),
    Target("HTTP, 100 at once: p99", Cell("http", "hot", 100), "p99", 0.5, False),
    Target("HTTP, 100 at once: CPU an event", Cell("http", "hot", 100), "cpu", 0.5, False),
    Target("HTTP, one at a time: p50", Cell("http", "hot", 1), "p50", 1.3, False),
    Target("ledger, 200 at once: events a second", Cell("direct", "hot", 200), "per_second", 5.0, True),
    Target("HTTP, 300 at once, one hot key: writes", Cell("http", "hot", 300), "writes", 1.5, False, ""),
    Target("HTTP, 300 at once, many keys: writes", Cell("http", "many", 300), "writes", 1.5, False, ""),
    Target(
        "HTTP, 100 at once, many keys: CPU an event", Cell("http", "many", 100), "cpu", 1.5, False, "noop"
    ),
    Target(
        "HTTP, 300 at once, many keys: CPU an event", Cell("http", "many", 300), "cpu", 1.5, False, "noop"
    ),
)


def targets(study: Study) -> list[str]:
    """A table of the targets that were measured."""
    lines = ["| | wanted | found | rounds |", "|---|---|---|---|"]
    for target in TARGETS:
        if target.cell not in study.cells():
            continue
        if target.other:
            found, low, high = study.ratio(target.cell, target.name, target.other)
            spread, unit = f"{low:.2f} to {high:.2f}", f" of {target.other}'s"
        else:
            values = [getattr(row, target.name) for row in study.rows(target.cell, "libra")]
            found, spread, unit = median(values), f"{min(values):.2f} to {max(values):.2f}", " an event"
        good = found >= target.limit if target.at_least else found <= target.limit
        wanted = f"{'≥' if target.at_least else '≤'} {target.limit:g}{unit}"
        lines.append(
            f"| {target.says} | {wanted} | **{found:.2f}** {'✓' if good else '✗ missed'} | {spread} |"
        )
    return lines


# --- tables -------------------------------------------------------------------------------------


def ratios(study: Study, mode: str, shape: str) -> list[str]:
    """Libra to naive, by concurrency; over HTTP also the CPU to that of a trigger that does nothing."""
    lines = ["| at once | events/s | p50 | p99 | CPU | writes |", "|---|---|---|---|---|---|"]
    if mode == "http":
        lines = [line + end for line, end in zip(lines, (" CPU to the no-op |", "---|"), strict=True)]
    for cell in study.cells():
        if cell[:2] == (mode, shape):
            values = [study.ratio(cell, name)[0] for name in ("per_second", "p50", "p99", "cpu", "writes")]
            values += [study.ratio(cell, "cpu", "noop")[0]] if mode == "http" else []
            lines.append(f"| {cell.concurrency} | " + " | ".join(f"{value:.2f}" for value in values) + " |")
    return lines


def figures(study: Study, mode: str, shape: str) -> list[str]:
    """Every system, by concurrency."""
    names = ["at once", "system", "events/s", "p50 ms", "p99 ms", "CPU µs", "RPCs", "writes", "reads"]
    names += ["aborted", "errors", "exact"]
    lines = [f"| {' | '.join(names)} |", "|---" * len(names) + "|"]
    for cell in study.cells():
        if cell[:2] != (mode, shape):
            continue
        for system in COLOURS:
            rows = study.rows(cell, system)
            if not rows:
                continue
            per_second, p50, p99, cpu, rpcs, writes, reads = (
                study.typical(cell, system, name)
                for name in ("per_second", "p50", "p99", "cpu", "rpcs", "writes", "reads")
            )
            aborted, errors = sum(row.aborted for row in rows), sum(row.errors for row in rows)
            late = sum(row.unanswered for row in rows)
            exact = "yes" if all(row.exact for row in rows) else f"{late} unanswered" if late else "**no**"
            each = [f"{p50:.1f}", f"{p99:.1f}", f"{cpu:,.0f}", f"{rpcs:.2f}", f"{writes:.2f}", f"{reads:.2f}"]
            if study.starved(cell, system):
                each = ["-"] * len(each)
            if system == "noop":
                exact = "counts nothing"
            values = [str(cell.concurrency), system, f"{per_second:,.0f}", *each]
            lines.append(f"| {' | '.join([*values, str(aborted), str(errors), exact])} |")
    return lines


_MODES = {"http": "Over HTTP, under functions-framework", "direct": "Called directly, a thread an event"}
_SHAPES = {"hot": "one hot key", "many": "many keys"}


def document(study: Study) -> str:
    """All of it as Markdown."""
    parts = [
        "# The trigger beside three others, and one that does nothing",
        "",
        *_introduction(study),
        "",
        *targets(study),
        "",
    ]
    for mode, shape in dict.fromkeys(cell[:2] for cell in study.cells()):
        title = f"{_MODES[mode]}: {_SHAPES[shape]}"
        parts += [f"## {title}", "", "Libra to the naive trigger:", "", *ratios(study, mode, shape), ""]
        parts += ["Medians of the rounds; aborted and errors are sums:", "", *figures(study, mode, shape), ""]
    return "\n".join(parts)


def _introduction(study: Study) -> list[str]:
    facts = ", ".join(f"{name} {value}" for name, value in study.machine.items())
    return [
        f"Measured {study.when} by `make bench`: {study.method},",
        "the systems in turn on one Firestore emulator.",
        f"Machine: {facts}.",
        "",
        "The load generator, the function and the emulator share these cores, so an absolute figure says",
        "little about production; ratios within a round do. Each ratio is the median over the rounds, with",
        "the least and the most beside it where there is room. `tests/bench/baselines` has the other three.",
        "`noop` is a function that does nothing: what the framework and the server cost by themselves.",
        f"A dash: fewer than {STARVED} events were acknowledged; transactions wait for locks.",
        "",
        "![events a second, p99, CPU and writes an event](trigger.png)",
    ]


def print_study(study: Study) -> None:
    """To the terminal."""
    print(document(study))


def write_study(study: Study, folder: Path) -> None:
    """`trigger.md`, `trigger.json`, `trigger.png`."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "trigger.md").write_text(document(study))
    stored = {"when": study.when, "method": study.method, "machine": study.machine}
    rows = [asdict(row) for rows in study.rounds for row in rows]
    (folder / "trigger.json").write_text(json.dumps(stored | {"rows": rows}, indent=1) + "\n")
    draw(study, folder / "trigger.png")


def draw(study: Study, file: Path) -> None:
    """Events a second, p99, CPU and writes an event over concurrency: HTTP, one hot key."""
    import matplotlib as mpl  # late: nothing else here needs it

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    cells = [cell for cell in study.cells() if cell[:2] == ("http", "hot")]
    panels = {
        "per_second": "events a second",
        "p99": "p99, ms",
        "cpu": "CPU an event, µs",
        "writes": "documents written an event",
    }
    figure, axes = plt.subplots(2, 2, figsize=(11, 7.5), layout="constrained")
    for axis, (name, title) in zip(axes.flat, panels.items(), strict=True):
        for system, colour in COLOURS.items():
            if system == "noop" and name != "cpu":
                continue
            shown = [cell for cell in cells if not study.starved(cell, system)]
            values = [study.typical(cell, system, name) for cell in shown]
            axis.plot([cell.concurrency for cell in shown], values, "o-", color=colour, label=system)
        axis.set(title=title, xlabel="events at once", xscale="log")
        axis.set_yscale("log" if name != "writes" else "linear")
        axis.set_xticks([cell.concurrency for cell in cells], [str(cell.concurrency) for cell in cells])
        axis.minorticks_off()
        axis.grid(alpha=0.3)
    axes.flat[0].legend()
    figure.suptitle("One hot key over HTTP under functions-framework, one emulator, 2 cores for everything")
    figure.savefig(file, dpi=110)
    plt.close(figure)

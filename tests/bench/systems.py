"""What is measured: Libra, three other ways to count, and a trigger that does nothing."""

import importlib
import os
import sys
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx

from local.process import Child, free_port
from shared.aggregation import Entry
from tests.bench.baselines.common import Totals, totals_of
from tests.bench.meter import Meter

ROOT = Path(__file__).parents[2]
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class System:
    """One way to count."""

    name: str
    module: str
    """Has `apply(path, fields)` and `totals()`, for calls without HTTP."""
    source: str
    """The file that functions-framework loads, from the repository's root."""
    target: str
    """The entry point in it."""
    root: Path = ROOT
    """Where the sources are that are served."""
    counts: bool = True
    """Whether it counts; one that does not shows what a server costs by itself, and has no totals."""

    def load(self) -> Any:
        """The module, in this process."""
        return importlib.import_module(self.module)


_BASELINES = "tests.bench.baselines"
LIBRA = System("libra", f"{_BASELINES}.libra", "functions/main.py", "on_libra_created")
NAIVE, TEXTBOOK, SHARDED = (
    System(name, f"{_BASELINES}.{name}", f"tests/bench/baselines/{name}.py", "on_created")
    for name in ("naive", "textbook", "sharded")
)
NOOP = System("noop", f"{_BASELINES}.noop", "tests/bench/baselines/noop.py", "on_created", counts=False)
SYSTEMS = (LIBRA, NAIVE, TEXTBOOK, SHARDED, NOOP)


def expected(entries: Iterable[Entry]) -> Totals:
    """What the totals must be."""
    return dict(Counter(total for entry in entries for total in totals_of(entry.fields)))


class Server:
    """A system under functions-framework, as it is deployed, with its calls counted."""

    def __init__(self, system: System, environment: Mapping[str, str], folder: Path) -> None:
        """`environment` names the emulator and the project, and holds what the deployment sets."""
        self.system = system
        self.port = free_port()
        self.meter = Meter(folder / f"{system.name}.meter")
        command = [
            *(sys.executable, "-m", "tests.bench.serve", str(folder / f"{system.name}.meter")),
            *("--source", str(system.root / system.source), "--target", system.target),
            *("--host", "127.0.0.1", "--port", str(self.port)),
        ]
        within = {**environment, "PYTHONPATH": str(system.root), "PYTHONSAFEPATH": "1"}
        self._child = Child(system.name, command, folder / f"{system.name}.log", within)

    def __enter__(self) -> Self:
        """Wait until it answers."""
        self._child.wait_healthy(self._answers, seconds=60)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop it."""
        self._child.stop()

    def kill(self) -> None:
        """End it without waiting for what is under way."""
        self._child.kill()

    def _answers(self) -> bool:
        try:
            return httpx.get(f"http://127.0.0.1:{self.port}/", timeout=5).status_code > 0
        except httpx.TransportError:
            return False

    @property
    def pid(self) -> int:
        """The process that was started; the worker is a descendant."""
        return self._child.pid

    def cpu_seconds(self) -> float:
        """User and system time of it and everything under it that lives."""
        return cpu_of(self._child.pid)


def cpu_of(pid: int) -> float:
    """User and system time of a process and of everything under it that lives, in seconds."""
    parents, used = _processes()
    family = {pid}
    while more := {each for each, parent in parents.items() if parent in family} - family:
        family |= more
    return sum(used.get(each, 0.0) for each in family)


def _processes() -> tuple[dict[int, int], dict[int, float]]:
    parents, used = {}, {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:  # it has ended meanwhile
            continue
        pid = int(stat.parent.name)
        parents[pid], used[pid] = int(fields[1]), (int(fields[11]) + int(fields[12])) / _TICKS
    return parents, used

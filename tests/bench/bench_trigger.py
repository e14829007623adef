"""The trigger beside three others: over HTTP under functions-framework, and called directly.

All systems run in turn on one emulator, again and again, so that whatever else the machine does meets
them alike. The figures to trust are the ratios; they are the medians of the ratios within a round.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

from local.emulator import Emulator
from tests.bench.events import SHAPES, Feed, Shape
from tests.bench.meter import Meter
from tests.bench.report import Cell, Row, Study, print_study, write_study
from tests.bench.systems import ROOT, SYSTEMS, TEXTBOOK, Server, System, expected


@dataclass(frozen=True)
class Plan:
    """How much is measured."""

    http: tuple[int, ...] = (1, 8, 32, 100, 300)
    direct: tuple[int, ...] = (1, 8, 32, 100, 200, 300)
    rounds: int = 3
    seconds: float = 2.0
    shapes: tuple[Shape, ...] = SHAPES

    def cells(self) -> Iterator[Cell]:
        """What is measured, in this order."""
        for shape in self.shapes:
            for mode, levels in (("http", self.http), ("direct", self.direct)):
                yield from (Cell(mode, shape, concurrency) for concurrency in levels)


QUICK = Plan(http=(1, 100), direct=(200,), rounds=1, seconds=1.5)

MOST_A_SECOND = {"http": 8_000, "direct": 9_000}
"""Events made ready for each second: more than any that counts has been seen to take."""


class Bench:
    """The emulator, the servers, and how one of them is measured."""

    def __init__(
        self, emulator: Emulator, folder: Path, stack: ExitStack, settings: Mapping[str, str] | None = None
    ) -> None:
        """`settings` are variables that the systems are deployed with."""
        self._settings = settings or {}
        self._emulator = emulator
        self._folder = folder
        self._servers: dict[str, Server] = {}
        self._stack = stack
        self._runs = 0

    def environment(self, system: System) -> dict[str, str]:
        """What a deployment sets; the threads are for those that are served by threads."""
        return os.environ | {
            "FIRESTORE_EMULATOR_HOST": self._emulator.address,
            "GOOGLE_CLOUD_PROJECT": f"demo-{system.name}",
            "THREADS": "80",
            "PYTHONPATH": str(ROOT),
            **self._settings,
        }

    def measure(self, cell: Cell, system: System, seconds: float) -> Row:
        """One run of one system on empty totals."""
        mode, shape, concurrency = cell
        if system is TEXTBOOK:
            # Transactions that were given up keep their locks in the emulator: no run may inherit them.
            self._runs += 1
            system = replace(system, name=f"{system.name}-{self._runs}")
        project = f"demo-{system.name}"
        self._emulator.reset(project)
        arguments = [project, shape, str(concurrency), str(seconds), str(int(MOST_A_SECOND[mode] * seconds))]
        result, counted = (self._http if mode == "http" else self._direct)(system, arguments)
        row = Row.of(cell, system.name.partition("-")[0], result, counted, self._exact(system, shape, result))
        if "-" in system.name and (server := self._servers.pop(system.name, None)):
            server.kill()
        return row

    def _http(self, system: System, arguments: list[str]) -> tuple[dict[str, Any], dict[str, int]]:
        server = self._server(system)
        cpu, before = server.cpu_seconds(), server.meter.read()
        result = _run("tests.bench.load", [str(server.port), *arguments], self.environment(system))
        result["cpu"] = server.cpu_seconds() - cpu
        return result, _difference(server.meter.read(), before)

    def _direct(self, system: System, arguments: list[str]) -> tuple[dict[str, Any], dict[str, int]]:
        meter = self._folder / "direct.meter"
        result = _run("tests.bench.direct", [str(meter), system.module, *arguments], self.environment(system))
        return result, _difference(Meter(meter).read(), result.pop("before"))

    def _server(self, system: System) -> Server:
        if system.name not in self._servers:
            server = Server(system, self.environment(system), self._folder)
            self._servers[system.name] = self._stack.enter_context(server)
            warm_up = [str(server.port), f"demo-{system.name}", "hot", "1", "1", "100"]
            _run("tests.bench.load", warm_up, self.environment(system))
            self._emulator.reset(f"demo-{system.name}")
        return self._servers[system.name]

    def _exact(self, system: System, shape: Shape, result: dict[str, Any]) -> bool:
        if not system.counts:
            return not result["unanswered"]
        os.environ["FIRESTORE_EMULATOR_HOST"] = self._emulator.address
        os.environ["GOOGLE_CLOUD_PROJECT"] = f"demo-{system.name}"
        sent = islice(Feed(f"demo-{system.name}", shape).entries(result["sent"]), result["sent"])
        system.load().client.cache_clear()
        return not result["unanswered"] and bool(system.load().totals() == expected(sent))


def _run(module: str, arguments: list[str], environment: dict[str, str]) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-m", module, *arguments],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{module} {' '.join(arguments)} failed:\n{done.stderr.decode()[-2000:]}")
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def _difference(now: dict[str, int], before: dict[str, int]) -> dict[str, int]:
    return {name: now[name] - before[name] for name in now}


def main(*, quick: bool = False) -> None:
    """Measure, print, and, unless it is quick, write docs/benchmarks/trigger.{json,md,png}."""
    plan = QUICK if quick else Plan()
    study = Study(f"{plan.rounds} rounds of {plan.seconds:g} s each")
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        log = Path(name) / "emulator.txt"
        emulator = stack.enter_context(Emulator.prepare(os.environ, log))
        bench = Bench(emulator, Path(name), stack)
        for cell in plan.cells():
            for number in range(plan.rounds):
                # The textbook one takes no part after the first round: on a hot document it only waits.
                systems = [
                    system
                    for system in SYSTEMS
                    if (number == 0 or system is not TEXTBOOK) and (system.counts or cell.mode == "http")
                ]
                study.rounds.append([bench.measure(cell, system, plan.seconds) for system in systems])
                print(json.dumps([asdict(row) for row in study.rounds[-1]]), file=sys.stderr, flush=True)
    print_study(study)
    if not quick:
        write_study(study, ROOT / "docs" / "benchmarks")

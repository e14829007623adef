"""``python -m tests.faults.soak``: the local stack under load for an hour, with all faults at random.

Entries are written at a steady rate while events are dropped, doubled and put off, calls to Firestore fail,
lose their reply or come late, connections are cut and the trigger is killed. Every minute a
recompute runs, and *fence* is checked against an independent fold; *bound* every few seconds. At the end
everything must converge. A report and a plot of memory and file descriptors are left in ``build/soak``.
"""

import argparse
import json
import random
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from pathlib import Path

import httpx

from local.process import free_port
from local.stack import LocalStack
from shared.errors import StoreError
from shared.store import Create, Query
from shared.store.client import FirestoreStore
from tests.support.grpc_proxy import GrpcProxy
from tests.support.kitchen import SERVED, Kitchen, as_int
from tests.support.recomputing import converged, fence_holds

HERE = Path("build/soak")
CATEGORIES = Query("aggregates_categories")


@dataclass
class Sample:
    """What a process and its children held at a moment."""

    seconds: float
    process: int
    megabytes: float
    descriptors: int


@dataclass
class Report:
    """What a soak came to."""

    seconds: float = 0
    entries: int = 0
    runs: dict[str, int] = field(default_factory=dict)
    fence_checks: int = 0
    bound_checks: int = 0
    drift_repaired: int = 0
    faults: dict[str, int] = field(default_factory=dict)
    relay: dict[str, object] = field(default_factory=dict)
    megabytes_an_hour: dict[str, float] = field(default_factory=dict)
    """The slope over the second half, of processes that lived through all of it (see ``--spare``)."""
    descriptors: dict[str, tuple[int, int]] = field(default_factory=dict)
    """At the start of the second half, and at the end."""


class Soak:
    """One soak. Everything in it runs until `_over` is set."""

    def __init__(self, stack: LocalStack, proxy: GrpcProxy, arguments: argparse.Namespace) -> None:
        self._stack = stack
        self._proxy = proxy
        self._arguments = arguments
        self._rng = random.Random(arguments.seed)
        self._kitchen = Kitchen(FirestoreStore.connect(stack.settings), stack.settings)
        self._over = threading.Event()
        self._begun = time.monotonic()
        self._samples: dict[str, list[Sample]] = defaultdict(list)
        self.report = Report()

    def run(self) -> Report:
        """Write, break and check until the time is up; then repair and compare."""
        with ThreadPoolExecutor(3) as threads:
            running = [threads.submit(each) for each in (self._write, self._prove, self._watch)]
            try:
                # In this, the main thread: what it starts ends with the thread that started it.
                self._break(lambda: any(each.done() for each in running))
            finally:
                self._over.set()
                self._calm()
        for each in running:
            each.result()
        self._settle()
        return self.report

    # -- load and faults

    def _write(self) -> None:
        number = 0
        while not self._over.wait(1 / self._arguments.rate):
            number += 1
            fields = SERVED | {"ingredient": f"ingredient {number % 40}", "timestamp": self._now(number)}
            self._kitchen.store.commit([Create(f"libra/e{number:08}", fields)], timeout=30)
            self.report.entries = number

    def _now(self, number: int) -> object:
        # A day of hours: for each query of the index strategy the emulator looks through all entries.
        return SERVED["timestamp"] + timedelta(seconds=number)

    def _break(self, failed: Callable[[], bool]) -> None:
        self._stack.set_faults(duplicate=0.2, drop=0.005, delay=0.1, delay_seconds=5.0, reorder=10)
        while self._elapsed() < self._arguments.minutes * 60 and not failed():
            self._over.wait(self._rng.uniform(0.2, 2))
            self._proxy.clear()  # what was not met by now would pile up for the next recompute
            kills = 0 if self._arguments.spare else 0.5
            match self._rng.choices(("swallow", "fail", "late", "cut", "kill"), (8, 8, 4, 1, kills))[0]:
                case "swallow":
                    self._proxy.swallow_replies("Commit", self._rng.randint(1, 3))
                case "fail":
                    method = self._rng.choice(("Commit", "BatchGetDocuments", "RunQuery"))
                    self._proxy.fail(method, self._rng.randint(1, 3))
                case "late":
                    self._proxy.delay("Commit", self._rng.uniform(0.1, 3))
                case "cut":
                    self._proxy.hang_up()
                    add(self.report.faults, "connections cut")
                case "kill":
                    self._stack.kill_function()
                    self._stack.start_function()
                    add(self.report.faults, "trigger killed")

    def _calm(self) -> None:
        self._proxy.clear()
        self._stack.set_faults(duplicate=0.0, drop=0.0, delay=0.0, reorder=0)

    # -- checks

    def _prove(self) -> None:
        while not self._over.wait(self._arguments.every):
            self._recompute()
            print(json.dumps(asdict(self.report)), flush=True)

    def _recompute(self) -> None:
        asked = {"strategy": ("scan", "index")[sum(self.report.runs.values()) % 2]}
        answer = httpx.post(f"http://{self._stack.recompute.address}", json=asked, timeout=600)
        add(self.report.runs, str(answer.status_code))
        if answer.status_code == 200:
            self.report.drift_repaired += int(answer.json()["drift"])
            fence_holds(self._kitchen.store, self._kitchen.source)
            self.report.fence_checks += 1

    def _watch(self) -> None:
        """*bound*, from outside: never more than was written. And what every process holds."""
        while not self._over.wait(5):
            shown = sum(as_int(each.fields["count"]) for each in self._kitchen.store.query(CATEGORIES))
            written = self._kitchen.store.count(Query("libra"))
            if shown > written:
                raise AssertionError(f"bound: {shown} are shown, and {written} were written")
            self.report.bound_checks += 1
            for name, process in self._processes().items():
                self._samples[name].append(held(process, self._elapsed()))

    def _processes(self) -> dict[str, int]:
        children = {
            "trigger": self._stack.function._child,
            "recompute": self._stack.recompute._child,
            "relay": self._stack._relay,
        }
        return {name: child.pid for name, child in children.items() if child}

    def _settle(self) -> None:
        """No faults any more: one run that everything is behind, and it must all be right."""
        self._stack.wait_until_quiet(seconds=300)
        quiet = time.monotonic() + self._stack.settings.lag.total_seconds()
        quiet += 2 * self._stack.settings.bucket.total_seconds() + 1
        while time.monotonic() < quiet:
            time.sleep(0.5)
        for _ in range(20):
            answer = httpx.post(f"http://{self._stack.recompute.address}", json={}, timeout=600)
            if answer.status_code == 200:
                break
            time.sleep(10)  # the lease of one that was cut off runs out
        assert answer.status_code == 200, answer.text
        converged(self._kitchen.store, self._kitchen.source)
        again = httpx.post(f"http://{self._stack.recompute.address}", json={}, timeout=600)
        assert again.json()["drift"] == 0, again.text
        self._finish()

    def _finish(self) -> None:
        report = self.report
        report.seconds = self._elapsed()
        report.relay = self._stack.relay_state()
        for (method, kind), number in self._proxy.struck.items():
            add(report.faults, f"{method} {kind}", number)
        for name, samples in self._samples.items():
            half = samples[len(samples) // 2 :]
            if len({sample.process for sample in half}) == 1:
                report.megabytes_an_hour[name] = round(slope(half) * 3600, 1)
            report.descriptors[name] = (half[0].descriptors, half[-1].descriptors)
        (HERE / "report.json").write_text(json.dumps(asdict(report), indent=2) + "\n")
        plot(self._samples, HERE / "memory.png")

    def _elapsed(self) -> float:
        return time.monotonic() - self._begun


def add(counters: dict[str, int], name: str, number: int = 1) -> None:
    """Count. A plain dict: `asdict` would make a `Counter` of a `Counter`'s items."""
    counters[name] = counters.get(name, 0) + number


def held(group: int, seconds: float) -> Sample:
    """What a process group holds: resident memory, and open file descriptors."""
    pages, descriptors = 0, 0
    for process in Path("/proc").glob("[0-9]*"):
        try:
            stat = (process / "stat").read_text().rpartition(")")[2].split()
            if int(stat[2]) == group:
                pages += int(stat[21])
                descriptors += sum(1 for _ in (process / "fd").iterdir())
        except OSError:
            continue  # it has ended meanwhile
    return Sample(seconds, group, pages * 4096 / 1e6, descriptors)


def slope(samples: list[Sample]) -> float:
    """Megabytes a second, by least squares."""
    if len(samples) < 2:
        return 0.0
    x = sum(each.seconds for each in samples) / len(samples)
    y = sum(each.megabytes for each in samples) / len(samples)
    spread = sum((each.seconds - x) ** 2 for each in samples)
    return sum((each.seconds - x) * (each.megabytes - y) for each in samples) / spread if spread else 0.0


def plot(samples: dict[str, list[Sample]], into: Path) -> None:
    """Memory and file descriptors over time."""
    import matplotlib as mpl  # slow to load, and only needed at the end

    mpl.use("agg")
    from matplotlib import pyplot

    figure, (memory, files) = pyplot.subplots(2, sharex=True, figsize=(9, 6))
    for name, series in samples.items():
        minutes = [each.seconds / 60 for each in series]
        memory.plot(minutes, [each.megabytes for each in series], label=name)
        files.plot(minutes, [each.descriptors for each in series], label=name)
    memory.set_ylabel("resident memory, MB")
    files.set_ylabel("open file descriptors")
    files.set_xlabel("minutes")
    memory.legend()
    figure.savefig(into)


def arguments() -> argparse.Namespace:
    """From the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--rate", type=float, default=20, help="entries a second")
    parser.add_argument("--every", type=float, default=60, help="seconds between recomputes")
    parser.add_argument("--lag", type=int, default=310, help="LIBRA_LAG_SECONDS; over 300 for the fresh path")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--spare", action="store_true", help="kill nothing: shows the trigger's memory over a long life"
    )
    return parser.parse_args()


def main() -> int:
    """0 if every law held to the end."""
    asked = arguments()
    settings = {"LIBRA_LAG_SECONDS": str(asked.lag), "LIBRA_BUCKET_SECONDS": "10"}
    port = free_port()
    HERE.mkdir(parents=True, exist_ok=True)
    stack = LocalStack(
        project="demo-soak", settings=settings, emulator_port=port, recompute=True, folder=HERE
    )
    with GrpcProxy(f"127.0.0.1:{port}") as proxy:
        # What is served talks to the emulator through the proxy; the checks look at it directly.
        for served in (stack.function, stack.recompute):
            served._environment = {**served._environment, "FIRESTORE_EMULATOR_HOST": proxy.address}
        with stack:
            report = Soak(stack, proxy, asked).run()
    print(json.dumps(asdict(report), indent=2))
    print(f"report and plot: {HERE}")
    return 0


if __name__ == "__main__":
    try:
        raise SystemExit(main())
    except StoreError as error:
        raise SystemExit(f"the emulator cannot be reached: {error}") from error

"""A system called without HTTP, by as many threads as events are under way.

`python -m tests.bench.direct METER MODULE PROJECT SHAPE CONCURRENCY SECONDS MOST` prints a
`tests.bench.load.Result` as JSON, with the CPU time of the process. An event that fails is tried again, as
the platform would; its latency runs from the first try.
"""

import importlib
import json
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path

from shared.aggregation import Entry
from tests.bench.events import Feed
from tests.bench.load import DEADLINE_SECONDS, Result
from tests.bench.meter import Meter

WARM_UP = 50
"""Events before the clock starts: connections are made, code is warm. They count in the totals."""


class Run:
    """What the threads share."""

    def __init__(self, apply: Callable[[Entry], None], entries: Iterator[Entry], seconds: float) -> None:
        self.result = Result()
        self._apply = apply
        self._entries = entries
        self._lock = threading.Lock()
        self._started = time.perf_counter()
        self._until = self._started + seconds

    def work(self) -> None:
        """Count one entry after the other until the time is over."""
        while (entry := self._next()) is not None:
            since = time.perf_counter()
            if not self._count(entry):
                return
            now = time.perf_counter()
            with self._lock:
                self.result.acknowledged += 1
                self.result.latencies.append(now - since)
                self.result.seconds = now - self._started

    def _next(self) -> Entry | None:
        with self._lock:
            if time.perf_counter() > self._until:
                return None
            entry = next(self._entries, None)
            self.result.sent += entry is not None
            return entry

    def _count(self, entry: Entry) -> bool:
        """Try until it is counted; False: it was not when the time was over."""
        while time.perf_counter() < self._until + DEADLINE_SECONDS:
            try:
                self._apply(entry)
            except Exception as error:  # noqa: BLE001 - whatever it is: the platform would deliver again
                with self._lock:
                    name = type(error).__name__
                    self.result.errors[name] = self.result.errors.get(name, 0) + 1
            else:
                return True
        return False


def main() -> None:
    """See the module."""
    meter, module, project, shape, concurrency, seconds, most = sys.argv[1:]
    Meter(Path(meter)).install()
    apply = importlib.import_module(module).apply
    entries = list(Feed(project, shape).entries(int(most)))  # type: ignore[arg-type]  # one of its values
    for entry in entries[:WARM_UP]:
        apply(entry)
    before = Meter(Path(meter)).read()
    run = Run(apply, iter(entries[WARM_UP:]), float(seconds))
    cpu = time.process_time()
    threads = [threading.Thread(target=run.work) for _ in range(int(concurrency))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    cpu = time.process_time() - cpu
    run.result.unanswered = run.result.sent - run.result.acknowledged
    run.result.sent += WARM_UP
    json.dump(asdict(run.result) | {"cpu": cpu, "before": before}, sys.stdout)


if __name__ == "__main__":
    main()

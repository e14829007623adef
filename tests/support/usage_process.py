"""A process that counts, for tests that kill it: `python -m tests.support.usage_process REDIS_URL MODE`.

It prints a line after each count: the sum so far and what Redis has not confirmed of it. MODE is `count`
(until it is ended), `fork` (count, fork, count in both, end), `worker` (a process of multiprocessing counts a
thousand and ends), `broken` (as `count`, while the client raises what nobody expects), `init` (as `count`, as
process 1 of a container, which no signal of its own ends) or `exit` (count a thousand, end).
"""

import multiprocessing
import os
import signal
import sys
import threading
import time
from datetime import timedelta

from services.usage.tracker import UsageTracker


def count(tracker: UsageTracker) -> None:
    """Count a thousand."""
    for _ in range(1_000):
        tracker.track("acme", "requests")


def main(url: str, mode: str) -> None:
    """Count."""
    tracker = UsageTracker(url, interval=timedelta(seconds=0.05))
    if mode == "broken":
        tracker._sender._counters = None  # type: ignore[assignment]
    if mode == "init":
        signal.raise_signal = lambda _: None
    if mode in {"count", "broken", "init"}:
        total = 0
        while True:
            tracker.track("acme", "requests")
            total += 1
            print(total, tracker.unconfirmed, flush=True)
            time.sleep(0.0005)
    if mode == "worker":
        worker = multiprocessing.get_context("fork").Process(target=count, args=(tracker,))
        worker.start()
        worker.join()
        return
    count(tracker)
    if mode == "fork":
        tracker.flush()
        for _ in range(10):
            tracker.track("acme", "requests")  # the parent's alone, although the child has a copy
        held, forked = threading.Event(), threading.Event()

        def hold() -> None:  # as the thread that sends does, now and then
            with tracker._counters._client.connection_pool._lock:
                held.set()
                forked.wait()

        threading.Thread(target=hold).start()
        held.wait()
        child = os.fork()
        forked.set()
        if child:
            os.waitpid(child, 0)
        for _ in range(100):
            tracker.track("acme", "requests")


if __name__ == "__main__":
    main(*sys.argv[1:])

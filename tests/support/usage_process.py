"""A process that counts, for tests that kill it: `python -m tests.support.usage_process REDIS_URL MODE`.

It prints a line after each count: the sum so far and what Redis has not confirmed of it. MODE is `count`
(until it is ended), `fork` (count, fork, count in both, end) or `exit` (count a thousand, end).
"""

import os
import sys
import time
from datetime import timedelta

from services.usage.tracker import UsageTracker


def main(url: str, mode: str) -> None:
    """Count."""
    tracker = UsageTracker(url, interval=timedelta(seconds=0.05))
    if mode == "count":
        total = 0
        while True:
            tracker.track("acme", "requests")
            total += 1
            print(total, tracker.unconfirmed, flush=True)
            time.sleep(0.0005)
    for _ in range(1_000):
        tracker.track("acme", "requests")
    if mode == "fork":
        tracker.flush()
        for _ in range(10):
            tracker.track("acme", "requests")  # the parent's alone, although the child has a copy
        if child := os.fork():
            os.waitpid(child, 0)
        for _ in range(100):
            tracker.track("acme", "requests")


if __name__ == "__main__":
    main(*sys.argv[1:])

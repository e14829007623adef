"""The laws *once* and *bound*, with the real trigger on the real emulator, while things go wrong."""

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

from local.stack import LocalStack
from tests.support.kitchen import Kitchen, counts

ODD: list[dict[str, Any]] = [
    {"ingredient": "Mac/Cheese"},
    {"ingredient": "__x__", "dataAction": "Refilled"},
    {"ingredient": ""},
    {"ingredient": None},
    {"timestamp": "yesterday"},
    {"timestamp": datetime(2100, 1, 1, tzinfo=UTC)},
    {"dataAction": ...},
    {"amount": float("nan")},
]


def write(kitchen: Kitchen, number: int) -> None:
    """One of a mixed crowd of entries: good ones at different hours, odd ones and bad ones."""
    when = datetime(2025, 9, 4, tzinfo=UTC) + timedelta(minutes=37 * number)
    odd = ODD[number // 4 % len(ODD)] if number % 4 == 0 else {}
    kitchen.write(f"entry-{number}", **{"timestamp": when, "ingredient": f"i{number % 5}"} | odd)


def test_law_once(stack: LocalStack, kitchen: Kitchen) -> None:
    """Any number and order of deliveries, a function killed twice: each entry counts once in each total."""
    stack.set_faults(seed=1, duplicate=0.5, delay=0.5, delay_seconds=0.4, reorder=10)
    with ThreadPoolExecutor(4) as threads:
        for start in (0, 100, 200):
            list(threads.map(lambda number: write(kitchen, number), range(start, start + 100)))
            if start < 200:
                stack.kill_function()
                stack.start_function()
    state = stack.wait_until_quiet(300)
    assert kitchen.totals() == kitchen.exact()
    assert len(kitchen.documents(kitchen.home.seen)) == 300
    assert state["duplicated"] > 100


def test_law_bound(stack: LocalStack, kitchen: Kitchen) -> None:
    """At every moment acknowledged <= shown <= attempted, the function killed and started in between."""
    stack.set_faults(seed=2, delay=0.5, delay_seconds=0.3, reorder=5)
    attempted = 0
    done = threading.Event()

    def attempt() -> None:
        nonlocal attempted
        for number in range(250):
            attempted += 1
            kitchen.write(f"entry-{number}")
        done.set()

    def sample() -> tuple[int, int, int]:
        """The lower bound is read before, the upper bound after what is shown."""
        acknowledged = stack.relay_state()["delivered"]
        shown = counts(kitchen.totals(), "aggregates_actions").get("Served", 0)
        return acknowledged, shown, attempted

    samples: list[tuple[int, int, int]] = []
    writer = threading.Thread(target=attempt)
    writer.start()
    for kills in range(3):
        while not done.is_set() and len(samples) < 15 * (kills + 1):
            samples.append(sample())
        stack.kill_function()
        samples.append(sample())
        stack.start_function()
    writer.join()
    stack.wait_until_quiet(250)
    samples.append(sample())
    assert all(acknowledged <= shown <= upper for acknowledged, shown, upper in samples), samples
    assert samples[-1] == (250, 250, 250)
    assert len({shown for _, shown, _ in samples}) > 3

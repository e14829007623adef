"""kill -9 of the relay at every step of an event through it: what dies with it, the next recompute finds.

On the platform an event outlives whoever carries it. The relay's die with it, which is the worst that an
outage could do: the totals may lack them, never have them twice, and are exact after the next run.
"""

import sys
from collections.abc import Iterator
from datetime import UTC, datetime

import httpx
import pytest

from local.process import Child, wait_until
from local.stack import LocalStack
from shared.recompute import Recompute
from shared.store import Query
from shared.store.client import FirestoreStore
from tests.faults.killed_relay import METHODS, STEPS
from tests.support.kitchen import Kitchen, as_int
from tests.support.recomputing import QUICK, fence_holds

SETTINGS = {"LIBRA_LAG_SECONDS": "0", "LIBRA_BUCKET_SECONDS": "1"}
FAULTS = ("--duplicate", "1", "--reorder", "1")
"""So that an event comes through every method: one that is never doubled is never held back either."""


@pytest.fixture(scope="module")
def stack() -> Iterator[LocalStack]:
    with LocalStack(project="demo-kill-relay", settings=SETTINGS) as running:
        yield running
        assert running._relay
        running._relay.kill()  # the last of those that took the place of the stack's own


@pytest.fixture(scope="module")
def kitchen(stack: LocalStack) -> Iterator[Kitchen]:
    store = FirestoreStore.connect(stack.settings)
    yield Kitchen(store, stack.settings)
    store.close()


def relay(stack: LocalStack, *command: str, options: tuple[str, ...] = ()) -> Child:
    """Another relay where the stack's own was."""
    port = stack.relay.rpartition(":")[2]
    program = [sys.executable, "-m", *command, "--port", port, "--target", stack.function.address, *options]
    started = Child("the relay", program, stack.folder / "relay.txt", stack.environment)
    stack._relay = started
    started.wait_healthy(lambda: "received" in _state(stack), seconds=30)
    return started


def _state(stack: LocalStack) -> dict[str, object]:
    try:
        return stack.relay_state()
    except httpx.TransportError:
        return {}


def test_an_event_comes_through_every_method() -> None:
    """The matrix is not empty by mistake."""
    assert {"_take", "_plan", "_send", "_settle", "_again"} <= set(METHODS)


@pytest.mark.parametrize("step", STEPS)
def test_law_survive_kill_9_of_the_relay(stack: LocalStack, kitchen: Kitchen, step: str) -> None:
    """Never more than is true before the next run, and exactly that after it."""
    assert stack._relay
    stack._relay.kill()
    dying = relay(stack, "tests.faults.killed_relay", step, options=FAULTS)
    if step.endswith("_again"):
        stack.kill_function()  # nobody answers: the relay tries again
    for number in range(3):
        kitchen.write(f"{step} {number}".replace(" ", "-"))
    wait_until(lambda: not dying.running, seconds=30, what=f"the relay's death {step}")
    dying.kill()
    relay(stack, "local.relay")
    if step.endswith("_again"):
        stack.start_function()
    stack.wait_until_quiet(seconds=30)
    (total,) = kitchen.documents("aggregates_categories") or [{"count": 0}]
    assert as_int(total["count"]) <= kitchen.store.count(Query("libra"))
    newest = max(entry.time for entry in kitchen.entries())
    wait_until(lambda: datetime.now(UTC) > newest + 2 * QUICK.bucket, seconds=10, what="the bucket's end")
    Recompute(kitchen.store, kitchen.source, kitchen.home, kitchen.settings).run()
    fence_holds(kitchen.store, kitchen.source)
    assert kitchen.totals() == kitchen.exact()

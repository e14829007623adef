"""The doors: from a request to totals that a reader sees, beside the trigger and beside a plain worker.

Four ways take turns on the same two emulators. Then the collector's CPU for an event, beside an endpoint of
FastAPI that validates the same body and drops it. Emulators, servers, senders and reader share the cores, so
the figures to trust are the ratios within a round, and the counts.
"""

import asyncio
import json
import os
import platform
import sys
import tempfile
from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import NamedTuple

from local.emulator import QUICK as C1
from local.emulator import Emulator
from local.pubsub import PubSub
from tests.bench.crowd import CONNECTIONS, Load
from tests.bench.doors import PATH, Doors, Dropping, Measured, Trigger, Way, Where, encoded, post
from tests.bench.events import SHAPES, Shape, user_events
from tests.bench.load import send
from tests.bench.systems import ROOT, cpu_of

STORED = ROOT / "docs" / "benchmarks"
WAYS = ("queue", "direct", "trigger", "recipe")
AIMS = {"recipe": 5.0, "trigger": 2.0}
"""How many times as many events a second the doors are to make visible."""
CPU_AIM = 1.5


class Plan(NamedTuple):
    """How much is measured."""

    rounds: int = 2
    shapes: tuple[Shape, ...] = SHAPES
    bodies: tuple[int, ...] = (1, 100)
    seconds: float = 3.0
    rate: float = 50.0
    """Events a second where the time to visible is measured."""
    warm_up: float = 3.0
    cpu_bodies: tuple[int, ...] = (1, 10, 100, 1_000)
    at_once: tuple[int, ...] = (4, 32)
    cpu_seconds: float = 1.0

    def cells(self) -> Iterator[tuple[Shape, int, Load]]:
        """What is measured, in this order."""
        for shape in self.shapes:
            yield from ((shape, body, Load(self.seconds)) for body in self.bodies)
        yield "many", 1, Load(self.seconds, rate=self.rate)


QUICK = Plan(rounds=1, shapes=("many",), seconds=2.0, warm_up=2.0, at_once=(32,), cpu_seconds=0.5)


class Cost(NamedTuple):
    """The CPU of one server, in microseconds an event."""

    server: str
    body: int
    at_once: int
    cpu: float


def main(*, quick: bool = False) -> None:
    """Measure, print, and, unless it is quick, write docs/benchmarks/doors.{json,md}."""
    plan, found, costs, busy = QUICK if quick else Plan(), [], [], [os.getloadavg()[0]]
    with _up() as (ways, servers):
        for way in ways:
            for body in plan.bodies:
                way.measure("many", body, Load(plan.warm_up))
        for number in range(plan.rounds):
            for cell in plan.cells():
                # Who begins changes, so that nobody always follows on the same neighbour.
                for way in ways[number:] + ways[:number]:
                    found.append(way.measure(*cell))
                    print(json.dumps(asdict(found[-1])), file=sys.stderr, flush=True)
            costs += list(_costs(plan, servers))
            busy.append(os.getloadavg()[0])
    text = "\n".join(["# The doors", "", *lines(plan, found, costs, busy), ""])
    print(text)
    if not quick:
        kept = {"busy": busy, "runs": [asdict(one) for one in found], "cpu": [one._asdict() for one in costs]}
        (STORED / "doors.json").write_text(json.dumps(kept, indent=1) + "\n")
        (STORED / "doors.md").write_text(text)


# --- what is measured -----------------------------------------------------------------------------


@contextmanager
def _up() -> Iterator[tuple[list[Way], list[Doors | Dropping]]]:
    """The ways, and the two servers whose CPU is compared."""
    outside = {name: value for name, value in os.environ.items() if not name.endswith("_EMULATOR_HOST")}
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        firestore = stack.enter_context(Emulator.prepare(outside, folder / "firestore.txt", java=C1))
        pubsub = stack.enter_context(PubSub.prepare(outside, folder / "pubsub.txt", java=C1))
        where = Where(firestore, pubsub, folder)
        ways = [
            Doors("queue", where, "queue", "services.worker"),
            Doors("direct", where, "direct"),
            Trigger(where),
            Doors("recipe", where, "queue", "tests.bench.baselines.recipe"),
        ]
        servers: list[Doors | Dropping] = [Doors("collector", where, "queue"), Dropping(where)]
        for each in (*ways, *servers):
            each.start(stack)
        yield ways, servers


def _costs(plan: Plan, servers: list[Doors | Dropping]) -> Iterator[Cost]:
    """Each server in turn takes the same events, again and again: nothing tells it that they came before."""
    for body in plan.cpu_bodies:
        content = encoded(list(user_events("many", body)))
        for at_once in plan.at_once:
            for server in servers:
                (port,), pid = server.ports, server.children["collector"].pid
                request = post(PATH, port, content, server.headers)
                for seconds in (0.3, plan.cpu_seconds):  # the first one warms up
                    before = cpu_of(pid)
                    ready = deque([request] * int(8_000 * seconds))
                    result = asyncio.run(send(port, ready, at_once, seconds))
                    if result.errors or result.unanswered:
                        raise RuntimeError(f"{server.name}: {result.errors}, {result.unanswered} unanswered")
                spent = cpu_of(pid) - before
                yield Cost(server.name, body, at_once, 1e6 * spent / (result.acknowledged * body))


# --- what is told ---------------------------------------------------------------------------------


def lines(plan: Plan, found: list[Measured], costs: list[Cost], busy: list[float]) -> Iterator[str]:
    """The page, without its title."""
    yield f"`make bench NAME=doors` of {datetime.now(UTC):%Y-%m-%d}: medians of {plan.rounds} rounds of"
    yield f"{plan.seconds:g} s each, the ways in turn. {os.cpu_count()} cores for emulators, servers, reader"
    yield f"and senders with {CONNECTIONS} connections. Python {platform.python_version()}."
    yield f"Load average {min(busy):.1f} to {max(busy):.1f}: {_who(max(busy))}"
    yield ""
    yield from ABOUT
    yield "## Events a second from HTTP to totals visible"
    yield ""
    yield from _ratios(found)
    yield "## Every figure"
    yield ""
    yield from _figures(found)
    yield "## The collector's CPU"
    yield ""
    yield from _cpu(plan, costs)


ABOUT = """\
| way | what happens |
|---|---|
| queue | collector, Pub/Sub, three workers: four totals an event |
| direct | collector, which counts before it answers: four totals an event |
| trigger | the sender writes the entry to Firestore, then sends its event to the function: four totals |
| recipe | the same collector and Pub/Sub; three workers that write each entry and increment one total |

`hot`: all events add to the same four totals. `many`: 60 users, 6 types, two weeks, about 400 totals; the
trigger's entries have 104. A reader reads the totals again and again; the n-th event is visible once the
reader has seen a sum of n. The highest rate is the one at which 2,000 events at most are sent and not
visible.

What bounds a way, apart from the CPU:

- `queue`: Pub/Sub's emulator delivers 100 messages in 50 ms to a worker, so 6,000 events a second to three.
  An event costs the same CPU with two workers, and the recipes' way is as fast with one.
- `direct`: each connection waits for its commit, so a group has no more requests than there are connections.
  With 400 of them it counted 3,000 events a second of `many`, one in a body, twice as many as the trigger (a
  quick look on 2026-11-26).
- The trigger's sender has no HTTP server of ours in front, writes in bodies, and stands where the platform
  does.

""".splitlines()


def _who(busy: float) -> str:
    if busy <= 2 * (os.cpu_count() or 1):
        return "nothing else ran."
    return "other work ran beside, so trust ratios and counts."


def _cells(found: list[Measured]) -> list[tuple[Shape, int, float | None]]:
    return list(dict.fromkeys((one.shape, one.body, one.rate) for one in found))


def _rows(found: list[Measured], cell: tuple[Shape, int, float | None], way: str) -> list[Measured]:
    return [one for one in found if (one.shape, one.body, one.rate) == cell and one.way == way]


def _ratios(found: list[Measured]) -> Iterator[str]:
    yield "| events | a body | ours | by | wanted | rate | rounds | CPU of all processes |"
    yield "|---|--:|---|---|--:|--:|---|--:|"
    for cell in _cells(found):
        shape, body, rate = cell
        for ours in ("queue", "direct") if rate is None else ():
            for other, aim in AIMS.items():
                pairs = list(zip(_rows(found, cell, ours), _rows(found, cell, other), strict=True))
                gained = [mine.per_second / theirs.per_second for mine, theirs in pairs]
                cpu = median(sum(mine.cpu.values()) / sum(theirs.cpu.values()) for mine, theirs in pairs)
                typical = median(gained)
                said = f"**{typical:.1f}** {'✓' if typical >= aim else '✗ missed'}"
                spread = f"{min(gained):.1f} to {max(gained):.1f}"
                yield f"| {shape} | {body} | {ours} | {other} | ≥ {aim:g} | {said} | {spread} | {cpu:.2f} |"
    yield ""


def _figures(found: list[Measured]) -> Iterator[str]:
    yield "Milliseconds from the request to visible; at the highest rate most of it is waiting. CPU in"
    yield "microseconds an event: collector or function, worker, Firestore, Pub/Sub, senders and reader."
    yield ""
    yield "| events | a body | sent | way | events/s | p50 | p99 | writes | commits | CPU | exact |"
    yield "|---|--:|---|---|--:|--:|--:|--:|--:|---|---|"
    for cell in _cells(found):
        shape, body, rate = cell
        for way in WAYS:
            rows = _rows(found, cell, way)
            names = ("per_second", "p50", "p99", "writes", "commits")
            values = [median(getattr(row, name) for row in rows) for name in names]
            told = " | ".join(
                f"{each:,.{digits}f}" for each, digits in zip(values, (0, 0, 0, 2, 2), strict=True)
            )
            cpu = [median(row.cpu[what] for row in rows) for what in _processes(rows[0])]
            exact = "yes" if all(row.exact for row in rows) else "**no**"
            sent = "at most" if rate is None else f"{rate:g}/s"
            spent = " + ".join(f"{each:,.0f}" for each in cpu)
            yield f"| {shape} | {body} | {sent} | {way} | {told} | {spent} | {exact} |"
    yield ""


def _processes(row: Measured) -> list[str]:
    return [
        what
        for what in ("function", "collector", "worker", "Firestore", "Pub/Sub", "senders")
        if what in row.cpu
    ]


def _cpu(plan: Plan, costs: list[Cost]) -> Iterator[str]:
    yield "Microseconds an event, in mode `queue` with nobody behind the topic, beside an endpoint of"
    yield "FastAPI that validates the same body with pydantic, asks for no key, and drops it. A call of"
    yield "Pub/Sub costs as much CPU as a request, and no more requests share one than there are connections."
    yield "With 4 connections the collector waits for Pub/Sub most of the time, and FastAPI never waits."
    yield "A process that sleeps between requests spends more on each: FastAPI itself took 310 to 530 at"
    yield "370 requests a second, instead of 220 to 260 (three tries on 2026-11-26)."
    yield ""
    yield "| a body | connections | collector | FastAPI | ratio | wanted | rounds |"
    yield "|--:|--:|--:|--:|--:|--:|---|"
    for body in plan.cpu_bodies:
        for at_once in plan.at_once:
            of = [
                [one.cpu for one in costs if one[:3] == (name, body, at_once)]
                for name in ("collector", "fastapi")
            ]
            ratios = [ours / theirs for ours, theirs in zip(*of, strict=True)]
            typical = median(ratios)
            said = f"**{typical:.2f}** {'✓' if typical <= CPU_AIM else '✗ missed'}"
            spread = f"{min(ratios):.2f} to {max(ratios):.2f}"
            ours, theirs = map(median, of)
            yield (
                f"| {body:,} | {at_once} | {ours:,.1f} | {theirs:,.1f} | {said} | ≤ {CPU_AIM:g} | {spread} |"
            )

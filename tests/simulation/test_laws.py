"""The laws, over thousands of histories with every fault there is; and that a history can be had again."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.simulation.defects import DEFECTS
from tests.simulation.run import Simulation, many, story, violation
from tests.simulation.schedule import draw, shrink

pytestmark = pytest.mark.no_cover  # it doubles the time, and other tests reach every branch

ROOT = Path(__file__).parents[2]
SCHEDULES = os.environ.get("LIBRA_SIMULATE_SCHEDULES", "10000")


@pytest.mark.timeout(1800)
def test_the_laws_hold_in_every_schedule() -> None:
    """Once, bound, fence, converge, idempotent, agree and survive, in ten thousand seeded histories."""
    command = [sys.executable, "-m", "tests.simulation", "--schedules", SCHEDULES]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=1750)
    print(ended.stdout)
    assert ended.returncode == 0, ended.stdout + ended.stderr


def test_the_laws_hold_in_a_few_schedules() -> None:
    """The same in this process, for whoever changes something and wants to know at once."""
    figures, broken = many(0, 150)
    assert figures.outcomes["counted"] > 100
    assert not broken, story(draw(broken[0]))


@pytest.mark.parametrize("seed", [str(number) for number in range(20)])
def test_a_seed_is_a_whole_history(seed: str) -> None:
    """The same seed gives the same trace, to the microsecond."""
    traces = []
    for _ in range(2):
        simulation = Simulation(draw(seed), trace=True)
        simulation.run()
        traces.append(simulation.world.trace)
    assert traces[0] == traces[1]
    assert traces[0]


def test_a_failing_seed_shrinks_to_a_readable_trace() -> None:
    """What is left of a failing schedule still fails, is short, and the story says what went wrong."""
    parts = DEFECTS["the late path is forgotten"]()
    seed = next(seed for seed in map(str, range(1000)) if violation(draw(seed), parts))
    schedule = draw(seed)
    shrunk = shrink(schedule, lambda smaller: violation(smaller, parts) is not None)
    assert violation(shrunk, parts)
    assert len(shrunk.operations) <= 5
    printed = story(schedule, parts)
    assert "fence:" in printed
    assert "counted" in printed

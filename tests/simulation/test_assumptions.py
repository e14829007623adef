"""What docs/correctness.md assumes of clocks and of markers: without it, a law breaks."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from tests.simulation.run import violation
from tests.simulation.schedule import Deliver, Expire, Schedule, draw

WITHIN = 1_000
"""Schedules in which the broken assumption must be found out."""


def clocks_apart(schedule: Schedule) -> Schedule:
    """A4: an instance that is twenty minutes behind takes late entries for fresh ones."""
    return replace(schedule, skews=(-1200.0, -1200.0))


def markers_gone(schedule: Schedule) -> Schedule:
    """A5: every marker goes right before a delivery."""
    early = [
        (-1, Expire(each.at, early=True)) for _, each in schedule.operations if isinstance(each, Deliver)
    ]
    together = sorted([*schedule.operations, *early], key=lambda pair: pair[1].at)
    return replace(schedule, operations=tuple(together))


@pytest.mark.parametrize("broken", [clocks_apart, markers_gone])
def test_a_law_breaks_without(broken: Callable[[Schedule], Schedule]) -> None:
    """The simulation notices when what the proof rests on is taken away."""
    for number in range(WITHIN):
        if found := violation(broken(draw(str(number)))):
            print(f"found in schedule {number + 1} of at most {WITHIN}: {broken.__name__}: {found}")
            return
    pytest.fail(f"{broken.__name__}: no law broke in {WITHIN} schedules")

"""Every law has a defect that breaks it, and the simulation finds each."""

import pytest

from tests.simulation.defects import DEFECTS
from tests.simulation.run import violation
from tests.simulation.schedule import draw

pytestmark = pytest.mark.no_cover  # it doubles the time, and other tests reach every branch

WITHIN = 5_000
"""Schedules in which a defect must be found. Most are found within ten, the rarest so far in 269."""


KNOWN = {
    "a compaction overwrites what a trigger has added meanwhile": (263,),
    "an archive moves an entry that has been edited since": (1277,),
    "closed and open buckets are merged": (1061,),
    "the clocks' margin is forgotten for a deletion": (805,),
    "the margin is forgotten": (326,),
    "the record of a version that a superseded edit replaced is kept": (3190,),
}
"""Schedules that were seen to find the rarer ones: tried first, as a thousand others take minutes."""


@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", DEFECTS)
def test_the_simulation_finds(name: str) -> None:
    """A ledger, a recompute or an archive with this defect breaks a law within some thousand schedules."""
    parts = DEFECTS[name]()
    for number in (*KNOWN.get(name, ()), *range(WITHIN)):
        if found := violation(draw(str(number)), parts):
            print(f"found in schedule {number + 1:5} of at most {WITHIN}: {name}: {found}")
            return
    pytest.fail(f"{name}: not found in {WITHIN} schedules")


def test_no_defect_is_lost() -> None:
    """A change of the code adapts the defects that it touches: it removes none."""
    assert len(DEFECTS) >= 41

"""The laws of usage metering, over seeded histories with every fault; defects; the published ways."""

import logging
from collections.abc import Iterator

import pytest

from shared.log import logger
from tests.simulation.usage import Story, violation
from tests.simulation.usage_defects import DEFECTS
from tests.simulation.usage_ways import CAUSES, WAYS, ours_wrong, wrong

pytestmark = pytest.mark.no_cover  # it doubles the time, and other tests reach every branch

HISTORIES = 10_000
WITHIN = 2_000
"""Histories in which a defect must be found. The rarest so far was found in history 743."""
COMPARED = 100
"""Histories in which the ways are compared, for each cause."""


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """What is logged in thousands of histories is nobody's to read."""
    before = logger.level
    logger.setLevel(logging.CRITICAL)
    yield
    logger.setLevel(before)


@pytest.mark.timeout(600)
def test_the_laws_hold_in_every_history() -> None:
    """Once, monotone, sealed, agree and survive.

    With duplicates, lost replies, evictions, FLUSHALL, failovers to an older replica, racing flushes, kills
    of both, forks, clocks that are off over midnight, expiry.
    """
    found = next((it for it in map(violation, map(str, range(HISTORIES))) if it), None)
    assert found is None, found


@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", DEFECTS)
def test_the_simulation_finds(name: str) -> None:
    """A system with this defect breaks a law."""
    for number in range(WITHIN):
        if found := violation(str(number), DEFECTS[name]):
            print(f"found in history {number + 1:5}: {name}: {found}")
            return
    pytest.fail(f"{name}: not found in {WITHIN} histories")


def test_a_seed_is_a_whole_history() -> None:
    """The same seed gives the same steps and the same books."""
    stories = []
    for _ in range(2):
        story = Story("7")
        story.run()
        stories.append((story.trace, story.books.parts, story.books.totals))
    assert stories[0] == stories[1]


@pytest.mark.parametrize("cause", CAUSES)
def test_this_protocol_bills_what_was_served_where_the_published_ways_do_not(cause: str) -> None:
    """The same histories with one kind of fault. Where nothing goes wrong, all ways are right."""
    counts = {name: wrong(way, CAUSES[cause], COMPARED) for name, way in WAYS.items()}
    print(f"{cause}: wrong of {COMPARED}: {counts}")
    assert ours_wrong(CAUSES[cause], COMPARED) == 0
    if cause == "none":
        assert sum(counts.values()) == 0
    if cause == "lost replies":
        assert min(counts.values()) > COMPARED / 2
    if cause == "evictions":
        assert min(counts.values()) > COMPARED / 2
    if cause == "killed flushes":
        assert counts["GETDEL"] > 0

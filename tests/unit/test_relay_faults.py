"""What the relay does wrong on purpose: seeded, bounded, refused where it makes no sense."""

import pytest

from local.deliveries import Delivering
from local.faults import Faults

EVENTS = [f"libra/{number}" for number in range(4000)]


def test_nothing_goes_wrong_unless_asked() -> None:
    """Without faults every event is delivered once, at once."""
    assert {Faults().plan(event) for event in EVENTS} == {(0.0,)}


def test_the_same_seed_hits_the_same_events() -> None:
    """A run can be repeated; another seed hits others."""
    faults = Faults(seed=1, drop=0.1, duplicate=0.2, delay=0.3)
    assert [faults.plan(event) for event in EVENTS] == [faults.plan(event) for event in EVENTS]
    other = faults.changed({"seed": 2})
    assert [faults.plan(event) for event in EVENTS] != [other.plan(event) for event in EVENTS]


def test_shares_are_what_was_asked_for() -> None:
    """About a tenth lost, a fifth of the others twice, three tenths late, none later than allowed."""
    plans = [Faults(seed=3, drop=0.1, duplicate=0.2, delay=0.3, delay_seconds=2).plan(e) for e in EVENTS]
    delivered = [plan for plan in plans if plan]
    assert len(EVENTS) - len(delivered) == pytest.approx(400, abs=60)
    assert sum(len(plan) == 2 for plan in delivered) == pytest.approx(720, abs=80)
    assert sum(plan[0] > 0 for plan in delivered) == pytest.approx(1080, abs=90)
    assert max(max(plan) for plan in delivered) <= 2


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"drop": 1.5}, "drop=1.5: a share of the events, from 0 to 1"),
        ({"duplicate": -0.1}, "duplicate=-0.1: a share"),
        ({"delay_seconds": -1}, "delay_seconds=-1: zero or more"),
        ({"reorder": 1.5}, "reorder=1.5: a whole number"),
        ({"drop": "all"}, "drop='all': a number"),
        ({"drop": True}, "drop=True: a number"),
        ({"lose": 1}, "faults are an object of seed, drop, .*found {'lose': 1}"),
        (["drop"], "faults are an object of"),
    ],
)
def test_faults_that_make_no_sense_are_refused(changes: object, message: str) -> None:
    """The message names the fault, what was found and what is allowed."""
    with pytest.raises(ValueError, match=message):
        Faults().changed(changes)


def test_pauses_grow_to_a_bound_and_are_spread() -> None:
    """The longest pause doubles until its bound; chance takes up to half of it away."""
    to = Delivering(backoff_seconds=1, longest_backoff_seconds=10)
    assert [to.pause(attempts, 1.0) for attempts in range(1, 7)] == [1, 2, 4, 8, 10, 10]
    assert to.pause(1, 0.0) == 0.5
    assert to.pause(10_000, 1.0) == 10

"""What is tried again, how often, and how long the pauses are."""

import random

import pytest

from shared.errors import Contention, Denied, Transient
from shared.retry import Retry

QUICK = Retry(attempts=4, first=0.1)


class Failing:
    """Fails as often as it has errors, then answers."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.calls = 0

    def __call__(self) -> str:
        self.calls += 1
        if self.errors:
            raise self.errors.pop(0)
        return "done"


@pytest.fixture(autouse=True)
def unlucky(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every pause is as long as it may be."""
    monkeypatch.setattr(random, "uniform", lambda _, high: high)


def test_a_call_is_tried_until_it_answers() -> None:
    """Each pause may be twice as long as the one before it."""
    slept: list[float] = []
    once = Failing(*[Transient("no answer")] * 3)
    assert QUICK.call(once, slept.append) == "done"
    assert slept == pytest.approx([0.2, 0.4, 0.8])


def test_the_last_failure_is_raised() -> None:
    """After as many attempts as are allowed, without another pause."""
    slept: list[float] = []
    once = Failing(*[Transient(f"{number}") for number in range(5)])
    with pytest.raises(Transient, match=r"^3$"):
        QUICK.call(once, slept.append)
    assert (once.calls, len(slept)) == (4, 3)


def test_what_cannot_get_better_is_not_tried_again() -> None:
    """Only the errors that are named."""
    once = Failing(Denied("no"))
    with pytest.raises(Denied):
        QUICK.call(once, lambda _: None)
    assert once.calls == 1


def test_pauses_stay_between_their_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """A share is certain, the longest is never passed, and a caller may ask for a wider range."""
    drawn: list[tuple[float, float]] = []

    def highest(low: float, high: float) -> float:
        drawn.append((low, high))
        return high

    monkeypatch.setattr(random, "uniform", highest)
    bounded = Retry(attempts=3, first=1, longest=5, least=0.5)
    assert [bounded.pause(1), bounded.pause(9), bounded.pause(1, 8.0)] == [2, 5, 8]
    assert drawn == [(1, 2), (2.5, 5), (4, 8)]


def test_attempts_end_when_the_time_is_spent() -> None:
    """The failure of the attempt that spent it is raised."""
    tried: list[int] = []

    def busy() -> None:
        for attempt in QUICK.each(lambda _: None, spent=lambda: len(tried) == 2):
            with attempt:
                tried.append(attempt.number)
                raise Contention("busy")

    with pytest.raises(Contention):
        busy()
    assert tried == [1, 2]


def test_an_attempt_without_a_failure_is_followed_at_once() -> None:
    """A loop that goes on by itself does not sleep."""
    slept: list[float] = []
    numbers = [attempt.number for attempt in QUICK.each(slept.append)]
    assert (numbers, slept) == ([1, 2, 3, 4], [])

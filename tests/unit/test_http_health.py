"""Readiness: what everybody may ask costs one read in a while."""

import asyncio
import threading

import pytest

from shared.errors import Transient
from shared.http.health import REMEMBERED, Readiness
from tests.support.collector import Clock


class Firestore:
    """Counts how often it is asked, and answers when the test says so."""

    def __init__(self) -> None:
        self.asked = 0
        self.failing: Exception | None = None
        self.answering = threading.Event()
        self.answering.set()

    def __call__(self) -> None:
        self.asked += 1
        assert self.answering.wait(60)
        if self.failing:
            raise self.failing


@pytest.mark.parametrize("failing", [None, Transient("no answer")])
def test_an_answer_is_given_to_everybody_for_a_while(failing: Exception | None) -> None:
    """Yes or no: a thousand requests cost one read, and the next one comes when the answer is old."""
    firestore, clock = Firestore(), Clock()
    firestore.failing = failing
    readiness = Readiness(firestore, clock)

    async def together(number: int) -> list[BaseException | None]:
        return await asyncio.gather(*(readiness.check() for _ in range(number)), return_exceptions=True)

    assert asyncio.run(together(1_000)) == [failing] * 1_000
    clock.now += REMEMBERED - 1
    assert asyncio.run(together(10)) == [failing] * 10
    assert firestore.asked == 1
    clock.now += 1
    firestore.failing = None
    assert asyncio.run(together(10)) == [None] * 10
    assert firestore.asked == 2


def test_who_waits_no_more_takes_nobody_elses_answer() -> None:
    """A request whose deadline is over is cancelled; the others go on waiting for the same read."""
    firestore = Firestore()
    firestore.answering.clear()
    readiness = Readiness(firestore)

    async def impatient_and_patient() -> None:
        first, second = (asyncio.create_task(readiness.check()) for _ in range(2))
        await asyncio.sleep(0)
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        firestore.answering.set()
        await second

    asyncio.run(impatient_and_patient())
    assert firestore.asked == 1

"""Two versions of the trigger side by side while runs go on: what `exact_since` promises, holds."""

import random
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta

import pytest

from shared.aggregation import Aggregation, Entry, Source
from shared.recompute import Report
from shared.recompute.standing import OLD_CODE
from tests.support.recomputing import World, exact_at
from tests.support.standing import ACTIONS, GRAMS, HOURS, PLACE_ACTIONS, PLACES, SERVED, known, right, source


@dataclass
class Rollout:
    """A deployment: entries come all the time, and old and new instances apply them."""

    world: World
    dice: random.Random
    old: Source
    waiting: list[Entry] = field(default_factory=list)
    number: int = 0

    def minutes(self, minutes: int, old: float) -> None:
        """Let time pass; ``old``: the share of events that an old instance applies."""
        ledgers = {True: replace(self.world, source=self.old), False: self.world}
        for each in ledgers.values():
            each.memory = self.world.memory
        for _ in range(minutes):
            self.world.later(seconds=60)
            self.number += 1
            action = self.dice.choice(["Served", "Refilled", "Cleaned"])
            self.waiting.append(self.world.write(f"r{self.number}", dataAction=action))
            for entry in list(self.waiting):
                age = self.world.clock.now - entry.time
                if age > timedelta(minutes=8) or self.dice.random() < 0.5:
                    ledgers[self.dice.random() < old].ledger().apply(entry)
                    self.waiting.remove(entry)

    def deliver(self) -> None:
        """Apply all events that have not come yet."""
        while self.waiting:
            self.world.ledger().apply(self.waiting.pop())


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("new", [ACTIONS, HOURS, SERVED, GRAMS, PLACE_ACTIONS])
def test_every_total_is_exact_from_the_watermark_that_is_recorded(seed: int, new: Aggregation) -> None:
    """Old and new ledgers on one store: filled until then, and from then on neither filled nor drifting."""
    dice = random.Random(seed)
    old = source(PLACES) if new is ACTIONS else source(PLACES, ACTIONS)
    world = World(source=old)
    rollout = Rollout(world, dice, old)
    for _ in range(2):
        rollout.minutes(50, old=1)
        world.run()
    world.source = source(PLACES, new)
    rollout.minutes(dice.randrange(20), old=0.5)
    first = world.clock.now
    reports = [world.run()]
    while world.clock.now < first + OLD_CODE:
        rollout.minutes(1, old=dice.choice([0.9, 0.1]))
        if dice.random() < 0.2:
            reports.append(world.run())
    while known(world)["actions"].exact_since is None:
        rollout.minutes(dice.randrange(1, 15), old=0)
        reports.append(world.run())
    assert [report.drift for report in reports] == [0] * len(reports)
    assert known(world)["actions"].exact_since == reports[-1].watermark
    filled_by_now(world, reports)
    for _ in range(4):
        rollout.minutes(dice.randrange(5, 40), old=0)
        report = world.run()
        assert (report.drift, report.filled, report.filling) == (0, 0, ())
    rollout.deliver()
    right(world)


def filled_by_now(world: World, reports: list[Report]) -> None:
    """The first runs had something to fill in; at the last watermark nothing is missing."""
    assert sum(report.filled for report in reports) > 0
    watermark = reports[-1].watermark
    for cell, measures in exact_at(world.memory, world.source, watermark).items():
        (stored,) = world.memory.get([world.home.total(cell)])
        assert stored
        recent = stored.fields["recent"]
        assert isinstance(recent, Mapping)
        assert stored.fields["count"] == measures["count"] + sum(
            amount for label, amount in recent.items() if label.count("_") == 1
        )


def test_too_short_a_wait_would_be_seen() -> None:
    """An instance that outlives the wait does make drift: the wait is what the promise rests on."""
    world = World(source=source(PLACES))
    world.run()
    world.later(hours=1)
    world.run()
    old = world.ledger()
    world.source = source(PLACES, ACTIONS)
    world.run()
    world.later(hours=1)
    world.run()
    old.apply(world.write("outlived"))
    world.later(hours=1)
    assert world.run().drift == 1

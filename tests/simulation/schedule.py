"""What happens in one world, as plain data: drawn from a seed, replayed as it is, shrunk when it fails."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Literal, TypeAlias

from tests.simulation.wire import CALM, Weather

Moment: TypeAlias = float
"""Seconds since the world began, which is a boundary of every bucket."""

INSTANCES = ("one", "two")
WEATHERS = {
    "calm": CALM,
    "breezy": Weather(request_lost=0.02, reply_lost=0.03, aborted=0.03, late=0.01, stalled=0.01),
    "stormy": Weather(request_lost=0.08, reply_lost=0.12, aborted=0.1, late=0.04, stalled=0.02),
    "sluggish": Weather(late=0.02, stalled=0.15),
}
INGREDIENTS = ("Rice", "Peas")
ACTIONS = ("Served", "Served", "Heartbeat")


@dataclass(frozen=True, slots=True)
class Make:
    """A device writes an entry; nothing happens if its id is taken."""

    at: Moment
    entry: str
    ingredient: str
    action: str
    timestamp: bool
    """Whether it has a valid event time."""


@dataclass(frozen=True, slots=True)
class Edit:
    """Somebody changes an entry."""

    at: Moment
    entry: str
    ingredient: str | None
    """None: one that no aggregation can count by its ingredient."""
    told: bool = True
    """Whether a trigger hears of it."""


@dataclass(frozen=True, slots=True)
class Remove:
    """Somebody deletes an entry."""

    at: Moment
    entry: str
    told: bool = True
    """Whether a trigger hears of it."""


Cause: TypeAlias = Make | Edit | Remove
"""What an event tells of."""


@dataclass(frozen=True, slots=True)
class Deliver:
    """The platform delivers the event of a change, and again until it is acknowledged."""

    at: Moment
    cause: Cause
    instance: str


@dataclass(frozen=True, slots=True)
class Run:
    """A recompute starts, in a process of its own."""

    at: Moment
    strategy: Literal["scan", "index"]
    skew: float
    weather: str


@dataclass(frozen=True, slots=True)
class Archive:
    """An archive of everything that is sealed starts, in a process of its own."""

    at: Moment
    by_commit_time: bool
    skew: float
    weather: str


@dataclass(frozen=True, slots=True)
class Compact:
    """A compaction of the totals starts, in a process of its own."""

    at: Moment
    skew: float
    weather: str


@dataclass(frozen=True, slots=True)
class Kill:
    """An instance, or every recompute, archive and compaction under way, is killed."""

    at: Moment
    victim: str


@dataclass(frozen=True, slots=True)
class Expire:
    """The database drops the markers of every entry that the watermark has passed, as TTL may."""

    at: Moment
    early: bool = False
    """Of the others too: what is assumed never to happen while an event may still be delivered."""


Operation: TypeAlias = Make | Edit | Remove | Deliver | Run | Archive | Compact | Kill | Expire


@dataclass(frozen=True, slots=True)
class Schedule:
    """One history to be."""

    seed: str
    lag: float
    bucket: float
    lease: float
    group_size: int
    linger: float
    weather: str
    """Of the instances."""
    skews: tuple[float, ...]
    """Of the instances' clocks, in seconds."""
    locks: float
    """How often a writer that meets an open transaction is the one to be aborted."""
    operations: tuple[tuple[int, Operation], ...]
    """Numbered, so that each keeps its own chance when others are left out."""
    loop: bool
    """Whether the instances serve from an event loop, as deployed, or from threads."""

    def printed(self) -> str:
        """For a reader."""
        settings = f"lag {self.lag:.0f} s, bucket {self.bucket:.0f} s, lease {self.lease:.0f} s, "
        settings += f"groups of {self.group_size}, {self.weather}, clocks off by {self.skews} s, "
        settings += "an event loop" if self.loop else "threads"
        return "\n".join([settings, *(f"  {number:2} {each}" for number, each in self.operations)])


_CLOCKS = ((600, 600), (600, 60), (1200, 600), (360, 30), (0, 10), (300, 60))
_CLOSE = (-0.000001, 0.0, 0.0, 0.000001, 0.001, 0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.1, 0.5)
_SOON = (0.0, 0.001, 0.01, 0.1, 1.0, 5.0, 30.0)


def draw(seed: str) -> Schedule:
    """The schedule of a seed. Everything gathers around a few moments, so that much happens at once."""
    rng = random.Random(f"{seed}/schedule")
    lag, bucket = rng.choice(_CLOCKS)
    moments = [bucket * n for n in range(1, 1 + int(max(3600, 3 * lag) / bucket))]
    hot = sorted(rng.sample(moments, min(len(moments), rng.randint(2, 5))))
    hot += [moment + lag for moment in hot]
    names = [f"e{n}" for n in range(rng.randint(1, 8))]

    def close() -> Moment:
        return max(0.0, rng.choice(hot) + rng.choice(_CLOSE))

    def make() -> Make:
        return Make(
            close(), rng.choice(names), rng.choice(INGREDIENTS), rng.choice(ACTIONS), rng.random() < 0.8
        )

    causes: list[Cause] = [make() for _ in range(rng.randint(1, 10))]
    told = rng.random() < 0.75  # else the triggers of edits and deletions are not deployed
    if rng.random() < 0.6:
        changed = [close() for _ in range(rng.randint(1, 6))]
        causes += [Edit(at, rng.choice(names), rng.choice((*INGREDIENTS, None)), told) for at in changed]
    if rng.random() < 0.6:
        removed = [close() + rng.choice((0.0, 0.0, 1.0, 200.0)) for _ in range(rng.randint(1, 4))]
        causes += [Remove(at, rng.choice(names), told) for at in removed]
    operations: list[Operation] = [*causes]
    for each in causes:
        if not (isinstance(each, Make) or each.told):
            continue
        for _ in range(rng.choice((0, 1, 1, 1, 1, 2, 2, 3))):
            later = [moment for moment in hot if moment > each.at]
            at = each.at + rng.choice(_SOON)
            if later and rng.random() < 0.5:
                at = max(each.at, rng.choice(later) + rng.choice(_CLOSE))
            operations.append(Deliver(at, each, rng.choice(INSTANCES)))
    lease = rng.choice((20, 120))

    def run(at: Moment) -> Run:
        return Run(
            at, rng.choice(("scan", "scan", "index")), rng.uniform(-60, 60), rng.choice(tuple(WEATHERS))
        )

    runs = [run(close()) for _ in range(rng.randint(1, 4))]
    if rng.random() < 0.4:  # one that finds the lease of another run out, or nearly so
        runs.append(run(rng.choice(runs).at + lease * rng.uniform(0.5, 2)))
    operations += runs
    if rng.random() < 0.5:  # one that finds something sealed
        for _ in range(rng.randint(1, 3)):
            at = rng.choice(runs).at + rng.choice((0.05, 1.0, 30.0, lag))
            weather = rng.choice(tuple(WEATHERS))
            operations.append(Archive(at, rng.random() < 0.5, rng.uniform(-60, 60), weather))
            for _ in range(rng.choice((0, 0, 1, 2))):  # somebody edits what is being moved
                moment = at + rng.choice((0.005, 0.02, 0.03, 0.05, 0.07, 0.1))
                operations.append(Edit(moment, rng.choice(names), rng.choice((*INGREDIENTS, None)), told))
    for _ in range(rng.choice((0, 0, 1, 2))):
        victim = rng.choice((*INSTANCES, "recompute"))
        at = rng.choice(runs).at + rng.uniform(0, 0.2) if victim == "recompute" else close()
        operations.append(Kill(at, victim))
    if rng.random() < 0.3:
        operations += [Expire(close() + rng.choice(_SOON)) for _ in range(2)]
    operations += _compactions(seed, hot, lag, bucket)
    return Schedule(
        seed,
        lag,
        bucket,
        lease,
        rng.choice((1, 2, 4, 300)),
        rng.choice((0, 0, 0.01)),
        rng.choice(tuple(WEATHERS)),
        (rng.uniform(-60, 60), rng.uniform(-60, 60)),
        rng.choice((0.0, 0.5, 1.0)),
        tuple(enumerate(sorted(operations, key=lambda each: each.at))),
        loop=rng.random() < 0.5,
    )


def _compactions(seed: str, hot: Sequence[Moment], lag: float, bucket: float) -> list[Operation]:
    """With a chance of their own, so that whatever else a seed draws stays as it was."""
    chance = random.Random(f"{seed}/compactions")
    drawn: list[Operation] = []
    if chance.random() < 0.3:
        for _ in range(chance.randint(1, 3)):
            behind = chance.choice((0.0, lag, lag + bucket, 2 * bucket))
            at = max(0.0, chance.choice(hot) + behind + chance.choice(_CLOSE))
            drawn.append(Compact(at, chance.uniform(-60, 60), chance.choice(tuple(WEATHERS))))
    return drawn


def seconds(number: float) -> timedelta:
    """As a timedelta, to the microsecond."""
    return timedelta(microseconds=round(number * 1_000_000))


def shrink(schedule: Schedule, fails: Callable[[Schedule], bool]) -> Schedule:
    """Leave out operations, many at a time and then one by one, as long as it still fails."""
    size = len(schedule.operations)
    while size > 1:
        size = (size + 1) // 2
        at = 0
        while at < len(schedule.operations):
            left = schedule.operations[:at] + schedule.operations[at + size :]
            smaller = replace(schedule, operations=left)
            if fails(smaller):
                schedule = smaller
            else:
                at += size
    return schedule

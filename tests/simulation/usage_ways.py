"""Four published ways to move counters from Redis into a table, in the same histories: the controls.

In all four an application increments a counter for each call, and tries again where it got no answer. They
differ in how a job moves the counters.
"""

from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import timedelta

from shared.errors import StoreError, Transient
from tests.simulation.usage import STEPS_BY_WEIGHT, Story
from tests.simulation.usage_hub import Faults
from tests.simulation.usage_laws import Laws

TRIES = 3
"""How often an application and a client library try an increment."""
BASE = frozenset({"track", "send", "flush", "go_on", "time", "deliver", "admit"})
"""What happens in every history."""
RUN = timedelta(minutes=1)


def only(*steps: str, lost: float = 0.0) -> Faults:
    """One kind of fault, and nothing else; a flush runs before applications forget an hour."""
    without = frozenset(STEPS_BY_WEIGHT) - BASE - set(steps)
    return Faults(lost, lost, lost, without, always=True, memory=(1_000,), minutes=(1, 5, 20, 50))


CAUSES = {
    "evictions": only("evict"),
    "killed flushes": only("kill_flush"),
    "lost replies": only(lost=0.05),
    "none": only(),
}
"""Histories with one kind of fault each."""


class Redis:
    """Counters by key: what the applications increment."""

    def __init__(self, story: "Published") -> None:
        self._hashes = story.counters.hashes

    def incrby(self, key: str, amount: int) -> int:
        """INCRBY."""
        value = int(self.get(key) or 0) + amount
        self._hashes[key] = {"": str(value)}
        return value

    def get(self, key: str) -> int | None:
        """GET."""
        return int(self._hashes[key][""]) if key in self._hashes else None

    def getdel(self, key: str) -> int | None:
        """GETDEL."""
        value = self.get(key)
        self._hashes.pop(key, None)
        return value

    def rename(self, key: str, new: str) -> int:
        """RENAMENX."""
        if key in self._hashes and new not in self._hashes:
            self._hashes[new] = self._hashes.pop(key)
        return 1

    def scan(self) -> list[str]:
        """SCAN."""
        return list(self._hashes)


class Unlooked(Laws):
    """Only the bill at the end is looked at."""

    def check(self, step: str) -> None:
        """Nothing."""


class Published(Story):
    """A history of one of the published ways."""

    def __init__(self, seed: str, faults: Faults) -> None:
        super().__init__(seed, faults=faults)
        self.laws = Unlooked(self)
        self.redis = Redis(self)
        self.totals: dict[str, int] = {}
        self.done: set[str] = set()
        self.counted = 0
        self.runs = 0

    def move(self) -> Iterator[None]:
        """What a run of the job does; it may die between any two steps."""
        raise NotImplementedError

    def ask(self, function: Callable[..., int | None], *arguments: object) -> int | None:
        """A call to Redis, with what may go wrong."""
        answer: int | None = self.call(function, function.__name__, arguments)
        return answer

    def _step_track(self) -> None:
        for _ in range(self.rng.randint(1, 3)):
            amount = self.rng.choice((1, 1, 7, 1000))
            self.counted += amount
            key = f"usage:{self.rng.choice(('acme', 'b'))}:{self.now:%Y-%m-%d}:requests"
            for _ in range(TRIES):
                with suppress(Transient):
                    self.ask(self.redis.incrby, key, amount)
                    break

    def _step_send(self) -> None:
        """Each call has been sent already."""

    def _step_flush(self) -> None:
        if not self.tasks:
            self.runs += 1
            self.begin(self.job, None)

    def job(self) -> None:
        """One run."""
        for _ in self.move():
            self.pause()

    def _end(self) -> None:
        self.calm = True
        while self.tasks:
            self.go_on(self.tasks[0])
        self.runs += 1
        with suppress(StoreError):
            self.job()

    @property
    def wrong(self) -> bool:
        """Whether the bill is not what was counted."""
        return sum(self.totals.values()) != self.counted

    def add(self, key: str, amount: int | None) -> None:
        """Add to the table."""
        self.totals[key] = self.totals.get(key, 0) + (amount or 0)


class Overwrite(Published):
    """GET, and overwrite the row."""

    def move(self) -> Iterator[None]:
        """See `Published.move`."""
        for key in self.redis.scan():
            value = self.ask(self.redis.get, key)
            yield
            if value is not None:
                self.totals[key] = value


class GetDel(Published):
    """GETDEL, and add to the row."""

    def move(self) -> Iterator[None]:
        """See `Published.move`."""
        for key in self.redis.scan():
            value = self.ask(self.redis.getdel, key)
            yield
            self.add(key, value)


class Rename(Published):
    """RENAME, add to the row together with a ledger of what was added, and delete."""

    def move(self) -> Iterator[None]:
        """See `Published.move`."""
        for key in self.redis.scan():
            if "#" not in key:
                self.ask(self.redis.rename, key, f"{key}#{self.runs}")
                yield
        for key in (it for it in self.redis.scan() if "#" in it):
            value = self.ask(self.redis.get, key)
            yield
            if value is not None and key not in self.done:
                self.done.add(key)
                self.add(key.partition("#")[0], value)
            yield
            self.ask(self.redis.getdel, key)


class Epoch(Published):
    """GET, and raise the row of this epoch (a restart of Redis begins one) to the value."""

    def move(self) -> Iterator[None]:
        """See `Published.move`."""
        for key in self.redis.scan():
            value = self.ask(self.redis.get, key)
            yield
            self.totals[key] = max(self.totals.get(key, 0), value or 0)


WAYS = {
    "GET and overwrite": Overwrite,
    "GETDEL": GetDel,
    "RENAME and a ledger": Rename,
    "epoch and maximum": Epoch,
}
"""The published ways."""


def wrong(way: type[Published], faults: Faults, histories: int) -> int:
    """In how many histories the bill is wrong."""
    found = 0
    for number in range(histories):
        story = way(str(number), faults)
        story.run()
        found += story.wrong
    return found


def ours_wrong(faults: Faults, histories: int) -> int:
    """In how many of the same histories the bill of this protocol is wrong. No application dies in them."""
    found = 0
    for number in range(histories):
        story = Story(str(number), faults=faults)
        story.run()
        found += sum(story.books.totals.values()) != sum(story.served.values())
    return found

"""Usage metering in one thread and in virtual time: seeded histories with every fault there is.

The code of applications and of the flush is the real one. Redis and PostgreSQL are the models that
tests/databases holds to the real servers. Each call to either may be interrupted before and after it: another
actor runs, the actor is killed, the request or the reply is lost, the message comes a second time later.
"""

from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from services.usage.counts import Count, Counts
from services.usage.flush import Flush
from services.usage.sending import Sender
from shared.errors import Overloaded
from shared.parts import Name, hour_of
from shared.settings import UTC as ZONE
from tests.simulation.usage_hub import Beside, Faults, Hub, actor_of
from tests.simulation.usage_laws import LOSSES, Broken, Laws
from tests.support.usage import MemoryBooks, MemoryCounters

START = datetime(2026, 11, 25, 21, 40, tzinfo=UTC)
"""Two hours and twenty minutes before midnight: a history crosses it."""
STEPS = 45
MERCHANTS, METRICS = ("acme", "b:{c}"), ("requests", "bytes")
CLOSE_AFTER = timedelta(hours=1)


class Application:
    """One process that counts."""

    kind = Counts

    def __init__(self, story: "Story", skew: float) -> None:
        self.story = story
        self.skew = skew
        self.begin()

    def begin(self) -> None:
        """Count from zero, as a process that starts or was forked."""
        most = self.story.rng.choice(self.story.faults.memory)
        self.counts = self.kind(ZONE, self.clock, most=most, incarnation=self.story.incarnation)
        self.sender = Sender(self.counts, self.story.wire(self.story.counters))

    def clock(self) -> float:
        """Its own clock."""
        return self.story.now.timestamp() + self.skew

    def track(self, merchant: str, metric: str, amount: int) -> Name:
        """Count; the part that grew."""
        self.counts.add(merchant, metric, amount)
        return name_of(self.counts._now[merchant, metric])

    def fork(self) -> "Application":
        """A child that was forked."""
        return Application(self.story, self.skew)

    def send(self) -> None:
        """A round of the thread that sends."""
        self.sender.send()

    def copies(self) -> dict[Name, int]:
        """What is in its memory."""
        return {name_of(it): it.value for each in self.counts._hours.values() for it in each.all}


def name_of(count: Count) -> Name:
    """The name of a count's part."""
    return Name(count.merchant, count.hour.date, count.metric, count.hour.begin, count.incarnation)


@dataclass(slots=True)
class Parts:
    """What a system is made of: replaced by a system with a defect."""

    application: type[Application] = Application
    counters: type[MemoryCounters] = MemoryCounters
    books: type[MemoryBooks] = MemoryBooks
    flush: type[Flush] = Flush


class Story(Hub):
    """One history. The seed decides everything."""

    def __init__(self, seed: str, parts: Parts | None = None, faults: Faults | None = None) -> None:
        super().__init__(seed, faults or Faults())
        self.now = START
        parts = parts or Parts()
        self.parts = parts
        self.counters = parts.counters()
        self.books = parts.books()
        self.served: dict[Name, int] = {}
        self.hit: set[tuple[str, str]] = set()
        self.trace: list[str] = []
        self.lossless = True
        self.forgotten = 0
        self._named = 0
        self.laws = Laws(self)
        self._replica = self.counters.hashes.copy()
        self.applications = [
            parts.application(self, self.rng.choice((0.0, 0.0, -90.0, 240.0))) for _ in range(2)
        ]

    def incarnation(self) -> str:
        """A name that nobody has."""
        self._named += 1
        return f"i{self._named}"

    def run(self) -> None:
        """Let everything happen, then let the rest arrive; raises Broken."""
        lossless = self.rng.random() < 0.4
        without = self.faults.without | (LOSSES if lossless and not self.faults.always else set())
        steps = [(it, weight) for it, weight in STEPS_BY_WEIGHT.items() if it not in without]
        names, weights = [it for it, _ in steps], [it for _, it in steps]
        for name in self.rng.choices(names, weights, k=STEPS):
            self.trace.append(name)
            getattr(self, f"_step_{name}")()
            self.laws.check(name)
        self._end()

    def _step_track(self) -> None:
        for _ in range(self.rng.randint(1, 3)):
            merchant, metric = self.rng.choice(MERCHANTS), self.rng.choice(METRICS)
            amount = self.rng.choice((1, 1, 7, 1000))
            with suppress(Overloaded):  # its memory is full, and it says so
                name = self.rng.choice(self.applications).track(merchant, metric, amount)
                self.served[name] = self.served.get(name, 0) + amount

    def _step_send(self) -> None:
        application = self.rng.choice(self.applications)
        if not any(it.owner is application for it in self.tasks):
            self.begin(application.send, application)

    def _step_flush(self) -> None:
        if sum(it.owner is None for it in self.tasks) < 2:
            flush = self.parts.flush(
                self.wire(self.counters),
                self.wire(self.books),
                close_after=CLOSE_AFTER,
                batch=self.rng.choice((1, 3, 99)),
                beside=lambda: Beside(self),
            )
            now = self.now + timedelta(seconds=self.rng.choice((0, 0, -50, 50)))
            self.begin(lambda: flush.run(now=now), None)

    def _step_go_on(self) -> None:
        for _ in range(self.rng.randint(1, 6)):
            if self.tasks:
                self.go_on(self.rng.choice(self.tasks))

    def _step_time(self) -> None:
        self.now += timedelta(minutes=self.rng.choice(self.faults.minutes))
        for each in self.applications:
            each.counts.send_all_again()

    def _step_deliver(self) -> None:
        if self.twice:
            self.twice.pop(self.rng.randrange(len(self.twice)))()

    def _step_kill(self) -> None:
        self.lossless = False
        victim = self.rng.choice(self.applications)
        self.kill([it for it in self.tasks if it.owner is victim])
        self.applications[self.applications.index(victim)] = self.parts.application(self, victim.skew)

    def _step_fork(self) -> None:
        if len(self.applications) < 4:
            self.applications.append(self.rng.choice(self.applications).fork())

    def _step_close(self) -> None:
        """An application ends in good order: what it keeps is confirmed before."""
        if len(self.applications) > 1:
            victim = self.rng.choice(self.applications)
            self.kill([it for it in self.tasks if it.owner is victim])
            self.calm = True
            victim.counts.send_all_again()
            victim.send()
            self.calm = False
            self.applications.remove(victim)

    def _step_kill_flush(self) -> None:
        """With the batch that it books, or a moment before PostgreSQL does what the batch asks."""
        for flush in [it for it in self.tasks if it.owner is None][:1]:
            self.kill([flush])
            if self.rng.random() < 0.5:
                self.kill([it for it in self.tasks if actor_of(it) is flush.thread])

    def _step_evict(self) -> None:
        """Redis is full, or somebody set an expiry."""
        if self.counters.hashes:
            self._lose([self.rng.choice(list(self.counters.hashes))])

    def _step_flushall(self) -> None:
        self._lose(list(self.counters.hashes))
        self.counters.counters.clear()

    def _step_replicate(self) -> None:
        self._replica = {key: dict(fields) for key, fields in self.counters.hashes.items()}

    def _step_failover(self) -> None:
        """A replica takes over that has not heard of everything."""
        self._lose(list(self.counters.hashes))
        self.counters.hashes = {key: dict(fields) for key, fields in self._replica.items()}

    def _lose(self, keys: list[str]) -> None:
        self.lossless = False
        for key in keys:
            fields = self.counters.hashes.pop(key)
            self.hit |= {(key, name) for name in fields}

    def _step_garbage(self) -> None:
        """Somebody writes what is no count, beside the parts."""
        key = next(iter(self.counters.hashes), "usage-parts:{acme}")
        self.counters.hashes.setdefault(key, {})["requests:x"] = self.rng.choice(("five", "-1", str(2**53)))

    def _step_admit(self) -> None:
        self.books.admit(hour_of(max(self.now, self.books.through or self.now), ZONE))

    def _step_forget(self) -> None:
        """An operator forgets a row that is set aside."""
        late = sorted(name for name, row in self.books.rows.items() if row.part)
        if names := late or sorted(self.books.rows):
            self.forgotten += self.books.forget(self.rng.choice(names))

    def copies(self) -> list[dict[Name, int]]:
        """What is in the memory of each application."""
        return [each.copies() for each in self.applications]

    def _end(self) -> None:
        """Whoever lives sends, hours are sealed, late parts are admitted: the bill is what there was."""
        self.kill(list(self.tasks))
        while self.twice:
            self.twice.pop()()
        self.laws.check("deliver")
        expected = self.laws.seen.available
        self.calm = True
        flush = self.parts.flush(
            self.wire(self.counters),
            self.wire(self.books),
            close_after=CLOSE_AFTER,
            beside=lambda: Beside(self),
        )
        for hours in (0, 3, 9):
            self.now += timedelta(hours=hours)
            for each in self.applications:
                each.counts.send_all_again()
                each.send()
            flush.run(now=self.now)
            self.books.admit(hour_of(self.now, ZONE))
            self.laws.check("end")
        billed = sum(self.books.totals.values()) + self.forgotten
        if billed != sum(expected.values()):
            raise Broken(f"survive: {billed} is billed, and there was {sum(expected.values())}")
        if self.lossless and billed != sum(self.served.values()):
            raise Broken(f"survive: {billed} is billed of {sum(self.served.values())}, and nothing was lost")


STEPS_BY_WEIGHT = {
    "track": 14.0,
    "send": 10.0,
    "flush": 5.0,
    "go_on": 22.0,
    "time": 5.0,
    "deliver": 3.0,
    "kill": 1.0,
    "fork": 1.0,
    "close": 1.0,
    "kill_flush": 1.5,
    "evict": 1.5,
    "flushall": 0.7,
    "replicate": 1.0,
    "failover": 0.7,
    "garbage": 0.7,
    "admit": 2.0,
    "forget": 2.0,
}
"""What may happen, and how often beside the others."""


def violation(seed: str, parts: Parts | None = None, faults: Faults | None = None) -> str | None:
    """The law that a history breaks, with the steps that led there; None: all hold."""
    story = Story(seed, parts, faults)
    try:
        story.run()
    except Broken as broken:
        return f"{broken}\nhistory {seed}: {' '.join(story.trace)}"
    finally:
        story.kill(list(story.tasks))
    return None

"""What a way of counting costs. Pure: a load in, operations and dollars out."""

from dataclasses import dataclass, replace
from math import exp

from cli.prices import Prices

SECONDS_A_DAY = 86_400
COMMIT_SECONDS = 0.05
"""How long a commit is under way inside a region, about: what comes meanwhile rides in the next one."""
BILLED_SECONDS = 0.1
"""An instance is billed in steps of this, while it has a request (https://cloud.google.com/run/pricing)."""
MEMORY_GIB = 0.5
"""What the trigger is deployed with (functions.yaml)."""
SHARDS = 10


@dataclass(frozen=True)
class Load:
    """What comes in, and who looks at the totals.

    Attributes:
        events: entries a day.
        looks: totals that are looked at a day.
        busy_hours: hours of the day into which the entries fall.
        served: the share of the entries that hours and dates count, 0 to 1.
        ingredients: how many categories they fall into, evenly.
        linger: seconds between the starts of two commits, at least (`LIBRA_LINGER_MS`).
        stored: entries that the collection holds.
        edits: the share of the entries that is edited once, to another ingredient, 0 to 1.
        deletions: the share that is deleted, 0 to 1.
    """

    events: int
    looks: int = 10_000
    busy_hours: float = 12.0
    served: float = 0.6
    ingredients: int = 60
    linger: float = 0.0
    stored: int = 0
    edits: float = 0.0
    deletions: float = 0.0

    @property
    def rate(self) -> float:
        """Entries a second while they come."""
        return self.events / (self.busy_hours * 3600)

    @property
    def together(self) -> float:
        """Entries that ride in one commit, on average, in one instance."""
        return 1 + self.rate * max(self.linger, COMMIT_SECONDS)


@dataclass(frozen=True)
class Bill:
    """Operations a day and what an event needs of a processor.

    Attributes:
        name: the way of counting.
        exact: whether redelivered and lost events leave it right in the end.
    """

    name: str
    exact: str
    reads: float
    writes: float
    deletes: float
    events: int
    rate: float
    cpu_seconds: float

    def firestore(self, prices: Prices) -> float:
        """Dollars a day."""
        operations = self.reads * prices.reads + self.writes * prices.writes + self.deletes * prices.deletes
        return operations / 100_000

    def functions(self, prices: Prices) -> float:
        """Dollars a day: requests, and the time during which an instance has any."""
        seconds = self.events / max(self.rate, 1e-9)
        billed = max(seconds * (1 - exp(-self.rate * BILLED_SECONDS)), self.events * self.cpu_seconds)
        time = billed * (prices.cpu_second + MEMORY_GIB * prices.gib_second)
        return self.events * prices.requests / 1e6 + time

    def dollars(self, prices: Prices) -> float:
        """Dollars a day."""
        return self.firestore(prices) + self.functions(prices)


def _distinct(kinds: float, draws: float) -> float:
    """How many of so many equally likely kinds turn up in that many draws."""
    missed: float = (1 - 1 / kinds) ** draws
    return kinds * (1 - missed)


def libra_writes(load: Load) -> float:
    """Documents that Libra writes an entry: its marker, and its share of the totals of its commit."""
    group = load.together
    totals = _distinct(load.ingredients, group) + _distinct(6, group)
    none_served: float = (1 - load.served) ** group
    return 1 + (totals + 2 * (1 - none_served)) / group  # two: the hour and the date that are now


def libra_changes(load: Load) -> tuple[float, float]:
    """Documents that Libra writes, and reads, a day for edits and deletions.

    An edit writes a marker and its share of two categories. A deletion writes what a creation does, and reads
    its marker, the entry at one boundary, and its share of the watermark.
    """
    edits, deletions = load.events * load.edits, load.events * load.deletions
    edited, deleted = replace(load, events=round(edits)), replace(load, events=round(deletions))
    an_edit = 1 + _distinct(load.ingredients, 2 * edited.together) / edited.together
    return edits * an_edit + deletions * libra_writes(deleted), deletions * (2 + 1 / deleted.together)


def recompute_reads(load: Load) -> float:
    """Reads of a nightly recompute by index: one for a thousand entries and aggregation, two a key."""
    return 4 * load.stored / 1_000 + 2 * (load.ingredients + 6) + 24 * 2


def bills(load: Load) -> list[Bill]:
    """Libra, Libra with a second's linger, and the three others, for a day.

    CPU time an event is what docs/benchmarks/trigger.md measures over HTTP.
    """
    totals = 2 + 2 * load.served
    changes = 1 + load.edits + load.deletions
    moved = totals + 2 * load.edits + totals * load.deletions
    """Increments an entry, its edit and its deletion included."""

    def bill(
        name: str, exact: str, cpu_seconds: float, *, writes: float, reads: float, deletes: float
    ) -> Bill:
        rate = load.rate * changes
        return Bill(name, exact, reads, writes, deletes, round(load.events * changes), rate, cpu_seconds)

    def libra(name: str, linger: float) -> Bill:
        paced = replace(load, linger=linger)
        written, read = libra_changes(paced)
        writes = events * libra_writes(paced) + written
        reads = looks + read + (recompute_reads(load) if load.stored else 0)
        return bill(name, "yes", 0.0003, writes=writes, reads=reads, deletes=events * changes)

    events, looks = load.events, load.looks
    return [
        libra("Libra", load.linger),
        *([libra("Libra, linger 1 s", 1.0)] if load.linger < 1 else []),
        bill("naive trigger", "no", 0.0017, writes=events * moved, reads=looks, deletes=0),
        bill(
            *("textbook", "but for lost events", 0.006),
            writes=events * (changes + moved),
            reads=events * (changes + moved) + looks,
            deletes=events * changes,
        ),
        bill("ten shards", "no", 0.0018, writes=events * moved, reads=looks * SHARDS, deletes=0),
    ]

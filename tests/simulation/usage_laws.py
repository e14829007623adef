"""The laws of usage metering, looked at after every step of a history."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Protocol

from shared.parts import Name
from tests.support.usage import MemoryBooks, MemoryCounters, key_of

LOSSES = frozenset({"kill", "evict", "flushall", "failover"})
"""What may destroy the last copy of a count. Nothing else may."""


class Broken(Exception):  # noqa: N818 - says what it is
    """A law does not hold; the message says which, and what was found."""


@dataclass(slots=True)
class Seen:
    """What the laws remember from step to step."""

    available: dict[Name, int] = field(default_factory=dict)
    parts: dict[Name, int] = field(default_factory=dict)
    totals: dict[Any, int] = field(default_factory=dict)
    through: datetime | None = None


class Looked(Protocol):
    """What the laws look at in a history."""

    counters: MemoryCounters
    books: MemoryBooks
    served: dict[Name, int]
    hit: set[tuple[str, str]]

    def copies(self) -> list[dict[Name, int]]:
        """What is in the memory of each application."""


class Laws:
    """Once, monotone, sealed, agree, survive."""

    def __init__(self, story: Looked) -> None:
        self._story = story
        self.seen = Seen()

    def _available(self) -> dict[Name, int]:
        """The largest copy of each part, wherever it is."""
        copies = self._story.copies()
        found: dict[Name, int] = {}
        late = {row.part.name: row.part.value for row in self._story.books.rows.values() if row.part}
        copies += [self._story.books.parts, late]
        for name in self._story.served:
            key, part = key_of(name)
            value = int(self._story.counters.hashes.get(key, {}).get(part, "0"))
            for each in copies:
                if name in each and each[name] > value:
                    value = each[name]
            found[name] = value
        return found

    def check(self, step: str) -> None:
        """Look at everything; raises Broken."""
        seen, books = self.seen, self._story.books
        for name, value in seen.parts.items():
            if books.parts.get(name, 0) < value:
                raise Broken(f"monotone: {name} fell from {value} to {books.parts.get(name)}")
            if seen.through and name.hour + timedelta(hours=1) <= seen.through and books.parts[name] != value:
                raise Broken(f"sealed: {name} was {value} and is {books.parts[name]}")
        for total, value in seen.totals.items():
            if books.totals.get(total, 0) < value:
                raise Broken(f"monotone: the total {total} fell from {value} to {books.totals.get(total)}")
        if seen.through and any(
            it.hour + timedelta(hours=1) <= seen.through for it in books.parts.keys() - seen.parts.keys()
        ):
            raise Broken("sealed: a sealed hour has a new part")
        if drift := books.verify():
            raise Broken(f"agree: {drift}")
        self.seen = Seen(self._survives(step), dict(books.parts), dict(books.totals), books.through)

    def _survives(self, step: str) -> dict[Name, int]:
        available = self._available()
        for name, value in available.items():
            if value > self._story.served[name]:
                raise Broken(f"once: {name} is {value} and was counted {self._story.served[name]} times")
            before = self.seen.available.get(name, 0)
            if value < before and step not in LOSSES and key_of(name) not in self._story.hit:
                raise Broken(f"survive: {name} fell from {before} to {value} by {step}")
        return available

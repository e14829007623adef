"""Redis and the books of usage metering in memory: what the real ones are held to by the same contracts."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from functools import cache
from typing import Any

from services.usage.books import Aside, Booked, Drift, aside_id
from services.usage.counters import Fields, Raise
from shared.errors import StoreError
from shared.parts import (
    MOST,
    Hour,
    Name,
    Part,
    Unreadable,
    counter_key,
    part_field,
    parts_key,
    place,
    sealed,
)

LATE = "late: the hour was sealed"


@cache
def key_of(name: Name) -> tuple[str, str]:
    """The key and the field of a part in Redis."""
    return parts_key(name.merchant, Hour(name.hour, name.date)), part_field(name.metric, name.incarnation)


class MemoryCounters:
    """Redis, as far as parts are concerned."""

    def __init__(self) -> None:
        self.hashes: dict[str, dict[str, str]] = {}
        self.counters: dict[str, int] = {}
        self.strange: set[str] = set()
        """Keys that are no hashes."""

    def raise_to(self, raises: Sequence[Raise]) -> list[list[int] | StoreError]:
        """See `Counters.raise_to`."""
        return [self._raise(each) for each in raises]

    def _raise(self, each: Raise) -> list[int]:
        fields = self.hashes.setdefault(parts_key(each.merchant, each.hour), {})
        before = []
        for metric, incarnation, value in each.values:
            name = part_field(metric, incarnation)
            found = fields.get(name, "0")
            old = int(found) if found.isdigit() and int(found) <= MOST else 0
            before.append(old)
            if value > old:
                fields[name] = str(value)
                counter = counter_key(each.merchant, each.hour.date, metric)
                self.counters[counter] = self.counters.get(counter, 0) + value - old
        return before

    def scan(self, merchant: str | None = None, day: date | None = None) -> Iterator[list[bytes]]:
        """See `Counters.scan`."""
        found = []
        for key in [*self.hashes, *sorted(self.strange)]:
            at = place(key.encode())
            if isinstance(at, Unreadable) or (merchant in {None, at.merchant} and day in {None, at.date}):
                found.append(key.encode())
        yield found

    def read(self, keys: Sequence[bytes]) -> Iterator[tuple[bytes, Fields | Unreadable]]:
        """See `Counters.read`."""
        for key in keys:
            text = key.decode()
            if text in self.strange:
                yield key, Unreadable(text, "", "", "the key is no hash: something else wrote it")
            else:
                yield key, [(name.encode(), it.encode()) for name, it in self.hashes.get(text, {}).items()]

    def forget(self, read: Iterable[tuple[bytes, Fields]]) -> int:
        """See `Counters.forget`."""
        gone = 0
        for key, fields in read:
            held = self.hashes.get(key.decode(), {})
            for name, raw in fields:
                if held.get(name.decode()) == raw.decode():
                    del held[name.decode()]
                    gone += 1
            if not held:
                self.hashes.pop(key.decode(), None)
        return gone


@dataclass(slots=True)
class AsideRow:
    """A row of `usage_aside`."""

    key: str
    reason: str
    part: Part | None = None
    admitted: int = 0
    forgotten: int = 0
    hidden: bool = False

    def due(self, booked: int) -> int:
        """What may still be admitted."""
        return max(self.part.value - booked - self.admitted - self.forgotten, 0) if self.part else 0


@dataclass(slots=True)
class MemoryBooks:
    """The tables of usage metering. Each call is one transaction."""

    parts: dict[Name, int] = field(default_factory=dict)
    totals: dict[tuple[str, date, str], int] = field(default_factory=dict)
    rows: dict[str, AsideRow] = field(default_factory=dict)
    through: datetime | None = None
    recorded: list[dict[str, Any]] = field(default_factory=list)

    def sealed_through(self) -> datetime | None:
        """See `Books.sealed_through`."""
        return self.through

    def join(self, parts: Sequence[Part]) -> Booked:
        """See `Books.join`."""
        raised = gained = late = 0
        for name, value in parts:
            gain = value - self.parts.get(name, 0)
            key, name_ = key_of(name)
            self._resolve(key, name_)
            if gain <= 0 and name in self.parts:
                continue
            if sealed(name.hour, self.through):
                late += self._late(name, value)
                continue
            self._add(name, gain)
            raised += 1
            gained += gain
        return Booked(raised, gained, late)

    def _resolve(self, key: str, field_name: str) -> None:
        for found in (aside_id(key, ""), aside_id(key, field_name)):
            if found in self.rows and self.rows[found].part is None:
                del self.rows[found]

    def _late(self, name: Name, value: int) -> bool:
        row = self.rows.setdefault(aside_id(*key_of(name)), AsideRow(key_of(name)[0], LATE))
        rises = row.part is None or row.part.value < value
        if rises:
            row.part, row.reason = Part(name, value), LATE
        return rises

    def _add(self, name: Name, gain: int) -> None:
        self.parts[name] = self.parts.get(name, 0) + gain
        total = (name.merchant, name.date, name.metric)
        self.totals[total] = self.totals.get(total, 0) + gain

    def set_aside(self, rows: Iterable[Unreadable]) -> None:
        """See `Books.set_aside`."""
        for row in rows:
            found = self.rows.setdefault(aside_id(row.key, row.field), AsideRow(row.key, row.reason))
            if found.part is None:
                found.reason = row.reason

    def seal(self, through: datetime) -> datetime:
        """See `Books.seal`."""
        self.through = max(self.through or through, through)
        return self.through

    def read_back(self, parts: Sequence[Part]) -> list[Part]:
        """See `Books.read_back`."""
        return [it for it in parts if it.value <= self._kept(it.name)]

    def _kept(self, name: Name) -> int:
        row = self.rows.get(aside_id(*key_of(name)))
        return max(self.parts.get(name, -1), row.part.value if row and row.part else -1)

    def admit(self, hour: Hour) -> int:
        """See `Books.admit`."""
        admitted = 0
        for found, row in self.rows.items():
            if row.part and (gain := row.due(self.parts.get(row.part.name, 0))):
                part = row.part.name
                name = Name(part.merchant, hour.date, part.metric, hour.begin, f"late-{found}")
                self._add(name, gain)
                row.admitted += gain
                admitted += gain
        return admitted

    def forget(self, found: str) -> int:
        """See `aside.forget`; how much was due."""
        row = self.rows[found]
        due = row.due(self.parts.get(row.part.name, 0)) if row.part else 0
        row.forgotten += due
        row.hidden = True
        if not row.part:
            del self.rows[found]
        return due

    def verify(self) -> list[Drift]:
        """See `Books.verify`."""
        sums: dict[tuple[str, date, str], int] = {}
        for name, value in self.parts.items():
            total = (name.merchant, name.date, name.metric)
            sums[total] = sums.get(total, 0) + value
        keys = sorted(sums.keys() | self.totals.keys())
        found = [Drift(*key, sums.get(key, 0), self.totals.get(key, 0)) for key in keys]
        return [it for it in found if it.parts != it.total]

    def aside(self) -> list[Aside]:
        """See `Books.aside`."""
        found: dict[str, list[int]] = {}
        for row in self.rows.values():
            due = row.due(self.parts.get(row.part.name, 0)) if row.part else 0
            if due or not row.hidden:
                found.setdefault(row.reason, []).append(due)
        return [Aside(reason, len(due), sum(due)) for reason, due in sorted(found.items())]

    def aside_keys(self) -> list[str]:
        """See `Books.aside_keys`."""
        return sorted({row.key for row in self.rows.values() if row.part is None})

    def record(self, kind: str, started: datetime, figures: dict[str, Any]) -> None:
        """See `Books.record`."""
        self.recorded.append({"kind": kind, "started": started, "report": figures})

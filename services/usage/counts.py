"""What this process has counted, and what Redis has confirmed of it. In memory, without thread or server."""

import secrets
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import NamedTuple
from zoneinfo import ZoneInfo

from shared.errors import Invalid, Overloaded
from shared.parts import KEEP, MOST, Hour, flaw, hour_of


class Count:
    """One part. It belongs to the `Counts` that made it, whose lock guards it."""

    __slots__ = ("confirmed", "dirty", "hour", "incarnation", "merchant", "metric", "value")

    def __init__(self, merchant: str, metric: str, hour: Hour, incarnation: str) -> None:
        self.merchant = merchant
        self.metric = metric
        self.hour = hour
        self.incarnation = incarnation
        self.value = 0
        self.confirmed = 0
        self.dirty = False


class Value(NamedTuple):
    """What is to be sent of a count."""

    of: Count
    value: int
    confirmed: int
    """What was confirmed when it was taken: Redis held that much, unless it has lost it."""


@dataclass(slots=True)
class _Counted:
    hour: Hour
    current: dict[tuple[str, str], Count] = field(default_factory=dict)
    all: list[Count] = field(default_factory=list)


def new_incarnation() -> str:
    """A name that no other process has, nor this one for what it has forgotten."""
    return secrets.token_hex(8)


class Counts:
    """The counts of one process. Threads may use it at once.

    **Why a count may be forgotten.** A count is named by an incarnation. Once one is forgotten, the
    incarnation changes. What is counted under the same names from then on is another part that begins at
    zero, and never a smaller value of the old one, which the join would swallow.
    """

    def __init__(
        self,
        zone: ZoneInfo,
        clock: Callable[[], float],
        *,
        most: int,
        incarnation: Callable[[], str] = new_incarnation,
    ) -> None:
        self._zone = zone
        self._clock = clock
        self._most = most
        self._new_incarnation = incarnation
        self._incarnation = incarnation()
        self._lock = threading.Lock()
        self._hours: dict[datetime, _Counted] = {}
        self._now: dict[tuple[str, str], Count] = {}
        self._begin = self._end = 0.0
        self._dirty: list[Count] = []
        self._kept = 0
        self._counted = self._confirmed = 0

    @property
    def unconfirmed(self) -> int:
        """What was counted and is not confirmed by Redis."""
        return self._counted - self._confirmed

    @property
    def kept(self) -> int:
        """The counts in memory."""
        return self._kept

    def add(self, merchant: str, metric: str, amount: int) -> None:
        """Count; a few steps in memory.

        Raises:
            Invalid: the amount or a name cannot be counted. Nothing was.
            Overloaded: there are as many counts as memory may hold. Nothing was counted.
        """
        if type(amount) is not int or not 0 < amount <= MOST:
            raise Invalid(f"the amount {amount!r}: a whole number from 1 to {MOST} is allowed")
        now = self._clock()
        with self._lock:
            if not self._begin <= now < self._end:
                self._turn(now)
            count = self._now.get((merchant, metric))
            if count is None or count.value > MOST - amount:
                count = self._add_count(merchant, metric, new=count is not None)
            count.value += amount
            self._counted += amount
            if not count.dirty:
                count.dirty = True
                self._dirty.append(count)

    def _turn(self, now: float) -> None:
        hour = hour_of(datetime.fromtimestamp(now, UTC), self._zone)
        counted = self._hours.setdefault(hour.begin, _Counted(hour))
        self._now = counted.current
        self._begin, self._end = hour.begin.timestamp(), hour.end.timestamp()

    def _add_count(self, merchant: str, metric: str, *, new: bool) -> Count:
        if wrong := flaw(merchant, metric):
            raise Invalid(wrong)
        if self._kept >= self._most:
            raise Overloaded(
                f"{self._kept:,} counts wait for Redis, as many as this process may keep: "
                f"{metric} of {merchant[:50]!r} was not counted"
            )
        if new:  # the old one is full
            self._incarnation = self._new_incarnation()
        counted = self._hours[datetime.fromtimestamp(self._begin, UTC)]
        count = Count(merchant, metric, counted.hour, self._incarnation)
        counted.current[merchant, metric] = count
        counted.all.append(count)
        self._kept += 1
        return count

    def due(self) -> list[Count]:
        """The counts to be sent: each goes to `values`, or back to `put_back`."""
        with self._lock:
            taken, self._dirty = self._dirty, []
            return taken

    def values(self, counts: Iterable[Count]) -> list[Value]:
        """What they have come to. What is counted from now on is due again."""
        with self._lock:
            return [self._value(count) for count in counts]

    def _value(self, count: Count) -> Value:
        count.dirty = False
        return Value(count, count.value, count.confirmed)

    def put_back(self, unsent: list[Count], unconfirmed: Iterable[Count] = ()) -> None:
        """They are due again: what `values` was not asked of, and what was sent and not confirmed."""
        with self._lock:
            self._dirty += unsent
            self._mark(unconfirmed)

    def _mark(self, counts: Iterable[Count]) -> None:
        for count in counts:
            if not count.dirty:  # otherwise it was counted meanwhile, and is due already
                count.dirty = True
                self._dirty.append(count)

    def confirm(self, values: Iterable[Value]) -> None:
        """Redis holds them."""
        with self._lock:
            for count, value, _ in values:
                self._confirmed += max(value - count.confirmed, 0)
                count.confirmed = max(value, count.confirmed)

    def send_all_again(self) -> None:
        """Send every count that is kept: Redis may have lost one."""
        with self._lock:
            self._mark(it for counted in self._hours.values() for it in counted.all)

    def forget(self) -> None:
        """Forget confirmed counts of hours that ended long ago; of every hour, where memory is half full."""
        now = self._clock()
        with self._lock:
            crowded = self._kept > self._most // 2
            for begin, counted in list(self._hours.items()):
                if crowded or counted.hour.end.timestamp() + KEEP.total_seconds() <= now:
                    self._forget(begin, counted)

    def _forget(self, begin: datetime, counted: _Counted) -> None:
        left = [it for it in counted.all if it.dirty or it.confirmed < it.value]
        if len(left) == len(counted.all) and left:
            return
        self._incarnation = self._new_incarnation()
        self._kept -= len(counted.all) - len(left)
        counted.all = left
        counted.current.clear()
        counted.current.update({(it.merchant, it.metric): it for it in left})
        if not left and counted.current is not self._now:
            del self._hours[begin]

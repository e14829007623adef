"""Usage metering with one defect each: the proof that the laws can be broken."""

from collections.abc import Sequence
from copy import deepcopy
from datetime import datetime
from typing import Any

from services.usage.booking import Booking
from services.usage.books import Booked
from services.usage.counters import Raise
from services.usage.counts import Counts
from services.usage.flush import Flush
from shared.parts import Hour, Name, Part, Unreadable, part_field, parts_key, sealed
from tests.simulation.usage import Application, Parts
from tests.support.usage import MemoryBooks, MemoryCounters


class AddingBooks(MemoryBooks):
    """A flush adds what it reads to what is there."""

    def join(self, parts: Sequence[Part]) -> Booked:
        return super().join([Part(it.name, self.parts.get(it.name, 0) + it.value) for it in parts])


class OverwritingBooks(MemoryBooks):
    """A flush writes what it reads, also where it is less."""

    def join(self, parts: Sequence[Part]) -> Booked:
        for name, value in parts:
            if not sealed(name.hour, self.through):
                self._add(name, value - self.parts.get(name, 0))
        return super().join(parts)


class UnsealedBooks(MemoryBooks):
    """A join does not look at the watermark."""

    def join(self, parts: Sequence[Part]) -> Booked:
        through, self.through = self.through, None
        booked = super().join(parts)
        self.through = through
        return booked


class DroppingBooks(MemoryBooks):
    """What is late is dropped, and taken for read back."""

    def _late(self, name: Name, value: int) -> bool:
        del name, value
        return False

    def read_back(self, parts: Sequence[Part]) -> list[Part]:
        return list(parts)


class TwiceAdmittingBooks(MemoryBooks):
    """Nobody notes what was admitted."""

    def admit(self, hour: Hour) -> int:
        admitted = super().admit(hour)
        for row in self.rows.values():
            row.admitted = 0
        return admitted


class AmnesicBooks(MemoryBooks):
    """A late part that is forgotten leaves nothing behind."""

    def forget(self, found: str) -> int:
        due = super().forget(found)
        self.rows.pop(found, None)
        return due


class HalfBooks(MemoryBooks):
    """A part that is raised does not raise its total; one that is new does."""

    def _add(self, name: Name, gain: int) -> None:
        new = name not in self.parts
        super()._add(name, gain)
        if not new:
            self.totals[name.merchant, name.date, name.metric] -= gain


class AddingCounters(MemoryCounters):
    """An application sends what it has counted since, and Redis adds it."""

    def _raise(self, each: Raise) -> list[int]:
        fields = self.hashes.get(parts_key(each.merchant, each.hour), {})
        values = []
        for metric, incarnation, value in each.values:
            found = fields.get(part_field(metric, incarnation), "0")
            values.append((metric, incarnation, int(found) + value))
        return super()._raise(each._replace(values=tuple(values)))


class OverwritingCounters(MemoryCounters):
    """Redis keeps the last value that comes, not the largest."""

    def _raise(self, each: Raise) -> list[int]:
        before = super()._raise(each)
        fields = self.hashes[parts_key(each.merchant, each.hour)]
        fields.update({part_field(metric, name): str(value) for metric, name, value in each.values})
        return before


class HastyBooking(Booking):
    """What was read is deleted before it is booked."""

    def _batch(self, parts: Sequence[Part], aside: Sequence[Unreadable]) -> None:
        self._forget(parts)
        super()._batch(parts, aside)


class HastyFlush(Flush):
    """See `HastyBooking`."""

    booking = HastyBooking


class SameApplication(Application):
    """Every process counts under the name of the host."""

    def begin(self) -> None:
        self.story._named = 0
        super().begin()


class InheritingApplication(Application):
    """A child goes on with its parent's counts, under its parent's name."""

    def fork(self) -> Application:
        child = super().fork()
        child.counts._hours = deepcopy(self.counts._hours)
        child.counts._incarnation = self.counts._incarnation
        return child


class OnceSendingCounts(Counts):
    """What Redis has confirmed is never sent again."""

    def send_all_again(self) -> None:
        pass


class SameNameCounts(Counts):
    """What is counted after something was forgotten has the old name."""

    def _forget(self, begin: datetime, counted: Any) -> None:
        before = self._incarnation
        super()._forget(begin, counted)
        self._incarnation = before


class OnceSending(Application):
    """See `OnceSendingCounts`."""

    kind = OnceSendingCounts


class SameName(Application):
    """See `SameNameCounts`."""

    kind = SameNameCounts


DEFECTS = {
    "a flush adds what it reads": Parts(books=AddingBooks),
    "a flush overwrites": Parts(books=OverwritingBooks),
    "a join ignores the seal": Parts(books=UnsealedBooks),
    "late parts are dropped": Parts(books=DroppingBooks),
    "late parts are admitted twice": Parts(books=TwiceAdmittingBooks),
    "a late part is forgotten without a trace": Parts(books=AmnesicBooks),
    "a total is not raised with its part": Parts(books=HalfBooks),
    "applications send what is new": Parts(counters=AddingCounters),
    "Redis keeps the last value": Parts(counters=OverwritingCounters),
    "a part is deleted before it is booked": Parts(flush=HastyFlush),
    "processes share a name": Parts(application=SameApplication),
    "a fork goes on with its parent's counts": Parts(application=InheritingApplication),
    "what was confirmed is not sent again": Parts(application=OnceSending),
    "what was forgotten goes on under its name": Parts(application=SameName),
}
"""Each breaks a law."""

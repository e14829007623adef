"""Batches of a run of the flush go into the books, one at a time, while the run reads on.

Reading takes the processor of this process, and booking that of PostgreSQL: together they take no longer than
the slower one. A batch is booked after the one before it. An error ends the run at the next batch.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Protocol

from services.usage.books import Booked
from services.usage.counters import Fields
from shared.errors import Invalid
from shared.log import logger
from shared.parts import HOUR, KEEP, Hour, Name, Part, Unreadable, join, part_field, parts_key, sealed


class CountersLike(Protocol):
    """What the flush needs of `Counters`."""

    def scan(self, merchant: str | None = None, day: date | None = None) -> Iterator[list[bytes]]:
        """See `Counters.scan`."""

    def read(self, keys: Sequence[bytes]) -> Iterable[tuple[bytes, Fields | Unreadable]]:
        """See `Counters.read`."""

    def forget(self, read: Iterable[tuple[bytes, Fields]]) -> int:
        """See `Counters.forget`."""


class BooksLike(Protocol):
    """What the flush needs of `Books`."""

    def sealed_through(self) -> datetime | None:
        """See `Books.sealed_through`."""

    def join(self, parts: Sequence[Part]) -> Booked:
        """See `Books.join`."""

    def set_aside(self, rows: Iterable[Unreadable]) -> None:
        """See `Books.set_aside`."""

    def seal(self, through: datetime) -> datetime:
        """See `Books.seal`."""

    def read_back(self, parts: Sequence[Part]) -> list[Part]:
        """See `Books.read_back`."""

    def record(self, kind: str, started: datetime, figures: dict[str, Any]) -> None:
        """See `Books.record`."""


@dataclass(slots=True)
class Result:
    """What a run came to."""

    records: int = 0
    """Parts that were read."""
    raised: int = 0
    """Rows that are new or larger."""
    gained: int = 0
    """What was added to `merchant_usage`."""
    late: int = 0
    """Parts of sealed hours that were set aside: `libra usage admit` books them."""
    errors: int = 0
    """Rows of Redis that were set aside, because they cannot be read."""
    forgotten: int = 0
    """Parts that were deleted from Redis."""
    sealed_through: datetime | None = None
    """The instant through which hours are sealed."""
    seconds: float = 0.0

    def plain(self) -> dict[str, Any]:
        """As JSON has it."""
        through = self.sealed_through
        return {name: getattr(self, name) for name in self.__slots__} | {
            "sealed_through": through and through.isoformat()
        }


class Waiting(Protocol):
    """Something that was begun, such as a `Future`."""

    def result(self) -> None:
        """Wait for its end; raises what it raised."""


class Beside(AbstractContextManager["Beside"], Protocol):
    """Where a batch is booked while the next one is read: an executor. Its end waits for what was begun."""

    def submit(self, work: Callable[[], None], /) -> Waiting:
        """Begin something."""


class Booking:
    """What one run has read and not booked yet."""

    def __init__(
        self, counters: CountersLike, books: BooksLike, now: datetime, result: Result, beside: Beside
    ) -> None:
        """Nothing was read yet. Batches alone change the figures in `result`, one batch at a time."""
        self._counters = counters
        self._books = books
        self._now = now
        self._result = result
        self._beside = beside
        self._pending: dict[Name, int] = {}
        self._aside: list[Unreadable] = []
        self._under_way: Waiting | None = None

    def take(self, found: Part | Unreadable) -> None:
        """Something that was read."""
        if isinstance(found, Unreadable):
            self._aside.append(found)
            return
        name, value = found
        known = self._pending.get(name)
        self._pending[name] = value if known is None else join(known, value).value

    @property
    def taken(self) -> int:
        """How much was read and waits for a batch."""
        return len(self._pending) + len(self._aside)

    def begin(self) -> None:
        """Begin to book what was read, once the batch before is booked.

        Raises:
            StoreError: the batch before could not be booked.
        """
        parts = [Part(name, value) for name, value in self._pending.items()]
        aside, self._aside, self._pending = self._aside, [], {}
        self._wait()
        self._under_way = self._beside.submit(lambda: self._batch(parts, aside))

    def end(self) -> None:
        """Book the rest, and wait for it.

        Raises:
            StoreError: something could not be booked.
        """
        self.begin()
        self._wait()

    def _wait(self) -> None:
        before, self._under_way = self._under_way, None
        if before:
            before.result()

    def _batch(self, parts: Sequence[Part], aside: Sequence[Unreadable]) -> None:
        result = self._result
        self._set_aside(aside)
        result.records += len(parts)
        self._join(parts)
        old = [
            it
            for it in parts
            if sealed(it.name.hour, result.sealed_through) and it.name.hour + 2 * HOUR + KEEP < self._now
        ]
        if old:
            self._forget(self._books.read_back(old))

    def _set_aside(self, rows: Sequence[Unreadable]) -> None:
        if not rows:
            return
        self._books.set_aside(rows)
        self._result.errors += len(rows)
        for row in rows[:10]:
            logger.warning(
                "A usage count was set aside",
                extra={"key": row.key[:300], "field": row.field, "reason": row.reason},
            )

    def _join(self, parts: Sequence[Part]) -> None:
        """One that PostgreSQL can never take is found by halves, and set aside: the others are booked."""
        if not parts:
            return
        try:
            booked = self._books.join(parts)
        except Invalid as error:
            if len(parts) > 1:
                half = len(parts) // 2
                self._join(parts[:half])
                self._join(parts[half:])
                return
            ((name, value),) = parts
            key, field = (
                parts_key(name.merchant, Hour(name.hour, name.date)),
                part_field(name.metric, name.incarnation),
            )
            self._set_aside([Unreadable(key, field, str(value), str(error))])
            return
        self._result.raised += booked.raised
        self._result.gained += booked.gained
        self._result.late += booked.late

    def _forget(self, parts: Iterable[Part]) -> None:
        fields: dict[bytes, Fields] = {}
        for name, value in parts:
            key = parts_key(name.merchant, Hour(name.hour, name.date)).encode()
            field = part_field(name.metric, name.incarnation).encode()
            fields.setdefault(key, []).append((field, str(value).encode()))
        if fields:
            self._result.forgotten += self._counters.forget(fields.items())

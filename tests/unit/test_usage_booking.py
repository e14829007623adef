"""A flush reads on while a batch is booked: one batch at a time, and an error ends the run."""

import threading
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, date, datetime, timedelta

import pytest

from services.usage.booking import Result
from services.usage.books import Booked
from services.usage.counters import Fields, Raise
from services.usage.flush import Flush
from shared.errors import Transient
from shared.parts import Part, Unreadable, hour_of
from shared.settings import UTC as ZONE
from tests.support.usage import MemoryBooks, MemoryCounters

NOON = datetime(2026, 11, 25, 12, tzinfo=UTC)
MERCHANTS = 5


class Counters(MemoryCounters):
    """Says when the last hash was asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.at_the_end = threading.Event()
        hour = hour_of(NOON, ZONE)
        self.raise_to([Raise(f"m{n}", hour, (("requests", "i1", 1),)) for n in range(MERCHANTS)])

    def read(self, keys: Sequence[bytes]) -> Iterator[tuple[bytes, Fields | Unreadable]]:
        for key in keys:
            if key == keys[-1]:
                self.at_the_end.set()
            yield from super().read([key])


def run(counters: MemoryCounters, books: MemoryBooks, batch: int) -> Result:
    """A flush, long after the hour."""
    return Flush(counters, books, close_after=timedelta(hours=1), batch=batch).run(
        now=NOON + timedelta(hours=9)
    )


def test_the_next_batch_is_read_while_one_is_booked() -> None:
    """It is booked after the one before it: never two at once."""
    counters = Counters()

    class Slow(MemoryBooks):
        booking = threading.Lock()

        def join(self, parts: Sequence[Part]) -> Booked:
            assert self.booking.acquire(blocking=False)
            assert counters.at_the_end.wait(60), "nothing is read meanwhile"
            self.booking.release()
            return super().join(parts)

    books = Slow()
    result = run(counters, books, MERCHANTS - 1)
    assert (result.records, result.gained) == (MERCHANTS, MERCHANTS)
    assert sum(books.totals.values()) == MERCHANTS


@pytest.mark.parametrize("failing", range(MERCHANTS))
def test_a_batch_that_is_not_booked_ends_the_run_and_nothing_is_sealed(failing: int) -> None:
    """Whichever it is. The seal would send what it holds past its bill."""

    class Failing(MemoryBooks):
        def join(self, parts: Sequence[Part]) -> Booked:
            if parts[0].name.merchant == f"m{failing}":
                raise Transient("PostgreSQL is away")
            return super().join(parts)

    books = Failing()
    with pytest.raises(Transient, match="PostgreSQL is away"):
        run(Counters(), books, 1)
    assert books.through is None
    assert books.recorded == []


@pytest.mark.parametrize("flaw", ["usage-parts:old:{}", "usage-parts:{{m{}}}:2026-11-25:2026-11-25T12:00Z"])
def test_what_cannot_be_read_is_set_aside_in_batches_however_much_it_is(flaw: str) -> None:
    """Also where Redis holds nothing else: keys of another format, or keys that are no hashes."""

    class Flawed(MemoryCounters):
        def scan(self, merchant: str | None = None, day: date | None = None) -> Iterator[list[bytes]]:
            for page in super().scan(merchant, day):
                yield from ([key] for key in page)

    class Watched(MemoryBooks):
        most = 0

        def set_aside(self, rows: Iterable[Unreadable]) -> None:
            rows = list(rows)
            self.most = max(self.most, len(rows))
            super().set_aside(rows)

    counters, books = Flawed(), Watched()
    counters.strange |= {flaw.format(n) for n in range(30)}
    assert run(counters, books, 10).errors == 30
    assert books.most == 10

"""Who waits to be counted, what rides in the next commit, and when that commit may begin."""

import threading
from collections import deque
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Generic, TypeVar

from shared.aggregation import Cell, document_id
from shared.errors import Overloaded
from shared.grouping.outcome import Member

M = TypeVar("M", bound=Member)

MAX_WRITES = 500
"""The most writes in a commit, unless the group size asks for more. Firestore's bound is the request's size;
this was its bound on writes until 2023 and keeps a commit short."""

MAX_BYTES = 3_600_000
"""The most bytes in a commit, by a generous estimate. Firestore's bound is 10 MiB
(https://firebase.google.com/docs/firestore/quotas, 2026-11), the emulator's 4 MiB. A larger commit would be
refused as often as it is tried."""

MAX_WAITING = 10_000
"""The most entries that may wait in one instance."""

MAX_WAIT = timedelta(seconds=30)
"""The longest that an entry waits for its turn to be committed: after that its event is redelivered."""

FIRST_PACE = 0.05
"""Seconds between the starts of two commits after the first contention."""

LONGEST_PACE = 5.0
"""The most seconds that contention may put between the starts of two commits of one instance."""

_BYTES_A_WRITE = 512


class Queue(Generic[M]):
    """The entries that wait in an instance, in the order of their arrival. Threads may use it at once.

    One of the callers that enqueue leads: it takes groups until `done` hands the lead to another caller or
    ends it. One lock guards the queue and the lead.
    """

    def __init__(self, group_size: int) -> None:
        self._group_size = group_size
        self._most_writes = max(MAX_WRITES, group_size * 5 // 4)
        self._lock = threading.Lock()
        self._waiting: deque[M] = deque()
        self._led = False
        self.full = threading.Event()
        """Set while enough entries wait for a whole group."""

    def __len__(self) -> int:
        return len(self._waiting)

    def enqueue(self, member: M) -> bool:
        """Add an entry; True if its caller is to lead.

        Raises:
            Overloaded: too many entries wait; this one was not added.
        """
        with self._lock:
            if len(self._waiting) >= MAX_WAITING:
                raise Overloaded(
                    f"{MAX_WAITING} entries are waiting in this instance: deliver this one later"
                )
            self._waiting.append(member)
            if len(self._waiting) >= self._group_size:
                self.full.set()
            lead, self._led = not self._led, True
            return lead

    def take(self) -> list[M]:
        """The next group: as many as are waiting, while what they write together keeps within the bounds."""
        group: list[M] = []
        cells: set[Cell] = set()
        writes = size = 0
        with self._lock:
            while self._waiting and len(group) < self._group_size:
                joining = self._waiting[0].contribution
                new = joining.deltas.keys() - cells
                writes += 1 + len(new) + bool(joining.rejections) + joining.resolved
                size += self._waiting[0].size + _BYTES_A_WRITE * (2 + len(joining.rejections))
                size += sum(map(bytes_of, new))
                if group and (size > MAX_BYTES or writes > self._most_writes):
                    break
                cells |= new
                group.append(self._waiting.popleft())
            if len(self._waiting) < self._group_size:
                self.full.clear()
            return group

    def done(self) -> M | None:
        """A group is over: the entry whose caller leads next; None if no entry waits."""
        with self._lock:
            self._led = bool(self._waiting)
            return self._waiting[0] if self._led else None


def bytes_of(cell: Cell) -> int:
    """An upper bound for what a total adds to a commit: its path, its raw key and its increments."""
    return _BYTES_A_WRITE + 4 * len(str(cell.key)) + len(document_id(cell.key))


class Pace:
    """The least time between the starts of two commits of an instance.

    It is the linger, where one is set. Contention says that a document is written faster than Firestore takes
    writes: it doubles the pace, and each commit that lands takes a tenth off again. Only the leader uses it.
    """

    def __init__(self, linger: timedelta, clock: Callable[[], datetime]) -> None:
        self._linger = linger.total_seconds()
        self._clock = clock
        self._begun: datetime | None = None
        self.contended = 0.0
        """Seconds that contention puts between two commits now."""

    def begin(self) -> datetime:
        """A commit begins now; returns that time."""
        self._begun = self._clock()
        return self._begun

    def ahead_of_time(self) -> float:
        """Seconds until the next commit may begin."""
        pace = max(self.contended, self._linger)
        if not pace or self._begun is None:
            return 0.0
        passed = (self._clock() - self._begun).total_seconds()
        return pace - passed if 0 <= passed < pace else 0.0

    def contention(self) -> None:
        """A commit met contention."""
        self.contended = min(LONGEST_PACE, max(FIRST_PACE, 2 * self.contended))

    def landed(self) -> None:
        """A commit landed."""
        self.contended = 0.9 * self.contended if self.contended > FIRST_PACE / 2 else 0.0

"""What lies between a component and the database: latency, lost messages, aborts, and the caller's death.

A call is a packet. It lands at a moment of its own, whether or not its caller is still there to hear of
it: that is what makes a commit whose reply is lost, and one that lands after its caller has given up.
"""

import random
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal, TypeAlias, TypeVar

from shared.errors import Contention, StoreError, Transient
from shared.store import Create, Delete, Document, Merge, Query, Store, Write
from tests.simulation.world import Process, World

T = TypeVar("T")
Fate: TypeAlias = Literal["fine", "request lost", "reply lost", "aborted", "late", "stalled"]

IN_FLIGHT = 150.0
"""The longest that a commit is in flight, in seconds. With `MAX_SKEW` it stays below the safety margin."""

MAX_SKEW = timedelta(seconds=60)
"""How far a clock may be off, either way."""

READ_TIMEOUT = 60.0
_FAST = (0.0, 0.0, 0.001, 0.002, 0.005, 0.02)
"""Usual latencies: few values, so that packets often land together and the seed decides their order."""


@dataclass(frozen=True, slots=True)
class Weather:
    """How likely each fate is, for each call."""

    request_lost: float = 0.0
    reply_lost: float = 0.0
    aborted: float = 0.0
    late: float = 0.0
    stalled: float = 0.0

    def fate(self, rng: random.Random, *, commit: bool) -> Fate:
        """Draw what happens to a call. What would change nothing but commits leaves reads alone."""
        drawn = rng.random()
        fates: tuple[tuple[Fate, float], ...] = (
            ("request lost", self.request_lost),
            ("stalled", self.stalled),
            ("reply lost", self.reply_lost if commit else 0),
            ("aborted", self.aborted if commit else 0),
            ("late", self.late if commit else 0),
        )
        for fate, probability in fates:
            if drawn < probability:
                return fate
            drawn -= probability
        return "fine"


CALM = Weather()


@dataclass(slots=True)
class _Reply:
    """What came of a packet, once it has landed."""

    landed: bool = False
    error: StoreError | None = None
    value: object = None


@dataclass(slots=True)
class Wire:
    """A store as one process sees it."""

    world: World
    inner: Store
    process: Process
    weather: Weather
    injected: Counter[str] = field(default_factory=Counter)
    root: str = ""

    def __post_init__(self) -> None:
        self.root = self.inner.root

    def name(self, path: str) -> str:
        """See `Store.name`."""
        return self.inner.name(path)

    def path(self, name: str) -> str:
        """See `Store.path`."""
        return self.inner.path(name)

    def get(self, paths: Sequence[str], *, read_time: datetime | None = None) -> list[Document | None]:
        """See `Store.get`."""
        return self._read(f"get {short(paths)}", lambda: self.inner.get(paths, read_time=read_time))

    def now(self, paths: Sequence[str]) -> tuple[datetime, list[Document | None]]:
        """See `Store.now`."""
        return self._read(f"now {short(paths)}", lambda: self.inner.now(paths))

    def begin(self, paths: Sequence[str]) -> tuple[bytes, list[Document | None]]:
        """See `Store.begin`."""
        return self._read(f"begin {short(paths)}", lambda: self.inner.begin(paths))

    def commit(
        self, writes: Sequence[Write], *, transaction: bytes | None = None, timeout: float
    ) -> datetime:
        """See `Store.commit`."""

        def land() -> datetime:
            return self.inner.commit(writes, transaction=transaction, timeout=timeout)

        fate = self.weather.fate(self.world.thread.rng, commit=True)
        if fate == "aborted":
            self.injected[fate] += 1
            self.world.sleep(self._latency())
            self.world.tell(self.process.name, f"commit {printed(writes)}: aborted by chance")
            if transaction:
                self.inner.rollback(transaction)
            raise Contention("aborted by chance")
        return self._send(f"commit {printed(writes)}", land, fate, timeout)

    def rollback(self, transaction: bytes) -> None:
        """See `Store.rollback`."""
        self.world.sleep(self._latency())
        if self.weather.fate(self.world.thread.rng, commit=False) == "fine":
            self.inner.rollback(transaction)

    def query(self, query: Query, *, read_time: datetime | None = None) -> Iterator[Document]:
        """See `Store.query`."""
        yield from self._read(
            f"query {query.collection}", lambda: list(self.inner.query(query, read_time=read_time))
        )

    def count(self, query: Query, *, read_time: datetime | None = None) -> int:
        """See `Store.count`."""
        return self._read(f"count {query.collection}", lambda: self.inner.count(query, read_time=read_time))

    def scan(
        self,
        collection: str,
        fields: Sequence[str],
        *,
        after: str | None,
        until: str | None,
        limit: int,
        read_time: datetime,
    ) -> Iterator[tuple[str, Mapping[str, object]]]:
        """See `Store.scan`."""
        yield from self._read(
            f"scan {collection}",
            lambda: list(
                self.inner.scan(
                    collection, fields, after=after, until=until, limit=limit, read_time=read_time
                )
            ),
        )

    def cuts(self, collection: str, parts: int, *, read_time: datetime) -> list[str]:
        """See `Store.cuts`."""
        return self._read(
            f"cuts {collection}", lambda: self.inner.cuts(collection, parts, read_time=read_time)
        )

    # -- packets

    def _latency(self) -> float:
        return self.world.thread.rng.choice(_FAST)

    def _read(self, what: str, land: Callable[[], T]) -> T:
        fate = self.weather.fate(self.world.thread.rng, commit=False)
        return self._send(what, land, fate, READ_TIMEOUT)

    def _send(self, what: str, land: Callable[[], T], fate: Fate, timeout: float) -> T:
        """Send a packet, and wait for its reply or for the timeout."""
        rng, reply = self.world.thread.rng, _Reply()
        if fate != "fine":
            self.injected[fate] += 1
        if fate == "stalled":  # the process stops for a while: a long pause of its garbage collector, say
            self.world.sleep(rng.uniform(1, 90))
        on_the_way = self._latency()
        if fate == "late":
            on_the_way = timeout + rng.uniform(0, IN_FLIGHT - timeout)
        survives = rng.random() < 0.5  # if its sender dies before it lands, was it already sent?
        if fate == "request lost":
            self.world.tell(self.process.name, f"{what}: request lost")
        else:
            self.world.at(
                self.world.now + timedelta(seconds=on_the_way),
                lambda: self._land(what, land, reply, survives=survives),
            )
        # A microsecond at least, so that a reply is never there before its packet.
        self.world.sleep(min(timeout, on_the_way + self._latency() + 1e-6))
        if not reply.landed or fate == "reply lost":
            self.world.tell(self.process.name, f"{what}: no reply")
            raise Transient(f"{what}: no reply")
        if reply.error:
            raise reply.error
        return reply.value  # type: ignore[return-value]  # it is what `land` gave

    def _land(self, what: str, land: Callable[[], object], reply: _Reply, *, survives: bool) -> None:
        if self.process.dead and not survives:
            return
        try:
            reply.value = land()
        except StoreError as error:
            reply.error = error
        reply.landed = True
        self.world.tell(
            self.process.name, f"{what}: {type(reply.error).__name__ if reply.error else 'landed'}"
        )


def short(paths: Sequence[str]) -> str:
    """Paths, in a line of a trace."""
    return ", ".join(paths[:3]) + (", …" if len(paths) > 3 else "")


def printed(writes: Sequence[Write]) -> str:
    """Writes, in a line of a trace."""
    return "; ".join(map(_told, writes))


def _told(write: Write) -> str:
    match write:
        case Create(path):
            return f"create {path}"
        case Delete(path):
            return f"delete {path}"
        case Merge(path, fields, increments, deletes):
            changes = [f"{'.'.join(name)}={value}" for name, value in fields.items() if name != ("key",)]
            changes += [f"{'.'.join(name)}{amount:+}" for name, amount in increments.items()]
            changes += [f"-{'.'.join(name)}" for name in deletes]
            return f"{path} {{{', '.join(changes)}}}"

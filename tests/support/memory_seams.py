"""What may go wrong between a component and its store, made to go wrong on demand.

`Seams` stands in front of any `Store` and asks a `Plan` before and after every call. A plan lets the
call through (None), or names what is to happen to it.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, TypeAlias, TypeVar

from shared.errors import Contention, Transient
from shared.store import Document, Query, Store, Write

T = TypeVar("T")

Method: TypeAlias = Literal["get", "now", "begin", "commit", "rollback", "query", "count", "scan", "cuts"]
Fault: TypeAlias = Literal["request lost", "reply lost", "contention"]


@dataclass(frozen=True, slots=True)
class Call:
    """One call on its way to the store."""

    method: Method
    about: Sequence[object]
    """The paths read, the writes, or the query."""
    transaction: bytes | None = None
    timeout: float | None = None


Plan: TypeAlias = Callable[[Call], Fault | None]
"""Asked once, before the call is sent. It may also raise, or move a clock: latency on the way there."""


def no_faults(_: Call) -> None:
    """A plan in which nothing goes wrong."""


@dataclass(slots=True)
class Seams:
    """A store with faults. `reply lost` is applied and then raises `Transient`; the others apply nothing."""

    inner: Store
    plan: Plan = no_faults
    after: Callable[[Call], None] = no_faults
    """Called when the answer is on its way back; it may raise, or move a clock."""
    injected: dict[Fault, int] = field(default_factory=dict)
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
        return self._through(Call("get", paths), lambda: self.inner.get(paths, read_time=read_time))

    def now(self, paths: Sequence[str]) -> tuple[datetime, list[Document | None]]:
        """See `Store.now`."""
        return self._through(Call("now", paths), lambda: self.inner.now(paths))

    def begin(self, paths: Sequence[str]) -> tuple[bytes, list[Document | None]]:
        """See `Store.begin`."""
        return self._through(Call("begin", paths), lambda: self.inner.begin(paths))

    def commit(
        self, writes: Sequence[Write], *, transaction: bytes | None = None, timeout: float
    ) -> datetime:
        """See `Store.commit`."""
        return self._through(
            Call("commit", writes, transaction, timeout),
            lambda: self.inner.commit(writes, transaction=transaction, timeout=timeout),
        )

    def rollback(self, transaction: bytes) -> None:
        """See `Store.rollback`: a lost one is as good as none."""
        call = Call("rollback", (), transaction)
        if self._planned(call) is None:
            self.inner.rollback(transaction)
        self.after(call)

    def query(self, query: Query, *, read_time: datetime | None = None) -> Iterator[Document]:
        """See `Store.query`. A fault strikes before the first document, or after the last."""
        call = Call("query", (query,))
        yield from self._through(call, lambda: list(self.inner.query(query, read_time=read_time)))

    def count(self, query: Query, *, read_time: datetime | None = None) -> int:
        """See `Store.count`."""
        return self._through(Call("count", (query,)), lambda: self.inner.count(query, read_time=read_time))

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
        """See `Store.scan`. A fault strikes before the first document, or after the last."""
        yield from self._through(
            Call("scan", (collection, after, until)),
            lambda: list(
                self.inner.scan(
                    collection, fields, after=after, until=until, limit=limit, read_time=read_time
                )
            ),
        )

    def cuts(self, collection: str, parts: int, *, read_time: datetime) -> list[str]:
        """See `Store.cuts`."""
        call = Call("cuts", (collection,))
        return self._through(call, lambda: self.inner.cuts(collection, parts, read_time=read_time))

    def _planned(self, call: Call) -> Fault | None:
        fault = self.plan(call)
        if fault:
            self.injected[fault] = self.injected.get(fault, 0) + 1
        return fault

    def _through(self, call: Call, send: Callable[[], T]) -> T:
        fault = self._planned(call)
        if fault == "contention":
            if call.transaction:
                self.inner.rollback(call.transaction)
            raise Contention(f"{call.method}: aborted on purpose")
        if fault == "request lost":
            raise Transient(f"{call.method}: the request was lost on purpose")
        answer = send()
        self.after(call)
        if fault == "reply lost":
            raise Transient(f"{call.method}: the reply was lost on purpose")
        return answer

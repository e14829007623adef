"""The vocabulary of a document store: what is written, what is read, and what a `Store` promises.

Paths are relative to the database's documents (``aggregates/last_processed``); `Store.name` makes the full
document name of one. A store keeps no state, retries nothing and hides nothing: who may write what, and what
to do about a lost answer, is decided by the ledger and the recompute.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from typing import Literal, Protocol, TypeAlias

FieldPath: TypeAlias = tuple[str, ...]
"""Names from the document's root to a field. Every name but the last is a map's."""


@dataclass(frozen=True, slots=True)
class Create:
    """Create a document; if it exists, the whole commit fails with `AlreadyExists`."""

    path: str
    fields: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Merge:
    """Change some fields of a document and leave the others; make it if it is not there."""

    path: str
    fields: Mapping[FieldPath, object] = field(default_factory=dict)
    """What to set."""
    increments: Mapping[FieldPath, int] = field(default_factory=dict)
    """What to add; a field that is not there, or no number, counts as 0."""
    deletes: Sequence[FieldPath] = ()
    """What to remove."""
    server_times: Sequence[FieldPath] = ()
    """What to set to the commit time."""
    if_updated: datetime | None = None
    """The document's update time as it was read: if it is another now, or the document is gone, the whole
    commit fails with `Contention`. A write that changes nothing leaves the update time as it is."""


@dataclass(frozen=True, slots=True)
class Delete:
    """Remove a document; nothing happens if it is not there."""

    path: str
    if_updated: datetime | None = None
    """As for a `Merge`: if the document has changed since, or is gone, the whole commit fails with
    `Contention`."""


Write: TypeAlias = Create | Merge | Delete


@dataclass(frozen=True, slots=True)
class Document:
    """A document as it was read."""

    path: str
    fields: Mapping[str, object]
    create_time: datetime
    update_time: datetime


Operator: TypeAlias = Literal["==", "<", "<=", ">", ">="]

DOCUMENT_ID = "__name__"
"""The field that stands for a document's name in a filter, an order or a projection."""


@dataclass(frozen=True, slots=True)
class Filter:
    """``field`` compared with ``value``; `DOCUMENT_ID` is compared with a path."""

    field: str
    operator: Operator
    value: object


@dataclass(frozen=True, slots=True)
class Query:
    """Documents of one collection. Orders ascending; ``-field`` descends."""

    collection: str
    where: tuple[Filter, ...] = ()
    order_by: tuple[str, ...] = ()
    start_after: tuple[object, ...] = ()
    """A value for each of ``order_by``: begin behind it."""
    limit: int | None = None
    select: tuple[str, ...] | None = None
    """Dotted paths of the fields wanted; () for none but the name; None for all."""


class Store(Protocol):
    """What the ledger and the recompute need of a database.

    Transactions are serialisable: a commit with a transaction fails with `Contention` if a document read
    in it has changed since. (A transaction whose process died holds its locks for a minute: where one
    document decides, `Merge.if_updated` does without.) A commit is atomic. Every method raises
    `StoreError`s only.
    """

    root: str
    """``projects/P/databases/D/documents``."""

    def name(self, path: str) -> str:
        """The full document name of a path."""

    def path(self, name: str) -> str:
        """The path of a full document name of this database."""

    def get(self, paths: Sequence[str], *, read_time: datetime | None = None) -> list[Document | None]:
        """Read documents, in the order asked; None for one that is not there."""

    def now(self, paths: Sequence[str]) -> tuple[datetime, list[Document | None]]:
        """Read documents as they are, and the time of that by Firestore's clock: every commit that was
        answered before this call has a commit time at or before it."""

    def begin(self, paths: Sequence[str]) -> tuple[bytes, list[Document | None]]:
        """Begin a transaction by reading documents in it."""

    def commit(
        self, writes: Sequence[Write], *, transaction: bytes | None = None, timeout: float
    ) -> datetime:
        """Apply all writes or none; returns the commit time. ``timeout`` is in seconds."""

    def rollback(self, transaction: bytes) -> None:
        """Give up a transaction's locks. Never raises: locks time out by themselves."""

    def query(self, query: Query, *, read_time: datetime | None = None) -> Iterator[Document]:
        """Stream the documents of a query, as of ``read_time`` if given."""

    def count(self, query: Query, *, read_time: datetime | None = None) -> int:
        """Count the documents of a query on the server, as of ``read_time`` if given."""

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
        """Stream ids and ``fields`` (dotted paths) of a collection's documents in the order of their ids.

        At most ``limit`` of those whose id is behind ``after`` and not behind ``until``; None: no bound.
        What `query` does, without what makes a `Document` of each.
        """

    def cuts(self, collection: str, parts: int, *, read_time: datetime) -> list[str]:
        """Ascending ids that cut a collection into about ``parts`` ranges of a like size.

        Fewer, or none, where the collection is small or the server cannot say.
        """


@dataclass(frozen=True, slots=True)
class Reference:
    """A document reference: its full name."""

    name: str


@dataclass(frozen=True, slots=True)
class GeoPoint:
    """A position in degrees."""

    latitude: float
    longitude: float


@lru_cache(maxsize=4_096)
def quote(path: FieldPath) -> str:
    """A field path as Firestore spells it: a name that is no plain identifier stands in backticks."""
    return ".".join(
        name
        if re.fullmatch(r"[A-Za-z_][A-Za-z_0-9]*", name)
        else "`" + name.replace("\\", "\\\\").replace("`", "\\`") + "`"
        for name in path
    )

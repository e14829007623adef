"""An in-memory twin of Firestore, for tests that need thousands of databases or a clock of their own.

It keeps every promise of `shared.store.Store`, and what the emulator was seen to do where that is silent.
`tests/contracts/test_store.py` and `test_store_differential.py` hold the two to each other.

What differs on purpose: the emulator locks what a transaction has read, so that another writer waits up
to two seconds and may then be the one that is aborted; here nobody waits. Either the transaction loses
(the default, as under Firestore's optimistic mode) or the writer does (`MemoryStore.locks_win`).

Over 300 lines because it answers everything that `Store` promises, with locks and snapshots.
"""

import math
import re
import threading
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import TypeAlias

from shared.errors import AlreadyExists, Contention, Invalid, SnapshotTooOld
from shared.store import (
    DOCUMENT_ID,
    Create,
    Delete,
    Document,
    FieldPath,
    Filter,
    GeoPoint,
    Merge,
    Operator,
    Query,
    Reference,
    Write,
)

Clock: TypeAlias = Callable[[], datetime]
Fields: TypeAlias = Mapping[str, object]

MAX_INTEGER, MIN_INTEGER = 2**63 - 1, -(2**63)
MAX_DOCUMENT_BYTES = 1_048_576
MAX_ID_BYTES = 1_500
TRANSACTION_IDLE = timedelta(seconds=60)
"""How long a transaction lives without being used (Firestore's own limit, 'Transactions', 2026-11)."""

_BEGINNING = datetime.min.replace(tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_ABSENT: Mapping[str, object] = {}
_RESERVED = re.compile(r"\.{1,2}|__.*__", re.DOTALL)


@dataclass(frozen=True, slots=True)
class _Version:
    """What a document was from `time` on; `fields` None: it was not there."""

    time: datetime
    create_time: datetime
    fields: Fields | None


@dataclass(slots=True)
class _Transaction:
    reads: dict[str, datetime | None]
    used: datetime


@dataclass(slots=True)
class _Draft:
    """A document as it is while a commit is being worked out."""

    fields: Fields | None
    created: bool = False
    """Whether it begins anew in this commit."""


@dataclass(slots=True)
class MemoryStore:
    """See the module. `clock` gives the time; commit times strictly increase even where it stands still.

    Over 200 lines because it answers everything that `Store` promises.
    """

    clock: Clock
    root: str = "projects/demo-memory/databases/(default)/documents"
    history: timedelta = timedelta(days=7)
    """How far back a `read_time` may lie."""
    locks_win: Callable[[str], bool] = lambda _: False
    """Asked when a write meets another's open transaction: True aborts the writer, False the transaction."""
    _versions: dict[str, list[_Version]] = field(default_factory=dict)
    _collections: dict[str, set[str]] = field(default_factory=dict)
    _transactions: dict[bytes, _Transaction] = field(default_factory=dict)
    _begun: int = 0
    _last: datetime = _BEGINNING
    _lock: threading.RLock = field(default_factory=threading.RLock)

    # -- names

    def name(self, path: str) -> str:
        """See `Store.name`."""
        return f"{self.root}/{path}"

    def path(self, name: str) -> str:
        """See `Store.path`."""
        return name.removeprefix(f"{self.root}/")

    # -- reads

    def get(
        self, paths: Sequence[str], *, read_time: datetime | None = None, bare: bool = False
    ) -> list[Document | None]:
        """See `Store.get`."""
        with self._lock:
            self._check_read_time(read_time)
            for path in paths:
                _check_path(path)
            found = [self._document(path, read_time) for path in paths]
            return [replace(each, fields={}) if each and bare else each for each in found]

    def query(self, query: Query, *, read_time: datetime | None = None) -> Iterator[Document]:
        """See `Store.query`. The snapshot is taken when the first document is asked for."""
        yield from self._run(query, read_time)

    def count(self, query: Query, *, read_time: datetime | None = None) -> int:
        """See `Store.count`."""
        return len(self._run(query, read_time))

    def scan(
        self,
        collection: str,
        fields: Sequence[str],
        *,
        after: str | None,
        until: str | None,
        limit: int,
        read_time: datetime,
    ) -> Iterator[tuple[str, Fields]]:
        """See `Store.scan`."""
        bounds: tuple[tuple[str | None, Operator], ...] = ((after, ">"), (until, "<="))
        where = tuple(Filter(DOCUMENT_ID, operator, f"{collection}/{end}") for end, operator in bounds if end)
        query = Query(collection, where, (DOCUMENT_ID,), limit=limit, select=tuple(fields))
        for document in self.query(query, read_time=read_time):
            yield document.path.removeprefix(f"{collection}/"), document.fields

    def cuts(self, collection: str, parts: int, *, read_time: datetime) -> list[str]:
        """See `Store.cuts`: every id that stands at an equal step, so that even few documents are cut."""
        documents = self._run(Query(collection), read_time)
        step = max(1, len(documents) // parts)
        return [document.path.removeprefix(f"{collection}/") for document in documents[step::step]][
            : parts - 1
        ]

    def _check_read_time(self, read_time: datetime | None) -> None:
        now = max(self.clock(), self._last)
        if read_time and not now - self.history <= read_time <= now:
            raise SnapshotTooOld(f"read time {read_time} lies outside {now - self.history} .. {now}")

    def _version(self, path: str, read_time: datetime | None = None) -> _Version | None:
        versions = self._versions.get(path)
        if not versions:
            return None
        if read_time is None:
            return versions[-1]
        index = bisect_right(versions, read_time, key=lambda version: version.time)
        return versions[index - 1] if index else None

    def _document(self, path: str, read_time: datetime | None) -> Document | None:
        version = self._version(path, read_time)
        if version is None or version.fields is None:
            return None
        return Document(path, version.fields, version.create_time, version.time)

    def _run(self, query: Query, read_time: datetime | None) -> list[Document]:
        if query.order_by == (f"-{DOCUMENT_ID}",):
            raise Invalid("query: Firestore does not support descending key scans")
        with self._lock:
            self._check_read_time(read_time)
            paths = self._collections.get(query.collection, ())
            found = [self._document(path, read_time) for path in paths]
        return _Run(query, self.name).of([document for document in found if document])

    def now(self, paths: Sequence[str]) -> tuple[datetime, list[Document | None]]:
        """See `Store.now`."""
        with self._lock:
            self._last = max(self.clock(), self._last)  # no later commit gets this time
            return self._last, self.get(paths)

    # -- transactions

    def begin(self, paths: Sequence[str]) -> tuple[bytes, list[Document | None]]:
        """See `Store.begin`."""
        with self._lock:
            documents = self.get(paths)
            self._begun += 1
            transaction = self._begun.to_bytes(9, "big")
            reads = {path: self._stamp(path) for path in paths}
            self._transactions[transaction] = _Transaction(reads, self.clock())
            return transaction, documents

    def rollback(self, transaction: bytes) -> None:
        """See `Store.rollback`."""
        with self._lock:
            self._transactions.pop(transaction, None)

    def _stamp(self, path: str) -> datetime | None:
        version = self._version(path)
        return version.time if version else None

    def _check_transaction(self, transaction: bytes) -> None:
        found = self._transactions.get(transaction)
        if found is None or self.clock() - found.used > TRANSACTION_IDLE:
            raise Contention("commit: the transaction is unknown, closed or expired")
        changed = [path for path, stamp in found.reads.items() if self._stamp(path) != stamp]
        if changed:
            raise Contention(f"commit: {changed[0]} has changed since the transaction read it")

    def _meet_locks(self, writes: Sequence[Write], own: bytes | None) -> None:
        if not self._transactions:
            return
        now, written = self.clock(), {write.path for write in writes}
        for transaction, other in self._transactions.items():
            if transaction != own and now - other.used <= TRANSACTION_IDLE:
                for path in written & other.reads.keys():
                    if self.locks_win(path):
                        raise Contention(f"commit: {path} is locked by another transaction")

    # -- commits

    def commit(
        self,
        writes: Sequence[Write],
        *,
        transaction: bytes | None = None,
        timeout: float,  # noqa: ARG002 - the protocol's; a seam in front of the store is what makes it late
    ) -> datetime:
        """See `Store.commit`. A transaction ends with its commit, unless that is invalid."""
        with self._lock:
            for write in writes:
                _check_write(write)
            try:
                return self._commit(writes, transaction)
            except (AlreadyExists, Contention):
                self.rollback(transaction or b"")
                raise

    def _commit(self, writes: Sequence[Write], transaction: bytes | None) -> datetime:
        if transaction:
            self._check_transaction(transaction)
        _check_sequence(writes)
        self._meet_locks(writes, transaction)
        now = max(self.clock(), self._last + _MICROSECOND)
        drafts: dict[str, _Draft] = {}
        for write in writes:
            self._apply(drafts, write, now)
        for path, draft in drafts.items():
            _check_size(self.name(path), draft.fields)
        self.rollback(transaction or b"")
        self._last = now
        for path, draft in drafts.items():
            self._store(path, draft, now)
        return now

    def _apply(self, drafts: dict[str, _Draft], write: Write, now: datetime) -> None:
        draft = drafts.get(write.path)
        if draft is None:
            version = self._version(write.path)
            draft = drafts[write.path] = _Draft(version.fields if version else None)
            _check_precondition(write, version)
        if isinstance(write, Delete):
            draft.fields = None
        elif isinstance(write, Create):
            _create(draft, write)
        else:
            draft.created = draft.created or draft.fields is None
            draft.fields = _merge(draft.fields or _ABSENT, write, now)

    def _store(self, path: str, draft: _Draft, now: datetime) -> None:
        versions = self._versions.setdefault(path, [])
        last = versions[-1] if versions else None
        there = last is not None and last.fields is not None
        if not draft.created and _same(last.fields if last else None, draft.fields):
            return  # as in Firestore: what changes nothing leaves the update time alone
        create_time = last.create_time if last and there and not draft.created else now
        versions.append(_Version(now, create_time, draft.fields))
        self._collections.setdefault(path.rpartition("/")[0], set()).add(path)


def _check_precondition(write: Write, version: _Version | None) -> None:
    if isinstance(write, Merge | Delete) and write.if_updated:
        found = version.time if version and version.fields is not None else None
        if found != write.if_updated:
            raise Contention(f"commit: {write.path} was changed at {found}, expected {write.if_updated}")


def _create(draft: _Draft, write: Create) -> None:
    if draft.fields is not None:
        raise AlreadyExists(f"commit: {write.path} exists already")
    draft.fields, draft.created = _plain_map(write.fields), True


def _same(one: object, other: object) -> bool:
    """Equal in value and type: 1 and 1.0 are two values, True and 1 too, and NaN is one."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_same(item, other[name]) for name, item in one.items())
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_same, one, other))
    return repr(one) == repr(other) if isinstance(one, float) else one == other


# --- changing fields ----------------------------------------------------------------------------


def _merge(fields: Fields, merge: Merge, now: datetime) -> Fields:
    """Sets and deletes first, then transforms: that is the order Firestore applies them in."""
    for path in merge.deletes:
        if path not in merge.fields:
            fields = _removed(fields, path)
    for path, value in merge.fields.items():
        fields = _put(fields, path, _plain(value))
    for path, amount in merge.increments.items():
        fields = _put(fields, path, _incremented(_at(fields, path), amount))
    request_time = now.replace(microsecond=now.microsecond // 1000 * 1000)  # whole milliseconds, as there
    for path in merge.server_times:
        fields = _put(fields, path, request_time)
    return fields


def _at(fields: object, path: FieldPath) -> object:
    for name in path:
        fields = fields.get(name) if isinstance(fields, dict) else None
    return fields


def _put(fields: Fields, path: FieldPath, value: object) -> Fields:
    """A copy with `value` at `path`; whatever stands in the way of a nested path gives way to a map."""
    head, *rest = path
    if rest:
        inner = fields.get(head)
        value = _put(inner if isinstance(inner, dict) else _ABSENT, tuple(rest), value)
    return {**fields, head: value}


def _removed(fields: Fields, path: FieldPath) -> Fields:
    head, *rest = path
    inner = fields.get(head)
    if rest and isinstance(inner, dict):
        return {**fields, head: _removed(inner, tuple(rest))}
    if rest or head not in fields:
        return fields
    return {name: value for name, value in fields.items() if name != head}


def _incremented(found: object, amount: int) -> int | float:
    if isinstance(found, float):
        return found + amount
    number = found if isinstance(found, int) and not isinstance(found, bool) else 0
    return max(MIN_INTEGER, min(MAX_INTEGER, number + amount))


def _plain(value: object) -> object:
    """A copy as Firestore would give it back."""
    if isinstance(value, Mapping):
        return _plain_map(value)
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, datetime):
        return value.astimezone(UTC)
    return value


def _plain_map(fields: Fields) -> Fields:
    return {name: _plain(value) for name, value in fields.items()}


# --- what Firestore refuses ---------------------------------------------------------------------


@lru_cache(maxsize=65_536)
def _check_path(path: str) -> None:
    names = path.split("/")
    bad = [n for n in names if not n or _RESERVED.fullmatch(n) or len(n.encode()) > MAX_ID_BYTES]
    if len(names) % 2 or bad:
        raise Invalid(f"{path!r} is not the path of a document")


def _check_sequence(writes: Sequence[Write]) -> None:
    last: dict[str, Write] = {}
    for write in writes:
        if isinstance(write, Create) and not isinstance(last.get(write.path), Delete | None):
            raise Invalid(f"commit: {write.path} is written and then created in the same request")
        last[write.path] = write


def _check_write(write: Write) -> None:
    _check_path(write.path)
    if isinstance(write, Create):
        _check_value(write.fields)
    elif isinstance(write, Merge):
        for path in [*write.fields, *write.increments, *write.deletes, *write.server_times]:
            for name in path:
                _check_field_name(name)
        for value in write.fields.values():
            _check_value(value)


@lru_cache(maxsize=65_536)
def _check_field_name(name: str) -> None:
    if not name or re.fullmatch(r"__.*__", name, re.DOTALL):
        raise Invalid(f"{name!r} is not a field's name")


def _check_value(value: object) -> None:
    if isinstance(value, Mapping):
        for name, item in value.items():
            _check_field_name(name)
            _check_value(item)
    elif isinstance(value, list | tuple):
        for item in value:
            if isinstance(item, list | tuple):
                raise Invalid("an array in an array")
            _check_value(item)
    elif isinstance(value, int) and not MIN_INTEGER <= value <= MAX_INTEGER:
        raise ValueError(f"{value} is no 64-bit integer")  # protobuf itself says so


def _check_size(name: str, fields: Fields | None) -> None:
    if fields is not None and (size := len(name) + 32 + _size(fields)) > MAX_DOCUMENT_BYTES:
        raise Invalid(f"{name} would be {size} bytes long, more than {MAX_DOCUMENT_BYTES}")


def _size(value: object) -> int:  # noqa: PLR0911 - one line a type of Firestore's
    """Firestore's own reckoning ('Storage size calculations', 2026-11)."""
    if isinstance(value, dict):
        return sum(len(name) + 1 + _size(item) for name, item in value.items())
    if isinstance(value, list):
        return sum(map(_size, value))
    if isinstance(value, str):
        return len(value if value.isascii() else value.encode()) + 1
    if isinstance(value, bytes):
        return len(value)
    if isinstance(value, Reference):
        return len(value.name.encode())
    if value is None or isinstance(value, bool):
        return 1
    return 16 if isinstance(value, GeoPoint) else 8


# --- queries ------------------------------------------------------------------------------------

SortKey: TypeAlias = tuple[int, object]


def sort_key(value: object) -> SortKey:  # noqa: PLR0911 - one line a type of Firestore's
    """Orders any two values as Firestore does: by type, then by value; the first number is the type."""
    if value is None:
        return (0, 0)
    if isinstance(value, bool):
        return (1, value)
    if isinstance(value, int | float):
        return (2, 0) if math.isnan(value) else (3, value)
    if isinstance(value, datetime):
        return (4, value)
    if isinstance(value, str):
        return (5, value.encode())
    if isinstance(value, bytes):
        return (6, value)
    if isinstance(value, Reference):
        return (7, [segment.encode() for segment in value.name.split("/")])
    if isinstance(value, GeoPoint):
        return (8, (value.latitude, value.longitude))
    if isinstance(value, dict):
        items = sorted((name.encode(), item) for name, item in value.items())
        return (10, [(name, sort_key(item)) for name, item in items])
    if isinstance(value, list | tuple):
        return (9, [sort_key(item) for item in value])
    raise TypeError(f"Firestore has no type for {type(value).__name__}")


_COMPARE: dict[str, Callable[[object, object], bool]] = {
    "==": lambda found, wanted: found == wanted,
    "<": lambda found, wanted: found < wanted,  # type: ignore[operator]  # keys of one type compare
    "<=": lambda found, wanted: found <= wanted,  # type: ignore[operator]
    ">": lambda found, wanted: found > wanted,  # type: ignore[operator]
    ">=": lambda found, wanted: found >= wanted,  # type: ignore[operator]
}


@dataclass(frozen=True, slots=True)
class _Run:
    """One query at work on the documents of its collection."""

    query: Query
    name: Callable[[str], str]

    def of(self, documents: list[Document]) -> list[Document]:
        orders = self._orders()
        kept = [d for d in documents if self._admits(d)]
        keyed = [(keys, d) for d in kept if (keys := self._keys(d, orders)) is not None]
        for index, order in reversed(list(enumerate(orders))):
            keyed.sort(key=lambda pair: pair[0][index], reverse=order[0] == "-")
        found = [d for keys, d in keyed if self._behind_cursor(keys)]
        if self.query.limit is not None:
            found = found[: self.query.limit]
        return [self._projected(document) for document in found]

    def _orders(self) -> list[str]:
        """The explicit orders, then the field of an inequality, then the name in the last direction."""
        orders = list(self.query.order_by)
        fields = {order.lstrip("-") for order in orders}
        last = "-" if orders and orders[-1][0] == "-" else ""
        for each in self.query.where:
            if each.operator != "==" and each.field not in fields:
                fields.add(each.field)
                orders.append(last + each.field)
        return orders if DOCUMENT_ID in fields else [*orders, last + DOCUMENT_ID]

    def _value(self, document: Document, name: str) -> tuple[bool, object]:
        if name == DOCUMENT_ID:
            return True, Reference(self.name(document.path))
        value: object = document.fields
        for part in name.split("."):
            if not isinstance(value, dict) or part not in value:
                return False, None
            value = value[part]
        return True, value

    def _keys(self, document: Document, orders: list[str]) -> list[SortKey] | None:
        values = [self._value(document, order.lstrip("-")) for order in orders]
        return [sort_key(value) for _, value in values] if all(there for there, _ in values) else None

    def _admits(self, document: Document) -> bool:
        return all(self._passes(document, each) for each in self.query.where)

    def _passes(self, document: Document, each: Filter) -> bool:
        there, found = self._value(document, each.field)
        key, wanted = sort_key(found), sort_key(self._operand(each.field, each.value))
        return there and key[0] == wanted[0] and _COMPARE[each.operator](key[1], wanted[1])

    def _operand(self, name: str, value: object) -> object:
        return Reference(self.name(str(value))) if name == DOCUMENT_ID else value

    def _behind_cursor(self, keys: list[SortKey]) -> bool:
        for key, order, value in zip(keys, self.query.order_by, self.query.start_after, strict=False):
            wanted = sort_key(self._operand(order.lstrip("-"), value))
            if key != wanted:
                return (key < wanted) if order[0] == "-" else (key > wanted)
        return not self.query.start_after

    def _projected(self, document: Document) -> Document:
        if self.query.select is None:
            return document
        fields: Fields = {}
        for path in self.query.select:
            there, value = self._value(document, path)
            if there and path != DOCUMENT_ID:
                fields = _put(fields, tuple(path.split(".")), value)
        return Document(document.path, fields, document.create_time, document.update_time)

"""The one door to Firestore: what Libra asks of a store (`Store`), and the real one (`FirestoreStore`).

Paths are relative to the database's documents (``aggregates/last_processed``); `Store.name` makes the
full document name of one. The store keeps no state, retries nothing and hides nothing: who may write
what, and what to do about a lost answer, is decided by the ledger and the recompute.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, NoReturn, Protocol, TypeAlias

import google.auth
import grpc
from google.cloud.firestore_v1.services.firestore.transports import FirestoreGrpcTransport
from google.cloud.firestore_v1.types import firestore as _rpc
from google.cloud.firestore_v1.types import write as _write
from google.protobuf.empty_pb2 import Empty
from grpc.experimental import ChannelOptions

from shared.errors import (
    AlreadyExists,
    Contention,
    Denied,
    Invalid,
    SettingError,
    SnapshotTooOld,
    StoreError,
    Transient,
)
from shared.settings import Settings
from shared.values import Message, decode_fields, encode, encode_fields, instant, raw, set_instant

READ_TIMEOUT = 60.0
"""Seconds that a read may take before it counts as unanswered."""

ROLLBACK_TIMEOUT = 5.0
"""Seconds that giving up a transaction may take."""

FieldPath: TypeAlias = tuple[str, ...]
"""Names from the document's root to a field. Every name but the last is a map's."""


# --- what is written ----------------------------------------------------------------------------


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


Write: TypeAlias = Create | Merge | Delete


# --- what is read -------------------------------------------------------------------------------


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

        Fewer, or none, where the collection is small or the server can not say.
        """


# --- the real one -------------------------------------------------------------------------------

_CommitRequest = raw(_rpc.CommitRequest)
_BatchGetDocumentsRequest = raw(_rpc.BatchGetDocumentsRequest)
_RunQueryRequest = raw(_rpc.RunQueryRequest)
_RunAggregationQueryRequest = raw(_rpc.RunAggregationQueryRequest)
_RollbackRequest = raw(_rpc.RollbackRequest)
_PartitionQueryRequest = raw(_rpc.PartitionQueryRequest)
_Write = raw(_write.Write)

_SERVICE = "/google.firestore.v1.Firestore/"
_HOST = "firestore.googleapis.com:443"
_OPERATORS = {
    "==": "EQUAL",
    "<": "LESS_THAN",
    "<=": "LESS_THAN_OR_EQUAL",
    ">": "GREATER_THAN",
    ">=": "GREATER_THAN_OR_EQUAL",
}
_OPTIONS = [
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    # Answers are read in the caller's own thread. Handing each over from another one costs four fifths of
    # what a scan spends on an entry (27 us of CPU against 5, measured; `make bench`).
    (ChannelOptions.SingleThreadedUnaryStream, 1),
    # What the server may send ahead of a reader, in bytes a stream. Left to itself gRPC lets it grow by
    # megabytes, which a scan then holds; this is still 50 MB/s at a round trip of 5 ms.
    ("grpc.http2.bdp_probe", 0),
    ("grpc.http2.lookahead_bytes", 262_144),
]


class FirestoreStore:
    """Firestore over gRPC with raw protobuf messages: no wrapper object for each document or event.

    Make it in the process that uses it: a channel does not survive a fork.
    """

    def __init__(
        self, channel: grpc.Channel, project: str, database: str, *, token: str | None = None
    ) -> None:
        self.database = f"projects/{project}/databases/{database}"
        self.root = f"{self.database}/documents"
        self._channel = channel
        self._metadata = (
            ("google-cloud-resource-prefix", self.database),
            ("x-goog-request-params", f"database={self.database}"),
            *([("authorization", f"Bearer {token}")] if token else []),
        )
        self._commit = self._unary("Commit", _CommitRequest, raw(_rpc.CommitResponse))
        self._rollback = self._unary("Rollback", _RollbackRequest, Empty)
        self._partition_query = self._unary(
            "PartitionQuery", _PartitionQueryRequest, raw(_rpc.PartitionQueryResponse)
        )
        self._batch_get = self._streaming(
            "BatchGetDocuments", _BatchGetDocumentsRequest, raw(_rpc.BatchGetDocumentsResponse)
        )
        self._run_query = self._streaming("RunQuery", _RunQueryRequest, raw(_rpc.RunQueryResponse))
        self._run_aggregation_query = self._streaming(
            "RunAggregationQuery", _RunAggregationQueryRequest, raw(_rpc.RunAggregationQueryResponse)
        )

    @classmethod
    def connect(cls, settings: Settings) -> "FirestoreStore":
        """Open a channel to the emulator if the settings name one, else to the real service.

        Raises:
            SettingError: no project is named, and the credentials know none.
        """
        if settings.emulator_host:
            channel = grpc.insecure_channel(settings.emulator_host, options=_OPTIONS)
            # The emulator takes this token for an administrator: security rules do not apply.
            return cls(channel, _named(settings.project), settings.database, token="owner")  # noqa: S106
        credentials, project = google.auth.default(scopes=FirestoreGrpcTransport.AUTH_SCOPES)
        channel = FirestoreGrpcTransport.create_channel(_HOST, credentials=credentials, options=_OPTIONS)
        return cls(channel, _named(settings.project or project), settings.database)

    def close(self) -> None:
        """Close the channel; calls under way end with `Transient`."""
        self._channel.close()

    def name(self, path: str) -> str:
        """The full document name of a path."""
        return f"{self.root}/{path}"

    def path(self, name: str) -> str:
        """The path of a full document name of this database."""
        return name.removeprefix(f"{self.root}/")

    def get(self, paths: Sequence[str], *, read_time: datetime | None = None) -> list[Document | None]:
        """See `Store.get`."""
        request = self._get_request(paths)
        if read_time:
            set_instant(request.read_time, read_time)
        return self._get(request, paths)[1]

    def begin(self, paths: Sequence[str]) -> tuple[bytes, list[Document | None]]:
        """See `Store.begin`."""
        request = self._get_request(paths)
        request.new_transaction.read_write.SetInParent()
        return self._get(request, paths)

    def commit(
        self, writes: Sequence[Write], *, transaction: bytes | None = None, timeout: float
    ) -> datetime:
        """See `Store.commit`."""
        request = _CommitRequest(database=self.database, transaction=transaction or b"")
        for write in writes:
            self._encode_write(request.writes.add(), write)
        try:
            response = self._commit(request, timeout=timeout, metadata=self._metadata)
        except grpc.RpcError as error:
            _raise(error, "commit")
        return instant(response.commit_time)

    def rollback(self, transaction: bytes) -> None:
        """See `Store.rollback`."""
        request = _RollbackRequest(database=self.database, transaction=transaction)
        # Without an answer the locks time out by themselves, after a minute: that delays others, and harms
        # nothing. So a connection that has just been lost is waited for.
        with suppress(grpc.RpcError):
            self._rollback(request, timeout=ROLLBACK_TIMEOUT, metadata=self._metadata, wait_for_ready=True)

    def query(self, query: Query, *, read_time: datetime | None = None) -> Iterator[Document]:
        """See `Store.query`."""
        request = _RunQueryRequest(parent=self.root)
        self._encode_query(request.structured_query, query)
        if read_time:
            set_instant(request.read_time, read_time)
        for response in self._stream(self._run_query, request, f"query of {query.collection}"):
            if response.HasField("document"):
                yield self._document(response.document)

    def count(self, query: Query, *, read_time: datetime | None = None) -> int:
        """See `Store.count`."""
        request = _RunAggregationQueryRequest(parent=self.root)
        aggregation = request.structured_aggregation_query
        self._encode_query(aggregation.structured_query, query)
        aggregation.aggregations.add(alias="count").count.SetInParent()
        if read_time:
            set_instant(request.read_time, read_time)
        counted = 0
        for response in self._stream(self._run_aggregation_query, request, f"count of {query.collection}"):
            counted += response.result.aggregate_fields["count"].integer_value
        return counted

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
        bounds: tuple[tuple[str | None, Operator], ...] = ((after, ">"), (until, "<="))
        where = tuple(Filter(DOCUMENT_ID, operator, f"{collection}/{end}") for end, operator in bounds if end)
        query = Query(collection, where, (DOCUMENT_ID,), limit=limit, select=tuple(fields))
        request = _RunQueryRequest(parent=self.root)
        self._encode_query(request.structured_query, query)
        set_instant(request.read_time, read_time)
        skip = len(self.name(collection)) + 1
        for response in self._stream(self._run_query, request, f"scan of {collection}"):
            if response.HasField("document"):
                yield response.document.name[skip:], decode_fields(response.document.fields)

    def cuts(self, collection: str, parts: int, *, read_time: datetime) -> list[str]:
        """See `Store.cuts`. The emulator has no PartitionQuery, and cuts nothing."""
        # The server partitions a collection group only: cuts in other places are no ids of this collection.
        request = _PartitionQueryRequest(parent=self.root, partition_count=max(1, parts - 1))
        set_instant(request.read_time, read_time)
        request.structured_query.from_.add(collection_id=collection, all_descendants=True)
        request.structured_query.order_by.add(direction="ASCENDING").field.field_path = DOCUMENT_ID
        try:
            response = self._partition_query(request, timeout=READ_TIMEOUT, metadata=self._metadata)
        except grpc.RpcError as error:
            if error.code() is grpc.StatusCode.UNIMPLEMENTED:
                return []
            _raise(error, f"partition of {collection}")
        names = [cursor.values[0].reference_value for cursor in response.partitions]
        prefix = self.name(collection) + "/"
        return sorted(
            name.removeprefix(prefix)
            for name in names
            if name.startswith(prefix) and "/" not in name[len(prefix) :]
        )

    # -- calls

    def _unary(self, method: str, request: Any, response: Any) -> "grpc.UnaryUnaryMultiCallable[Any, Any]":
        return self._channel.unary_unary(
            _SERVICE + method,
            request_serializer=request.SerializeToString,
            response_deserializer=response.FromString,
        )

    def _streaming(
        self, method: str, request: Any, response: Any
    ) -> "grpc.UnaryStreamMultiCallable[Any, Any]":
        return self._channel.unary_stream(
            _SERVICE + method,
            request_serializer=request.SerializeToString,
            response_deserializer=response.FromString,
        )

    def _stream(
        self, call: "grpc.UnaryStreamMultiCallable[Any, Any]", request: Message, what: str
    ) -> Iterator[Message]:
        try:
            yield from call(request, timeout=READ_TIMEOUT, metadata=self._metadata)
        except grpc.RpcError as error:
            _raise(error, what)

    def _get_request(self, paths: Iterable[str]) -> Message:
        return _BatchGetDocumentsRequest(database=self.database, documents=map(self.name, paths))

    def _get(self, request: Message, paths: Sequence[str]) -> tuple[bytes, list[Document | None]]:
        found: dict[str, Document] = {}
        transaction = b""
        for response in self._stream(self._batch_get, request, f"read of {', '.join(paths[:3])}"):
            transaction = transaction or response.transaction
            if response.HasField("found"):
                document = self._document(response.found)
                found[document.path] = document
        return transaction, [found.get(path) for path in paths]

    # -- messages

    def _document(self, message: Message) -> Document:
        return Document(
            self.path(message.name),
            decode_fields(message.fields),
            instant(message.create_time),
            instant(message.update_time),
        )

    def _encode_write(self, into: Message, write: Write) -> None:
        match write:
            case Create(path, fields):
                into.update.name = self.name(path)
                encode_fields(into.update.fields, fields)
                into.current_document.exists = False
            case Delete(path):
                into.delete = self.name(path)
            case Merge():
                self._encode_merge(into, write)

    def _encode_merge(self, into: Message, merge: Merge) -> None:
        into.update.name = self.name(merge.path)
        into.update_mask.SetInParent()
        for path, value in merge.fields.items():
            into.update_mask.field_paths.append(quote(path))
            encode(_leaf(into.update.fields, path), value)
        into.update_mask.field_paths.extend(map(quote, merge.deletes))
        for path, amount in merge.increments.items():
            into.update_transforms.add(field_path=quote(path)).increment.integer_value = amount
        for path in merge.server_times:
            into.update_transforms.add(field_path=quote(path), set_to_server_value="REQUEST_TIME")
        if merge.if_updated:
            set_instant(into.current_document.update_time, merge.if_updated)

    def _encode_query(self, into: Message, query: Query) -> None:
        into.from_.add(collection_id=query.collection)
        for each in query.where:
            one = into.where.composite_filter.filters.add().field_filter
            one.field.field_path, one.op = each.field, _OPERATORS[each.operator]
            self._encode_operand(one.value, each.field, each.value)
        if query.where:
            into.where.composite_filter.op = "AND"
        for order in query.order_by:
            into.order_by.add(
                direction="DESCENDING" if order[0] == "-" else "ASCENDING"
            ).field.field_path = order.lstrip("-")
        for order, value in zip(query.order_by, query.start_after, strict=False):
            self._encode_operand(into.start_at.values.add(), order.lstrip("-"), value)
        if query.select is not None:
            for path in query.select or (DOCUMENT_ID,):
                into.select.fields.add(field_path=path)
        if query.limit is not None:
            into.limit.value = query.limit

    def _encode_operand(self, into: Message, name: str, value: object) -> None:
        if name == DOCUMENT_ID:
            into.reference_value = self.name(str(value))
        else:
            encode(into, value)


def _named(project: str | None) -> str:
    if not project:
        raise SettingError("GOOGLE_CLOUD_PROJECT", "", "the id of a project, such as demo-libra")
    return project


def quote(path: FieldPath) -> str:
    """A field path as Firestore spells it: a name that is no plain identifier stands in backticks."""
    return ".".join(
        name
        if re.fullmatch(r"[A-Za-z_][A-Za-z_0-9]*", name)
        else "`" + name.replace("\\", "\\\\").replace("`", "\\`") + "`"
        for name in path
    )


def _leaf(fields: Message, path: FieldPath) -> Message:
    *parents, last = path
    for name in parents:
        fields = fields[name].map_value.fields
    return fields[last]


_CODES: dict[grpc.StatusCode, type[StoreError]] = {
    grpc.StatusCode.ALREADY_EXISTS: AlreadyExists,
    grpc.StatusCode.ABORTED: Contention,
    grpc.StatusCode.INVALID_ARGUMENT: Invalid,
    grpc.StatusCode.FAILED_PRECONDITION: Invalid,
    grpc.StatusCode.OUT_OF_RANGE: Invalid,
    grpc.StatusCode.PERMISSION_DENIED: Denied,
    grpc.StatusCode.UNAUTHENTICATED: Denied,
    grpc.StatusCode.NOT_FOUND: Denied,
}


def _raise(error: grpc.RpcError, what: str) -> NoReturn:
    """Sort a failed call into the tree of `shared.errors`. What is unknown may go better next time."""
    code, details = error.code(), error.details() or ""
    kind = _CODES.get(code, Transient)
    if kind is Invalid and re.search(
        r"transaction .*(expired|closed|no longer|invalid)|required base version", details, re.IGNORECASE
    ):
        kind = Contention
    elif kind is Invalid and re.search(r"snapshot|read.?time", details, re.IGNORECASE):
        kind = SnapshotTooOld
    raise kind(f"{what}: {code.name}: {details}") from error

"""The one door to Firestore: a `Store` over gRPC."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any

import google.auth
import grpc
from google.cloud.firestore_v1.services.firestore.transports import FirestoreGrpcTransport
from google.cloud.firestore_v1.types import firestore as _rpc
from google.protobuf.empty_pb2 import Empty
from grpc.experimental import ChannelOptions

from shared.errors import SettingError, Transient
from shared.settings import Settings
from shared.store.documents import DOCUMENT_ID, Document, Filter, Operator, Query, Write
from shared.store.messages import Messages, refused
from shared.store.values import Message, decode_fields, instant, raw, set_instant
from shared.watermark import EPOCH

READ_TIMEOUT = 60.0
"""Seconds that a read may take before it counts as unanswered."""

ROLLBACK_TIMEOUT = 5.0
"""Seconds that giving up a transaction may take."""

_CommitRequest = raw(_rpc.CommitRequest)
_BatchGetDocumentsRequest = raw(_rpc.BatchGetDocumentsRequest)
_RunQueryRequest = raw(_rpc.RunQueryRequest)
_RunAggregationQueryRequest = raw(_rpc.RunAggregationQueryRequest)
_RollbackRequest = raw(_rpc.RollbackRequest)
_PartitionQueryRequest = raw(_rpc.PartitionQueryRequest)

_SERVICE = "/google.firestore.v1.Firestore/"
_HOST = "firestore.googleapis.com:443"
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

    Make it in the process that uses it: a channel does not survive a fork. Over 200 lines because it answers
    everything that `Store` promises.
    """

    def __init__(
        self,
        channel: grpc.Channel,
        project: str,
        database: str,
        *,
        token: str | None = None,
        patience: Callable[[], float] = lambda: READ_TIMEOUT,
    ) -> None:
        self.database = f"projects/{project}/databases/{database}"
        self.root = f"{self.database}/documents"
        self._messages = Messages(self.root)
        self._channel = channel
        self._patience = patience
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
    def connect(
        cls, settings: Settings, *, patience: Callable[[], float] = lambda: READ_TIMEOUT
    ) -> "FirestoreStore":
        """Open a channel to the emulator if the settings name one, else to the real service.

        Args:
            settings: the project, the database and the emulator.
            patience: the seconds that a read may take, asked when it begins.

        Raises:
            SettingError: no project is named, and the credentials know none.
        """
        if settings.emulator_host:
            channel = grpc.insecure_channel(settings.emulator_host, options=_OPTIONS)
            # The emulator takes this token for an administrator: security rules do not apply.
            return cls(
                channel,
                _named(settings.project),
                settings.database,
                token="owner",  # noqa: S106
                patience=patience,
            )
        credentials, project = google.auth.default(scopes=FirestoreGrpcTransport.AUTH_SCOPES)
        channel = FirestoreGrpcTransport.create_channel(_HOST, credentials=credentials, options=_OPTIONS)
        named = _named(settings.project or project)
        return cls(channel, named, settings.database, patience=patience)

    def close(self) -> None:
        """Close the channel; calls under way end with `Transient`."""
        self._channel.close()

    def name(self, path: str) -> str:
        """The full document name of a path."""
        return self._messages.name(path)

    def path(self, name: str) -> str:
        """The path of a full document name of this database."""
        return self._messages.path(name)

    def get(
        self, paths: Sequence[str], *, read_time: datetime | None = None, bare: bool = False
    ) -> list[Document | None]:
        """See `Store.get`."""
        request = self._get_request(paths)
        if read_time:
            set_instant(request.read_time, read_time)
        if bare:
            request.mask.field_paths.append(DOCUMENT_ID)
        return self._get(request, paths)[1]

    def now(self, paths: Sequence[str]) -> tuple[datetime, list[Document | None]]:
        """See `Store.now`."""
        _, found, read_time = self._get(self._get_request(paths), paths)
        return read_time, found

    def begin(self, paths: Sequence[str]) -> tuple[bytes, list[Document | None]]:
        """See `Store.begin`."""
        request = self._get_request(paths)
        request.new_transaction.read_write.SetInParent()
        return self._get(request, paths)[:2]

    def commit(
        self, writes: Sequence[Write], *, transaction: bytes | None = None, timeout: float
    ) -> datetime:
        """See `Store.commit`."""
        request = _CommitRequest(database=self.database, transaction=transaction or b"")
        self._messages.writes(request.writes, writes)
        try:
            response = self._commit(request, timeout=timeout, metadata=self._metadata)
        except grpc.RpcError as error:
            refused(error, "commit", reads=False)
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
        self._messages.query(request.structured_query, query)
        if read_time:
            set_instant(request.read_time, read_time)
        for response in self._stream(self._run_query, request, f"query of {query.collection}"):
            if response.HasField("document"):
                yield self._messages.document(response.document)

    def count(self, query: Query, *, read_time: datetime | None = None) -> int:
        """See `Store.count`."""
        request = _RunAggregationQueryRequest(parent=self.root)
        aggregation = request.structured_aggregation_query
        self._messages.query(aggregation.structured_query, query)
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
        self._messages.query(request.structured_query, query)
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
            response = self._partition_query(request, timeout=self._patience(), metadata=self._metadata)
        except grpc.RpcError as error:
            if error.code() is grpc.StatusCode.UNIMPLEMENTED:
                return []
            refused(error, f"partition of {collection}")
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
        timeout = self._patience()
        if timeout <= 0:
            raise Transient(f"{what}: its time is over before it begins")
        try:
            yield from call(request, timeout=timeout, metadata=self._metadata)
        except grpc.RpcError as error:
            refused(error, what)

    def _get_request(self, paths: Iterable[str]) -> Message:
        return _BatchGetDocumentsRequest(database=self.database, documents=map(self.name, paths))

    def _get(self, request: Message, paths: Sequence[str]) -> tuple[bytes, list[Document | None], datetime]:
        found: dict[str, Document] = {}
        transaction, read_time = b"", EPOCH
        for response in self._stream(self._batch_get, request, f"read of {', '.join(paths[:3])}"):
            transaction = transaction or response.transaction
            read_time = max(read_time, instant(response.read_time))
            if response.HasField("found"):
                document = self._messages.document(response.found)
                found[document.path] = document
        return transaction, [found.get(path) for path in paths], read_time


def _named(project: str | None) -> str:
    if not project:
        raise SettingError("GOOGLE_CLOUD_PROJECT", "", "the id of a project, such as demo-libra")
    return project

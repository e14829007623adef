"""Documents, writes and queries as Firestore's protobuf messages, and its refusals as errors of Libra's."""

import re
from collections.abc import Sequence
from typing import NoReturn

import grpc
from google.cloud.firestore_v1.types import write as _write

from shared.errors import (
    AlreadyExists,
    Contention,
    Denied,
    Invalid,
    SnapshotTooOld,
    StoreError,
    Transient,
)
from shared.store.documents import (
    DOCUMENT_ID,
    Create,
    Delete,
    Document,
    FieldPath,
    Merge,
    Query,
    Write,
    quote,
)
from shared.store.values import (
    Message,
    decode_fields,
    encode,
    encode_fields,
    instant,
    raw,
    set_instant,
)

_WriteMessage = raw(_write.Write)

_OPERATORS = {
    "==": "EQUAL",
    "<": "LESS_THAN",
    "<=": "LESS_THAN_OR_EQUAL",
    ">": "GREATER_THAN",
    ">=": "GREATER_THAN_OR_EQUAL",
}


class Messages:
    """Reads and writes the messages of one database."""

    def __init__(self, root: str) -> None:
        self.root = root

    def name(self, path: str) -> str:
        """The full document name of a path."""
        return f"{self.root}/{path}"

    def path(self, name: str) -> str:
        """The path of a full document name of this database."""
        return name.removeprefix(f"{self.root}/")

    def document(self, message: Message) -> Document:
        """A document as it was read."""
        return Document(
            self.path(message.name),
            decode_fields(message.fields),
            instant(message.create_time),
            instant(message.update_time),
        )

    def writes(self, into: Message, writes: Sequence[Write]) -> None:
        """Add writes to a repeated field.

        A group's markers differ in their names alone, and most of its totals in their names and keys. What
        is the same is encoded once and copied: that halves what encoding an event costs.
        """
        alike: dict[object, Message] = {}
        for write in writes:
            message = into.add()
            if isinstance(write, Delete):
                message.delete = self.name(write.path)
                _condition(message, write)
                continue
            same = id(write.fields) if isinstance(write, Create) else _transforms(write)
            if same in alike:
                message.CopyFrom(alike[same])
            elif isinstance(write, Create):
                encode_fields(message.update.fields, write.fields)
                message.current_document.exists = False
            else:
                self._transform(message, write)
            if isinstance(write, Merge):
                if same not in alike:
                    alike[same] = _WriteMessage()
                    alike[same].CopyFrom(message)
                self._set(message, write)
            else:
                alike[same] = message  # its name is all that the next one has of its own
            message.update.name = self.name(write.path)

    @staticmethod
    def _transform(into: Message, merge: Merge) -> None:
        into.update_mask.SetInParent()
        for path, amount in merge.increments.items():
            into.update_transforms.add(field_path=quote(path)).increment.integer_value = amount
        for path in merge.server_times:
            into.update_transforms.add(field_path=quote(path), set_to_server_value="REQUEST_TIME")

    @staticmethod
    def _set(into: Message, merge: Merge) -> None:
        for path, value in merge.fields.items():
            into.update_mask.field_paths.append(quote(path))
            encode(_leaf(into.update.fields, path), value)
        if merge.deletes:
            into.update_mask.field_paths.extend(map(quote, merge.deletes))
        _condition(into, merge)

    def query(self, into: Message, query: Query) -> None:
        """Write a query into an empty message."""
        into.from_.add(collection_id=query.collection)
        for each in query.where:
            one = into.where.composite_filter.filters.add().field_filter
            one.field.field_path, one.op = each.field, _OPERATORS[each.operator]
            self._operand(one.value, each.field, each.value)
        if query.where:
            into.where.composite_filter.op = "AND"
        for order in query.order_by:
            into.order_by.add(
                direction="DESCENDING" if order[0] == "-" else "ASCENDING"
            ).field.field_path = order.lstrip("-")
        for order, value in zip(query.order_by, query.start_after, strict=False):
            self._operand(into.start_at.values.add(), order.lstrip("-"), value)
        if query.select is not None:
            for path in query.select or (DOCUMENT_ID,):
                into.select.fields.add(field_path=path)
        if query.limit is not None:
            into.limit.value = query.limit

    def _operand(self, into: Message, name: str, value: object) -> None:
        if name == DOCUMENT_ID:
            into.reference_value = self.name(str(value))
        else:
            encode(into, value)


def _condition(into: Message, write: Merge | Delete) -> None:
    if write.if_updated:
        set_instant(into.current_document.update_time, write.if_updated)


def _transforms(merge: Merge) -> object:
    return tuple(merge.increments.items()), tuple(merge.server_times)


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


def refused(error: grpc.RpcError, what: str, *, reads: bool = True) -> NoReturn:
    """Sort a failed call into the tree of `shared.errors`. What is unknown may go better next time.

    Args:
        error: how it failed.
        what: names the call.
        reads: whether it reads: a commit has no read time, whatever words of a document its refusal quotes.
    """
    code, details = error.code(), error.details() or ""
    kind = _CODES.get(code, Transient)
    if kind is Invalid and re.search(
        r"transaction .*(expired|closed|no longer|invalid)|required base version", details, re.IGNORECASE
    ):
        kind = Contention
    elif code is grpc.StatusCode.NOT_FOUND and re.search(
        r"no (document|entity) to update", details, re.IGNORECASE
    ):
        kind = Contention  # what a write was conditional on is gone
    elif code is grpc.StatusCode.FAILED_PRECONDITION and re.search(
        r"datastore mode|not available for|kms|encryption key", details, re.IGNORECASE
    ):
        kind = Denied  # the database itself: no request can succeed until an operator acts
    elif reads and kind is Invalid and re.search(r"snapshot|read.?time", details, re.IGNORECASE):
        kind = SnapshotTooOld
    raise kind(f"{what}: {code.name}: {details}") from error

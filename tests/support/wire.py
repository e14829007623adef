"""Counts what a store sends to Firestore and gets back: RPCs, writes, and the reads that are billed."""

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import grpc

from shared.store.client import FirestoreStore


class Counted(grpc.UnaryUnaryClientInterceptor, grpc.UnaryStreamClientInterceptor):  # type: ignore[type-arg]  # any message
    """Counts what goes over the wire.

    Attributes:
        rpcs: the calls, by method.
        written: the writes of each commit.
        read: the documents that were asked for by name.
        billed: the document reads that Firestore bills: one for each document that was asked for by name,
            there or not, and one for each that a query found, or one if it found none.
    """

    def __init__(self) -> None:
        self.rpcs: Counter[str] = Counter()
        self.written: list[int] = []
        self.read = 0
        self.billed = 0

    def intercept_unary_unary(self, proceed: Callable[..., Any], details: Any, request: Any) -> Any:
        """See grpc."""
        self.rpcs[details.method.rpartition("/")[2]] += 1
        if hasattr(request, "writes"):
            self.written.append(len(request.writes))
        return proceed(details, request)

    def intercept_unary_stream(self, proceed: Callable[..., Any], details: Any, request: Any) -> Any:
        """See grpc."""
        self.rpcs[details.method.rpartition("/")[2]] += 1
        if hasattr(request, "documents"):
            self.read += len(request.documents)
        return self._received(proceed(details, request))

    def _received(self, answers: Any) -> Iterator[Any]:
        found = 0
        for answer in answers:
            found += any(_has(answer, name) for name in ("found", "missing", "document"))
            yield answer
        self.billed += max(1, found)


def _has(answer: Any, name: str) -> bool:
    """Whether the field is there: in a `missing` document's name as in a message."""
    return name in answer.DESCRIPTOR.fields_by_name and answer.HasField(name)


def counted_store(host: str, project: str) -> tuple[FirestoreStore, Counted, grpc.Channel]:
    """A store whose calls are counted, and its channel, which the caller closes."""
    wire, channel = Counted(), grpc.insecure_channel(host)
    counted = grpc.intercept_channel(channel, wire)
    store = FirestoreStore(counted, project, "(default)", token="owner")  # noqa: S106 - the emulator's word
    return store, wire, channel

"""Counts what a process asks of Firestore, whichever client it uses, where another process can read it.

Every client here ends in `grpc.Channel`. Its request serializers and its commits are wrapped: that is
the same for all systems, costs about a microsecond a call, and needs no proxy in between.
"""

import mmap
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import grpc
from grpc import _channel  # no public seam sees every client

NAMES = ("rpcs", "commits", "writes", "reads", "aborted")
"""RPCs of every kind; commits; documents written; documents read by name; commits that ended ABORTED."""

_SIZE = 8 * len(NAMES)


class Meter:
    """The counters, in a file that processes share. One process writes, any may read."""

    def __init__(self, path: Path) -> None:
        """Open the file, made anew if it is not there."""
        if not path.exists():
            path.write_bytes(bytes(_SIZE))
        with path.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), _SIZE)
        self._cells = memoryview(self._map).cast("q")
        self._lock = threading.Lock()

    def add(self, name: str, amount: int = 1) -> None:
        """Count."""
        with self._lock:
            self._cells[NAMES.index(name)] += amount

    def read(self) -> dict[str, int]:
        """What was counted so far."""
        return dict(zip(NAMES, self._cells, strict=True))

    def install(self) -> None:
        """Count every call of every channel that this process makes from now on."""
        channel: Any = _channel.Channel
        for kind in ("unary_unary", "unary_stream"):
            setattr(channel, kind, self._metered(getattr(channel, kind)))

    def _metered(self, make: Callable[..., Any]) -> Callable[..., Any]:
        def metered(
            channel: Any, method: str, request_serializer: Any = None, *rest: Any, **named: Any
        ) -> Any:
            method = method.decode() if isinstance(method, bytes) else method
            counted = self._counting(method.rpartition("/")[2], request_serializer)
            made = make(channel, method, counted, *rest, **named)
            return _Watched(made, self) if method.endswith("/Commit") else made

        return metered

    def _counting(self, method: str, serializer: Callable[[Any], bytes]) -> Callable[[Any], bytes]:
        def serialize(request: Any) -> bytes:
            self.add("rpcs")
            if method == "Commit":
                self.add("commits")
                self.add("writes", len(request.writes))
            elif method == "BatchGetDocuments":
                self.add("reads", len(request.documents))
            return serializer(request)

        return serialize


class _Watched:
    """A commit, with its ABORTED answers counted."""

    def __init__(self, call: Any, meter: Meter) -> None:
        self._call = call
        self._meter = meter

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        try:
            return self._call(*arguments, **named)
        except grpc.RpcError as error:
            with suppress(AttributeError):
                self._meter.add("aborted", error.code() is grpc.StatusCode.ABORTED)
            raise

    def __getattr__(self, name: str) -> Any:
        return getattr(self._call, name)

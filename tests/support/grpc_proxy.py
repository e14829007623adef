"""A gRPC server between a client and the emulator: it forwards raw bytes, and breaks calls on demand.

It knows Firestore's methods by name only (``Commit``, ``BatchGetDocuments``, …), so that nothing of the
store under test is needed to break it. A fault is named for a method and a number of its next calls:

    with GrpcProxy(emulator.address) as proxy:
        settings = Settings(project=..., emulator_host=proxy.address)
        proxy.swallow_replies("Commit", times=3)      # applied upstream, the client sees UNAVAILABLE
        proxy.fail("Commit", code=grpc.StatusCode.ABORTED)   # never forwarded
"""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal, Self, TypeAlias

import grpc

SERVICE = "google.firestore.v1.Firestore"
UNARY = ("Commit", "Rollback", "BeginTransaction", "PartitionQuery")
STREAMING = ("BatchGetDocuments", "RunQuery", "RunAggregationQuery")

_UNLIMITED = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]

Metadata: TypeAlias = tuple[tuple[str, str | bytes], ...]
Kind: TypeAlias = Literal["swallow", "fail", "delay", "stall"]


@dataclass(slots=True)
class _Fault:
    kind: Kind
    method: str
    left: float
    """How many more calls it strikes; infinite: until it is cleared."""
    code: grpc.StatusCode = grpc.StatusCode.UNAVAILABLE
    seconds: float = 0.0
    matches: Callable[[bytes], bool] = lambda _: True


@dataclass(slots=True)
class GrpcProxy:
    """See the module. Listens on a free port of 127.0.0.1 between `start` and `stop`."""

    upstream: str
    """``host:port`` of the emulator."""
    workers: int = 32
    address: str = ""
    """``host:port`` of the proxy, once it is started."""
    calls: Counter[str] = field(default_factory=Counter)
    """Calls seen, by method."""
    struck: Counter[tuple[str, Kind]] = field(default_factory=Counter)
    """Calls broken, by method and kind."""
    waited_for: int = 0
    """Calls whose clients have not given up, and have no answer yet."""
    _faults: list[_Fault] = field(default_factory=list)
    _mutex: threading.Lock = field(default_factory=threading.Lock)
    _released: threading.Event = field(default_factory=threading.Event)
    _server: grpc.Server | None = None
    _channel: grpc.Channel | None = None

    def __enter__(self) -> Self:
        """Start it."""
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop it."""
        self.stop()

    def start(self) -> None:
        """Listen and forward."""
        self._channel = grpc.insecure_channel(self.upstream, options=_UNLIMITED)
        self._listen("127.0.0.1:0")

    @contextmanager
    def away(self) -> Iterator[None]:
        """Cut every connection and refuse new ones, for a while; then listen again on the same port."""
        assert self._server
        self._server.stop(grace=None).wait()
        self._server = None
        yield
        self._listen(self.address)

    def hang_up(self) -> None:
        """Cut every connection in the middle of whatever it carries, and listen again on the same port."""
        old = self._server
        self._listen(self.address)  # beside the old one: calls that are on their way hold that up
        if old:
            old.stop(grace=None)

    def _listen(self, address: str) -> None:
        self._server = grpc.server(ThreadPoolExecutor(self.workers), options=_UNLIMITED)
        self._server.add_generic_rpc_handlers(
            (
                grpc.method_handlers_generic_handler(
                    SERVICE, {method: _handler(self, method) for method in (*UNARY, *STREAMING)}
                ),
            )
        )
        self.address = f"127.0.0.1:{self._server.add_insecure_port(address)}"
        self._server.start()

    def stop(self) -> None:
        """Hang up on everyone; what is stalled is let go."""
        self._released.set()
        if self._server:
            self._server.stop(grace=None).wait()
        if self._channel:
            self._channel.close()

    # -- faults

    def swallow_replies(
        self,
        method: str,
        times: float = 1,
        *,
        code: grpc.StatusCode = grpc.StatusCode.UNAVAILABLE,
        matches: Callable[[bytes], bool] = lambda _: True,
    ) -> None:
        """The next calls are carried out upstream, and the client is told `code` instead of the answer.

        `matches` picks among calls by the bytes of their request.
        """
        self._add(_Fault("swallow", method, times, code, matches=matches))

    def fail(
        self,
        method: str,
        times: float = 1,
        *,
        code: grpc.StatusCode = grpc.StatusCode.UNAVAILABLE,
        matches: Callable[[bytes], bool] = lambda _: True,
    ) -> None:
        """The next calls are answered with `code` and never reach the emulator."""
        self._add(_Fault("fail", method, times, code, matches=matches))

    def delay(self, method: str, seconds: float, times: float = 1) -> None:
        """The next calls are forwarded late, even if the client has given up by then."""
        self._add(_Fault("delay", method, times, seconds=seconds))

    def stall(self, method: str, times: float = 1) -> None:
        """The next calls are carried out, and their answers held back until `release`."""
        self._released.clear()
        self._add(_Fault("stall", method, times))

    def release(self) -> None:
        """Let go of every stalled answer."""
        self._released.set()

    def clear(self) -> None:
        """No faults any more."""
        self.release()
        with self._mutex:
            self._faults.clear()

    def _add(self, fault: _Fault) -> None:
        with self._mutex:
            self._faults.append(fault)

    # -- forwarding

    def next_fault(self, method: str, request: bytes) -> _Fault | None:
        """Count a call and take the fault that is to strike it, if any."""
        with self._mutex:
            self.calls[method] += 1
            for fault in self._faults:
                if fault.method == method and fault.left > 0 and fault.matches(request):
                    fault.left -= 1
                    self.struck[(method, fault.kind)] += 1
                    return fault
        return None

    def forward(self, method: str, request: bytes, context: grpc.ServicerContext) -> Iterator[bytes]:
        """Answer one call: through to the emulator, with whatever fault is due."""
        self._wait(1)
        context.add_callback(lambda: self._wait(-1))
        fault = self.next_fault(method, request)
        if fault and fault.kind == "fail":
            context.abort(fault.code, f"{method}: failed on purpose before it was sent")
        if fault and fault.kind == "delay":
            time.sleep(fault.seconds)
        try:
            answers = self._send(method, request, _metadata(context), context.time_remaining(), fault)
            if fault and fault.kind == "swallow":
                list(answers)
            else:
                yield from answers
        except grpc.RpcError as error:
            context.abort(error.code(), error.details() or "")
        if fault and fault.kind == "swallow":
            context.abort(fault.code, f"{method}: its reply was swallowed on purpose")

    def _wait(self, more: int) -> None:
        with self._mutex:
            self.waited_for += more

    def _send(
        self, method: str, request: bytes, metadata: Metadata, seconds: float | None, fault: _Fault | None
    ) -> Iterator[bytes]:
        assert self._channel is not None
        path = f"/{SERVICE}/{method}"
        # A call that was delayed or whose reply is lost must land even if its caller has gone.
        timeout = 60.0 if fault else seconds
        # No serializers: the bytes go through as they came.
        if method in STREAMING:
            answers = iter(self._channel.unary_stream(path, None, None)(request, timeout, metadata))
        else:
            answers = iter([self._channel.unary_unary(path, None, None)(request, timeout, metadata)])
        if fault and fault.kind == "stall":
            self._released.wait(timeout)
        return answers


def _metadata(context: grpc.ServicerContext) -> Metadata:
    """What the client sent beside the request, less what gRPC adds by itself."""
    return tuple(
        (key, value)
        for key, value in context.invocation_metadata()
        if not key.startswith(("grpc-", ":")) and key not in ("user-agent", "te", "content-type")
    )


def _handler(proxy: GrpcProxy, method: str) -> "grpc.RpcMethodHandler[bytes, bytes]":
    def stream(request: bytes, context: grpc.ServicerContext) -> Iterator[bytes]:
        yield from proxy.forward(method, request, context)

    def unary(request: bytes, context: grpc.ServicerContext) -> bytes:
        (answer,) = proxy.forward(method, request, context)
        return answer

    if method in STREAMING:
        return grpc.unary_stream_rpc_method_handler(stream)
    return grpc.unary_unary_rpc_method_handler(unary)

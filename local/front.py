"""What stands in front of the Pub/Sub emulator, which does not notice that a subscriber is gone.

It goes on delivering to the stream of a process that was killed, and nobody has those messages then (seen
in 2026-11 in 0.8.20). It does notice when a stream is half-closed. So this forwards every call as it comes,
and half-closes a stream whose subscriber has gone.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import grpc

STREAM = "/google.pubsub.v1.Subscriber/StreamingPull"
THREADS = 64
"""A stream of a subscriber holds one as long as it lasts."""
_UNLIMITED = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]


class Front(grpc.GenericRpcHandler):  # type: ignore[type-arg] # generic in its stubs alone
    """A gRPC server on a free port of 127.0.0.1, between its start and `stop`.

    Attributes:
        address: where it listens, as `host:port`.
    """

    def __init__(self, upstream: str) -> None:
        """Start it. ``upstream``: the emulator's `host:port`; it need not listen yet."""
        self._channel = grpc.insecure_channel(upstream, options=_UNLIMITED)
        self._server = grpc.server(ThreadPoolExecutor(THREADS), options=_UNLIMITED)
        self._server.add_generic_rpc_handlers((self,))
        self.address = f"127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"
        self._server.start()

    def stop(self) -> None:
        """Hang up on everyone."""
        self._server.stop(grace=None).wait()
        self._channel.close()

    def service(
        self, handler_call_details: grpc.HandlerCallDetails
    ) -> "grpc.RpcMethodHandler[bytes, bytes] | None":
        """Every method there is; the bytes go through as they came."""
        method = handler_call_details.method
        if method == STREAM:
            return grpc.stream_stream_rpc_method_handler(self._stream)
        unary = self._channel.unary_unary(method, None, None)

        def forward(request: bytes, context: grpc.ServicerContext) -> bytes:
            try:
                answer: bytes = unary(request, context.time_remaining(), _metadata(context))
            except grpc.RpcError as error:
                context.abort(error.code(), error.details() or "")
            return answer

        return grpc.unary_unary_rpc_method_handler(forward)

    def _stream(self, requests: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
        stream = self._channel.stream_stream(STREAM, None, None)
        try:
            yield from stream(_until_gone(requests), None, _metadata(context))
        except grpc.RpcError as error:
            context.abort(error.code(), error.details() or "")


def _until_gone(requests: Iterator[bytes]) -> Iterator[bytes]:
    """The subscriber's requests; they end where the subscriber does, which half-closes the stream."""
    with suppress(Exception):  # gRPC raises a bare one where the caller has gone
        yield from requests


def _metadata(context: grpc.ServicerContext) -> tuple[tuple[str, str | bytes], ...]:
    """What the client sent beside the request, less what gRPC adds by itself."""
    return tuple(
        (key, value)
        for key, value in context.invocation_metadata()
        if not key.startswith(("grpc-", ":")) and key not in ("user-agent", "te", "content-type")
    )

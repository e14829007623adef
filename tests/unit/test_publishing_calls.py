"""A call of Pub/Sub, over a real channel: what its answer, or its lack of one, is worth."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
import grpc.aio
import pytest
from google.pubsub_v1.types import PublishRequest, PublishResponse

from shared.errors import PublishError
from shared.publishing import Publisher, message

Answer = Callable[[PublishRequest, Any], Awaitable[PublishResponse]]


def publish(answer: Answer, *senders: list[bytes]) -> list[BaseException | None]:
    """Publish what senders have at once, to a server that answers so; what each of them is told."""

    async def run() -> list[BaseException | None]:
        server = grpc.aio.server()
        handler = grpc.unary_unary_rpc_method_handler(
            answer, PublishRequest.deserialize, PublishResponse.serialize
        )
        service = grpc.method_handlers_generic_handler("google.pubsub.v1.Publisher", {"Publish": handler})
        server.add_generic_rpc_handlers((service,))
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        publisher = Publisher.connect("p", f"127.0.0.1:{port}")
        try:
            sent = (publisher.publish("t", each) for each in senders)
            return await asyncio.gather(*sent, return_exceptions=True)
        finally:
            await server.stop(None)

    return asyncio.run(asyncio.wait_for(run(), 60))


def acknowledged(request: PublishRequest) -> PublishResponse:
    """The answer that names each message."""
    return PublishResponse(message_ids=[each.data.decode() for each in request.messages])


@pytest.mark.parametrize("named", [0, 1, 3])
def test_an_answer_that_does_not_name_each_message_acknowledges_none(named: int) -> None:
    """A sender that was told otherwise would forget events that nobody has."""

    async def answer(_: PublishRequest, __: Any) -> PublishResponse:
        return PublishResponse(message_ids=["1"] * named)

    (told,) = publish(answer, [message(b"a"), message(b"b")])
    assert isinstance(told, PublishError)
    assert str(told) == f"projects/p/topics/t: {named} of 2 were acknowledged"


def test_a_call_without_an_answer_is_made_again() -> None:
    """The messages are there twice then, which whoever admits them tells by their ids."""
    calls: list[list[bytes]] = []

    async def answer(request: PublishRequest, context: Any) -> PublishResponse:
        calls.append([each.data for each in request.messages])
        if len(calls) == 1:
            await context.abort(grpc.StatusCode.UNAVAILABLE, "the answer is lost")
        return acknowledged(request)

    assert publish(answer, [message(b"a"), message(b"b")]) == [None]
    assert calls == [[b"a", b"b"]] * 2


@pytest.mark.parametrize(
    ("status", "failed"),
    [
        (grpc.StatusCode.INVALID_ARGUMENT, [True, False]),
        (grpc.StatusCode.NOT_FOUND, [True, True]),
    ],
)
def test_only_a_call_that_is_refused_for_its_messages_is_made_for_each_sender(
    status: grpc.StatusCode, failed: list[bool]
) -> None:
    """Two ride together. Where it is not what one says, the other would be refused as well."""

    async def answer(request: PublishRequest, context: Any) -> PublishResponse:
        if any(each.data == b"bad" for each in request.messages):
            await context.abort(status, "no")
        return acknowledged(request)

    told = publish(answer, [message(b"bad")], [message(b"good")])
    assert [isinstance(each, PublishError) for each in told] == failed
    assert f"{status.name}: no" in str(told[0])

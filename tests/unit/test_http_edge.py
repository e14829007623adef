"""The edge by itself: what becomes of a request that was answered without its application."""

import asyncio
from datetime import timedelta

from starlette.types import Message, Receive, Scope, Send

from shared.http.edge import Edge


def test_a_request_that_was_given_up_goes_on_no_longer() -> None:
    """What waits for something that never comes would be kept for ever, and its body with it."""

    async def run() -> list[Message]:
        given_up, sent = asyncio.Event(), list[Message]()

        async def waits(_: Scope, __: Receive, ___: Send) -> None:
            try:
                await asyncio.Event().wait()
            finally:
                given_up.set()

        async def receive() -> Message:
            return {"type": "http.request"}

        async def send(message: Message) -> None:
            sent.append(message)

        edge = Edge(waits, deadline=timedelta(milliseconds=10), project=None, max_body=0)
        scope = {"type": "http", "method": "GET", "path": "/", "query_string": b"", "headers": []}
        await edge(scope, receive, send)
        await asyncio.wait_for(given_up.wait(), 30)
        return sent

    start, *_ = asyncio.run(run())
    assert start["status"] == 504

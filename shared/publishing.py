"""Publishing to Pub/Sub: nothing is published until Pub/Sub has acknowledged it.

What arrives while calls are under way rides in the next one, so many small requests cost few calls. A message
may be published twice, after a lost answer: whoever admits it tells the two by the event's id.
"""

import asyncio
import json
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import lru_cache
from types import MappingProxyType
from typing import Any

import google.auth
import grpc
import grpc.aio
from google.pubsub_v1.services.publisher.transports import PublisherGrpcAsyncIOTransport
from google.pubsub_v1.types import pubsub as _rpc

from shared.errors import PublishError, SettingError

MOST_MESSAGES = 1_000
"""Of one call (https://cloud.google.com/pubsub/quotas, 'Resource limits', 2026-11)."""
MOST_BYTES = 4_000_000
"""Of the messages that ride together; one sender's may have more: the platform's bound is 10,000,000."""
MOST_WAITING = 64_000_000
"""Bytes that may wait for a call in one process."""
COMPANY_PAUSE = 0.003
"""Seconds between the answers to senders that shared a call and the next call. What they send on those
answers then rides together. Without the pause two half groups take turns, and a call costs as much CPU as a
request."""
TIMEOUT = 10.0
"""Seconds until a call counts as not acknowledged, with its retries."""

_RETRIED = ("UNAVAILABLE", "ABORTED", "INTERNAL", "UNKNOWN", "RESOURCE_EXHAUSTED")
_OPTIONS = [
    (
        "grpc.service_config",
        json.dumps(
            {
                "methodConfig": [
                    {
                        "name": [{"service": "google.pubsub.v1.Publisher"}],
                        "retryPolicy": {
                            "maxAttempts": 5,
                            "initialBackoff": "0.1s",
                            "maxBackoff": "2s",
                            "backoffMultiplier": 2,
                            "retryableStatusCodes": list(_RETRIED),
                        },
                    }
                ]
            }
        ),
    ),
]
_HOST = "pubsub.googleapis.com:443"
_METHOD = "/google.pubsub.v1.Publisher/Publish"


def _raw(message_class: Any) -> Any:
    """The protobuf class behind a proto-plus one."""
    return type(message_class.pb(message_class()))


_PubsubMessage = _raw(_rpc.PubsubMessage)
_PublishRequest = _raw(_rpc.PublishRequest)
_PublishResponse = _raw(_rpc.PublishResponse)


def message(data: bytes, attributes: Mapping[str, str] = MappingProxyType({})) -> bytes:
    """A message, encoded."""
    encoded: bytes = _PubsubMessage(data=data, attributes=attributes).SerializeToString()
    return encoded


class Alike:
    """Encodes messages that differ in their data and in one attribute, the others once for all.

    Protobuf's own classes take four times as long, because the attributes of each message are a map to them.
    A field of bytes, of text or of a message is its tag, its length and its content. The tag is 8 times the
    field's number, and 2. Fields may come in any order
    (https://protobuf.dev/programming-guides/encoding, 2026-11).
    """

    def __init__(self, name: str, attributes: Mapping[str, str]) -> None:
        """``name``: of the attribute in which they differ. ``attributes``: the others."""
        self._same = message(b"", attributes)
        encoded = name.encode()
        self._name = b"".join((b"\x0a", _varint(len(encoded)), encoded))

    def message(self, data: bytes, value: str) -> bytes:
        """A message, encoded. ``value``: of the attribute in which it differs."""
        text = value.encode()
        own = b"".join((self._name, b"\x12", _varint(len(text)), text))
        return b"".join((self._same, b"\x12", _varint(len(own)), own, b"\x0a", _varint(len(data)), data))


@lru_cache(maxsize=4_096)
def _varint(number: int) -> bytes:
    if number < 128:
        return bytes((number,))
    return bytes((number & 127 | 128,)) + _varint(number >> 7)


Publish = Callable[[str, Sequence[bytes]], Awaitable[None]]
"""Makes one call: a topic's full name and its messages, encoded. Raises `PublishError`."""


class _Parcel:
    """What one sender publishes at once; it is acknowledged as a whole."""

    def __init__(self, messages: Sequence[bytes]) -> None:
        self.messages = messages
        self.size = sum(map(len, messages))
        self.acknowledged: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def answer(self, error: PublishError | None) -> None:
        """Wake the sender, unless it waits no more."""
        if self.acknowledged.done():
            return
        if error:
            self.acknowledged.set_exception(PublishError(*error.args, refused=error.refused))
        else:
            self.acknowledged.set_result(None)


class _Lane:
    """What waits for one topic."""

    def __init__(self) -> None:
        self.waiting: deque[_Parcel] = deque()
        self.led: asyncio.Task[None] | None = None
        """Makes the calls, one after another; None: nothing waits."""

    def group(self) -> list[_Parcel]:
        """The first of those that wait, as many as ride in one call."""
        taken = [self.waiting.popleft()]
        messages, size = len(taken[0].messages), taken[0].size
        while self.waiting:
            following = self.waiting[0]
            messages, size = messages + len(following.messages), size + following.size
            if messages > MOST_MESSAGES or size > MOST_BYTES:
                break
            taken.append(self.waiting.popleft())
        return taken


class Publisher:
    """Publishes in groups. Of one event loop: tasks of the loop may use it at once."""

    def __init__(self, call: Publish, project: str) -> None:
        """Use `connect` for Pub/Sub itself."""
        self._call = call
        self._project = project
        self._lanes: dict[str, _Lane] = {}
        self._size = 0

    @classmethod
    def connect(cls, project: str | None, emulator_host: str | None) -> "Publisher":
        """Open a channel to the emulator if one is named, else to the real service. Needs a running loop.

        Args:
            project: whose topics; None: ask the credentials.
            emulator_host: the emulator's address.

        Raises:
            SettingError: no project is named, and the credentials know none.
            GoogleAuthError: there are no credentials for the real service.
        """
        if emulator_host:
            channel, found = grpc.aio.insecure_channel(emulator_host, options=_OPTIONS), None
        else:
            credentials, found = google.auth.default(scopes=PublisherGrpcAsyncIOTransport.AUTH_SCOPES)
            channel = PublisherGrpcAsyncIOTransport.create_channel(
                _HOST, credentials=credentials, options=_OPTIONS
            )
        if not (named := project or found):
            raise SettingError("GOOGLE_CLOUD_PROJECT", "", "the id of the project of the topics")
        return cls(_calling(channel), named)

    async def publish(self, topic: str, messages: Sequence[bytes]) -> None:
        """Publish messages and wait until Pub/Sub has acknowledged them, all of them or none.

        Args:
            topic: its name in the project.
            messages: encoded (`message`, `Alike`); `MOST_MESSAGES` at most.

        Raises:
            PublishError: they were not acknowledged. They may be published all the same.
        """
        lane = self._lanes.setdefault(topic, _Lane())
        parcel = _Parcel(messages)
        if self._size + parcel.size > MOST_WAITING:
            raise PublishError(f"{topic}: {self._size} bytes wait for Pub/Sub already, which is the most")
        self._size += parcel.size
        lane.waiting.append(parcel)
        if lane.led is None:
            lane.led = asyncio.create_task(self._lead(topic, lane))
        await parcel.acknowledged

    async def _lead(self, topic: str, lane: _Lane) -> None:
        """Make calls until nothing waits."""
        try:
            while lane.waiting:
                group = lane.group()
                try:
                    await self._send(topic, group)
                finally:
                    self._size -= sum(each.size for each in group)
                if len(group) > 1:
                    await asyncio.sleep(COMPANY_PAUSE)
        finally:  # in the same step as the last look: who comes after it leads
            lane.led = None

    async def _send(self, topic: str, group: Sequence[_Parcel]) -> None:
        error: PublishError | None = None
        try:
            messages = [message for parcel in group for message in parcel.messages]
            await self._call(f"projects/{self._project}/topics/{topic}", messages)
        except PublishError as failure:
            if failure.refused and len(group) > 1:  # one sender's messages are no other's fault
                for parcel in group:
                    await self._send(topic, [parcel])
                return
            error = failure
        except Exception as failure:  # noqa: BLE001 - its senders would wait for ever, and who comes behind them
            error = PublishError(f"{topic}: {type(failure).__name__}")
        for parcel in group:
            parcel.answer(error)


def _calling(channel: grpc.aio.Channel) -> Publish:
    method: Any = channel.unary_unary(
        _METHOD,
        request_serializer=None,
        response_deserializer=_PublishResponse.FromString,
    )

    async def call(topic: str, messages: Sequence[bytes]) -> None:
        parts = [_PublishRequest(topic=topic).SerializeToString()]
        for each in messages:
            parts += (b"\x12", _varint(len(each)), each)
        try:
            metadata = (("x-goog-request-params", f"topic={topic}"),)
            answer = await method(b"".join(parts), timeout=TIMEOUT, metadata=metadata)
        except grpc.RpcError as error:
            code: grpc.StatusCode = error.code()
            refused = code is grpc.StatusCode.INVALID_ARGUMENT
            raise PublishError(f"{topic}: {code.name}: {error.details()}", refused=refused) from error
        if len(answer.message_ids) != len(messages):
            raise PublishError(f"{topic}: {len(answer.message_ids)} of {len(messages)} were acknowledged")

    return call

"""Publishing: nothing counts as published before it is acknowledged, and much rides in few calls."""

import asyncio
from collections.abc import Sequence

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from shared import publishing
from shared.errors import PublishError
from shared.publishing import Alike, Publisher, message
from tests.support.collector import Topic, decoded


def messages(name: str, number: int = 1, size: int = 1) -> list[bytes]:
    """Messages that say whose they are."""
    return [message(f"{name}{index}".encode().ljust(size, b"."), {"id": name}) for index in range(number)]


def published(topic: Topic) -> list[bytes]:
    """Every message that was acknowledged."""
    return [each for call in topic.published for each in call]


SIZES = st.sampled_from([0, 1, 127, 128, 129, 16_383, 16_384, 2_097_152])


@given(
    data=st.binary(max_size=300) | SIZES.map(bytes),
    value=st.text(st.characters(exclude_categories=["Cs"]), max_size=300)
    | SIZES.map(lambda size: "x" * size),
    others=st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), st.text("aß", max_size=130)),
)
@example(data=b"", value="", others={})
def test_messages_that_are_alike_read_as_any_other(data: bytes, value: str, others: dict[str, str]) -> None:
    """Whatever the lengths, which are encoded in one byte, or two, or more."""
    attributes = {**others, "name": value}
    assert decoded(Alike("name", others).message(data, value)) == (data, attributes)
    assert decoded(message(data, attributes)) == (data, attributes)


class Slow(Topic):
    """Acknowledges when it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.under_way = 0
        self.most = 0
        self.go = asyncio.Event()

    async def call(self, topic: str, messages: Sequence[bytes]) -> None:
        """See `Topic`."""
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        await self.go.wait()
        self.under_way -= 1
        await super().call(topic, messages)


def test_a_sender_waits_for_the_acknowledgement() -> None:
    """And not only for the call to begin."""

    async def run() -> None:
        topic = Slow()
        sender = asyncio.create_task(Publisher(topic.call, "p").publish("t", messages("a", 2)))
        for _ in range(10):
            await asyncio.sleep(0)
        assert not sender.done()
        topic.go.set()
        await sender
        assert topic.topic == "projects/p/topics/t"
        assert published(topic) == messages("a", 2)

    asyncio.run(run())


def test_what_arrives_while_a_call_is_under_way_rides_together() -> None:
    """A hundred senders cost two calls: that of the first one, and that of the others."""

    async def run() -> None:
        topic = Slow()
        publisher = Publisher(topic.call, "p")
        senders = [asyncio.create_task(publisher.publish("t", messages("first")))]
        for _ in range(10):
            await asyncio.sleep(0)
        senders += [asyncio.create_task(publisher.publish("t", messages(f"s{n}-", 3))) for n in range(99)]
        for _ in range(10):
            await asyncio.sleep(0)
        topic.go.set()
        await asyncio.gather(*senders)
        assert len(topic.messages) == 1 + 3 * 99
        assert len(topic.published) == 2
        assert topic.most == 1

    asyncio.run(run())


def test_senders_that_send_again_on_their_answers_go_on_sharing_calls(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Without the pause they would be two half groups that take turns, at twice as many calls."""
    monkeypatch.setattr(publishing, "COMPANY_PAUSE", 0.2)

    async def run() -> None:
        topic = Topic()

        async def call(name: str, sent: Sequence[bytes]) -> None:
            await asyncio.sleep(0.02)
            await topic.call(name, sent)

        publisher = Publisher(call, "p")

        async def sends(seconds: float) -> None:
            for _ in range(5):
                await publisher.publish("t", messages("m"))
                await asyncio.sleep(seconds)  # the answer goes out, the next request comes in

        await asyncio.gather(*(sends(0.005 * number) for number in range(4)))
        assert len(topic.messages) == 20
        assert len(topic.published) <= 5 + 1

    asyncio.run(run())


def test_a_call_keeps_within_the_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of messages and of bytes; a sender with more bytes rides alone."""
    monkeypatch.setattr(publishing, "MOST_BYTES", 1_000)

    async def run() -> None:
        topic = Slow()
        publisher = Publisher(topic.call, "p")
        many = [messages("m", 600) for _ in range(3)] + [messages("b", 1, 700) for _ in range(3)]
        many += [messages("large", 1, 2_000)]
        senders = [asyncio.create_task(publisher.publish("t", each)) for each in many * 3]
        topic.go.set()
        await asyncio.gather(*senders)
        for call in topic.published:
            assert len(call) <= publishing.MOST_MESSAGES
            assert len({decoded(each).attributes["id"] for each in call}) == 1 or sum(map(len, call)) <= 1_000
        assert len(topic.messages) == 3 * (3 * 600 + 3 + 1)

    asyncio.run(run())


def test_who_comes_as_the_last_call_ends_is_published_too() -> None:
    """Whoever ends the calls and whoever comes agree on who makes the next one."""

    async def run() -> None:
        topic = Slow()
        publisher = Publisher(topic.call, "p")

        async def comes() -> None:
            await topic.go.wait()
            await publisher.publish("t", messages("b"))

        first = asyncio.create_task(publisher.publish("t", messages("a")))
        for _ in range(10):
            await asyncio.sleep(0)
        second = asyncio.create_task(comes())  # woken in the step after the one in which the call ends
        await asyncio.sleep(0)
        topic.go.set()
        await asyncio.gather(first, second)

    asyncio.run(asyncio.wait_for(run(), 60))


def test_a_failed_call_is_told_to_each_of_its_senders() -> None:
    """And the next call is made all the same."""

    async def run() -> None:
        topic = Topic()
        topic.failing = PublishError("t: UNAVAILABLE: no")
        publisher = Publisher(topic.call, "p")
        found = await asyncio.gather(
            *(publisher.publish("t", messages("a")) for _ in range(3)), return_exceptions=True
        )
        assert [str(each) for each in found] == ["t: UNAVAILABLE: no"] * 3
        topic.failing = None
        await publisher.publish("t", messages("b"))
        assert published(topic) == messages("b")

    asyncio.run(run())


def test_a_call_that_breaks_is_told_to_its_senders_and_those_who_wait_are_published() -> None:
    """gRPC gives None for an answer that it cannot read. Else all would wait until their requests end."""

    class Broken(Slow):
        async def call(self, topic: str, messages: Sequence[bytes]) -> None:
            await self.go.wait()
            if any(decoded(each).attributes["id"] == "broken" for each in messages):
                raise AttributeError("an answer that says what the messages hold")
            await super().call(topic, messages)

    async def run() -> None:
        topic = Broken()
        publisher = Publisher(topic.call, "p")
        first = asyncio.create_task(publisher.publish("t", messages("broken")))
        for _ in range(10):
            await asyncio.sleep(0)
        second = asyncio.create_task(publisher.publish("t", messages("waiting")))
        for _ in range(10):
            await asyncio.sleep(0)
        topic.go.set()
        with pytest.raises(PublishError, match=r"^t: AttributeError$"):
            await first
        await second
        assert published(topic) == messages("waiting")

    asyncio.run(asyncio.wait_for(run(), 60))


def test_one_senders_messages_are_no_other_senders_fault() -> None:
    """A call that is refused for its messages is made again for each sender alone."""

    class Picky(Slow):
        async def call(self, topic: str, messages: Sequence[bytes]) -> None:
            await self.go.wait()
            if any(decoded(each).attributes["id"] == "bad" for each in messages):
                raise PublishError("INVALID_ARGUMENT", refused=True)
            await super().call(topic, messages)

    async def run() -> None:
        topic = Picky()
        publisher = Publisher(topic.call, "p")
        names = ["a", "b", "bad", "c"]
        senders = [asyncio.create_task(publisher.publish("t", messages(name))) for name in names]
        for _ in range(10):
            await asyncio.sleep(0)
        topic.go.set()
        found = await asyncio.gather(*senders, return_exceptions=True)
        failed = [name for name, each in zip(names, found, strict=True) if each]
        assert failed == ["bad"]

    asyncio.run(run())


def test_a_sender_that_gives_up_takes_no_other_with_it() -> None:
    """Its messages may be published; the others are."""

    async def run() -> None:
        topic = Slow()
        publisher = Publisher(topic.call, "p")
        senders = [asyncio.create_task(publisher.publish("t", messages(name))) for name in "abcdefgh"]
        for _ in range(10):
            await asyncio.sleep(0)
        senders[0].cancel()
        senders[-1].cancel()
        topic.go.set()
        found = await asyncio.gather(*senders, return_exceptions=True)
        assert [isinstance(each, asyncio.CancelledError) for each in found] == [True] + [False] * 6 + [True]
        await publisher.publish("t", messages("later"))
        assert messages("later")[0] in published(topic)

    asyncio.run(run())


def test_what_may_wait_in_one_process_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Above the bound a sender is told at once; what has been answered makes room."""
    monkeypatch.setattr(publishing, "MOST_WAITING", 100)

    async def run() -> None:
        topic = Slow()
        publisher = Publisher(topic.call, "p")
        first = asyncio.create_task(publisher.publish("t", messages("a", 1, 80)))
        await asyncio.sleep(0)
        with pytest.raises(PublishError, match=f"{len(messages('a', 1, 80)[0])} bytes wait"):
            await publisher.publish("t", messages("b", 1, 80))
        topic.go.set()
        await first
        await publisher.publish("t", messages("b", 1, 80))

    asyncio.run(run())

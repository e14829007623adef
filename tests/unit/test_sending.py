"""Sending to a collector: what it does not take is sent again, and what it refuses is said."""

import json
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import httpx
import pytest

from cli.sending import ATTEMPTS, Collector, Outcomes, send
from local.errors import StackError

Answer = Callable[[list[object]], httpx.Response]


def became(*outcomes: str, status: int = 202) -> httpx.Response:
    """What a collector says of each event."""
    events = [{"index": index, "outcome": outcome} for index, outcome in enumerate(outcomes)]
    return httpx.Response(status, json={"events": events}, headers={"Retry-After": "0"})


@pytest.fixture
def waited(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses, which take no time."""
    pauses: list[float] = []
    monkeypatch.setattr("cli.sending.time.sleep", pauses.append)
    return pauses


@contextmanager
def collector(*answers: httpx.Response | Exception) -> Iterator[tuple[Collector, list[list[object]]]]:
    """A sender to a collector that answers so, and what it got."""
    got: list[list[object]] = []
    left = list(answers)

    def answer(request: httpx.Request) -> httpx.Response:
        got.append([json.loads(line) for line in request.content.decode().splitlines()])
        assert request.headers["authorization"] == "Bearer key-1"
        said = left.pop(0) if len(left) > 1 else left[0]
        if isinstance(said, Exception):
            raise said
        return said

    sender = Collector("http://c/", "key-1", "user_events")
    sender._client = httpx.Client(transport=httpx.MockTransport(answer), headers=sender._client.headers)
    yield sender, got
    sender.close()


def test_what_was_not_taken_is_sent_again_alone(waited: list[float]) -> None:
    """The others are not sent twice for it."""
    with collector(became("accepted", "unavailable", "invalid", status=503), became("accepted")) as (to, got):
        assert to.send([1, 2, 3]) == Counter(accepted=2, invalid=1)
    assert got == [[1, 2, 3], [2]]
    assert waited == [0.0]


@pytest.mark.parametrize(
    "problem", [httpx.ConnectError("refused"), httpx.Response(429, headers={"Retry-After": "3"})]
)
def test_a_collector_that_is_busy_or_away_is_asked_again(
    waited: list[float], problem: httpx.Response | Exception
) -> None:
    """As long after as it says."""
    with collector(problem, became("accepted")) as (to, got):
        assert to.send([1]) == Counter(accepted=1)
    assert got == [[1], [1]]
    assert len(waited) == 1
    assert waited == [3.0] or isinstance(problem, Exception)


def test_where_every_event_is_invalid_that_is_an_outcome(waited: list[float]) -> None:
    """The collector answers 422: there is nothing to send again."""
    with collector(became("invalid", "invalid", status=422)) as (to, _):
        assert to.send([1, 2]) == Counter(invalid=2)
    assert waited == []


def test_a_refusal_is_said_at_once(waited: list[float]) -> None:
    """A wrong key does not get better."""
    with (
        collector(httpx.Response(401, json={"detail": "nobody is signed in"})) as (to, _),
        pytest.raises(StackError, match=r"answered 401: .*nobody is signed in"),
    ):
        to.send([1])
    assert waited == []


@pytest.mark.usefixtures("waited")
def test_a_collector_that_never_takes_them_is_given_up() -> None:
    """The message says how many are left, and why."""
    with (
        collector(became("unavailable", status=503)) as (to, got),
        pytest.raises(StackError, match=f"did not take 1 events in {ATTEMPTS} attempts: 503"),
    ):
        to.send([1])
    assert len(got) == ATTEMPTS


def test_the_rate_is_kept(waited: list[float]) -> None:
    """Ten a second: batches of two, a fifth of a second apart."""

    class Taking:
        def send(self, events: list[object]) -> Outcomes:
            return Counter(accepted=len(events))

        def close(self) -> None:
            pass

    assert send(iter(range(6)), Taking(), rate=10) == Counter(accepted=6)  # type: ignore[arg-type] # a list is a sequence
    assert [round(each, 1) for each in waited] == [0.2, 0.4, 0.6]

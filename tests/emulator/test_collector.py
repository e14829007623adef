"""The collector over the real emulators: what is answered is true of Firestore and of Pub/Sub."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import httpx
import pytest

from local.emulator import Emulator
from local.pubsub import PubSub
from services.collector.application import application
from services.collector.settings import CollectorSettings
from shared import api_keys
from shared.aggregation import fold
from shared.schemas import self_written
from shared.settings import Settings
from shared.store import Merge, Query
from shared.store.client import FirestoreStore
from tests.support.api import check_problem
from tests.support.collector import Clock, outcomes, user_event
from tests.support.topics import Listener

Client = httpx.AsyncClient
SOURCES = ("user_events", "signals")


class Collecting:
    """A collector in this process, its store, and a key for every source."""

    def __init__(self, environment: dict[str, str]) -> None:
        self.environment = environment
        self.settings = Settings.from_environment(environment)
        self.clock = Clock()
        self.store = FirestoreStore.connect(self.settings)
        self.made, self.key = api_keys.create(self.store, "a", SOURCES, SOURCES)

    def run(self, ask: Callable[[Client], Awaitable[None]]) -> None:
        """Ask a new instance, in an event loop of its own."""

        async def in_loop() -> None:
            app = application(CollectorSettings.from_environment(self.environment), clock=self.clock)
            transport = httpx.ASGITransport(app)
            headers = {"X-Api-Key": self.key}
            async with Client(transport=transport, base_url="http://c", headers=headers) as client:
                await ask(client)
            app.state.store().close()

        asyncio.run(in_loop())

    def send(self, events: object, path: str = "/v1/events/user_events", **headers: str) -> httpx.Response:
        """Send one body to a new instance."""
        answers: list[httpx.Response] = []

        async def ask(client: Client) -> None:
            answers.append(await client.post(path, json=events, headers=headers))

        self.run(ask)
        return answers[0]

    def exact(self, name: str = "user_events") -> dict[Any, dict[str, int]]:
        """What a source's totals must be: the pure fold over the stored entries."""
        source, home = self_written(self.settings)[name]
        return fold(source, (each.fields for each in self.store.query(Query(home.entries))))

    def totals(self, name: str = "user_events") -> dict[str, object]:
        """What a source's totals are, by the path of their documents."""
        source, home = self_written(self.settings)[name]
        return {
            document.path: document.fields["count"]
            for aggregation in source.aggregations
            for document in self.store.query(Query(home.collection(aggregation.name)))
        }

    def check_totals(self, name: str = "user_events") -> None:
        """The totals are those of the entries."""
        home = self_written(self.settings)[name].home
        expected = {home.total(cell): measures["count"] for cell, measures in self.exact(name).items()}
        assert self.totals(name) == expected


@pytest.fixture
def environment(emulator: Emulator, pubsub: PubSub, project: str) -> dict[str, str]:
    """A project of the test's own, with its topics."""
    pubsub.create(project, SOURCES)
    return {
        "GOOGLE_CLOUD_PROJECT": project,
        "FIRESTORE_EMULATOR_HOST": emulator.address,
        "PUBSUB_EMULATOR_HOST": pubsub.address,
    }


@pytest.fixture
def direct(environment: dict[str, str]) -> Iterator[Collecting]:
    """A collector that counts before it answers."""
    made = Collecting(environment | {"LIBRA_COLLECTOR_MODE": "direct"})
    yield made
    made.store.close()


@pytest.fixture
def queue(environment: dict[str, str]) -> Iterator[Collecting]:
    """A collector that publishes."""
    made = Collecting(environment)
    yield made
    made.store.close()


def test_what_is_answered_202_is_in_pubsub(queue: Collecting, pubsub: PubSub, project: str) -> None:
    """Every accepted event once, as it was sent; nothing of the invalid ones."""
    listener = Listener(pubsub, project, "user_events")
    events = [user_event(number, page="/Mac & Cheese 🍝") for number in range(1_000)]
    events[500] = {"event_id": "wrong"}
    answer = queue.send(events)
    assert (answer.status_code, answer.json()["outcomes"]) == (202, {"accepted": 999, "invalid": 1})
    found = {each["attributes"]["id"]: each for each in listener.take()}
    assert len(found) == 999
    for event in events[:500] + events[501:]:
        message = found[event["event_id"]]
        assert message["event"] == event
        assert message["attributes"]["source"] == "user_events"


def test_many_small_requests_ride_in_few_calls(queue: Collecting, pubsub: PubSub, project: str) -> None:
    """And each of them is answered for its own event."""
    listener = Listener(pubsub, project, "signals")

    async def ask(client: Client) -> None:
        signal = {"signal_type": "spam", "timestamp": user_event()["timestamp"]}
        bodies = [signal | {"user_id": f"u{number}"} for number in range(200)]
        sent = [client.post("/v1/events/signals", json=body) for body in bodies]
        for answer in await asyncio.gather(*sent):
            assert (answer.status_code, outcomes(answer.json())) == (202, ["accepted"])

    queue.run(ask)
    assert {each["event"]["user_id"] for each in listener.take()} == {f"u{number}" for number in range(200)}


def test_without_its_topic_nothing_is_accepted(queue: Collecting, pubsub: PubSub, project: str) -> None:
    """503, so the sender keeps the events until an operator has made it."""
    httpx.delete(f"{pubsub.url}/v1/projects/{project}/topics/user_events", timeout=30).raise_for_status()
    problem = check_problem(queue.send([user_event(), {}]), 503)
    assert outcomes(problem) == ["unavailable", "invalid"]


def test_what_is_answered_200_is_counted(direct: Collecting) -> None:
    """The entries are there, and the totals are theirs; a second time everything is a duplicate."""
    events = [user_event(number, event_type=f"type {number % 7}") for number in range(1_000)]
    events[17] = {"event_id": "wrong"}
    answer = direct.send(events)
    assert (answer.status_code, answer.json()["outcomes"]) == (200, {"counted": 999, "invalid": 1})
    assert direct.store.count(Query("user_events")) == 999
    direct.check_totals()
    again = direct.send(events)
    assert (again.status_code, again.json()["outcomes"]) == (200, {"duplicate": 999, "invalid": 1})
    direct.check_totals()


def test_an_id_that_comes_again_with_something_else_changes_nothing(direct: Collecting) -> None:
    """Within a body and after it: the first one stays, and the sender is told."""
    one = user_event(1)
    answer = direct.send([one, one | {"value": 13}, one]).json()
    assert outcomes(answer) == ["counted", "duplicate", "duplicate"]
    assert [bool(each.get("violations")) for each in answer["events"]] == [False, True, False]
    for event, differs in ((one | {"value": 14}, True), (one, False)):
        answer = direct.send(event).json()
        assert outcomes(answer) == ["duplicate"]
        assert bool(answer["events"][0].get("violations")) == differs
    (entry,) = direct.store.query(Query("user_events"))
    assert entry.fields["value"] == 12.5
    direct.check_totals()


def test_two_instances_count_an_event_once(direct: Collecting) -> None:
    """Whoever gets it."""
    events = [user_event(number) for number in range(50)]

    async def both(client: Client) -> None:
        app = application(CollectorSettings.from_environment(direct.environment))
        async with Client(transport=httpx.ASGITransport(app), base_url="http://c") as other:
            sent = [
                each.post("/v1/events/user_events", json=events, headers={"X-Api-Key": direct.key})
                for each in (client, other) * 3
            ]
            found = [outcome for answer in await asyncio.gather(*sent) for outcome in outcomes(answer.json())]
        app.state.store().close()
        assert sorted(found) == ["counted"] * 50 + ["duplicate"] * 250

    direct.run(both)
    direct.check_totals()


def test_a_revoked_key_stops_within_a_minute(direct: Collecting) -> None:
    """An instance that has just used it takes it for a minute more at most; a new instance does not."""

    async def ask(client: Client) -> None:
        async def status() -> int:
            return (await client.post("/v1/events/user_events", json=user_event())).status_code

        assert await status() == 200
        api_keys.revoke(direct.store, direct.made.id)
        direct.clock.now += 59
        assert await status() == 200
        direct.clock.now += 1
        assert await status() == 401

    direct.run(ask)
    check_problem(direct.send(user_event()), 401)


def test_a_key_opens_its_own_sources_alone(direct: Collecting) -> None:
    """Another source's key is refused by name; a forged one is nobody's."""
    _, other = api_keys.create(direct.store, "b", ["signals"], SOURCES)
    answer = direct.send(user_event(), **{"X-Api-Key": other})
    assert "may send to signals" in check_problem(answer, 403)["detail"]
    forged = other[:-1] + ("0" if other[-1] != "0" else "1")
    check_problem(direct.send(user_event(), **{"X-Api-Key": forged}), 401)
    assert direct.store.count(Query("user_events")) == 0


def test_a_key_has_its_rate(direct: Collecting) -> None:
    """429 with when to try again."""
    _, slow = api_keys.create(direct.store, "slow", SOURCES, SOURCES, rate=10)
    statuses: list[int] = []

    async def ask(client: Client) -> None:
        for number in range(3):
            events = [user_event(number * 600 + each) for each in range(600)]
            headers = {"X-Api-Key": slow}
            answer = await client.post("/v1/events/user_events", json=events, headers=headers)
            statuses.append(answer.status_code)
        assert answer.headers["retry-after"] == "21"
        direct.clock.now += 21
        answer = await client.post("/v1/events/user_events", json=events, headers=headers)
        statuses.append(answer.status_code)

    direct.run(ask)
    assert statuses == [200, 200, 429, 200]
    assert direct.store.count(Query("user_events")) == 1_800


def test_a_damaged_key_lets_nobody_in(direct: Collecting) -> None:
    """And its document is named in the log, not in the answer."""
    path = f"{api_keys.COLLECTION}/{direct.made.id}"
    direct.store.commit([Merge(path, {("revoked_at",): "yesterday"})], timeout=10)
    answer = direct.send(user_event())
    check_problem(answer, 500)
    assert direct.made.id not in answer.text


def test_it_is_ready_once_it_can_read_keys(direct: Collecting) -> None:
    """Health takes nothing; readiness takes a read."""
    statuses: list[int] = []

    async def ask(client: Client) -> None:
        statuses.extend([(await client.get(path)).status_code for path in ("/healthz", "/readyz")])

    direct.run(ask)
    assert statuses == [200, 200]

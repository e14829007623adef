"""The collector without a server: verdicts, statuses, browsers, settings, and what is logged."""

import asyncio
import gzip
import io
import json
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from services.collector.application import application
from services.collector.body import MAX_BYTES
from services.collector.doors import Queue, Verdict
from services.collector.settings import CollectorSettings
from shared import log
from shared.aggregation import Aggregation, FieldKey
from shared.errors import PublishError
from shared.events import EventSource
from shared.publishing import Publisher
from shared.schemas import SCHEMAS, self_written
from shared.settings import Settings
from tests.support.api import Api, check_problem
from tests.support.collector import ENVIRONMENT, PROJECT, Topic, outcomes, send, user_event

NDJSON = {"content-type": "application/x-ndjson"}


def test_an_accepted_event_is_published_as_it_was_sent(collector: Api, topic: Topic) -> None:
    """With its source and its id as attributes, so that who routes messages need not read them; and when it
    was accepted, so that the worker judges its time as of then."""
    event = user_event(page="/Mac & Cheese 🍝", session_id=None)
    answer = send(collector, event)
    assert answer.status_code == 202
    assert answer.json() == {
        "source": "user_events",
        "outcomes": {"accepted": 1},
        "events": [{"index": 0, "id": "e0", "outcome": "accepted"}],
    }
    (message,) = topic.messages
    assert json.loads(message.data) == event
    accepted = datetime.fromisoformat(message.attributes["accepted"])
    assert datetime.now(UTC) - accepted < timedelta(minutes=1)
    assert message.attributes == {"source": "user_events", "id": "e0", "accepted": accepted.isoformat()}
    assert topic.topic == f"projects/{PROJECT}/topics/user_events"


@pytest.mark.parametrize("packed", [False, True])
def test_valid_neighbours_of_an_invalid_event_go_through(collector: Api, topic: Topic, packed: bool) -> None:
    """In an array and in NDJSON, where a line that is no JSON is one more invalid event."""
    events = [user_event(0), {"event_id": "wrong"}, 7, user_event(3, user_id=None), user_event(4)]
    body = json.dumps(events).encode()
    answer = send(collector, None, content=gzip.compress(body) if packed else body,
                  headers={"content-encoding": "gzip"} if packed else {})  # fmt: skip
    assert outcomes(answer.json()) == ["accepted", "invalid", "invalid", "invalid", "accepted"]
    lines = [json.dumps(each) for each in events] + ["{"]
    again = send(collector, None, content="\n".join(lines).encode(), headers=NDJSON)
    assert outcomes(again.json()) == [*outcomes(answer.json()), "invalid"]
    assert [each.attributes["id"] for each in topic.messages] == ["e0", "e4"] * 2
    wrong = again.json()["events"]
    assert (wrong[1]["id"], wrong[2]["id"], wrong[3]["id"], wrong[5]["id"]) == ("wrong", None, "e3", None)
    assert wrong[3]["violations"] == [{"field": "user_id", "found": "null", "allowed": "a value"}]
    assert wrong[5]["violations"][0]["allowed"] == "a line of JSON"


@pytest.mark.parametrize(
    ("changed", "field", "found"),
    [
        ({"value": float("nan")}, "value", "NaN or an infinity"),
        ({"value": float("-inf")}, "value", "NaN or an infinity"),
        ({"value": 10**400}, "value", "one beyond that"),
        ({"event_id": "x" * 1_400}, "event_id", "1400 bytes"),
        ({"event_id": ""}, "event_id", "an empty string"),
        ({"event_id": "\ud800"}, "event_id", "not valid Unicode"),
        ({"user_id": 17}, "user_id", "an integer"),
        ({"colour": "red"}, "colour", "a field that is not declared"),
        ({"timestamp": "yesterday"}, "timestamp", "a string that is none"),
        ({"timestamp": (datetime.now(UTC) - timedelta(400)).isoformat()}, "timestamp", "400 days before now"),
        ({"timestamp": (datetime.now(UTC) + timedelta(366)).isoformat()}, "timestamp", "days after now"),
        ({"page": [[[]]]}, "page", "an array"),
    ],
)
def test_an_invalid_event_is_told_what_is_wrong(
    collector: Api, topic: Topic, changed: dict[str, object], field: str, found: str
) -> None:
    """422 names the field, what was found and what is allowed; nothing is published."""
    answer = send(collector, user_event() | changed)
    problem = check_problem(answer, 422)
    (event,) = problem["events"]
    (violation,) = event["violations"]
    assert violation["field"] == field
    assert found in violation["found"]
    assert violation["allowed"]
    assert field in problem["detail"]
    assert topic.messages == []


def test_deep_json_in_a_field_is_refused(collector: Api, topic: Topic) -> None:
    """A map may be nested, within bounds; what the parser itself cannot read is a problem of the body."""
    deep: dict[str, Any] = {}
    for _ in range(100):
        deep = {"a": deep}
    signal = {"user_id": "ann", "signal_type": "spam", "timestamp": datetime.now(UTC).isoformat()}
    assert send(collector, signal | {"event_details": {"a": {"b": [1]}}}, source="signals").status_code == 202
    problem = check_problem(send(collector, signal | {"event_details": deep}, source="signals"), 422)
    assert problem["events"][0]["violations"][0]["field"] == "event_details"
    body = json.dumps(signal)[:-1] + ', "event_details": ' + '{"a":' * 50_000 + "1" + "}" * 50_000 + "}"
    assert "nested" in check_problem(send(collector, None, source="signals", content=body), 400)["detail"]
    assert len(topic.messages) == 1


def test_an_id_that_comes_twice_in_a_body_is_published_once(collector: Api, topic: Topic) -> None:
    """The first valid one counts; one that says something else is told so."""
    one = user_event(1)
    events = [{"event_id": "e1"}, one, one, one | {"value": 13}, user_event(2)]
    answer = send(collector, events).json()
    assert outcomes(answer) == ["invalid", "accepted", "duplicate", "duplicate", "accepted"]
    assert "violations" not in answer["events"][2]
    (violation,) = answer["events"][3]["violations"]
    assert violation["field"] == "event_id"
    assert [json.loads(each.data)["event_id"] for each in topic.messages] == ["e1", "e2"]


def test_what_a_declaration_cannot_count_is_not_accepted(topic: Topic) -> None:
    """The schema lets a page be left out. An aggregation by page needs one: the worker would reject it."""
    by_page = EventSource(
        "user_events", (Aggregation("by_page", FieldKey("page")),), schema=SCHEMAS["user_events"]
    )
    publisher = Publisher(topic.call, PROJECT)

    async def taken() -> list[Verdict]:
        door = Queue(by_page, lambda: publisher, lambda: datetime.now(UTC))
        return await door.take([user_event(1, page="/"), user_event(2), user_event(3, page="/")])

    verdicts = asyncio.run(taken())
    assert [(each.became, each.id) for each in verdicts] == [
        ("accepted", "e1"),
        ("invalid", "e2"),
        ("accepted", "e3"),
    ]
    assert [each.field for each in verdicts[1].violations] == ["page"]
    assert [each.attributes["id"] for each in topic.messages] == ["e1", "e3"]


def test_what_is_not_acknowledged_is_told_verdict_by_verdict(
    collector: Api, topic: Topic, lines: io.StringIO
) -> None:
    """503: nothing counts as accepted, not even what repeats an event; the same body may be sent again."""
    one = user_event(1, user_id="secret")
    events = [one, {"event_id": "wrong"}, one]
    topic.failing = PublishError("projects/p/topics/t: UNAVAILABLE: no connection")
    answer = send(collector, events)
    problem = check_problem(answer, 503)
    assert outcomes(problem) == ["unavailable", "invalid", "unavailable"]
    assert (problem["outcomes"], answer.headers["retry-after"]) == ({"unavailable": 2, "invalid": 1}, "5")
    assert "UNAVAILABLE: no connection" in lines.getvalue()
    assert "UNAVAILABLE" not in answer.text
    topic.failing = None
    assert outcomes(send(collector, events).json()) == ["accepted", "invalid", "duplicate"]


@pytest.mark.parametrize(("number", "status"), [(0, 422), (1, 202), (1_000, 202), (1_001, 413)])
def test_a_body_holds_up_to_a_thousand_events(collector: Api, topic: Topic, number: int, status: int) -> None:
    """One more is refused as a whole: nothing of it is published."""
    events = [user_event(each) for each in range(number)]
    answer = send(collector, events)
    assert answer.status_code == status, answer.text
    assert len(topic.messages) == (number if status == 202 else 0)


@pytest.mark.parametrize("announced", [True, False], ids=["announced", "in chunks"])
def test_a_body_is_bounded_before_it_is_read(collector: Api, announced: bool) -> None:
    """Whatever its length was said to be."""

    async def chunks() -> Any:
        for _ in range(MAX_BYTES // 1_000 + 2):
            yield b" " * 1_000

    content = b" " * (MAX_BYTES + 1) if announced else chunks()
    assert str(MAX_BYTES) in check_problem(send(collector, None, content=content), 413)["detail"]


@pytest.mark.parametrize(
    ("source", "role", "status", "detail"),
    [
        ("user_events", None, 401, "X-Api-Key"),
        ("user_events", "", 403, "the caller may send to signals"),
        ("user_events", "reader", 403, "the caller may send to signals"),
        ("signals", "", 422, "no event"),
        ("user_events", "device", 422, "no event"),
        ("user_events", "operator", 422, "no event"),
        ("libra", "operator", 404, "there is no source 'libra': expected one of user_events, signals"),
        ("a%2Fb", "operator", 404, "there is no source 'a%2Fb'"),
        ("libra", None, 401, "X-Api-Key"),
    ],
)
def test_who_may_send_where(collector: Api, source: str, role: str | None, status: int, detail: str) -> None:
    """Who is not signed in does not learn which sources there are."""
    assert detail in check_problem(send(collector, [], source=source, role=role), status)["detail"]


def test_the_body_of_somebody_who_may_not_send_is_not_read(collector: Api) -> None:
    """Nor unpacked, nor parsed."""
    read = False

    async def body() -> Any:
        nonlocal read
        read = True
        yield b"no JSON"

    for role, status in ((None, 401), ("", 403)):
        check_problem(send(collector, None, content=body(), role=role), status)
        assert not read
    check_problem(send(collector, None, content=body()), 400)
    assert read


@pytest.fixture
def lines() -> Iterator[io.StringIO]:
    """What is logged."""
    stream = io.StringIO()
    log.configure("DEBUG", stream)
    yield stream
    log.configure("INFO")


def test_no_log_line_holds_what_was_sent(collector: Api, topic: Topic, lines: io.StringIO) -> None:
    """Whatever becomes of it: one line says the route, the status and the time."""
    secret = user_event(event_id="secret-id", user_id="secret-user", page="secret-page")
    for events in (secret, [secret, secret | {"secret-field": "secret"}], secret | {"value": "secret"}):
        send(collector, events)
        topic.failing = PublishError("t: UNAVAILABLE")
        send(collector, events)
        topic.failing = None
    send(collector, None, content=b'{"secret": secret}')
    send(collector, None, content=b"{}", role=None, headers={"x-api-key": "lk_secret"})
    send(collector, None, content=b"{}", source="secret-source")
    written = lines.getvalue()
    assert "secret" not in written
    answered = [json.loads(line) for line in written.splitlines() if "was answered" in line]
    assert {each["route"] for each in answered} == {"/v1/events/{source}"}
    assert {each["status"] for each in answered} == {202, 422, 503, 400, 401, 404}
    assert all((each["severity"] == "DEBUG") == (each["status"] == 202) for each in answered)


def test_a_keys_document_that_cannot_be_read_lets_nobody_in(collector: Api) -> None:
    """Firestore does not answer: 503, so the sender tries again."""
    key = f"lk_0123456789ab_{'0' * 64}"
    answer = send(collector, user_event(), role=None, headers={"x-api-key": key})
    check_problem(answer, 503)
    assert key not in answer.text


def test_a_request_that_takes_too_long_is_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    """504, though Pub/Sub may have the events: they may be sent again."""
    monkeypatch.setenv("FIREBASE_AUTH_EMULATOR_HOST", "127.0.0.1:9099")

    async def never(_: str, __: Sequence[bytes]) -> None:
        await asyncio.sleep(60)

    source = self_written(Settings())["user_events"].source
    publisher = Publisher(never, PROJECT)
    door = Queue(source, lambda: publisher, lambda: datetime.now(UTC))
    settings = CollectorSettings.from_environment(ENVIRONMENT | {"LIBRA_COLLECTOR_DEADLINE_SECONDS": "1"})
    slow = Api(application(settings, doors={"user_events": door}), PROJECT)
    assert "within 1 seconds" in check_problem(send(slow, user_event()), 504)["detail"]


def test_the_schema_describes_what_is_sent_and_answered(collector: Api) -> None:
    """OpenAPI 3.1, with both media types, both ways to sign in, and the verdicts."""
    schema = collector.get("/openapi.json", role=None).json()
    assert schema["openapi"].startswith("3.1")
    operation = schema["paths"]["/v1/events/{source}"]["post"]
    assert operation["requestBody"]["content"].keys() == {"application/json", "application/x-ndjson"}
    assert operation["security"] == [{"key": []}, {"bearer": []}]
    assert schema["components"]["securitySchemes"].keys() == {"key", "bearer"}
    assert {"Answer", "Event", "Violation", "ProblemBody"} <= schema["components"]["schemas"].keys()
    assert {"200", "202", "400", "401", "403", "404", "413", "415", "422", "429", "503", "504"} <= operation[
        "responses"
    ].keys()

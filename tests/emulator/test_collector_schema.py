"""Whatever is sent, the collector does what its schema says: schemathesis and hypothesis, on emulators."""

import asyncio
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
import schemathesis
from fastapi import FastAPI
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from local.emulator import Emulator
from local.pubsub import PubSub
from services.collector.application import application
from services.collector.settings import CollectorSettings
from shared import api_keys
from shared.events import Admitted
from shared.schemas import SCHEMAS
from tests.support.api import check_problem
from tests.support.collector import outcomes, user_event

CHECKS = [not_a_server_error, content_type_conformance, response_schema_conformance, status_code_conformance]
EXAMPLES = 40
SOURCES = ("user_events", "signals")
quickly = settings(
    max_examples=EXAMPLES, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
)


class Sending:
    """A collector in this process, in one event loop, and keys."""

    def __init__(self, environment: dict[str, str]) -> None:
        self.app: FastAPI = application(CollectorSettings.from_environment(environment))
        self.key = api_keys.create(self.app.state.store(), "a", SOURCES, SOURCES, rate=100_000)[1]
        self.other = api_keys.create(self.app.state.store(), "b", ["signals"], SOURCES)[1]
        self._loop = asyncio.new_event_loop()
        transport = httpx.ASGITransport(self.app)
        self._client = httpx.AsyncClient(transport=transport, base_url="http://c")

    def ask(self, method: str, path: str, **options: Any) -> httpx.Response:
        """One request."""
        return self._loop.run_until_complete(self._client.request(method, path, **options))

    def send(
        self, content: bytes, kind: str = "application/json", source: str = SOURCES[0]
    ) -> httpx.Response:
        """Send a body with the key of every source."""
        headers = {"X-Api-Key": self.key, "content-type": kind}
        return self.ask("POST", f"/v1/events/{source}", content=content, headers=headers)

    def close(self) -> None:
        """End the loop."""
        self._loop.run_until_complete(self._client.aclose())
        self.app.state.store().close()
        self._loop.close()


@pytest.fixture(params=["queue", "direct"])
def sending(
    emulator: Emulator, pubsub: PubSub, project: str, request: pytest.FixtureRequest
) -> Iterator[Sending]:
    """A collector in each mode."""
    pubsub.create(project, SOURCES)
    made = Sending(
        {
            "GOOGLE_CLOUD_PROJECT": project,
            "FIRESTORE_EMULATOR_HOST": emulator.address,
            "PUBSUB_EMULATOR_HOST": pubsub.address,
            "LIBRA_COLLECTOR_MODE": request.param,
        }
    )
    yield made
    made.close()


@pytest.mark.parametrize("who", ["key", "other", "nobody"])
def test_nothing_that_is_sent_is_answered_outside_of_the_schema(sending: Sending, who: str) -> None:
    """No 5xx, no status or body that the schema does not know, and nothing for who may not send."""
    described = schemathesis.openapi.from_dict(sending.ask("GET", "/openapi.json").json())
    operation = described["/v1/events/{source}"]["post"]
    keys = {"key": sending.key, "other": sending.other, "nobody": ""}
    found: set[int] = set()

    @quickly
    @given(operation.as_strategy(), st.sampled_from(SOURCES))
    def ask(case: Any, source: str) -> None:
        case.path_parameters = {"source": source}
        prepared = case.as_transport_kwargs(base_url="http://c", headers={"X-Api-Key": keys[who]})
        prepared.pop("cookies", None)
        answer = sending.ask(prepared.pop("method"), prepared.pop("url"), **as_httpx(prepared))
        case.validate_response(answer, checks=CHECKS)
        found.add(answer.status_code)

    ask()
    if who == "nobody":
        assert found == {401}
    elif who == "other":
        assert 403 in found
    else:
        assert 422 in found


def as_httpx(prepared: dict[str, Any]) -> dict[str, Any]:
    """A request as schemathesis prepares it for requests, for httpx."""
    data = prepared.pop("data", None)
    if isinstance(data, str | bytes):
        prepared["content"] = data
    elif data is not None:
        prepared["data"] = data
    return {
        name: value
        for name, value in prepared.items()
        if name in {"headers", "params", "json", "content", "data"}
    }


plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)
names = st.sampled_from([*user_event(), "session_id", "page", "product_id", "event_details"]) | st.text()
spoiled = st.builds(lambda changed: user_event() | changed, st.dictionaries(names, plain, max_size=3))
bodies = st.lists(plain | spoiled | st.just(user_event()), max_size=5)


def test_every_event_has_the_verdict_that_its_schema_gives(sending: Sending) -> None:
    """Whatever its neighbours are; the answer is JSON that any parser reads."""
    schema = SCHEMAS["user_events"]

    @quickly
    @given(bodies, st.booleans())
    def send(events: list[object], lines: bool) -> None:
        text = "\n".join(map(json.dumps, events)) if lines else json.dumps(events)
        answer = sending.send(text.encode(), "application/x-ndjson" if lines else "application/json")
        body = json.loads(answer.content.decode(), parse_constant=pytest.fail)
        if not events:
            check_problem(answer, 422)
            return
        # JSON lacks what Python's own parser takes: it is judged like any other value that is not allowed.
        valid = [isinstance(schema.admit(each, datetime.now(UTC)), Admitted) for each in events]
        assert answer.status_code in ((200, 202) if any(valid) else (422,)), answer.text
        assert [each != "invalid" for each in outcomes(body)] == valid

    send()


@pytest.mark.parametrize("kind", ["application/json", "application/x-ndjson"])
def test_no_bytes_make_it_fail(sending: Sending, kind: str) -> None:
    """Any body: events with verdicts, or a problem of the sender's."""

    @quickly
    @given(st.binary(max_size=300) | st.text(st.characters(codec="utf-8"), max_size=300).map(str.encode))
    def send(content: bytes) -> None:
        answer = sending.send(content, kind)
        assert answer.status_code in (200, 202, 400, 413, 422), answer.text

    send()

"""Garbage at every door: the event decoder, and the entry points over real HTTP.

The decoder either gives an entry or raises `MalformedEventError`; a server always answers, and its log
never holds what an entry does.
"""

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import httpx
import pytest
from cloudevents.http import CloudEvent
from google.events.cloud.firestore import DocumentEventData
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from events import CREATED, decode_entry
from local.emulator import Emulator
from shared.aggregation import contribution
from shared.catalog import LIBRA_HOME, libra
from shared.errors import MalformedEventError
from shared.settings import Settings
from shared.store.values import encode_fields, raw
from tests.support.function_process import Function, serving

SOURCE = libra(Settings())
CONTENT = "Secret Sauce"
PATIENCE = 20.0
"""Seconds after which a request counts as hung."""

PROMPT = timedelta(seconds=1)
"""What an answer may take. On a shared machine one in thousands takes longer; not the same one again."""


def valid() -> bytes:
    """The body of a good event, to cut and to flip bits in."""
    data = raw(DocumentEventData)()
    data.value.name = "projects/p/databases/(default)/documents/libra/e1"
    data.value.create_time.seconds = 1_757_000_000
    encode_fields(data.value.fields, {"ingredient": CONTENT, "dataAction": "Served", "amount": 1.5})
    encoded: bytes = data.SerializeToString()
    return encoded


VALID = valid()

FIELD_NAMES = st.sampled_from(
    [
        *("value", "name", "fields", "createTime", "updateMask", "oldValue", "ingredient", "timestamp"),
        *("stringValue", "mapValue", "timestampValue", "integerValue", "nullValue", "arrayValue", "values"),
    ]
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(FIELD_NAMES | st.text(), inner, max_size=4),
    max_leaves=20,
)


@st.composite
def mutilated(draw: st.DrawFn) -> bytes:
    """A good body, cut off and with some bytes changed."""
    body = bytearray(VALID[: draw(st.integers(0, len(VALID)))])
    for _ in range(draw(st.integers(0, 6)) if body else 0):
        body[draw(st.integers(0, len(body) - 1))] = draw(st.integers(0, 255))
    return bytes(body)


def deep(levels: int) -> object:
    """JSON nested deeper than any document can be."""
    value: object = {"stringValue": "x"}
    for _ in range(levels):
        value = {"mapValue": {"fields": {"deeper": value}}}
    return {"value": {"name": "n", "fields": {"ingredient": value}}}


def decoded(data: object) -> None:
    """It is an entry, of which any aggregation can say something, or it is malformed; nothing else."""
    event = CloudEvent({"type": CREATED, "source": "//firestore", "id": "event-1"}, data)
    try:
        entry = decode_entry(event, SOURCE, LIBRA_HOME)
    except MalformedEventError as error:
        message = str(error)
    else:
        message = str(contribution(SOURCE, entry.fields).rejections)
    assert CONTENT not in message


@settings(max_examples=3000, deadline=None)
@given(mutilated() | st.binary(max_size=400))
@example(VALID)
def test_any_bytes_are_an_entry_or_malformed(data: bytes) -> None:
    """Garbage, truncated protobuf, flipped bits: a typed error, never another exception."""
    decoded(data)


@settings(max_examples=1500, deadline=None)
@given(JSON)
@example({"value": {"name": VALID.decode("latin-1"), "fields": {"timestamp": {"timestampValue": "9" * 400}}}})
@example({"value": {"name": "n", "createTime": "2025-09-04T18:57:29.12E3456Z"}})  # found by the fuzzer
def test_any_json_is_an_entry_or_malformed(data: object) -> None:
    """JSON of every shape, with the names that the decoder looks for in the wrong places."""
    decoded(data)


def test_json_nested_deeper_than_the_stack_is_malformed() -> None:
    """Five hundred maps in each other, far beyond Firestore's twenty."""
    decoded(deep(500))


# --- over HTTP ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("hostile")


def environment(emulator: Emulator) -> dict[str, str]:
    return {"GOOGLE_CLOUD_PROJECT": "demo-hostile", "FIRESTORE_EMULATOR_HOST": emulator.address}


@pytest.fixture(scope="module")
def trigger(emulator: Emulator, folder: Path) -> Iterator[Function]:
    with serving("on_libra_created", folder / "trigger.txt", environment(emulator)) as function:
        yield function


@pytest.fixture(scope="module")
def recompute(emulator: Emulator, folder: Path) -> Iterator[Function]:
    with serving("recompute", folder / "recompute.txt", environment(emulator)) as function:
        yield function


@pytest.fixture(scope="module")
def client() -> Iterator[httpx.Client]:
    with httpx.Client(timeout=PATIENCE) as opened:
        yield opened


def answered(
    client: httpx.Client, method: str, url: str, body: bytes, headers: dict[str, str]
) -> httpx.Response:
    """The answer, which is prompt, or was so when asked again."""
    for _ in range(3):
        answer = client.request(method, url, content=body, headers=headers)
        if answer.elapsed < PROMPT:
            return answer
    pytest.fail(f"{method} with {len(body)} bytes of {headers} took {answer.elapsed} three times")


METHODS = st.sampled_from(
    ["POST", "POST", "POST", "GET", "PUT", "DELETE", "PATCH", "OPTIONS", "HEAD", "TRACE"]
)
TYPES = st.sampled_from(
    ["application/protobuf", "application/json", "text/plain", "application/cloudevents+json", "", "a/b;c=d"]
)
HEADER = st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=40)
EVENT_HEADERS = st.fixed_dictionaries(
    {},
    optional={
        "ce-id": HEADER,
        "ce-source": HEADER,
        "ce-specversion": st.sampled_from(["1.0", "0.3", "9", ""]),
        "ce-type": st.sampled_from([CREATED, "other", ""]),
        "traceparent": HEADER,
        "ce-time": HEADER,
    },
)
BODIES = mutilated() | st.binary(max_size=2_000) | JSON.map(lambda value: json.dumps(value).encode())
OVER_HTTP = settings(
    max_examples=250, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@OVER_HTTP
@given(METHODS, st.tuples(TYPES, EVENT_HEADERS), BODIES)
def test_the_trigger_answers_whatever_comes(
    trigger: Function, client: httpx.Client, method: str, content: tuple[str, dict[str, str]], body: bytes
) -> None:
    """Any method, type, headers and body: an answer that says who is to blame, from a server that goes on."""
    answer = answered(client, method, trigger.url, body, content[1] | {"content-type": content[0]})
    assert answer.status_code in {200, 204, 400, 404, 405, 415}, (answer.status_code, answer.text[:300])
    assert trigger.healthy()


@OVER_HTTP
@given(METHODS, TYPES, BODIES | st.just(b'{"dry_run": true}') | st.just(b'{"strategy": "scan"}'))
def test_the_recompute_answers_whatever_comes(
    recompute: Function, client: httpx.Client, method: str, content_type: str, body: bytes
) -> None:
    """As its contract says: 200, 400, 405, or 409 while a run is under way."""
    answer = answered(client, method, recompute.url, body, {"content-type": content_type})
    assert answer.status_code in {200, 400, 405, 409}, (answer.status_code, answer.text[:300])
    if method != "HEAD" and answer.status_code != 405:  # the framework's own 405 is text
        assert isinstance(answer.json(), dict)


@pytest.mark.parametrize("target", ["trigger", "recompute"])
def test_oversized_bodies_are_answered(
    request: pytest.FixtureRequest, client: httpx.Client, target: str
) -> None:
    """Thirty megabytes of nothing, and of nested JSON."""
    function: Function = request.getfixturevalue(target)
    event = {"ce-id": "e", "ce-source": "s", "ce-type": CREATED, "ce-specversion": "1.0"}
    for content_type, body in (
        ("application/protobuf", b"\0" * 30_000_000),
        ("application/json", b"[" * 200_000),
        ("application/json", b'{"value":' * 100_000),
    ):
        headers = event | {"content-type": content_type}
        answer = answered(client, "POST", function.url, body, headers)
        assert answer.status_code in {200, 204, 400, 413}, (answer.status_code, answer.text[:300])
    assert function.healthy()


def test_the_logs_hold_no_entry(trigger: Function, recompute: Function, folder: Path) -> None:
    """After all of that neither log has an entry's content, nor a traceback of ours."""
    assert trigger.healthy()
    assert recompute.healthy()
    for log in folder.glob("*.txt"):
        text = log.read_text(errors="replace")
        assert CONTENT not in text
        assert "shared/" not in text or "Traceback" not in text

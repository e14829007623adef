"""The API as it is served: uvicorn, real sockets, the recompute beside it."""

import http.client
import socket
import subprocess
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from local.process import wait_until
from local.served import unsigned_token
from local.stack import LocalStack
from shared.catalog import LIBRA_HOME
from shared.recompute import LEASE, Lease
from shared.store import Merge
from shared.store.client import FirestoreStore
from tests.support.kitchen import Kitchen

PROJECT = "demo-api"


@pytest.fixture(scope="module")
def stack() -> Iterator[LocalStack]:
    """A local stack with the API, shared by the module."""
    settings = {"LIBRA_LAG_SECONDS": "0", "LIBRA_BUCKET_SECONDS": "1"}
    with LocalStack(project=PROJECT, settings=settings, recompute=True, api=True) as running:
        yield running


@pytest.fixture
def kitchen(stack: LocalStack) -> Iterator[Kitchen]:
    """What devices write to."""
    store = FirestoreStore.connect(stack.settings)
    yield Kitchen(store, stack.settings)
    store.close()


def ask(stack: LocalStack, method: str, path: str, role: str = "operator", **options: Any) -> httpx.Response:
    """Send a request to the API."""
    headers = {"Authorization": f"Bearer {unsigned_token(stack.project, role)}"}
    return httpx.request(method, f"http://{stack.api.address}{path}", headers=headers, timeout=30, **options)


def test_a_run_is_started_followed_and_proves_the_totals(stack: LocalStack, kitchen: Kitchen) -> None:
    """202 with the run as soon as it has begun; its record says how it ended; then the total is proven."""
    kitchen.write("a")
    stack.wait_until_quiet(received=1)
    started = ask(stack, "POST", "/v1/recompute", json={"strategy": "scan"})
    assert started.status_code == 202, started.text
    path = f"/v1/runs/{started.json()['run_id']}"

    def ended() -> bool:
        return bool(ask(stack, "GET", path).json()["run"]["state"] == "completed")

    wait_until(ended, seconds=60, what="the run completed")
    run = ask(stack, "GET", path).json()
    assert (run["run"]["strategy"], run["run"]["drift"]) == ("scan", 0)
    total = ask(stack, "GET", "/v1/totals/aggregates_categories/Kettle%20Chips", role="").json()
    assert total["exact_through"] == run["run"]["watermark"]


def test_one_run_at_a_time(stack: LocalStack, kitchen: Kitchen) -> None:
    """409 names the run that is under way."""
    path = LIBRA_HOME.state
    now, _ = kitchen.store.now([path])
    held = Lease("20250904T190000Z-00000000", 1_000, now + LEASE)
    before = kitchen.store.get([path])[0]
    kitchen.store.commit([Merge(path, {("lease",): held.as_fields()})], timeout=10)
    try:
        refused = ask(stack, "POST", "/v1/recompute")
        assert refused.status_code == 409
        assert refused.json()["run_id"] == held.run_id
        assert refused.headers["content-type"] == "application/problem+json"
        (source,) = ask(stack, "GET", "/v1/freshness").json()["sources"]
        assert source["run_id"] == held.run_id
    finally:
        lease = dict(before.fields)["lease"] if before else None
        kitchen.store.commit([Merge(path, {("lease",): lease})], timeout=10)


@pytest.mark.parametrize(
    ("options", "status"),
    [({"strategy": "guess"}, 422), ({"dry_run": True}, 422), ({"accept_loss": "yes"}, 422), ([], 422)],
)
def test_options_that_are_none_start_nothing(stack: LocalStack, options: object, status: int) -> None:
    """They are refused before the recompute is asked."""
    before = ask(stack, "GET", "/v1/runs").json()
    assert ask(stack, "POST", "/v1/recompute", json=options).status_code == status
    assert ask(stack, "GET", "/v1/runs").json() == before


@pytest.mark.parametrize("key", ["Mac/Cheese", "%2F", "🍝", "a b+c", "../x", "//", "x" * 1_400, "🍝" * 1_400])
def test_keys_travel_over_a_real_socket(stack: LocalStack, key: str) -> None:
    """As curl and httpx send them."""
    path = f"/v1/totals/aggregates_categories/{quote(key, safe='')}"
    found = ask(stack, "GET", path, role="")
    assert found.status_code == 200, found.text
    assert found.json()["key"] == key
    token = f"Authorization: Bearer {unsigned_token(stack.project, '')}"
    url = f"http://{stack.api.address}/v1/total/aggregates_categories"
    command = ["curl", "-sS", "-G", "-H", token, "--data-urlencode", f"key={key}", url]
    curl = subprocess.run(command, capture_output=True, check=True)
    assert curl.stdout == found.content


@pytest.mark.parametrize("key", ["..", "."])
def test_a_dot_segment_that_reaches_the_server_is_a_key(stack: LocalStack, key: str) -> None:
    """Clients remove them; one that does not is understood."""
    connection = http.client.HTTPConnection(stack.api.address)
    headers = {"Authorization": f"Bearer {unsigned_token(stack.project, '')}"}
    connection.request("GET", f"/v1/totals/aggregates_categories/{key}", headers=headers)
    answer = connection.getresponse()
    assert answer.status == 200
    assert f'"key":"{key}"'.encode() in answer.read()
    connection.close()


@pytest.mark.parametrize("path", [b"/v1/totals/a/%FF", b"/v1/totals/a/\xff", b"/v1/totals/a/%zz", b"/%"])
def test_bytes_that_are_no_text_are_a_problem_of_the_caller(stack: LocalStack, path: bytes) -> None:
    """Broken UTF-8, raw bytes, a broken escape: 4xx, and the server goes on."""

    host, _, port = stack.api.address.partition(":")
    token = unsigned_token(stack.project, "").encode()
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        lines = (b"GET " + path + b" HTTP/1.1", b"Host: x", b"Authorization: Bearer " + token)
        connection.sendall(b"\r\n".join((*lines, b"Connection: close", b"", b"")))
        answer = b""
        while received := connection.recv(65_536):
            answer += received
    assert answer.startswith(b"HTTP/1.1 4"), answer
    assert ask(stack, "GET", "/healthz").status_code == 200


def test_no_log_line_holds_a_key_or_a_token(stack: LocalStack) -> None:
    """Neither the API's own lines nor uvicorn's."""
    ask(stack, "GET", "/v1/totals/aggregates_categories/secret-key")
    ask(stack, "GET", "/v1/total/aggregates_categories?key=secret-key")
    written = stack.api.log.read_text(encoding="utf-8")
    assert '"route": "/v1/totals/{aggregation}/{key:path}"' in written
    assert "secret-key" not in written
    assert unsigned_token(stack.project, "operator") not in written

"""The edge of the API: who gets in, what is refused and how, and what is logged."""

import asyncio
import io
import json
import threading
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from services.api.application import MAX_BODY, application
from services.api.settings import ApiSettings
from shared import log
from shared.errors import Denied, SettingError, StateError, Transient
from shared.http.edge import MAX_TARGET, left
from tests.support.api import ENVIRONMENT, PROJECT, Api, check_problem

SHOP = "https://shop.example"
NO_ORIGINS = [
    *(
        "*",
        "null",
        "https://*.shop.example",
        "https://shop.example/",
        "https://shop.example/page",
        "shop.example",
    ),
    *(
        "https://Shop.example",
        "https://shop.example:443",
        "http://shop.example:80",
        f"{SHOP},*",
        f"{SHOP} {SHOP}",
    ),
]


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> Api:
    """An application that takes the tokens of the auth emulator, with routes that fail."""
    monkeypatch.setenv("FIREBASE_AUTH_EMULATOR_HOST", "127.0.0.1:9099")
    app = application(ApiSettings.from_environment(ENVIRONMENT))
    misbehave(app)
    return Api(app, PROJECT)


def misbehave(app: FastAPI) -> None:
    """Routes that do what a route must not, and one that takes its time."""
    failures = {
        "denied": Denied("secret"),
        "state": StateError("secret"),
        "transient": Transient("secret"),
        "unforeseen": RuntimeError("secret"),
    }

    @app.get("/fail/{name}", include_in_schema=False)
    def fail(name: str) -> None:
        raise failures[name]

    @app.post("/body", include_in_schema=False)
    def body(given: dict[str, Any]) -> dict[str, Any]:
        return given

    @app.get("/slow", include_in_schema=False)
    def slow(seconds: float) -> str:
        time.sleep(seconds)
        return "at last"


@pytest.fixture
def lines() -> Iterator[io.StringIO]:
    """What is logged."""
    stream = io.StringIO()
    log.configure("INFO", stream)
    yield stream
    log.configure("INFO")


def logged(lines: io.StringIO) -> list[dict[str, Any]]:
    """The records."""
    return [json.loads(line) for line in lines.getvalue().splitlines()]


@pytest.mark.parametrize(
    ("method", "path", "status", "detail"),
    [
        ("GET", "/v1/nothing", 404, "/openapi.json"),
        ("POST", "/v1/aggregations", 405, "Allow"),
        ("GET", "/slow?seconds=soon", 422, "seconds: "),
        ("GET", "/" + "x" * MAX_TARGET, 414, str(MAX_TARGET)),
        ("GET", "/healthz?" + "x" * MAX_TARGET, 414, str(MAX_TARGET)),
        ("GET", "/docs/..", 404, "/openapi.json"),
        ("GET", "/docs/passwd", 404, "'passwd'"),
    ],
)
def test_what_the_framework_refuses_is_a_problem(
    api: Api, method: str, path: str, status: int, detail: str
) -> None:
    """Not the framework's own JSON, and with a word on what is allowed."""
    assert detail in check_problem(api.ask(method, path), status)["detail"]


def test_a_refused_method_names_those_that_are_allowed(api: Api) -> None:
    """As HTTP wants it."""
    assert api.ask("PUT", "/v1/aggregations").headers["allow"] == "GET"


@pytest.mark.parametrize(
    ("name", "status"),
    [("denied", 503), ("state", 500), ("transient", 503), ("unforeseen", 500)],
)
def test_a_failure_says_nothing_of_the_exception_and_the_log_does(
    api: Api, lines: io.StringIO, name: str, status: int
) -> None:
    """What an exception says may hold anything: it stays inside."""
    answer = api.get(f"/fail/{name}")
    check_problem(answer, status)
    assert "secret" not in answer.text
    assert "secret" in lines.getvalue()


@pytest.mark.parametrize("announced", [True, False], ids=["announced", "in chunks"])
def test_a_body_is_bounded_whatever_it_says_of_its_length(api: Api, announced: bool) -> None:
    """One byte more than is allowed is refused before a route sees it; exactly as much is taken."""

    async def chunks(size: int) -> Any:
        for start in range(0, size, 1_000):
            yield (text[:size])[start : start + 1_000]

    for size, status in ((MAX_BODY, 200), (MAX_BODY + 1, 413)):
        text = b'{"a": "' + b"x" * (size - 9) + b'"}'
        content = text if announced else chunks(size)
        headers = {"content-type": "application/json"}
        answer = api.ask("POST", "/body", content=content, headers=headers)
        assert answer.status_code == status
    check_problem(answer, 413)


def asked_from(origin: str, method: str, path: str, monkeypatch: pytest.MonkeyPatch) -> httpx.Response:
    """What an API that allows two origins answers to a page of this one."""
    monkeypatch.setenv("FIREBASE_AUTH_EMULATOR_HOST", "127.0.0.1:9099")
    settings = ApiSettings.from_environment(
        ENVIRONMENT | {"LIBRA_API_ORIGINS": f"{SHOP}, http://localhost:5173"}
    )
    asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"}
    headers = {"Origin": origin} | (asked if method == "OPTIONS" else {})
    return Api(application(settings), PROJECT).ask(method, path, headers=headers, role=None)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/healthz", 200),
        ("GET", "/v1/aggregations", 401),
        ("GET", "/" + "x" * MAX_TARGET, 414),
        ("OPTIONS", "/v1/recompute", 200),
    ],
)
@pytest.mark.parametrize("origin", [SHOP, "http://localhost:5173"])
def test_a_page_of_an_allowed_origin_reads_every_answer(
    method: str, path: str, status: int, origin: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also a problem; its own origin is named, and no cookie is taken."""
    answer = asked_from(origin, method, path, monkeypatch)
    assert answer.status_code == status
    assert answer.headers["access-control-allow-origin"] == origin
    assert "Origin" in answer.headers["vary"]
    assert "access-control-allow-credentials" not in answer.headers
    if method == "OPTIONS":
        assert answer.headers["access-control-allow-methods"] == "GET, POST"
        assert "Authorization" in answer.headers["access-control-allow-headers"]


@pytest.mark.parametrize(
    "origin", ["https://shop.example.evil", "http://shop.example", "https://a.shop.example", "null"]
)
@pytest.mark.parametrize("method", ["GET", "OPTIONS"])
def test_a_page_of_another_origin_reads_nothing(
    method: str, origin: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its browser is not told that it may; likewise where no origin is allowed at all."""
    answer = asked_from(origin, method, "/healthz", monkeypatch)
    assert "access-control-allow-origin" not in answer.headers
    plain = Api(application(ApiSettings.from_environment(ENVIRONMENT)), PROJECT)
    answer = plain.ask(method, "/healthz", headers={"Origin": origin}, role=None)
    assert "access-control-allow-origin" not in answer.headers


@pytest.mark.parametrize("content", [b"{", b"\xff", b"[1]"])
def test_a_body_that_is_no_object_is_a_problem(api: Api, content: bytes) -> None:
    """Broken JSON, broken text, another type."""
    answer = api.ask("POST", "/body", content=content, headers={"content-type": "application/json"})
    check_problem(answer, answer.status_code)
    assert answer.status_code in (400, 422)


def test_a_request_has_a_deadline_and_the_process_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """504 when it is over, and soon after it no read is left any time; the next request is answered."""
    monkeypatch.setenv("FIREBASE_AUTH_EMULATOR_HOST", "127.0.0.1:9099")
    app = application(ApiSettings.from_environment(ENVIRONMENT | {"LIBRA_API_DEADLINE_SECONDS": "1"}))
    ended = threading.Event()

    @app.get("/stuck")
    def stuck() -> None:
        while left():
            time.sleep(0.01)
        ended.set()

    async def ask() -> tuple[httpx.Response, httpx.Response]:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://api") as client:
            late = await client.get("/stuck")
            after = await client.get("/healthz")
            return late, after

    late, after = asyncio.run(ask())
    assert "within 1 seconds" in check_problem(late, 504)["detail"]
    assert after.json() == {"status": "ok"}
    assert ended.wait(30)


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"FIREBASE_AUTH_EMULATOR_HOST": "127.0.0.1:9099", "K_SERVICE": "libra-api"}, "not set on Cloud Run"),
        ({"LIBRA_API_RECOMPUTE_URL": "http://recompute.example"}, "an https:// address"),
        ({"LIBRA_API_AUDIENCE": "libra"}, "an https:// address"),
        ({"LIBRA_API_OPERATORS": "ann"}, "addresses of Google accounts"),
        *(({"LIBRA_API_ORIGINS": each}, "origins as browsers send them") for each in NO_ORIGINS),
        ({"LIBRA_API_DEADLINE_SECONDS": "0"}, "a whole number from 1 to 300"),
        ({"LIBRA_API_DEADLINE_SECONDS": "soon"}, "a whole number from 1 to 300"),
        ({"LIBRA_TIME_ZONE": "Mars"}, "an IANA time zone"),
    ],
)
def test_a_wrong_setting_stops_the_start(variables: dict[str, str], message: str) -> None:
    """The message names the variable, the value found and what is allowed."""
    with pytest.raises(SettingError) as raised:
        ApiSettings.from_environment(ENVIRONMENT | variables)
    variable, value = next(iter(variables.items()))
    assert str(raised.value).startswith(f"{variable}={value!r}: ")
    assert message in str(raised.value)


def test_a_request_is_one_line_with_its_trace_and_without_its_path(api: Api, lines: io.StringIO) -> None:
    """A path may hold a key, and a key may be anybody's business: the route is named in its place."""
    trace = "0af7651916cd43dd8448eb211c80319c"
    for header in (
        {"traceparent": f"00-{trace}-b7ad6b7169203331-01"},
        {"x-cloud-trace-context": f"{trace}/1;o=1"},
    ):
        lines.truncate(0)
        lines.seek(0)
        api.get("/docs/secret?key=secret", headers=header)
        (record,) = logged(lines)
        assert record["logging.googleapis.com/trace"] == f"projects/{PROJECT}/traces/{trace}"
        assert (record["method"], record["route"], record["status"]) == ("GET", "/docs/{name}", 404)
        assert record["severity"] == "INFO"
        assert "secret" not in lines.getvalue()


def test_the_documentation_asks_no_other_host(api: Api) -> None:
    """The page and all that it loads come from the artefact, and its policy allows nothing else."""
    page = api.get("/docs", role=None)
    assert "//" not in page.text.replace("<!doctype", "")
    assert page.headers["content-security-policy"].startswith("default-src 'none'")
    for name in ("swagger-ui-bundle.js", "swagger-ui.css", "start.js"):
        assert f"docs/{name}" in page.text
        packed, plain = (
            api.get(f"/docs/{name}", role=None, headers={"Accept-Encoding": encoding})
            for encoding in ("gzip", "identity")
        )
        assert packed.status_code == plain.status_code == 200
        assert packed.content == plain.content
        assert "content-encoding" not in plain.headers


def test_the_schema_is_openapi_31_and_knows_one_kind_of_error(api: Api) -> None:
    """What a client is generated from names problems, and nothing of the framework."""
    schema = api.get("/openapi.json", role=None).json()
    assert schema["openapi"].startswith("3.1")
    assert "HTTPValidationError" not in json.dumps(schema)
    for path, operations in schema["paths"].items():
        for operation in operations.values():
            for status, answer in operation["responses"].items():
                kinds = list(answer["content"])
                assert kinds == ["application/json" if status < "300" else "application/problem+json"], path

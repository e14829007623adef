"""`POST /flush` over HTTP, on a real Valkey and a real PostgreSQL: who may, its answers, what it books."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import httpx
import psycopg
import pytest
import uvicorn
from fastapi import FastAPI

from local.process import wait_until
from services.usage.application import Open, application, tokens
from services.usage.counters import Counters
from services.usage.running import Opened, opened
from services.usage.settings import UsageSettings
from services.usage.tracker import UsageTracker
from shared.errors import Denied, LibraError, MigrationError, SettingError, Transient
from tests.support.signing import Signer

TAKEN = {
    "LIBRA_USAGE_AUDIENCE": "https://usage.example",
    "LIBRA_USAGE_ACCOUNTS": "libra-scheduler@kitchen-1.iam.gserviceaccount.com",
}
CLAIMS = {
    "iss": "https://accounts.google.com",
    "aud": TAKEN["LIBRA_USAGE_AUDIENCE"],
    "email": TAKEN["LIBRA_USAGE_ACCOUNTS"],
    "email_verified": True,
}
Served = Callable[..., AbstractContextManager[httpx.Client]]


@contextmanager
def serving(app: FastAPI, bearer: str | None) -> Iterator[httpx.Client]:
    """A server of its own on a free port, and what asks it as Cloud Scheduler does."""
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_config=None))
    thread = threading.Thread(target=lambda: asyncio.run(server.serve()), daemon=True)
    thread.start()
    try:
        wait_until(lambda: server.started, seconds=60, what="the server")
        port = server.servers[0].sockets[0].getsockname()[1]
        headers = {} if bearer is None else {"Authorization": f"Bearer {bearer}"}
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", headers=headers, timeout=120) as client:
            yield client
    finally:
        server.should_exit = True
        thread.join()


@pytest.fixture
def signer(monkeypatch: pytest.MonkeyPatch) -> Signer:
    """Google's keys."""
    monkeypatch.delenv("FIREBASE_AUTH_EMULATOR_HOST", raising=False)
    return Signer(monkeypatch)


@pytest.fixture
def served(environment: dict[str, str], signer: Signer) -> Served:
    """Starts a server, and asks it with these claims."""

    def start(*, open_: Open = opened, **claims: object) -> AbstractContextManager[httpx.Client]:
        settings = UsageSettings.from_environment(environment)
        return serving(application(settings, tokens(TAKEN, None), open_=open_), signer.token(CLAIMS | claims))

    return start


def count(environment: dict[str, str], merchant: str, amount: int) -> None:
    """An application has counted."""
    with UsageTracker(environment["LIBRA_REDIS_URL"]) as tracker:
        tracker.track(merchant, "requests", amount)


def billed(environment: dict[str, str]) -> dict[str, int]:
    """What each merchant is to pay for."""
    with psycopg.connect(environment["LIBRA_POSTGRES_URL"]) as connection:
        rows = connection.execute(
            "SELECT merchant_id, sum(metric_value)::bigint FROM merchant_usage GROUP BY 1"
        )
        return {str(merchant): int(value) for merchant, value in rows.fetchall()}


def test_what_was_counted_is_billed_and_the_answer_says_so(
    environment: dict[str, str], served: Served
) -> None:
    """Records, errors, seconds. What cannot be read is in the answer, which is a success: a second try would
    set the same aside."""
    count(environment, "Mac/Cheese", 5)
    redis = Counters.connect(environment["LIBRA_REDIS_URL"])
    redis._client.set("usage-parts:{odd}:2026-11-25:12", "no hash")
    redis.close()
    with served() as client:
        assert client.get("/readyz").json() == {"status": "ok"}
        answer = client.post("/flush")
        assert answer.status_code == 200
        found = answer.json()
        assert (found["records"], found["gained"], found["errors"], found["late"]) == (1, 5, 1, 0)
        assert found["seconds"] > 0
        assert found["sealed_through"].endswith("Z")
        again = client.post("/flush", json={"message": "Cloud Scheduler sends what it was told to"}).json()
        assert (again["records"], again["gained"], again["errors"]) == (1, 0, 1)
    assert billed(environment) == {"Mac/Cheese": 5}


def test_two_instances_at_once_bill_once(environment: dict[str, str], served: Served) -> None:
    """A try that comes while the one before runs, or an instance beside it: a part enters by a join."""
    for merchant in range(40):
        count(environment, f"m{merchant}", 3)
    with served() as one, served() as two, ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda client: client.post("/flush"), [one, two] * 3))
        assert {it.status_code for it in answers} <= {200, 409}
        for client in (one, two):  # whatever met another run
            assert client.post("/flush").status_code == 200
    assert billed(environment) == {f"m{merchant}": 3 for merchant in range(40)}


def test_one_run_at_a_time_in_a_process(served: Served) -> None:
    """The second one gets 409, and the next one is taken."""
    begun, go_on = threading.Event(), threading.Event()

    @contextmanager
    def slow(settings: UsageSettings) -> Iterator[Opened]:
        begun.set()
        assert go_on.wait(60)
        with opened(settings) as service:
            yield service

    with served(open_=slow) as client, ThreadPoolExecutor(1) as pool:
        first = pool.submit(client.post, "/flush")
        assert begun.wait(60)
        second = client.post("/flush")
        go_on.set()
        assert (second.status_code, second.json()["title"]) == (409, "Conflict")
        assert first.result().status_code == 200
        assert client.post("/flush").status_code == 200


@pytest.mark.parametrize(
    ("error", "status", "detail"),
    [
        (Transient("PostgreSQL h:1/d: no route"), 503, "the next run books the rest"),
        (Denied("PostgreSQL h:1/d: password authentication failed"), 500, "the log says"),
        (MigrationError("migration usage/1: a value is NULL"), 500, "the log says"),
        (SettingError("LIBRA_REDIS_URL", "x", "an address"), 500, "the log says"),
    ],
    ids=lambda it: type(it).__name__,
)
def test_a_run_that_fails_is_tried_again_where_that_may_help(
    served: Served, caplog: pytest.LogCaptureFixture, error: LibraError, status: int, detail: str
) -> None:
    """The log has the reason, as the job's has it, and the answer has no address of a server."""

    @contextmanager
    def failing(_: UsageSettings) -> Iterator[Opened]:
        raise error
        yield

    with served(open_=failing) as client:
        answers: list[Any] = [client.post("/flush"), client.get("/readyz"), client.post("/flush")]
        assert client.get("/healthz").status_code == 200
    for answer in answers:
        assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
        assert detail in answer.json()["detail"]
        assert str(error) not in answer.text
    failed = [it for it in caplog.records if it.message == "The usage job failed"]
    assert [it.__dict__["error"] for it in failed] == [str(error)] * 3


@pytest.mark.parametrize(
    ("claims", "status"),
    [
        ({"email": "eve@example.com"}, 403),
        ({"email_verified": False}, 403),
        ({"aud": "https://elsewhere.example"}, 401),
        ({"iss": "https://securetoken.google.com/kitchen-1"}, 401),
    ],
)
def test_only_the_account_that_is_named_may_flush(
    environment: dict[str, str], served: Served, claims: dict[str, object], status: int
) -> None:
    """Its token must be Google's, for this service. Nothing is booked for anybody else."""
    count(environment, "acme", 1)
    with served(**claims) as client:
        assert client.post("/flush").status_code == status
        assert client.post("/flush", headers={"Authorization": ""}).status_code == 401
        assert client.get("/flush").status_code == 405
    with psycopg.connect(environment["LIBRA_POSTGRES_URL"]) as connection:
        assert connection.execute("SELECT to_regclass('merchant_usage')").fetchone() == (None,)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"LIBRA_USAGE_AUDIENCE": ""}, "LIBRA_USAGE_AUDIENCE='': this service's own address"),
        ({"LIBRA_USAGE_AUDIENCE": "usage.example"}, "LIBRA_USAGE_AUDIENCE='usage.example': an https://"),
        ({"LIBRA_USAGE_ACCOUNTS": ""}, "LIBRA_USAGE_ACCOUNTS='': the addresses of the Google accounts"),
        ({"FIREBASE_AUTH_EMULATOR_HOST": "127.0.0.1:9099", "K_SERVICE": "x"}, "not set on Cloud Run"),
    ],
)
def test_a_service_that_nobody_could_use_does_not_start(changed: dict[str, str], message: str) -> None:
    """The message names the variable, and what is allowed."""
    with pytest.raises(SettingError, match=message):
        tokens(TAKEN | changed, None)

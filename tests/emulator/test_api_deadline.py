"""A Firestore that takes requests and answers none: the API answers in time, and recovers with Firestore."""

import asyncio
import os
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from local.emulator import Emulator
from local.process import wait_until
from local.served import Served, unsigned_token
from shared.errors import Transient
from shared.settings import Settings
from shared.store.client import FirestoreStore
from tests.emulator.test_api_roles import PATHS
from tests.support.api import check_problem
from tests.support.grpc_proxy import GrpcProxy

DEADLINE = 2
"""Seconds that the API is given."""
PATIENCE = 25
"""Seconds that a busy machine is given on top. A read that nothing bounds takes 60."""
REQUESTS = 30
"""As many as the API reads for at once."""
WITHOUT = {"/v1/aggregations", "/healthz", "/docs", "/openapi.json"}
"""Routes that read nothing."""
USAGE = "/v1/usage/{merchant}"
"""It reads PostgreSQL, and gives its statements the same time."""


@pytest.fixture
def proxy(emulator: Emulator) -> Iterator[GrpcProxy]:
    """What stands between the API and the emulator, and holds answers back."""
    with GrpcProxy(emulator.address, workers=4 * REQUESTS) as running:
        yield running


@pytest.fixture
def api(proxy: GrpcProxy, project: str, tmp_path: Path) -> Iterator[Served]:
    """The API as it is served, with its deadline."""
    environment = {
        "FIRESTORE_EMULATOR_HOST": proxy.address,
        "GOOGLE_CLOUD_PROJECT": project,
        "LIBRA_API_DEADLINE_SECONDS": str(DEADLINE),
    }
    served = Served.api("127.0.0.1:1", tmp_path / "api.txt", os.environ | environment)
    served.start()
    yield served
    proxy.clear()
    served.stop()


def together(api: Served, project: str, paths: list[str]) -> list[httpx.Response]:
    """Ask all of them at once."""
    headers = {"Authorization": f"Bearer {unsigned_token(project, 'operator')}"}

    async def ask() -> list[httpx.Response]:
        limits = httpx.Limits(max_connections=None)
        async with httpx.AsyncClient(base_url=f"http://{api.address}", timeout=120, limits=limits) as client:
            return await asyncio.gather(*(client.get(path, headers=headers) for path in paths))

    return asyncio.run(ask())


def test_every_route_that_reads_answers_within_its_deadline(
    api: Served, proxy: GrpcProxy, project: str
) -> None:
    """504 as a problem, whichever call of Firestore's has no answer; what reads nothing answers as ever."""
    named = {"aggregation": "aggregates_time_dates", "key": "2025-09-04", "entry_id": "e", "run_id": "r"}
    query = {
        "/v1/series/{aggregation}": "?from=2025-09-04&to=2025-09-05",
        "/v1/total/{aggregation}": "?key=2025-09-04",
        "/v1/explain/{aggregation}": "?key=2025-09-04",
    }
    reading = [path for path in PATHS if path not in WITHOUT | {USAGE}]
    asked = [path.format(**named) + query.get(path, "") for path in [*reading, *WITHOUT]]
    proxy.stall("BatchGetDocuments", times=float("inf"))
    proxy.stall("RunQuery", times=float("inf"))
    begun = time.monotonic()
    answers = together(api, project, asked)
    assert time.monotonic() - begun < DEADLINE + PATIENCE
    for path, answer in zip(reading, answers[: len(reading)], strict=True):
        assert f"within {DEADLINE} seconds" in check_problem(answer, 504)["detail"], path
    assert [answer.status_code for answer in answers[len(reading) :]] == [200] * len(WITHOUT)


def test_a_read_without_time_is_not_answered(emulator: Emulator, project: str) -> None:
    """Where a request's time is over, none of its reads begins."""
    settings = Settings(project=project, emulator_host=emulator.address)
    left = [30.0, 0.0]
    store = FirestoreStore.connect(settings, patience=lambda: left.pop(0))
    assert store.get(["libra/e"]) == [None]
    with pytest.raises(Transient):
        store.get(["libra/e"])
    store.close()


def test_a_read_ends_with_the_request_that_it_is_for(api: Served, proxy: GrpcProxy, project: str) -> None:
    """A read that went on would hold its thread for a minute, and each new request would take another one.

    Nothing lets go of the stalled reads: they end by themselves. Then the API reads again.
    """
    proxy.stall("BatchGetDocuments", times=REQUESTS)
    path = "/v1/total/aggregates_time_dates?key=2025-09-04"
    answers = together(api, project, [path] * REQUESTS)
    assert {answer.status_code for answer in answers} == {504}
    assert proxy.struck["BatchGetDocuments", "stall"] > 0
    wait_until(lambda: proxy.waited_for == 0, seconds=PATIENCE, what="the reads have ended")
    wait_until(
        lambda: {each.status_code for each in together(api, project, [path, "/readyz"])} == {200},
        seconds=PATIENCE,
        what="the API reads again",
    )

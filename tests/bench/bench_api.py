"""The API beside the plain Firestore client: the same documents, in the same run, on the same emulator.

`uvicorn services.api.main:app` answers over kept-alive connections. The client is `google-cloud-firestore` in
a process with as many threads as the API has connections. They take turns. Machine, emulator and load
generator share the cores, so the figure to trust is the ratio within a round.
"""

import asyncio
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median

from google.cloud import firestore
from google.cloud.firestore_v1.base_query import FieldFilter

from local.emulator import Emulator
from local.process import Child, free_port
from local.served import NO_EMULATOR, answers, unsigned_token
from shared.catalog import LIBRA_HOME, libra
from shared.recompute import Recompute
from shared.settings import Settings
from shared.store import Create
from shared.store.client import FirestoreStore
from tests.bench.load import Result, send
from tests.bench.systems import ROOT, cpu_of
from tests.support.kitchen import SERVED

STORED = ROOT / "docs" / "benchmarks"
PROJECT = "demo-bench-api"
INGREDIENTS, DAYS, EACH = 100, 60, 60
"""Ingredients and dates that are counted, and entries of each ingredient."""
PAGE = 50
AT_ONCE = (1, 8)
TOTALS, DATES = LIBRA_HOME.collection("aggregates_categories"), LIBRA_HOME.collection("aggregates_time_dates")
KEY, FIRST, LAST = "Ingredient 7", "2025-09-01", "2025-09-30"


@dataclass(frozen=True)
class Route:
    """A request, and the same documents without the API."""

    title: str
    path: str
    read: Callable[[firestore.Client], int]
    """Reads them; how many there were."""
    documents: int
    """How many there must be."""


@dataclass(frozen=True)
class Measured:
    """One route, asked in one way for a while."""

    route: str
    how: str
    """`api` or `client`."""
    at_once: int
    answers: int
    per_second: float
    p50: float
    """Milliseconds."""
    p99: float
    cpu: float
    """Microseconds an answer, of the API's process or of the client's."""


def _one_total(client: firestore.Client) -> int:
    names = (LIBRA_HOME.state, f"{TOTALS}/{KEY}")
    return sum(client.document(name).get().exists for name in names)


def _list(client: firestore.Client) -> int:
    query = client.collection(TOTALS).order_by("count", direction=firestore.Query.DESCENDING)
    return _state(client) + len(query.limit(PAGE).get())


def _series(client: firestore.Client) -> int:
    dates = client.collection(DATES)
    query = dates.where(filter=FieldFilter("__name__", ">=", dates.document(FIRST)))
    return _state(client) + len(query.where(filter=FieldFilter("__name__", "<=", dates.document(LAST))).get())


def _freshness(client: firestore.Client) -> int:
    names = [LIBRA_HOME.collection(each.name) for each in libra(Settings()).aggregations]
    return _state(client) + sum(len(client.collection(name).select(["recent"]).get()) for name in names)


def _explain(client: firestore.Client) -> int:
    entries = client.collection(LIBRA_HOME.entries).where(filter=FieldFilter("ingredient", "==", KEY))
    return _one_total(client) + len(entries.order_by("__name__").limit(PAGE).get())


def _state(client: firestore.Client) -> int:
    return int(client.document(LIBRA_HOME.state).get().exists)


ROUTES = (
    Route("one total", f"/v1/total/{TOTALS}?key=Ingredient%207", _one_total, 2),
    Route(f"{PAGE} totals by -count", f"/v1/totals/{TOTALS}?order=-count&limit={PAGE}", _list, 1 + PAGE),
    Route("series of a month", f"/v1/series/{DATES}?from={FIRST}&to={LAST}", _series, 1 + 30),
    Route("freshness", "/v1/freshness", _freshness, 1 + INGREDIENTS + 1 + 1 + DAYS),
    Route("explain, a page", f"/v1/explain/{TOTALS}?limit={PAGE}&key=Ingredient%207", _explain, 2 + PAGE),
)


def main(*, quick: bool) -> None:
    """Measure, print, and, unless it is quick, write docs/benchmarks/api.{json,md}."""
    seconds, rounds = (0.5, 1) if quick else (2.0, 3)
    found: list[Measured] = []
    with _served() as (api, address):
        for route in ROUTES:
            for at_once in AT_ONCE:
                for _ in range(rounds):
                    found += [
                        _of_api(api, route, at_once, seconds),
                        _of_client(address, route, at_once, seconds),
                    ]
                print(f"{route.title}, {at_once} at once: done", file=sys.stderr)
    text = "\n".join(["# The API", "", *_lines(found, rounds, seconds), ""])
    print(text)
    if not quick:
        (STORED / "api.json").write_text(json.dumps([asdict(one) for one in found], indent=1) + "\n")
        (STORED / "api.md").write_text(text)


# --- what is measured -----------------------------------------------------------------------------


class Api:
    """The API, as it is served, over counted and proven entries."""

    def __init__(self, address: str, folder: Path) -> None:
        """Start it; ``address`` is the emulator's."""
        self.port = free_port()
        told = {
            "FIRESTORE_EMULATOR_HOST": address,
            "GOOGLE_CLOUD_PROJECT": PROJECT,
            "FIREBASE_AUTH_EMULATOR_HOST": NO_EMULATOR,
        }
        command = [sys.executable, "-m", "uvicorn", "services.api.main:app", "--port", str(self.port)]
        self.child = Child("the API", command, folder / "api.txt", os.environ | told)
        self.child.wait_healthy(lambda: answers(f"http://127.0.0.1:{self.port}/healthz"), seconds=60)


@contextmanager
def _served() -> Iterator[tuple[Api, str]]:
    """The API, and the emulator's address."""
    outside = {name: value for name, value in os.environ.items() if name != "FIRESTORE_EMULATOR_HOST"}
    with (
        tempfile.TemporaryDirectory() as name,
        Emulator.prepare(outside, Path(name) / "emulator.txt") as emulator,
    ):
        _fill(emulator.address)
        api = Api(emulator.address, Path(name))
        try:
            yield api, emulator.address
        finally:
            api.child.stop()


def _fill(address: str) -> None:
    settings = Settings(
        project=PROJECT, emulator_host=address, test=True, lag=timedelta(0), bucket=timedelta(seconds=1)
    )
    store, begin = FirestoreStore.connect(settings), datetime(2025, 8, 15, 12, tzinfo=UTC)
    writes = [
        Create(
            f"{LIBRA_HOME.entries}/e{number:05}",
            SERVED
            | {
                "ingredient": f"Ingredient {number % INGREDIENTS}",
                "timestamp": begin + timedelta(days=number % DAYS),
            },
        )
        for number in range(INGREDIENTS * EACH)
    ]
    for first in range(0, len(writes), 500):
        written = store.commit(writes[first : first + 500], timeout=60)
    recompute = Recompute(store, libra(settings), LIBRA_HOME, settings)
    while recompute.run("scan").watermark < written:
        time.sleep(0.1)  # a watermark trails the clock by up to a second
    store.close()


def _of_api(api: Api, route: Route, at_once: int, seconds: float) -> Measured:
    token = unsigned_token(PROJECT, "operator")
    lines = (f"GET {route.path} HTTP/1.1", "Host: 127.0.0.1", f"Authorization: Bearer {token}", "", "")
    request = "\r\n".join(lines).encode()
    asyncio.run(send(api.port, deque([request] * 20), at_once, 5.0))  # warms up
    cpu = cpu_of(api.child.pid)
    result = asyncio.run(send(api.port, deque([request] * int(20_000 * seconds)), at_once, seconds))
    if result.errors or result.unanswered:
        raise RuntimeError(f"{route.path}: {result.errors}, {result.unanswered} without an answer")
    return _measured(route, "api", at_once, result, cpu_of(api.child.pid) - cpu)


def _of_client(address: str, route: Route, at_once: int, seconds: float) -> Measured:
    """In a process of its own, as the API is."""
    command = [sys.executable, "-m", __name__, str(ROUTES.index(route)), str(at_once), str(seconds)]
    told = os.environ | {"FIRESTORE_EMULATOR_HOST": address}
    done = subprocess.run(command, cwd=ROOT, env=told, check=True, capture_output=True, text=True)
    result = json.loads(done.stdout)
    cpu = result.pop("cpu")
    return _measured(route, "client", at_once, Result(**result), cpu)


def _child(route: str, at_once: str, seconds: str) -> None:
    """Ask the client with so many threads, for so long."""
    asked, client = ROUTES[int(route)], firestore.Client(project=PROJECT)
    for _ in range(20):
        assert asked.read(client) == asked.documents  # warms up
    latencies: list[float] = []
    began, cpu = time.perf_counter(), time.process_time()

    def ask(_: int) -> None:
        while (sent := time.perf_counter()) - began < float(seconds):
            asked.read(client)
            latencies.append(time.perf_counter() - sent)

    with ThreadPoolExecutor(int(at_once)) as pool:
        list(pool.map(ask, range(int(at_once))))
    taken, number = time.perf_counter() - began, len(latencies)
    result = Result(number, number, 0, taken, {}, latencies)
    print(json.dumps(asdict(result) | {"cpu": time.process_time() - cpu}))


def _measured(route: Route, how: str, at_once: int, result: Result, cpu: float) -> Measured:
    latencies = sorted(result.latencies)
    p50, p99 = (1e3 * latencies[int(share * (len(latencies) - 1))] for share in (0.5, 0.99))
    number = result.acknowledged
    per_second = number / result.seconds
    return Measured(route.title, how, at_once, number, per_second, p50, p99, cpu / number * 1e6)


# --- what is told ---------------------------------------------------------------------------------


def _lines(found: list[Measured], rounds: int, seconds: float) -> Iterator[str]:
    entries, python = INGREDIENTS * EACH, platform.python_version()
    yield f"`make bench NAME=api`: medians of {rounds} rounds of {seconds:g} s each, the two in turn."
    yield f"{platform.machine()}, {os.cpu_count()} cores for emulator, API and load, Python {python}."
    yield f"{entries:,} entries, {INGREDIENTS} ingredients, {DAYS} dates."
    yield ""
    yield "The client is `google-cloud-firestore` in one process, with a thread for each connection of the"
    yield "API's. It reads the same documents. A ratio is the API's figure by the client's: the median of the"
    yield "rounds, with the least and the most."
    yield ""
    documents = {route.title: route.documents for route in ROUTES}
    yield "| route | documents | at once | answers/s | p50 | p99 | CPU an answer |"
    yield "|---|--:|--:|--:|--:|--:|--:|"
    for route, at_once in _cells(found):
        ratios = (_ratio(found, route, at_once, name) for name in ("per_second", "p50", "p99", "cpu"))
        yield f"| {route} | {documents[route]} | {at_once} | {' | '.join(ratios)} |"
    yield ""
    yield "| route | at once | by | answers/s | p50 ms | p99 ms | CPU us an answer |"
    yield "|---|--:|---|--:|--:|--:|--:|"
    for route, at_once in _cells(found):
        for how in ("api", "client"):
            rate, p50, p99, cpu = (
                median(_values(found, route, at_once, how, name))
                for name in ("per_second", "p50", "p99", "cpu")
            )
            yield f"| {route} | {at_once} | {how} | {rate:,.0f} | {p50:.1f} | {p99:.1f} | {cpu:,.0f} |"


def _cells(found: list[Measured]) -> list[tuple[str, int]]:
    return list(dict.fromkeys((one.route, one.at_once) for one in found))


def _values(found: list[Measured], route: str, at_once: int, how: str, name: str) -> list[float]:
    return [getattr(one, name) for one in found if (one.route, one.at_once, one.how) == (route, at_once, how)]


def _ratio(found: list[Measured], route: str, at_once: int, name: str) -> str:
    both = (_values(found, route, at_once, how, name) for how in ("api", "client"))
    ratios = [ours / theirs for ours, theirs in zip(*both, strict=True)]
    return f"{median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"


if __name__ == "__main__":
    _child(*sys.argv[1:])

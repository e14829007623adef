"""`libra demo usage`: four APIs count requests, two flushes book them, and much goes wrong meanwhile."""

import os
import random
import tempfile
import time
from collections import Counter
from contextlib import ExitStack, closing
from pathlib import Path

import httpx
import psycopg
from rich.console import Console

from cli.report import totals_table
from local.process import wait_until
from local.served import Served
from local.usage import Usage
from services.usage.counters import Counters
from services.usage.running import opened
from services.usage.settings import UsageSettings

MERCHANTS = [f"m{n:02}" for n in range(1, 13)]
FLUSHES, PROCESSES = 2, 4
ACTS = 6
"""Parts of the demo, with something that goes wrong after each."""
SECONDS = 60


def show_usage(console: Console, requests: int, seed: int) -> bool:
    """Serve requests while Redis and processes fail; True if the bill is what was served."""
    rng = random.Random(seed)
    with ExitStack() as running:
        folder = Path(running.enter_context(tempfile.TemporaryDirectory(prefix="libra-usage-")))
        console.print("Starting PostgreSQL, Valkey, two processes that flush and four APIs …")
        environment = os.environ | {"LIBRA_USAGE_EVERY_SECONDS": "1"}
        usage = running.enter_context(Usage(folder, environment, flushes=FLUSHES))
        apis = [_launch(running, usage, folder, n) for n in range(PROCESSES)]
        for each in apis:
            each.wait_healthy()
        redis = running.enter_context(closing(Counters.connect(usage.valkey.url)))
        client = running.enter_context(httpx.Client(timeout=SECONDS))
        served: Counter[str] = Counter()
        started = time.monotonic()
        for act in range(ACTS):
            for _ in range(requests // ACTS):
                merchant = rng.choice(MERCHANTS)
                answer = client.get(
                    f"http://{rng.choice(apis).address}/", headers={"x-merchant-id": merchant}
                )
                served[merchant] += answer.is_success
            console.print(
                f"  {served.total():7,} served. {_go_wrong(act, usage, redis, rng.choice(apis), rng)}"
            )
        for each in apis:
            each.stop()
        billed = _wait_for_bill(usage, served)
    _say(console, served, billed, time.monotonic() - started)
    return billed == served


def _launch(running: ExitStack, usage: Usage, folder: Path, number: int) -> Served:
    log = folder / f"api-{number}.txt"
    api = Served(f"API {number}", ("uvicorn", "local.metered:app"), log, usage.environment)
    running.callback(api.stop)
    api.launch()
    return api


def _go_wrong(act: int, usage: Usage, redis: Counters, api: Served, rng: random.Random) -> str:
    if act in {0, 3}:
        usage.kill_flush()
        return "A process that flushes was killed."
    if act == 1:
        keys = [key for page in redis.scan() for key in page]
        redis.evict(rng.sample(keys, len(keys) // 2))
        return "Redis has evicted half of the counts."
    if act == 2:
        redis.evict([key for page in redis.scan() for key in page])
        return "Redis has lost every count."
    if act == 4:
        url = f"http://{api.address}/unconfirmed"
        wait_until(lambda: httpx.get(url, timeout=SECONDS).text == "0", seconds=SECONDS, what="counts sent")
        api.kill()
        with opened(UsageSettings.from_environment(usage.environment)) as service:
            service.flush.run()
        api.start()
        return "An API was killed, a moment after its last batch, and a flush has booked that."
    usage.valkey.kill()
    usage.valkey.start()
    return "Redis was killed, and started again empty."


def _wait_for_bill(usage: Usage, served: Counter[str]) -> Counter[str]:
    statement = "SELECT merchant_id, sum(metric_value)::bigint FROM merchant_usage GROUP BY 1"

    def bill() -> Counter[str]:
        with psycopg.connect(usage.postgres.url()) as connection:
            return Counter(dict(connection.execute(statement).fetchall()))

    deadline = time.monotonic() + SECONDS
    while (billed := bill()) != served and time.monotonic() < deadline:
        time.sleep(0.2)
    return billed


def _say(console: Console, served: Counter[str], billed: Counter[str], seconds: float) -> None:
    console.print(totals_table("merchant_usage", {**billed}, most_rows=len(MERCHANTS)))
    verdict = "is what was served" if billed == served else "is NOT what was served"
    style = "bold green" if billed == served else "bold red"
    console.print(
        f"{served.total():,} requests were served, {billed.total():,} are billed: the bill {verdict}, "
        f"merchant by merchant. {seconds:.0f} seconds.",
        style=style,
    )

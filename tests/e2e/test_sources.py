"""The sources that Libra writes itself, as the function and the command line know them."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest

from local.emulator import Emulator
from shared.schemas import self_written
from shared.settings import Settings
from shared.store import Merge
from shared.store.client import FirestoreStore
from tests.e2e.test_recompute import deployed, libra
from tests.support.admitting import Desk
from tests.support.kitchen import Kitchen


@dataclass
class Site:
    """A database in which three users' events were counted, and one total is wrong by 5."""

    kitchen: Kitchen
    desk: Desk


@pytest.fixture
def site(emulator: Emulator, project: str) -> Iterator[Site]:
    """The events come in through a real intake."""
    settings = Settings(project=project, emulator_host=emulator.address, test=True)
    store = FirestoreStore.connect(settings)
    desk = Desk(store, *self_written(settings)["user_events"], settings)
    now = datetime.now(UTC).isoformat()
    desk.admit(
        *(
            {"event_id": f"e{n}", "user_id": f"u{n % 3}", "event_type": "view", "timestamp": now}
            for n in range(9)
        )
    )
    store.commit([Merge("analytics_aggregates/view", increments={("count",): 5})], timeout=10)
    yield Site(Kitchen(store, settings), desk)
    store.close()


def test_an_operator_verifies_repairs_and_looks_at_one_source(site: Site) -> None:
    """Each command is about the source that is named; the others stay as they are."""
    wrong = libra(site.kitchen, "verify", "--source", "user_events", "--json")
    assert (wrong.returncode, json.loads(wrong.stdout)["drift"]) == (1, 5)
    done = json.loads(libra(site.kitchen, "recompute", "--source", "user_events", "--json").stdout)
    assert (done["drift"], done["entries"], done["strategy"]) == (5, 9, "scan")
    assert done["corrections"] == [
        {"document": "analytics_aggregates/view", "measure": "count", "stored": 14, "exact": 9}
    ]
    assert site.desk.agrees()
    assert libra(site.kitchen, "verify", "--source", "user_events").returncode == 0
    status = json.loads(libra(site.kitchen, "status", "--source", "user_events", "--json").stdout)
    assert [(run["state"], run["drift"]) for run in status["runs"]] == [("completed", 5)]
    assert (status["pending"], status["watermark"]) == ({}, done["watermark"])
    standings = json.loads(
        libra(site.kitchen, "aggregation", "status", "--source", "signals", "--json").stdout
    )
    assert [each["name"] for each in standings["aggregations"]][:1] == ["signals_aggregates"]
    assert json.loads(libra(site.kitchen, "status", "--json").stdout)["runs"] == []
    unknown = libra(site.kitchen, "recompute", "--source", "clicks")
    assert (unknown.returncode, "'libra', 'user_events', 'signals'" in unknown.stderr) == (2, True)


def test_the_function_runs_every_source_or_the_one_that_is_named(site: Site, tmp_path: Path) -> None:
    """The answer is that of `libra`, with those of the others in it."""
    with (
        deployed(site.kitchen, tmp_path) as function,
        httpx.Client(base_url=function.url, timeout=60) as client,
    ):
        unknown = client.post("/", json={"source": "clicks"})
        assert unknown.status_code == 400
        assert (
            unknown.json()["reason"] == "source: expected one of libra, user_events, signals, found 'clicks'"
        )
        alone = client.post("/", json={"source": "user_events", "dry_run": True})
        assert (alone.status_code, alone.json()["drift"], "sources" in alone.json()) == (200, 5, False)
        every = client.post("/")
        assert (every.status_code, every.json()["drift"]) == (200, 0)
        assert {name: report["drift"] for name, report in every.json()["sources"].items()} == {
            "user_events": 5,
            "signals": 0,
        }
        assert site.desk.agrees()

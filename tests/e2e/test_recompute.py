"""The recompute as it is deployed and as the command line runs it, on the real emulator."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest

from local.emulator import Emulator
from shared.ledger import Ledger
from shared.store import FieldPath, Merge, Query
from shared.store.client import FirestoreStore
from tests.support.function_process import Function, serving
from tests.support.kitchen import Kitchen
from tests.support.recomputing import QUICK, converged, fence_holds, totals

SECONDS = {"LIBRA_LAG_SECONDS": "1", "LIBRA_BUCKET_SECONDS": "1"}


@pytest.fixture
def kitchen(emulator: Emulator, project: str) -> Iterator[Kitchen]:
    """A kitchen whose watermark trails the clock by two seconds at most, with two lost entries."""
    settings = replace(
        QUICK, project=project, emulator_host=f"{emulator.host}:{emulator.port}", lag=timedelta(seconds=1)
    )
    store = FirestoreStore.connect(settings)
    one = Kitchen(store, settings)
    Ledger(store, one.source, one.home, settings).apply(one.write("counted"))
    one.write("lost-1")
    one.write("lost-2")
    yield one
    store.close()


def environment(kitchen: Kitchen) -> dict[str, str]:
    """The environment that names the kitchen's Firestore."""
    assert kitchen.settings.project
    assert kitchen.settings.emulator_host
    named = {"GOOGLE_CLOUD_PROJECT": kitchen.settings.project}
    return SECONDS | named | {"FIRESTORE_EMULATOR_HOST": kitchen.settings.emulator_host}


@contextmanager
def deployed(kitchen: Kitchen, folder: Path) -> Iterator[Function]:
    """The entry point under functions-framework."""
    with serving("recompute", folder / "function.txt", environment(kitchen)) as function:
        yield function


def proven(kitchen: Kitchen) -> None:
    """Wait until a watermark can be behind all that was written."""
    until = datetime.now(UTC) + timedelta(seconds=2)
    waiting = threading.Event()
    while (left := (until - datetime.now(UTC)).total_seconds()) > 0:
        waiting.wait(left)
    assert kitchen.entries()


def libra(kitchen: Kitchen, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a command as an operator would."""
    command = [sys.executable, "-m", "cli.main", *arguments]
    named = {name: value for name, value in os.environ.items() if not name.startswith("LIBRA_")}
    named |= environment(kitchen) | variables
    return subprocess.run(command, env=named, check=False, capture_output=True, text=True, timeout=120)


def test_the_entry_point_reports_repairs_and_refuses(kitchen: Kitchen, tmp_path: Path) -> None:
    """POST with options: a dry run finds the drift, a run repairs it; the rest has its status."""
    proven(kitchen)
    with deployed(kitchen, tmp_path) as function, httpx.Client(base_url=function.url, timeout=60) as client:
        dry = client.post("/", json={"dry_run": True})
        assert (dry.status_code, dry.json()["drift"], dry.json()["writes"]) == (200, 8, 0)
        assert kitchen.store.get([kitchen.home.state]) == [None]
        done = client.post("/", json={"strategy": "index"})
        assert (done.status_code, done.json()["drift"], done.json()["strategy"]) == (200, 8, "index")
        converged(kitchen.store, kitchen.source)
        assert client.post("/", content=b"").json()["drift"] == 0
        assert client.post("/", json={"strategy": "fast"}).status_code == 400
        refused = client.get("/")
        assert (refused.status_code, refused.headers["allow"]) == (405, "POST")
        held = {"run_id": "another", "token": 99, "expires_at": datetime.now(UTC) + timedelta(minutes=1)}
        kitchen.store.commit([Merge(kitchen.home.state, {("lease",): held})], timeout=10)
        busy = client.post("/")
        assert (busy.status_code, busy.json()["error"]) == (409, "LeaseHeld")
        kitchen.store.commit([Merge(kitchen.home.state, {("timestamp",): "junk"})], timeout=10)
        broken = client.post("/", json={"dry_run": True})
        assert (broken.status_code, broken.json()["error"]) == (500, "StateError")


def test_an_operator_verifies_repairs_and_looks(kitchen: Kitchen) -> None:
    """`libra verify` fails on drift, `libra recompute` repairs it, `libra status` tells of it."""
    proven(kitchen)
    before = libra(kitchen, "status", "--json")
    assert (json.loads(before.stdout)["watermark"], json.loads(before.stdout)["runs"]) == (None, [])
    wrong = libra(kitchen, "verify")
    assert (wrong.returncode, "4 numbers were wrong, by 8 in sum" in wrong.stdout) == (1, True)
    dry = libra(kitchen, "recompute", "--dry-run", "--json")
    assert (json.loads(dry.stdout)["drift"], json.loads(dry.stdout)["run_id"]) == (8, None)
    done = libra(kitchen, "recompute", "--strategy", "scan")
    assert (done.returncode, "all of them are right now" in done.stdout) == (0, True)
    fence_holds(kitchen.store, kitchen.source)
    right = libra(kitchen, "verify", "--json")
    assert (right.returncode, json.loads(right.stdout)["drift"]) == (0, 0)
    status = json.loads(libra(kitchen, "status", "--json").stdout)
    assert [(run["state"], run["drift"], run["strategy"]) for run in status["runs"]] == [
        ("completed", 8, "scan")
    ]
    assert status["age_seconds"] > 0
    assert "Proven up to" in libra(kitchen, "status").stdout


def test_an_operator_compacts(kitchen: Kitchen) -> None:
    """Nothing is old enough to be merged; a lease that is held is respected."""
    done = libra(kitchen, "compact", "--json")
    assert (done.returncode, json.loads(done.stdout)["writes"]) == (0, 0)
    assert libra(kitchen, "compact").stdout.startswith("0 totals are smaller")
    held = {"run_id": "another", "token": 99, "expires_at": datetime.now(UTC) + timedelta(minutes=1)}
    kitchen.store.commit([Merge(kitchen.home.state, {("lease",): held})], timeout=10)
    refused = libra(kitchen, "compact")
    assert (refused.returncode, "run another holds the lease" in refused.stderr) == (1, True)


def test_status_shows_what_is_pending_and_a_run_that_died(kitchen: Kitchen) -> None:
    """What the triggers counted since the watermark, and a record whose lease is over."""
    assert libra(kitchen, "recompute").returncode == 0
    proven(kitchen)
    Ledger(kitchen.store, kitchen.source, kitchen.home, kitchen.settings).apply(kitchen.write("since"))
    died = {"run_id": "died", "token": 9, "expires_at": datetime.now(UTC) - timedelta(minutes=1)}
    record: dict[FieldPath, object] = {("state",): "processing", ("queued_at",): datetime.now(UTC)}
    writes = [Merge(kitchen.home.state, {("lease",): died}), Merge("aggregates_runs/died", record)]
    kitchen.store.commit(writes, timeout=10)
    status = json.loads(libra(kitchen, "status", "--json").stdout)
    assert status["pending"]["aggregates_actions"] >= 1
    assert [(run["run_id"], run["state"]) for run in status["runs"]][:1] == [("died", "failed")]
    assert "its lease is over" in libra(kitchen, "status").stdout


def test_a_mass_loss_is_refused_until_the_operator_accepts_it(kitchen: Kitchen) -> None:
    """`verify` says what a run would refuse, `recompute` refuses it, `status` says why; it is accepted."""
    proven(kitchen)
    assert libra(kitchen, "recompute").returncode == 0
    kitchen.store.commit([Merge("aggregates_actions/Gone", {("count",): 2_000})], timeout=10)
    lost = [{"aggregation": "aggregates_actions", "stored": 2_003, "exact": 3}]
    wrong = libra(kitchen, "verify", "--json")
    assert (wrong.returncode, json.loads(wrong.stdout)["losses"]) == (1, lost)
    assert "A run refuses this loss (MassLoss): aggregates_actions" in libra(kitchen, "verify").stdout
    before = totals(kitchen.store, kitchen.source)
    refused = libra(kitchen, "recompute", "--json")
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "aggregates_actions says 2,003, and 3 were counted (99.85 % less)" in refused.stderr
    assert totals(kitchen.store, kitchen.source) == before
    told = libra(kitchen, "status").stdout
    assert "MassLoss" in told
    assert "by a run that has not completed" in " ".join(told.split())
    status = json.loads(libra(kitchen, "status", "--json").stdout)
    assert status["watermark"] == status["runs"][1]["watermark"] < status["sealed"]
    done = libra(kitchen, "recompute", "--accept-loss", "--json")
    assert (done.returncode, json.loads(done.stdout)["losses"]) == (0, lost)
    converged(kitchen.store, kitchen.source)
    status = json.loads(libra(kitchen, "status", "--json").stdout)
    assert status["watermark"] == status["sealed"] == json.loads(done.stdout)["watermark"]


def standing(kitchen: Kitchen, **variables: str) -> dict[str, dict[str, object]]:
    """What `libra aggregation status --json` says, by name."""
    told = json.loads(libra(kitchen, "aggregation", "status", "--json", **variables).stdout)
    return {each["name"]: each for each in told["aggregations"]}


def test_a_changed_aggregation_is_filled_and_then_exact(kitchen: Kitchen) -> None:
    """Another time action changes hours and dates: no drift, and a run says when they are exact."""
    kitchen.write("refilled", dataAction="Refilled")
    proven(kitchen)
    assert libra(kitchen, "recompute").returncode == 0
    assert {each["state"] for each in standing(kitchen).values()} == {"filling"}
    assert "Aggregations: 4 filling, 0 orphaned" in libra(kitchen, "status").stdout
    every = {"LIBRA_TIME_ACTION": "*"}
    hours = standing(kitchen, **every)["aggregates_time_hours"]
    assert (hours["state"], hours["why"], hours["exact_from"]) == ("unseen", "changed", None)
    dry = libra(kitchen, "verify", **every)
    assert (dry.returncode, "Nothing drifted" in dry.stdout) == (0, True)
    done = json.loads(libra(kitchen, "recompute", "--json", **every).stdout)
    assert (done["drift"], done["filled"], {each["why"] for each in done["filling"]}) == (
        0,
        2,
        {"first", "changed"},
    )
    told = libra(kitchen, "aggregation", "status", **every).stdout
    assert "changed; a run at" in " ".join(told.split())
    long_ago: dict[FieldPath, object] = {
        ("aggregations", name, "declared_at"): datetime.now(UTC) - timedelta(hours=1)
        for name in standing(kitchen)
    }
    kitchen.store.commit([Merge(kitchen.home.state, long_ago)], timeout=10)
    proven(kitchen)
    done = json.loads(libra(kitchen, "recompute", "--json", **every).stdout)
    assert {each["exact_since"] for each in done["filling"]} == {done["watermark"]}
    assert {each["exact_since"] for each in standing(kitchen, **every).values()} == {done["watermark"]}
    assert "filling" not in libra(kitchen, "status", **every).stdout


def test_an_orphan_is_listed_and_removed_when_the_operator_says_so(kitchen: Kitchen) -> None:
    """It asks, refuses what is declared or unknown, and leaves everything else as it was."""
    proven(kitchen)
    assert libra(kitchen, "recompute").returncode == 0
    (state,) = kitchen.store.get([kitchen.home.state])
    assert state
    known = state.fields["aggregations"]
    assert isinstance(known, dict)
    gone = known["aggregates_actions"] | {"collection": "old_totals"}
    gone["orphaned_at"] = datetime.now(UTC) - timedelta(hours=1)
    old = [Merge(f"old_totals/{number}", {("count",): number}) for number in range(450)]
    kitchen.store.commit([Merge(kitchen.home.state, {("aggregations", "old"): gone}), *old], timeout=30)
    assert (standing(kitchen)["old"]["state"], standing(kitchen)["old"]["documents"]) == ("orphaned", 450)
    told = " ".join(libra(kitchen, "aggregation", "status").stdout.split())
    assert "450 documents in old_totals: libra aggregation remove old" in told
    assert "1 orphaned" in libra(kitchen, "status").stdout
    before = totals(kitchen.store, kitchen.source)
    for name, says in (
        ("aggregates_actions", "aggregates_actions is declared"),
        ("libra", "knows no orphaned"),
    ):
        refused = libra(kitchen, "aggregation", "remove", name, "--yes")
        assert (refused.returncode, says in refused.stderr) == (1, True), refused.stderr
    unanswered = libra(kitchen, "aggregation", "remove", "old")
    assert (unanswered.returncode, "Delete all 450 documents of old_totals?" in unanswered.stderr) == (
        1,
        True,
    )
    assert kitchen.store.count(Query("old_totals")) == 450
    done = libra(kitchen, "aggregation", "remove", "old", "--yes", "--json")
    assert json.loads(done.stdout) == {"aggregation": "old", "collection": "old_totals", "deleted": 450}
    assert kitchen.store.count(Query("old_totals")) == 0
    assert "old" not in standing(kitchen)
    assert totals(kitchen.store, kitchen.source) == before
    assert libra(kitchen, "verify").returncode == 0


def test_a_second_recompute_is_refused_in_one_line(kitchen: Kitchen) -> None:
    """Status 1, the run that holds the lease, and no total changed."""
    held = {"run_id": "another", "token": 1, "expires_at": datetime.now(UTC) + timedelta(minutes=5)}
    kitchen.store.commit([Merge(kitchen.home.state, {("lease",): held})], timeout=10)
    before = totals(kitchen.store, kitchen.source)
    refused = libra(kitchen, "recompute")
    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr.startswith("libra: run another holds the lease until")
    assert totals(kitchen.store, kitchen.source) == before

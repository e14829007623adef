"""`libra archive` as the command line runs it, on the real emulator."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from local.emulator import Emulator
from shared.recompute import Recompute
from shared.store import Create, Delete, Query
from shared.store.client import FirestoreStore
from tests.support.kitchen import SERVED, Kitchen
from tests.support.recomputing import QUICK, totals

ROOT = Path(__file__).parents[2]
ENTRIES = 1_200


@pytest.fixture
def kitchen(emulator: Emulator, project: str) -> Iterator[Kitchen]:
    """A kitchen with entries of 2025 that a recompute has proven."""
    settings = replace(QUICK, project=project, emulator_host=emulator.address)
    store = FirestoreStore.connect(settings)
    one = Kitchen(store, settings)
    for begin in range(0, ENTRIES, 400):
        store.commit([Create(f"libra/{begin + n:06}", SERVED) for n in range(400)], timeout=60)
    prove(one)
    yield one
    store.close()


def prove(kitchen: Kitchen) -> None:
    """Recompute until everything that was written so far is proven."""
    written = datetime.now(UTC)
    recompute = Recompute(kitchen.store, kitchen.source, kitchen.home, kitchen.settings, workers=1)
    while recompute.run("scan").watermark < written:
        time.sleep(0.1)


def command(kitchen: Kitchen, *arguments: str) -> tuple[list[str], dict[str, str]]:
    """A libra command, and its environment."""
    assert kitchen.settings.project
    assert kitchen.settings.emulator_host
    named = {"GOOGLE_CLOUD_PROJECT": kitchen.settings.project, "PYTHONPATH": str(ROOT)}
    named |= {"FIRESTORE_EMULATOR_HOST": kitchen.settings.emulator_host}
    return [sys.executable, "-m", "cli.main", "archive", *arguments], os.environ | named


def libra(kitchen: Kitchen, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run `libra archive` in a folder."""
    line, environment = command(kitchen, *arguments)
    return subprocess.run(
        line, cwd=folder, env=environment, check=False, capture_output=True, text=True, timeout=60
    )


def test_an_operator_archives_proves_and_repairs(kitchen: Kitchen, tmp_path: Path) -> None:
    """From the dry run to the repair, with the exit statuses that a script goes by."""
    dry = libra(kitchen, tmp_path, "--older-than", "1d", "--dry-run")
    assert (dry.returncode, list(tmp_path.iterdir())) == (0, [])
    assert dry.stdout.startswith("1,200 entries would be moved; nothing was changed.")
    done = libra(kitchen, tmp_path, "--older-than", "1d", "--json")
    report = json.loads(done.stdout)
    assert (report["entries"], report["pages"], report["to"]) == (ENTRIES, 3, str(tmp_path / "archive"))
    right = libra(kitchen, tmp_path, "verify")
    assert (right.returncode, right.stderr) == (0, "")
    assert right.stdout.startswith("The archive is right: 1,200 entries in 3 files")
    assert libra(kitchen, tmp_path, "--older-than", "1d").stdout.startswith("0 entries were moved.")

    kitchen.store.commit([Delete("aggregates_actions/Served")], timeout=10)
    wrong = libra(kitchen, tmp_path, "verify")
    assert wrong.returncode == 1
    assert wrong.stdout.startswith("1 thing is wrong:\naggregates_actions/Served: archived is None")
    assert "1 totals were repaired; run libra recompute now." in libra(kitchen, tmp_path, "repair").stdout
    prove(kitchen)
    assert totals(kitchen.store, kitchen.source)["aggregates_actions/Served"].fields["count"] == ENTRIES
    moved = tmp_path / "moved"
    (tmp_path / "archive").rename(moved)
    assert libra(kitchen, tmp_path, "verify", "--json").returncode == 1
    assert (
        json.loads(libra(kitchen, tmp_path, "verify", "--from", str(moved), "--json").stdout)["faults"] == 0
    )


def test_ctrl_c_leaves_every_total_right(kitchen: Kitchen, tmp_path: Path) -> None:
    """It releases the lease, says where it stands, and the next archive moves the rest."""
    line, environment = command(kitchen, "--older-than", "1d")
    process = subprocess.Popen(line, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True)
    while not list(tmp_path.glob("archive/*.gz")):
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode == 1
    prove(kitchen)
    assert libra(kitchen, tmp_path, "verify").returncode == 0
    assert libra(kitchen, tmp_path, "--older-than", "1d").returncode == 0
    assert kitchen.store.count(Query("libra")) == 0
    assert totals(kitchen.store, kitchen.source)["aggregates_actions/Served"].fields["count"] == ENTRIES


@pytest.mark.parametrize("age", ["400", "0d", "1.5d", "40y", "-1d", "٤d", "36501d", " 1d", "d"])
def test_an_unclear_age_is_refused(age: str) -> None:
    """With the flag and what is allowed; before anything is read."""
    line = [sys.executable, "-m", "cli.main", "archive", f"--older-than={age}"]
    refused = subprocess.run(line, cwd=ROOT, check=False, capture_output=True, text=True, timeout=60)
    assert refused.returncode == 2
    assert "Invalid value for '--older-than'" in refused.stderr
    assert "is not an age such as 36h, 400d or 12w" in refused.stderr


@pytest.mark.parametrize(
    ("arguments", "missing"),
    [([], "Missing option '--older-than'"), (["--older-than=1d", "--real-project=p"], "'--to'")],
)
def test_what_is_missing_is_named(arguments: list[str], missing: str) -> None:
    """An age, always; a place, for a real project: this machine's disk may not outlive the command."""
    environment = {name: value for name, value in os.environ.items() if name != "FIRESTORE_EMULATOR_HOST"}
    key = {"GOOGLE_CLOUD_PROJECT": "p"}
    line = [sys.executable, "-m", "cli.main", "archive", *arguments]
    refused = subprocess.run(
        line, cwd=ROOT, env=environment | key, check=False, capture_output=True, text=True, timeout=60
    )
    assert (refused.returncode, missing in refused.stderr) == (2, True)

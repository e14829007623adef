"""`libra export` and `libra verify --against`, as an operator runs them on the emulator."""

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
from typing import Any

import psycopg
import pytest

from deploy import stage
from local.databases import PostgresServer
from local.emulator import Emulator
from shared.ledger import Ledger
from shared.recompute import Recompute
from shared.store import Merge
from shared.store.client import FirestoreStore
from tests.support.databases import fresh_url
from tests.support.exporting import LARGE, ODD
from tests.support.kitchen import Kitchen
from tests.support.recomputing import QUICK


@pytest.fixture(scope="module")
def kitchen(emulator: Emulator) -> Iterator[Kitchen]:
    """A kitchen with entries of odd ingredients, all counted and proven, and one that came later."""
    settings = replace(QUICK, project="demo-export", emulator_host=emulator.address)
    store = FirestoreStore.connect(settings)
    one = Kitchen(store, settings)
    ledger = Ledger(store, one.source, one.home, settings)
    for number, ingredient in enumerate(ODD):
        ledger.apply(one.write(f"e{number:02}", ingredient=ingredient, number=LARGE))
    written = datetime.now(UTC)
    recompute = Recompute(store, one.source, one.home, settings, workers=1)
    while recompute.run("scan").watermark < written:
        time.sleep(0.1)
    ledger.apply(one.write("late", ingredient="Rice"))
    yield one
    store.close()


def command(*arguments: str) -> list[str]:
    """The command line."""
    return [sys.executable, "-m", "cli.main", *arguments]


def environment(kitchen: Kitchen) -> dict[str, str]:
    """The environment that names the kitchen's Firestore."""
    assert kitchen.settings.project
    assert kitchen.settings.emulator_host
    named = {name: value for name, value in os.environ.items() if not name.startswith("LIBRA_")}
    named |= {"GOOGLE_CLOUD_PROJECT": kitchen.settings.project, "PYTHONUNBUFFERED": "1"}
    return named | {"FIRESTORE_EMULATOR_HOST": kitchen.settings.emulator_host}


def libra(kitchen: Kitchen, *arguments: str, status: int = 0) -> str:
    """What a command prints, and its errors."""
    done = subprocess.run(
        command(*arguments),
        env=environment(kitchen),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == status, done.stderr
    return done.stdout + done.stderr


def test_an_export_agrees_with_firestore_until_a_total_is_changed(kitchen: Kitchen, tmp_path: Path) -> None:
    """Totals of any key, to the last entry; a total that somebody changes is named with both numbers."""
    place = str(tmp_path / "books")
    said: dict[str, Any] = json.loads(libra(kitchen, "export", "totals", "--to", place, "--json"))
    assert said["to"] == place
    assert [table["rows"] for table in said["tables"]] == [len(ODD) + 1, 1, 1, 1]
    found = json.loads(libra(kitchen, "verify", "--against", place, "--json"))
    assert (found["faults"], found["same_instant"], found["totals"]) == (0, True, len(ODD) + 4)
    assert "to the last entry" in libra(kitchen, "verify", "--against", place)
    path = tmp_path / "books" / said["snapshot"] / "aggregates_actions.parquet"
    path.write_bytes(b"not this")
    assert "the file is damaged" in libra(kitchen, "verify", "--against", place, status=1)
    manifest = tmp_path / "books" / "libra-totals.json"
    manifest.write_text(manifest.read_text("utf-8").replace("/demo-export/", "/demo-other/"), "utf-8")
    other = libra(kitchen, "verify", "--against", place, status=1)
    assert (
        "its totals are of projects/demo-other/databases/(default), and this is projects/demo-export/"
        in other
    )


def test_a_total_that_is_wrong_in_the_export_is_named(kitchen: Kitchen, tmp_path: Path) -> None:
    """With what each of the two says; the exit status is 1."""
    path = kitchen.home.total(next(iter(kitchen.totals())))
    (before,) = kitchen.store.get([path])
    assert before
    kitchen.store.commit([Merge(path, {("count",): LARGE})], timeout=10)
    libra(kitchen, "export", "--to", str(tmp_path), "--format", "jsonl")
    kitchen.store.commit([Merge(path, {("count",): before.fields["count"]})], timeout=10)
    pointer = tmp_path / "libra-totals.json"
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    read_at = json.loads(pointer.read_text("utf-8"))["read_at"]
    pointer.write_text(pointer.read_text("utf-8").replace(read_at, now), "utf-8")
    found = json.loads(libra(kitchen, "verify", "--against", str(tmp_path), "--json", status=1))
    (count,) = (it for it in found["differences"] if it["column"] == "count")
    assert (count["total"], count["exported"], count["firestore"]) == (path, LARGE, before.fields["count"])
    assert f"{LARGE:,}" in libra(kitchen, "verify", "--against", str(tmp_path), status=1)


def test_entries_are_exported_as_of_the_watermark(kitchen: Kitchen, tmp_path: Path) -> None:
    """The entry that came after it is not in it; whole numbers are whole."""
    said = json.loads(
        libra(kitchen, "export", "entries", "--to", str(tmp_path), "--format", "jsonl", "--json")
    )
    lines = (tmp_path / said["snapshot"] / "libra_entries.jsonl").read_text("utf-8").split("\n")[:-1]
    assert [json.loads(line)["id"] for line in lines] == [f"e{number:02}" for number in range(len(ODD))]
    assert {json.loads(line)["data"]["number"] for line in lines} == {LARGE}


def test_what_cannot_be_exported_is_said_in_one_line(kitchen: Kitchen, tmp_path: Path) -> None:
    """An unknown place, options of files for a database, and a source that no run has proven."""
    assert "expected DIR, bigquery:" in libra(kitchen, "export", "--to", "s3://bucket", status=1)
    wrong = libra(kitchen, "export", "--to", "bigquery:d", "--format", "csv", status=2)
    assert "--format and --keep are for files, and bigquery:d is no DIR." in wrong
    nowhere = libra(kitchen, "export", "--to", "postgres", status=2)
    assert "LIBRA_POSTGRES_URL='(0 characters)': postgresql://user:password@host:port/database" in nowhere
    early = libra(kitchen, "export", "--source", "signals", "--to", str(tmp_path), status=1)
    assert "nothing is proven yet: run libra recompute --source signals first" in early
    assert "there is no export of the totals of libra" in libra(
        kitchen, "verify", "--against", str(tmp_path), status=1
    )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_export_that_is_stopped_leaves_nothing(
    kitchen: Kitchen, tmp_path: Path, number: signal.Signals
) -> None:
    """Ctrl-C and SIGTERM, while a table is being written."""
    place = tmp_path / "books"
    place.mkdir()
    hook = (
        "import os, signal, time\nimport shared.exports.snapshot as s\nfrom cli.main import main\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "was = s.Snapshot.pages\n"
        "def pages(*a):\n    yield next(was(*a))\n    print('half', flush=True)\n    time.sleep(100)\n"
        "s.Snapshot.pages = pages\nmain()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", hook, "export", "--to", str(place)],
        env=environment(kitchen),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout
        assert process.stdout.readline() == "half\n"
        assert len(list(place.iterdir())) == 1
        process.send_signal(number)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "Traceback" not in errors
    assert list(place.iterdir()) == []


def test_the_nightly_job_needs_its_own_files_and_packages_alone(
    kitchen: Kitchen, postgres_server: PostgresServer, tmp_path: Path
) -> None:
    """As it is staged, with what its lock installs: both snapshots are in PostgreSQL, and the log says so."""
    for name, content in stage.sources(stage.EXPORT):
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    with fresh_url(postgres_server) as url:
        own = {"LIBRA_EXPORT": "postgres:books", "LIBRA_EXPORT_WHAT": "libra-totals,libra-entries"}
        done = subprocess.run(
            [stage.make_venv(stage.EXPORT), "-m", "services.export"],
            cwd=tmp_path,
            env=environment(kitchen) | own | {"LIBRA_POSTGRES_URL": url},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        lines = [json.loads(line) for line in done.stdout.splitlines()]
        assert [(it["message"], it["what"], it["to"].partition(" ")[0]) for it in lines] == [
            ("An export is complete", "totals", "postgres:books"),
            ("An export is complete", "entries", "postgres:books"),
        ]
        with psycopg.connect(url) as connection:
            keys = connection.execute("SELECT count(*) FROM books.aggregates_categories").fetchone()
            entries = connection.execute("SELECT count(*) FROM books.libra_entries").fetchone()
    assert (keys, entries) == ((len(ODD) + 1,), (len(ODD),))

"""`libra totals`, `explain`, `entry`, `runs` and `rejected`, as an operator runs them on the emulator."""

import csv
import io
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from local.emulator import Emulator
from shared.ledger import Ledger
from shared.recompute import Recompute
from shared.store import Merge
from shared.store.client import FirestoreStore
from tests.support.kitchen import Kitchen
from tests.support.recomputing import QUICK

ODD = ["Mac/Cheese", "..", "%2F", "🧂", "", "x" * 1_400, "__x__", 'a,"b"\n', "\x1b[31mred"]


@pytest.fixture
def kitchen(emulator: Emulator, project: str) -> Iterator[Kitchen]:
    """A kitchen with entries of odd ingredients, all counted and proven; one more is rejected in part."""
    settings = replace(QUICK, project=project, emulator_host=emulator.address)
    store = FirestoreStore.connect(settings)
    one = Kitchen(store, settings)
    serve(one, [(f"e{number}", ingredient) for number, ingredient in enumerate([*ODD, "Rice", "Rice", 5])])
    written = datetime.now(UTC)
    recompute = Recompute(store, one.source, one.home, settings, workers=1)
    while recompute.run("scan").watermark < written:
        time.sleep(0.1)
    yield one
    store.close()


def serve(kitchen: Kitchen, entries: list[tuple[str, object]]) -> None:
    """Write entries and count them."""
    ledger = Ledger(kitchen.store, kitchen.source, kitchen.home, kitchen.settings)
    for entry_id, ingredient in entries:
        ledger.apply(kitchen.write(entry_id, ingredient=ingredient))


def environment(kitchen: Kitchen) -> dict[str, str]:
    """The environment that names the kitchen's Firestore."""
    assert kitchen.settings.project
    assert kitchen.settings.emulator_host
    named = {name: value for name, value in os.environ.items() if not name.startswith("LIBRA_")}
    named |= {"GOOGLE_CLOUD_PROJECT": kitchen.settings.project, "PYTHONUNBUFFERED": "1"}
    return named | {"FIRESTORE_EMULATOR_HOST": kitchen.settings.emulator_host}


def libra(kitchen: Kitchen, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command as an operator would."""
    line = [sys.executable, "-m", "cli.main", *arguments]
    return subprocess.run(
        line, env=environment(kitchen), check=False, capture_output=True, text=True, timeout=120
    )


def as_json(kitchen: Kitchen, *arguments: str) -> Any:
    """What a command prints as JSON."""
    done = libra(kitchen, arguments[0], "--json", *arguments[1:])
    assert done.stderr == ""
    return json.loads(done.stdout)


def test_totals_are_listed_in_three_formats(kitchen: Kitchen) -> None:
    """Every odd key comes out as it went in; a table never steers the terminal and is 80 wide."""
    found = as_json(kitchen, "totals", "aggregates_categories")
    assert sorted(each["key"] for each in found["totals"]) == sorted([*ODD, "Rice"])
    assert (found["totals"][0]["key"], found["totals"][0]["count"]) == ("Rice", 2)
    assert (found["more"], found["settled"], found["exact_through"] is not None) == (False, True, True)
    printed = libra(kitchen, "totals", "aggregates_categories", "--csv").stdout
    rows = list(csv.DictReader(io.StringIO(printed)))
    assert sorted(row["ingredient"] for row in rows) == sorted([*ODD, "Rice"])
    assert {row["count"] for row in rows} == {"1", "2"}
    table = libra(kitchen, "totals", "aggregates_categories")
    assert table.stdout.startswith("aggregates_categories, proven up to 20")
    assert ("\x1b" in table.stdout, max(map(len, table.stdout.splitlines())) <= 80) == (False, True)
    short = libra(kitchen, "totals", "aggregates_categories", "--limit", "2", "--order", "key", "--csv")
    assert (len(list(csv.reader(io.StringIO(short.stdout)))), short.returncode) == (3, 0)
    assert short.stderr == "There are more: use --limit or --all.\n"


def test_a_total_of_any_key_is_shown_and_explained(kitchen: Kitchen) -> None:
    """As it was written, and nothing pending."""
    for number, key in enumerate(ODD):
        found = as_json(kitchen, "totals", "aggregates_categories", "--", key)
        assert (found["key"], found["count"], found["pending"]) == (key, 1, {"count": 0})
        if number < 3:
            explained = as_json(kitchen, "explain", "aggregates_categories", "--", key)
            assert [each["id"] for each in explained["entries"]] == [f"e{number}"]
            assert (explained["unexplained"], explained["reasons"]) == ({"count": 0}, [])


def test_what_is_pending_and_not_counted_is_told(kitchen: Kitchen) -> None:
    """The total, its entries and the entries themselves agree."""
    serve(kitchen, [("since", "Rice")])
    kitchen.write("lost", ingredient="Rice")
    found = as_json(kitchen, "totals", "aggregates_categories", "Rice")
    assert (found["count"], found["pending"]) == (3, {"count": 1})
    shown = libra(kitchen, "totals", "aggregates_categories", "Rice").stdout
    assert "3 (+1 pending)" in shown
    told = libra(kitchen, "explain", "aggregates_categories", "Rice")
    assert "The entries do not explain the total:" in told.stdout
    assert "1 entry is not counted yet" in told.stdout
    states = [as_json(kitchen, "entry", entry)["state"] for entry in ("e0", "since", "lost")]
    assert states == ["verified", "applied", "received"]
    assert "received: it is there and not counted yet" in libra(kitchen, "entry", "lost").stdout
    dates = as_json(kitchen, "explain", "aggregates_time_dates", "2025-09-04", "--all")
    assert len(dates["entries"]) == len(ODD) + 5


def test_an_entry_that_is_not_there_ends_with_status_1(kitchen: Kitchen) -> None:
    """And one that cannot be an id with 2."""
    gone = libra(kitchen, "entry", "nothing")
    assert (gone.returncode, "unknown: it is not there" in gone.stdout) == (1, True)
    refused = libra(kitchen, "entry", "a/b")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert refused.stderr.startswith("libra: entry 'a/b': expected the id of a document")
    bad = libra(kitchen, "entry", "e0", "--version", "2025-09-04T18:57")
    assert (bad.returncode, "is no time with a zone" in bad.stderr) == (2, True)


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["totals", "foods"], 1, "no aggregation is called 'foods': expected one of aggregates_categories, "),
        (["explain", "foods", "Rice"], 1, "expected one of aggregates_categories, "),
        (["totals", "aggregates_time_hours", "24"], 2, "'24' is not an hour from 0 to 23"),
        (["totals", "aggregates_categories", "Kettle", "Chips"], 2, "put it in quotes if it has spaces"),
        (
            ["totals", "aggregates_categories", "--order", "size"],
            2,
            "order='size': expected one of key",
        ),
        (["totals", "aggregates_categories", "--csv", "--json"], 2, "--json and --csv: use one of them"),
        (["totals", "aggregates_categories", "--watch", "--csv"], 2, "--watch shows"),
        (["runs", "nothing"], 1, "there is no run nothing"),
        (["rejected", "--retry", "nothing"], 1, "there is no record nothing"),
    ],
)
def test_what_cannot_be_answered_says_why(
    emulator: Emulator, project: str, arguments: list[str], status: int, said: str
) -> None:
    """In one line, with what is allowed; 2 for a wrong question, 1 for what is not there."""
    settings = replace(QUICK, project=project, emulator_host=emulator.address)
    store = FirestoreStore.connect(settings)
    refused = libra(Kitchen(store, settings), *arguments)
    store.close()
    assert (refused.returncode, refused.stdout, said in refused.stderr) == (status, "", True), refused.stderr


def test_runs_are_listed_and_one_is_shown(kitchen: Kitchen) -> None:
    """With its record as JSON."""
    found = as_json(kitchen, "runs")["runs"]
    run_id = found[0]["run_id"]
    assert found[0]["state"] == "completed"
    assert run_id in libra(kitchen, "runs").stdout
    rows = list(csv.DictReader(io.StringIO(libra(kitchen, "runs", "--csv").stdout)))
    assert (rows[0]["run_id"], len(rows)) == (run_id, len(found))
    assert as_json(kitchen, "runs", run_id)["record"]["state"] == "completed"
    shown = libra(kitchen, "runs", run_id).stdout
    assert shown.startswith(run_id)
    assert "strategy" in shown


def test_a_rejected_entry_is_mended_and_its_record_goes(kitchen: Kitchen) -> None:
    """It still cannot be counted; edited, its record is out of date."""
    (record,) = as_json(kitchen, "rejected")["rejected"]
    assert (record["entry"], record["reasons"][0]["field"]) == (f"e{len(ODD) + 2}", "ingredient")
    assert "expected a string, found an integer" in libra(kitchen, "rejected").stdout
    (row,) = csv.DictReader(io.StringIO(libra(kitchen, "rejected", "--csv").stdout))
    assert (row["id"], row["aggregation"]) == (record["id"], "aggregates_categories")
    still = libra(kitchen, "rejected", "--retry", record["id"])
    assert (still.returncode, "rejected: it still cannot be counted." in still.stdout) == (0, True)
    kitchen.store.commit([Merge(f"libra/{record['entry']}", {("ingredient",): "Peas"})], timeout=10)
    mended = as_json(kitchen, "rejected", "--retry", record["id"])
    assert (mended["verdict"], mended["removed"]) == ("replaced", True)
    assert libra(kitchen, "rejected").stdout == "Nothing is rejected.\n"


@contextmanager
def watching(kitchen: Kitchen, *arguments: str) -> Iterator[tuple[subprocess.Popen[str], Callable[[], str]]]:
    """A watch that runs, and what gives the next line that it prints."""
    line = [sys.executable, "-m", "cli.main", "totals", "--watch", *arguments]
    lines: queue.Queue[str] = queue.Queue()
    with subprocess.Popen(
        line, env=environment(kitchen), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout
        # A deque of no length runs through what it is given.
        reader = threading.Thread(target=deque, args=(map(lines.put, process.stdout), 0))
        reader.start()
        try:
            yield process, lambda: lines.get(timeout=60)
        finally:
            process.kill()
            reader.join()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_watch_shows_changes_and_ends_cleanly(kitchen: Kitchen, number: int) -> None:
    """A line for each total that changed, without asking again; Ctrl-C ends it with status 0."""
    with watching(kitchen, "aggregates_categories", "--limit", "2", "--json") as (process, line):
        first = [json.loads(line()) for _ in range(2)]
        assert (first[0]["key"], first[0]["count"]) == ("Rice", 2)
        serve(kitchen, [("since", "Rice")])
        moved = json.loads(line())
        assert (moved["key"], moved["count"], moved["pending"]) == ("Rice", 3, {"count": 1})
        process.send_signal(number)
        assert process.wait(timeout=60) == 0
        assert process.stderr
        assert process.stderr.read() == ""


def test_a_watch_of_a_key_begins_at_zero(kitchen: Kitchen) -> None:
    """A total that is not there yet shows as soon as it is."""
    with watching(kitchen, "aggregates_categories", "Peas/Beans") as (process, line):
        assert line() == "Peas/Beans  0\n"
        serve(kitchen, [("since", "Peas/Beans")])
        assert line() == "Peas/Beans  1 (+1)\n"
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=60) == 0

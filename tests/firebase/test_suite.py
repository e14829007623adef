"""The staged folder under the real Firebase suite: events, totals, the schedule, rules, the command line."""

import json
import os
import subprocess
import sys
from datetime import datetime

import httpx
import pytest

from deploy import stage
from local import suite
from local.process import wait_until
from tests.firebase.conftest import PATIENCE, QUICK, Json, Suite

pytestmark = pytest.mark.timeout(400)


def entry(ingredient: str, action: str = "Served") -> Json:
    """A scale's event on the evening of a day in September."""
    return {
        "device": {"mapValue": {"fields": {"model": {"stringValue": "LibraV0"}}}},
        "location": {"stringValue": "Caldo Office"},
        "ingredient": {"stringValue": ingredient},
        "dataAction": {"stringValue": action},
        "amount": {"doubleValue": 12.5},
        "timestamp": {"timestampValue": "2025-09-04T18:57:29Z"},
    }


TOTALS = {
    "aggregates_categories/Chips": 3,
    "aggregates_categories/Salsa": 1,
    "aggregates_actions/Served": 3,
    "aggregates_actions/RanOut": 1,
    "aggregates_time_hours/18": 3,
    "aggregates_time_dates/2025-09-04": 3,
}


@pytest.fixture(scope="module")
def counted(firebase: Suite) -> Suite:
    """The suite after four entries have been counted."""
    for ingredient, action in (
        ("Chips", "Served"),
        ("Chips", "Served"),
        ("Chips", "RanOut"),
        ("Salsa", "Served"),
    ):
        firebase.create("libra", entry(ingredient, action))
    firebase.wait_for(TOTALS)
    return firebase


def committed(answer: Json) -> datetime:
    """When a written document was committed."""
    return datetime.fromisoformat(answer["createTime"])


def tick_past(firebase: Suite, commit: datetime) -> list[Json]:
    """Let the clock tick until a recompute's watermark has passed a commit; the reports of all ticks."""
    reports: list[Json] = []

    def passed() -> bool:
        reports.append(firebase.tick())
        return datetime.fromisoformat(reports[-1]["watermark"]) >= commit

    wait_until(passed, seconds=PATIENCE, what=f"a watermark past {commit}")
    return reports


def test_every_write_moves_the_totals(counted: Suite) -> None:
    """Entries written to `libra` are in all four totals, by the suite's own events."""
    assert {path: counted.count(path) for path in TOTALS} == TOTALS


def test_the_schedule_proves_the_totals(counted: Suite) -> None:
    """The scheduled function answers its report: nothing to repair on a good night."""
    last = committed(counted.create("libra", entry("Guacamole", "Heartbeat")))
    counted.wait_for({"aggregates_categories/Guacamole": 1})
    reports = tick_past(counted, last)
    assert [report["drift"] for report in reports] == [0] * len(reports)
    run = counted.get(f"aggregates_runs/{reports[-1]['run_id']}")
    assert run["state"] == {"stringValue": "completed"}


def test_the_schedule_repairs_what_was_lost_and_what_was_spoiled(counted: Suite) -> None:
    """An entry whose event never came and a total that was overwritten are right after the next tick."""
    counted.triggers(on=False)
    lost = counted.create("libra", entry("Lost Chips"))
    counted.set_count("aggregates_categories/Salsa", 100)
    counted.triggers(on=True)
    assert counted.count("aggregates_categories/Lost Chips") == 0
    drifts = [report["drift"] for report in tick_past(counted, committed(lost))]
    assert sum(drifts) > 0
    assert counted.count("aggregates_categories/Lost Chips") == 1
    assert counted.count("aggregates_categories/Salsa") == 1
    assert counted.count("aggregates_time_hours/18") == 4
    assert counted.tick()["drift"] == 0


def test_edits_and_deletions_move_the_totals(counted: Suite) -> None:
    """The suite's own events of the other two triggers: an entry is edited, then deleted."""
    written = counted.create("libra", entry("Basil", "Refilled"))
    path = f"libra/{written['name'].rpartition('/')[2]}"
    counted.wait_for({"aggregates_categories/Basil": 1, "aggregates_actions/Refilled": 1})
    counted.change(path, "ingredient", {"stringValue": "Mint"})
    counted.wait_for({"aggregates_categories/Basil": 0, "aggregates_categories/Mint": 1})
    counted.delete(path)
    counted.wait_for({"aggregates_categories/Mint": 0, "aggregates_actions/Refilled": 0})


def test_the_rules_are_in_force(firebase: Suite) -> None:
    """Who is not signed in reads no total and writes no entry, as when deployed."""
    for collection in ("aggregates_categories", "libra"):
        assert httpx.get(f"{firebase.documents}/{collection}", timeout=30).status_code == 403
    refused = httpx.post(f"{firebase.documents}/libra", json={"fields": entry("Chips")}, timeout=30)
    assert refused.status_code == 403


def test_hosting_serves_its_page(firebase: Suite) -> None:
    """The hosting configuration is ready to be deployed."""
    page = httpx.get(f"http://{firebase.ports.address('hosting')}/", timeout=30)
    assert page.status_code == 200
    assert "<title>Libra</title>" in page.text


def libra(firebase: Suite, *arguments: str) -> str:
    """What the command line prints, with the environment that `make emulate` tells to set."""
    inside = (
        dict(os.environ)
        | QUICK
        | {
            "FIRESTORE_EMULATOR_HOST": firebase.ports.address("firestore"),
            "GOOGLE_CLOUD_PROJECT": suite.PROJECT,
        }
    )
    words = [sys.executable, "-m", "cli.main", *arguments]
    done = subprocess.run(words, env=inside, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_command_line_works_on_it(counted: Suite) -> None:
    """`libra` writes, recomputes, verifies and tells on the suite as it does on its own stack."""
    before = counted.count("aggregates_actions/Served")
    libra(counted, "generate", "--entries=10", "--rate=5", "--days=2")
    wait_until(
        lambda: counted.count("aggregates_actions/Served") > before,
        seconds=PATIENCE,
        what="generated entries counted",
    )
    report = json.loads(libra(counted, "recompute", "--json"))
    assert report["entries"] > 0
    assert "completed" in libra(counted, "status")


def test_no_event_is_sent_over_a_connection_that_may_close() -> None:
    """Node would keep one for as long as the function's server does. An event that meets its end is lost: the
    suite delivers nothing twice."""
    inside = suite.environment(os.environ, suite.PROJECT)
    said = subprocess.run(
        ["node", "-p", "require('node:http').globalAgent.keepAlive"],
        env=inside,
        capture_output=True,
        text=True,
        check=True,
    )
    assert said.stdout.strip() == "false"


def test_who_stages_meanwhile_disturbs_no_event(firebase: Suite) -> None:
    """`./deploy.sh` writes `build/functions` anew; the suite, which reloads what changes, has its own."""
    path = "aggregates_categories/Staged"
    for count in range(1, 4):
        stage.stage()
        firebase.create("libra", entry("Staged"))
        firebase.wait_for({path: count})

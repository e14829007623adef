"""Metrics, alerts and the dashboard as `deploy.sh` makes them: new, again, changed, and away.

The tests of this module share one project and run in order of the file.
"""

import json
import subprocess
from collections.abc import Iterator

import pytest

from deploy import monitored
from deploy.parameters import read
from tests.deploy.conftest import ROOT, WHERE, Deploy
from tests.deploy.google_apis import GoogleApis, Json, Refusal

ONLY = (*WHERE, "--only=metrics,objectives,alerts,dashboard")
METRICS = "logging/v2/projects/kitchen-1/metrics"
POLICIES = "monitoring/v3/projects/kitchen-1/alertPolicies"
BOARD = "monitoring/v1/projects/kitchen-1/dashboards/7-b"
SERVICE = "monitoring/v3/projects/kitchen-1/services/libra"
THEIRS = f"{POLICIES}/theirs"
NOTIFY = {"GOOGLE_CLOUD_PROJECT": "kitchen-1", "LIBRA_NOTIFY": "17"}
VALUES = read({}, NOTIFY, ROOT / "none.env")

pytestmark = [pytest.mark.usefixtures("deployed"), pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def apis() -> Iterator[GoogleApis]:
    """A project with an alert policy and a metric of somebody else's."""
    made = GoogleApis()
    made.resources |= {
        THEIRS: {"name": THEIRS.removeprefix("monitoring/v3/"), "displayName": "theirs"},
        f"{METRICS}/theirs": {"name": "theirs", "filter": "severity>=ERROR"},
    }
    with made.serving() as started:
        yield started


@pytest.fixture(scope="module")
def deployed(deploy: Deploy, apis: GoogleApis) -> subprocess.CompletedProcess[str]:
    """The first `up`. Cloud Monitoring does not know the new metrics at once."""
    words = "Cannot find metric. If a metric was created recently, it could take up to 10 minutes"
    apis.refuse("POST", POLICIES, Refusal(404, "NOT_FOUND", words, times=1))
    done = deploy("up", *ONLY, "--notify=17")
    assert done.returncode == 0, done.stderr
    return done


def policies(apis: GoogleApis) -> dict[str, Json]:
    """The alert policies that are ours, by name."""
    found = [it for path, it in apis.resources.items() if path.startswith(POLICIES) and path != THEIRS]
    return {it["userLabels"]["libra"]: it for it in found}


def test_the_metrics_are_those_of_the_files(apis: GoogleApis) -> None:
    """Name, filter, labels."""
    for name, wanted in monitored.metrics(VALUES).items():
        found = apis.resources[f"{METRICS}/{name}"]
        assert found["filter"] == wanted["filter"]
        assert found.get("labelExtractors") == wanted.get("labelExtractors")


def test_the_objectives_are_those_of_the_files_of_one_service(apis: GoogleApis) -> None:
    """The alerts name them by the service and their file's name."""
    assert apis.resources[SERVICE]["custom"] == {}
    for name, wanted in monitored.objectives(VALUES).items():
        found = apis.resources[f"{SERVICE}/serviceLevelObjectives/{name}"]
        assert found == wanted | {"name": found["name"]}


def test_the_alerts_are_those_of_the_files_and_notify(
    deployed: subprocess.CompletedProcess[str], apis: GoogleApis
) -> None:
    """Every field of the file is sent; a metric that is not known yet is waited for."""
    assert "not known everywhere yet" in deployed.stderr
    sent = {name: {k: v for k, v in it.items() if k != "name"} for name, it in policies(apis).items()}
    assert sent == monitored.alerts(VALUES)


def test_the_dashboard_is_that_of_the_file(apis: GoogleApis) -> None:
    """Every field of the file is sent."""
    sent = {key: value for key, value in apis.resources[BOARD].items() if key not in {"name", "etag"}}
    assert sent == monitored.dashboards(VALUES)["libra"]


def test_a_second_run_changes_nothing(deploy: Deploy, apis: GoogleApis) -> None:
    """`up` on what `up` left asks for no change; `status` says that all is up to date."""
    before = len(apis.changes())
    again = deploy("up", *ONLY, "--notify=17")
    assert again.returncode == 0, again.stderr
    status = deploy("status", *ONLY, "--notify=17", "--json")
    assert apis.changes()[before:] == []
    number = len(monitored.alerts(VALUES))
    assert json.loads(status.stdout)["alerts"] == f"{number} there, {number} of {number} up to date"


def test_what_differs_is_brought_up_to_date(deploy: Deploy, apis: GoogleApis) -> None:
    """A filter, a label of the dashboard, a policy that somebody removed: those, and nothing else."""
    metric = apis.resources[f"{METRICS}/libra-malformed"]
    metric["filter"] = "severity>=ERROR"
    apis.resources[BOARD]["labels"]["libra-config"] = "old"
    path = next(
        path for path, it in apis.resources.items() if it.get("userLabels", {}).get("libra") == "drift"
    )
    del apis.resources[path]
    before = len(apis.changes())
    done = deploy("up", *ONLY, "--notify=17")
    assert done.returncode == 0, done.stderr
    made = [(it.method, it.api) for it in apis.changes()[before:]]
    assert made == [("PUT", "logging"), ("POST", "monitoring"), ("PATCH", "monitoring")]
    assert apis.changes()[-1].body["etag"] == "e1"
    wanted = monitored.metrics(VALUES)["libra-malformed"]["filter"]
    assert apis.resources[f"{METRICS}/libra-malformed"]["filter"] == wanted


def test_down_removes_what_is_ours(deploy: Deploy, apis: GoogleApis) -> None:
    """The dashboard, the alerts, then the metrics; what is somebody else's stays."""
    done = deploy("down", *ONLY)
    assert done.returncode == 0, done.stderr
    left = [path for path in apis.resources if path.startswith(("logging/", "monitoring/"))]
    assert sorted(left) == [f"{METRICS}/theirs", THEIRS]


def test_off_removes_what_an_earlier_run_made(deploy: Deploy, apis: GoogleApis) -> None:
    """`--monitoring=off` leaves nothing of ours."""
    assert deploy("up", *WHERE, "--only=dashboard").returncode == 0
    assert BOARD in apis.resources
    done = deploy("up", *ONLY, "--monitoring=off")
    assert done.returncode == 0, done.stderr
    left = [path for path in apis.resources if path.startswith(("logging/", "monitoring/"))]
    assert sorted(left) == [f"{METRICS}/theirs", THEIRS]

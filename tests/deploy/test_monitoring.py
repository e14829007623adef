"""The alerts and the dashboard in `deploy/monitoring`, and the page that says what to do."""

import json
import re
from datetime import timedelta

import pytest

from deploy import monitored
from deploy.gcloud import Gcloud
from deploy.parameters import read
from deploy.steps import api, collector, export, ingestion
from deploy.steps.base import Deployment
from deploy.steps.monitoring import Metrics
from shared.parts import KEEP
from shared.schemas import self_written
from shared.settings import Settings
from shared.topics import Topics
from tests.deploy.conftest import ROOT
from tests.deploy.test_operations_page import PAGE, table

VALUES = read(
    {},
    {"GOOGLE_CLOUD_PROJECT": "kitchen-1", "LIBRA_USAGE": "on", "LIBRA_INGESTION": "on"},
    ROOT / "none.env",
)
METRICS, ALERTS = monitored.metrics(VALUES), monitored.alerts(VALUES)
OBJECTIVES = monitored.objectives(VALUES)
BURNING = re.compile(
    r'select_slo_burn_rate\("projects/kitchen-1/services/libra/serviceLevelObjectives/(\w+)", "(\d+)s"\)'
)
PLATFORM = {
    "firestore.googleapis.com/document/read_count",
    "firestore.googleapis.com/document/write_count",
    "pubsub.googleapis.com/subscription/dead_letter_message_count",
    "pubsub.googleapis.com/subscription/num_undelivered_messages",
    "pubsub.googleapis.com/subscription/oldest_unacked_message_age",
    "run.googleapis.com/container/instance_count",
    "run.googleapis.com/job/completed_execution_count",
    "run.googleapis.com/request_count",
    "run.googleapis.com/request_latencies",
}
"""Google's own metrics that are used (https://cloud.google.com/monitoring/api/metrics_gcp, 2026-11)."""


BURN_ALERTS = {name for name, alert in ALERTS.items() if "select_slo_burn_rate" in json.dumps(alert)}


def types(value: object) -> set[str]:
    """Every metric type that a file names."""
    return set(re.findall(r'metric\.type=\\"([^"\\]+)\\"', json.dumps(value)))


@pytest.mark.parametrize("name", [*sorted(set(ALERTS) - BURN_ALERTS), *OBJECTIVES, "libra"])
def test_what_is_shown_and_watched_is_measured(name: str) -> None:
    """Each metric is one of the files, or one of Google's."""
    ours = {f"logging.googleapis.com/user/{metric}" for metric in METRICS}
    named = types((ALERTS | OBJECTIVES | monitored.dashboards(VALUES))[name])
    assert named
    assert named <= ours | PLATFORM


def test_each_metric_is_watched_or_shown() -> None:
    """What nobody looks at is not worth its cost."""
    named = types([*ALERTS.values(), *OBJECTIVES.values(), monitored.dashboards(VALUES)])
    assert {f"logging.googleapis.com/user/{metric}" for metric in METRICS} <= named


@pytest.mark.parametrize("name", ALERTS)
def test_an_alert_stays_within_what_google_allows(name: str) -> None:
    """An alignment of at most 25 hours, and a duration of at most 23.5 hours in whole minutes."""
    for condition in ALERTS[name]["conditions"]:
        threshold = condition["conditionThreshold"]
        for aggregation in threshold.get("aggregations", []) + threshold.get("denominatorAggregations", []):
            assert 60 <= int(aggregation["alignmentPeriod"][:-1]) <= 90_000
        duration = int(threshold["duration"][:-1])
        assert duration % 60 == 0
        assert duration <= timedelta(hours=23.5).total_seconds()
        assert "evaluationMissingData" not in threshold or duration >= 60


def test_an_alert_burns_an_objective_that_there_is_at_a_rate_that_can_be_reached() -> None:
    """All events of an hour late burn 100 times as fast as is allowed, where 1 in 100 may be."""
    burnt = set()
    for name in BURN_ALERTS:
        for condition in ALERTS[name]["conditions"]:
            found = BURNING.fullmatch(condition["conditionThreshold"]["filter"])
            assert found, condition
            assert (
                1 < condition["conditionThreshold"]["thresholdValue"] < 1 / (1 - OBJECTIVES[found[1]]["goal"])
            )
            burnt.add(found[1])
    assert burnt == OBJECTIVES.keys() - {"drift"}  # each night with drift is told by an alert of its own


def test_the_objectives_are_those_of_the_page() -> None:
    """What is promised, over four weeks."""
    promised = {
        name.strip("| `"): float(goal.strip(" |%")) / 100
        for name, _, goal in map(tuple, table("## Objectives"))
    }
    assert promised == {name: pytest.approx(it["goal"]) for name, it in OBJECTIVES.items()}
    assert {it["rollingPeriod"] for it in OBJECTIVES.values()} == {f"{28 * 86_400}s"}
    cut = OBJECTIVES["latency"]["serviceLevelIndicator"]["requestBased"]["distributionCut"]
    assert cut["range"] == {"min": 0, "max": 2_000}  # milliseconds


def test_the_subscriptions_that_are_watched_are_those_that_are_made() -> None:
    """Of every source that Libra writes itself, what the worker pulls and the dead letters."""
    topics = [Topics(name) for name in self_written(Settings())]
    for alert, names in (
        ("worker-behind", [it.subscription for it in topics]),
        ("dead-letters", [it.dead for it in topics]),
        ("dead-letters-grow", [it.subscription for it in topics]),
    ):
        watched = ALERTS[alert]["conditions"][0]["conditionThreshold"]["filter"]
        (pattern,) = re.findall(r'full_match\("([^"]+)"\)', watched)
        assert all(re.fullmatch(pattern, name) for name in names), pattern


@pytest.mark.parametrize("alert", ["service-fails", "service-slow"])
def test_the_services_that_are_watched_are_those_that_are_made(alert: str) -> None:
    """The APIs and the collector, each by itself: a busy one must not hide that another fails."""
    (condition,) = ALERTS[alert]["conditions"]
    threshold = condition["conditionThreshold"]
    for watched in (threshold["filter"], threshold.get("denominatorFilter", threshold["filter"])):
        (pattern,) = re.findall(r'service_name=monitoring\.regex\.full_match\("([^"]+)"\)', watched)
        services = (api.SERVICE, collector.SERVICE, ingestion.SERVICE)
        assert all(re.fullmatch(pattern, name) for name in services), pattern
    grouped = threshold["aggregations"] + threshold.get("denominatorAggregations", [])
    assert all(it["groupByFields"] == ["resource.label.service_name"] for it in grouped)


@pytest.mark.parametrize(
    ("alert", "job"), [("export-failed", export.JOB), ("ingestion-crashed", ingestion.JOB)]
)
def test_the_job_that_is_watched_is_the_one_that_is_made(alert: str, job: str) -> None:
    """By Google's own count, which has executions that were killed and wrote no line."""
    (condition,) = ALERTS[alert]["conditions"]
    watched = condition["conditionThreshold"]["filter"]
    assert f'resource.labels.job_name="{job}" metric.labels.result="failed"' in watched


def test_no_recompute_is_noticed_after_26_hours() -> None:
    """Google sums over 25 hours at most: that sum stays at nothing for one more. No data is nothing."""
    threshold = ALERTS["no-recompute"]["conditions"][0]["conditionThreshold"]
    seconds = threshold["aggregations"][0]["alignmentPeriod"], threshold["duration"]
    assert sum(int(each[:-1]) for each in seconds) == 26 * 3600
    assert threshold["evaluationMissingData"] == "EVALUATION_MISSING_DATA_ACTIVE"


def test_a_stopped_flush_is_noticed_while_applications_keep_their_counts() -> None:
    """No data is nothing; a run that found nothing is noticed within Google's limit."""
    for name, hours in (("usage-stopped", KEEP / timedelta(hours=1)), ("usage-empty", 25)):
        threshold = ALERTS[name]["conditions"][0]["conditionThreshold"]
        seconds = threshold["aggregations"][0]["alignmentPeriod"], threshold["duration"]
        assert sum(int(each[:-1]) for each in seconds) == hours * 3600
        assert threshold["evaluationMissingData"] == "EVALUATION_MISSING_DATA_ACTIVE"


def test_a_stopped_worker_of_ingestion_is_noticed_after_2_hours() -> None:
    """No data is nothing."""
    threshold = ALERTS["ingestion-stopped"]["conditions"][0]["conditionThreshold"]
    seconds = threshold["aggregations"][0]["alignmentPeriod"], threshold["duration"]
    assert sum(int(each[:-1]) for each in seconds) == 2 * 3600
    assert threshold["evaluationMissingData"] == "EVALUATION_MISSING_DATA_ACTIVE"


@pytest.mark.parametrize(
    ("part", "alerts"),
    [
        ("usage", ("aside", "empty", "failed", "slow", "stopped")),
        ("ingestion", ("crashed", "failed", "late", "refused", "stopped", "waits")),
    ],
)
def test_what_waits_for_a_part_is_only_where_there_is_one(part: str, alerts: tuple[str, ...]) -> None:
    """Metrics and alerts of usage and ingestion go with them. Those that were made are found again, to be
    removed."""
    off = {**VALUES, f"LIBRA_{part.upper()}": "off"}
    assert {it for it in ALERTS if it not in monitored.alerts(off)} == {f"{part}-{it}" for it in alerts}
    assert not [it for it in monitored.metrics(off) if part in it]
    gone = Metrics(Deployment(off, Gcloud(planning=True)))
    assert gone._name({"name": f"libra-{part}-completed"}) == f"libra-{part}-completed"


def test_the_table_of_alerts_the_files_and_the_pages_are_one() -> None:
    """Each alert is in the table and links its section of that page; who is woken is its severity."""
    headings = {
        re.sub(r"[^\w -]", "", line.lower()).strip().replace(" ", "-")
        for line in re.findall(r"^#+ (.*)$", PAGE, re.MULTILINE)
    }
    shown = {}
    for name, _, _, page, wake in (cells for cells in table("## Alerts")):
        (anchor,) = re.findall(r"\]\(#([^)]+)\)", page)
        shown[name.strip("| `")] = (anchor, wake.rstrip(" |").startswith("yes"))
    said = {}
    for name, alert in ALERTS.items():
        (anchor,) = re.findall(r"docs/operations\.md#(\S+)$", alert["documentation"]["content"])
        said[name] = (anchor, alert["severity"] == "CRITICAL")
    assert shown == said
    assert {anchor for anchor, _ in said.values()} <= headings


def test_alerts_notify_the_channels_and_link_the_runbook() -> None:
    """An id is one of the project's; a change of either is another digest."""
    given = {
        "LIBRA_NOTIFY": "17,projects/other/notificationChannels/4",
        "LIBRA_RUNBOOK": "https://wiki.example/libra",
    }
    policy = monitored.alerts(VALUES | given)["drift"]
    assert policy["notificationChannels"] == [
        "projects/kitchen-1/notificationChannels/17",
        "projects/other/notificationChannels/4",
    ]
    assert policy["documentation"]["content"].endswith("https://wiki.example/libra#drift")
    assert policy["userLabels"]["libra"] == "drift"
    assert policy["userLabels"]["libra-config"] != ALERTS["drift"]["userLabels"]["libra-config"]
    assert "notificationChannels" not in ALERTS["drift"]

"""Terraform adopts everything that deploy.sh made, and the addresses are those of its files."""

import json
import re
from pathlib import Path

import pytest

from deploy import adopting, indexes, monitored
from deploy.adopting import Adoption, blocks
from deploy.gcloud import Gcloud
from deploy.google import RULES
from deploy.parameters import read
from deploy.steps import Deployment, monitoring
from deploy.steps.export import Export
from deploy.steps.warehouse import Warehouse
from tests.deploy.conftest import ROOT
from tests.support.both_ways import GIVEN, Deployed, kind_of

ANEW = {
    "google_project_service",
    "google_project_iam_member",
    "google_service_account_iam_member",
    "google_storage_bucket_iam_member",
    "google_secret_manager_secret_iam_member",
    "google_bigquery_dataset_iam_member",
    "google_pubsub_topic_iam_member",
    "google_pubsub_subscription_iam_member",
    "google_cloud_run_v2_service_iam_member",
    "google_cloud_run_v2_job_iam_member",
    "google_firestore_field",
}
"""To make one that is there changes nothing, in Google's APIs."""
OWN = {
    "google_dataflow_flex_template_job",
    "google_firebase_hosting_site",
    "google_firebase_web_app",
    "google_firebaserules_ruleset",
    "google_storage_bucket_object",
}
"""Terraform makes its own: a ruleset is only in force through its release, deploy.sh makes no site, a
template is a file, and the provider imports no job of Dataflow."""
SOURCE = "module.functions[0].google_storage_bucket.source"
"""The bucket of the functions' code, which deploy.sh has not."""


class Everything(Gcloud):
    """A project in which all is there."""

    def __init__(self, recovery: str = "POINT_IN_TIME_RECOVERY_ENABLED") -> None:
        super().__init__(planning=False)
        self._recovery = recovery

    def look(self, *words: str, program: tuple[str, ...] = ("gcloud",)) -> str:  # noqa: ARG002 - as inherited
        """The name of whatever is asked for."""
        if "composite" in words:
            group = "projects/p/databases/d/collectionGroups"
            found = [
                index | {"name": f"{group}/{index['collectionGroup']}/indexes/{number}"}
                for number, index in enumerate(indexes.declared()["indexes"])
            ]
            return json.dumps(found)
        return f"a-name\t{self._recovery}" if words[:2] == ("firestore", "databases") else "a-name"


def adoption(
    monkeypatch: pytest.MonkeyPatch, found: str | None, recovery: str = "", **given: str
) -> Adoption:
    """Of a project in which all is there, with these rules in force; of the monitoring the service alone."""
    asked: list[str] = []

    def in_force(_: object, release: str) -> str | None:
        asked.append(release)
        assert asked == ["projects/kitchen-1/releases/cloud.firestore"]  # once
        return found

    monkeypatch.setattr(adopting, "in_force", in_force)
    services = [{"name": "projects/kitchen-1/services/libra"}]
    monkeypatch.setattr(Warehouse, "found", lambda *_: {})
    monkeypatch.setattr(Export, "dataset", lambda _: {})
    monkeypatch.setattr(monitoring, "listed", lambda *asked: services if asked[-1] == "services" else [])
    return Adoption(Deployment(read({}, GIVEN | given, ROOT / "none.env"), Everything(recovery)))


def test_everything_that_is_there_is_adopted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All that Terraform would make, but for what may be made twice; nothing is adopted twice."""
    both = Deployed(GIVEN, tmp_path)
    found = {
        "metrics": monitored.metrics(both.values),
        "serviceLevelObjectives": monitored.objectives(both.values),
        "alertPolicies": monitored.alerts(both.values),
        "dashboards": monitored.dashboards(both.values),
        "services": {"libra": {"name": "projects/kitchen-1/services/libra"}},
    }

    def listed(_: object, __: str, ___: str, kind: str) -> list[dict[str, object]]:
        return [{"name": f"projects/kitchen-1/{kind}/{name}"} | it for name, it in found[kind].items()]

    monkeypatch.setattr(monitoring, "listed", listed)
    monkeypatch.setattr(adopting, "in_force", lambda *_: RULES.read_text(encoding="utf-8"))
    monkeypatch.setattr(Warehouse, "found", lambda *_: {"id": "there"})
    monkeypatch.setattr(Export, "dataset", lambda _: {"id": "there"})
    imports = list(Adoption(Deployment(both.values, Everything())).imports())
    made = {address for address in both.resources if kind_of(address) not in ANEW | OWN} - {SOURCE}
    assert sorted(address for address, _ in imports) == sorted(made)
    assert len({identity for _, identity in imports}) == len(imports)
    text = blocks(iter(()), iter(imports))
    assert len(
        re.findall(r'^import \{\n  to = module\.\S+\n  id = "[^"$]+"\n\}$', text, re.MULTILINE)
    ) == len(imports)


def test_what_is_not_there_is_not_adopted() -> None:
    """While nothing is looked at, as in an empty project, nothing is there."""
    values = read({}, GIVEN, ROOT / "none.env")
    nothing = Adoption(Deployment(values, Gcloud(planning=True)))
    assert [*nothing.imports(), *nothing.notes()] == []


OURS, OTHERS = RULES.read_text(encoding="utf-8"), "service cloud.firestore { /* a customer's own */ }"


@pytest.mark.parametrize(
    ("mode", "found", "adopted", "said"),
    [
        ("create", OURS, True, False),
        ("replace", OURS, True, False),
        ("create", OTHERS, False, True),
        ("replace", OTHERS, True, False),
        ("keep", OTHERS, False, False),
        ("create", None, False, False),
        ("replace", None, False, False),
    ],
)
def test_rules_of_others_are_adopted_only_to_be_replaced(
    monkeypatch: pytest.MonkeyPatch, mode: str, found: str | None, adopted: bool, said: bool
) -> None:
    """The first apply writes an adopted release anew. A comment says what was left out, and what to do."""
    look = adoption(monkeypatch, found, LIBRA_RULES=mode)
    notes = [note for note in look.notes() if "rules" in note]
    releases = [it for address, it in look.imports() if "firebaserules" in address]
    assert releases == ["projects/kitchen-1/releases/cloud.firestore"] * adopted
    assert len(notes) == said
    assert all(word in note for note in notes for word in ('rules = "keep"', "--rules=replace"))


@pytest.mark.parametrize(
    ("recovery", "said"),
    [("POINT_IN_TIME_RECOVERY_ENABLED", "on"), ("POINT_IN_TIME_RECOVERY_DISABLED", "off"), ("", "off")],
)
def test_the_recovery_found_is_said(monkeypatch: pytest.MonkeyPatch, recovery: str, said: str) -> None:
    """As terraform.tfvars has to say it, whatever deploy.sh was told; in a comment."""
    look = adoption(monkeypatch, OURS, recovery, LIBRA_PITR="keep")
    first, *_ = blocks(look.notes(), iter(())).splitlines()
    assert first == f'# terraform.tfvars must say pitr = "{said}" to leave the database as it is.'


def test_a_stream_that_runs_is_to_be_drained_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """The provider takes no import of it, and Dataflow no second job of its name."""
    for wanted in ("on", "off"):
        notes = [it for it in adoption(monkeypatch, OURS, LIBRA_STREAM=wanted).notes() if "drain" in it]
        assert ["gcloud dataflow jobs drain a-name --region=europe-west6" in it for it in notes] == [True] * (
            wanted == "on"
        )


BARE = {"LIBRA_WAREHOUSE": "off", "LIBRA_STREAM": "off"}


@pytest.mark.parametrize(
    ("given", "missing", "topics"),
    [
        ({"LIBRA_API": "off", **BARE}, {"windows", "warehouse"}, True),
        ({"LIBRA_MONITORING": "off"}, {"monitoring"}, True),
        ({"LIBRA_EXPORT": "off"}, {"export"}, True),
        ({"LIBRA_WORKER": "off"}, set(), True),
        ({"LIBRA_PIPELINES": "off", "LIBRA_STREAM": "off"}, {"pipelines"}, True),
        ({"LIBRA_USAGE": "off"}, {"usage"}, True),
        ({"LIBRA_INGESTION": "off"}, {"ingestion"}, True),
        ({"LIBRA_COLLECTOR": "off"}, set(), True),
        ({"LIBRA_COLLECTOR": "direct", "LIBRA_WORKER": "off"}, set(), True),
        ({"LIBRA_COLLECTOR": "direct", "LIBRA_WORKER": "off", **BARE}, {"warehouse"}, False),
        ({"LIBRA_COLLECTOR": "off", "LIBRA_WORKER": "off", **BARE}, {"doors", "warehouse"}, False),
    ],
)
def test_what_is_there_and_not_wanted_is_not_adopted(
    monkeypatch: pytest.MonkeyPatch, given: dict[str, str], missing: set[str], topics: bool
) -> None:
    """`down` leaves topics. Terraform refuses an import for which there is no resource."""
    addresses = [address for address, _ in adoption(monkeypatch, OURS, **given).imports()]
    modules = {
        "core",
        "functions",
        "windows",
        "doors",
        "warehouse",
        "usage",
        "ingestion",
        "export",
        "pipelines",
        "monitoring",
    }
    assert {re.split(r"[.\[]", it)[1] for it in addresses} == modules - missing
    assert any("google_pubsub" in it for it in addresses) == topics
    works, collects = (given.get(name) != "off" for name in ("LIBRA_WORKER", "LIBRA_COLLECTOR"))
    assert any("account.worker[0]" in it for it in addresses) == works
    assert any("worker_pool.worker[0]" in it for it in addresses) == works
    assert any("module.collector[0]" in it for it in addresses) == collects

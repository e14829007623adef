"""Terraform adopts everything that deploy.sh made, and the addresses are those of its files."""

import json
import re
from pathlib import Path

import pytest

from deploy import indexes, monitored
from deploy.adopting import Adoption, blocks
from deploy.gcloud import Gcloud
from deploy.parameters import read
from deploy.steps import Deployment, monitoring
from tests.deploy.conftest import ROOT
from tests.support.both_ways import GIVEN, Deployed, kind_of

ANEW = {
    "google_project_service",
    "google_project_iam_member",
    "google_secret_manager_secret_iam_member",
    "google_pubsub_topic_iam_member",
    "google_pubsub_subscription_iam_member",
    "google_cloud_run_v2_service_iam_member",
    "google_firestore_field",
}
"""To make one that is there changes nothing, in Google's APIs."""
OWN = {"google_firebaserules_ruleset", "google_storage_bucket", "google_storage_bucket_object"}
"""Terraform makes its own: a ruleset is only in force through its release."""


class Everything(Gcloud):
    """A project in which all is there."""

    def __init__(self) -> None:
        super().__init__(planning=False)

    def look(self, *words: str, program: tuple[str, ...] = ("gcloud",)) -> str:  # noqa: ARG002 - as inherited
        """The name of whatever is asked for."""
        if "composite" in words:
            group = "projects/p/databases/d/collectionGroups"
            found = [
                index | {"name": f"{group}/{index['collectionGroup']}/indexes/{number}"}
                for number, index in enumerate(indexes.declared()["indexes"])
            ]
            return json.dumps(found)
        return "a-name"


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
    imports = list(Adoption(Deployment(both.values, Everything())).imports())
    made = {address for address in both.resources if kind_of(address) not in ANEW | OWN}
    assert sorted(address for address, _ in imports) == sorted(made)
    assert len({identity for _, identity in imports}) == len(imports)
    text = blocks(iter(imports))
    assert len(
        re.findall(r'^import \{\n  to = module\.\S+\n  id = "[^"$]+"\n\}$', text, re.MULTILINE)
    ) == len(imports)


def test_what_is_not_there_is_not_adopted() -> None:
    """While nothing is looked at, as in an empty project, nothing is there."""
    values = read({}, GIVEN, ROOT / "none.env")
    assert list(Adoption(Deployment(values, Gcloud(planning=True))).imports()) == []

"""What gcloud has no command for: which permissions the caller has, security rules, what Hosting serves.

All use the token that gcloud prints (in `LIBRA_TOKEN`) and the endpoints that gcloud would use
(`CLOUDSDK_API_ENDPOINT_OVERRIDES_...`).
"""

import argparse
import json
import os
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

RULES = Path(__file__).resolve().parent.parent / "firestore.rules"

NEEDED = {
    "serviceusage.services.enable": "roles/serviceusage.serviceUsageAdmin",
    "resourcemanager.projects.setIamPolicy": "roles/resourcemanager.projectIamAdmin",
    "iam.serviceAccounts.create": "roles/iam.serviceAccountAdmin",
    "iam.serviceAccounts.actAs": "roles/iam.serviceAccountUser",
    "datastore.databases.create": "roles/datastore.owner",
    "datastore.indexes.create": "roles/datastore.owner",
    "cloudfunctions.functions.create": "roles/cloudfunctions.admin",
    "run.services.setIamPolicy": "roles/run.admin",
    "cloudscheduler.jobs.create": "roles/cloudscheduler.admin",
    "firebaserules.rulesets.create": "roles/firebaserules.admin",
}
"""What `up` does that needs a permission, and a role that has it."""
MONITORED = {
    "logging.logMetrics.create": "roles/logging.configWriter",
    "monitoring.alertPolicies.create": "roles/monitoring.alertPolicyEditor",
    "monitoring.dashboards.create": "roles/monitoring.dashboardEditor",
    "monitoring.services.create": "roles/monitoring.servicesEditor",
    "monitoring.slos.create": "roles/monitoring.servicesEditor",
}
"""The same, with `--monitoring=on`."""
_PUBSUB = "roles/pubsub.admin"
IMAGES = ("api", "collector", "worker", "usage", "ingestion", "export", "pipelines")
"""The steps that build an image, if it is wanted."""
QUEUED = {
    "pubsub.topics.create": _PUBSUB,
    "pubsub.topics.setIamPolicy": _PUBSUB,
    "pubsub.subscriptions.create": _PUBSUB,
    "pubsub.subscriptions.setIamPolicy": _PUBSUB,
}
"""The same, with topics: for the worker, and for the collector's mode `queue`."""
BUILT = {
    "artifactregistry.repositories.create": "roles/artifactregistry.admin",
    "cloudbuild.builds.create": "roles/cloudbuild.builds.editor",
    "run.services.create": "roles/run.admin",
}
"""The same, with an image that is built."""

WAREHOUSED = {
    "bigquery.datasets.create": "roles/bigquery.admin",
    "bigquery.tables.create": "roles/bigquery.admin",
}
"""The same, with `--warehouse=on`."""
PIPED = {
    "run.jobs.create": "roles/run.admin",
    "storage.buckets.create": "roles/storage.admin",
    "storage.buckets.setIamPolicy": "roles/storage.admin",
    "storage.objects.create": "roles/storage.admin",
}
"""The same, with `--pipelines=on`."""
STREAMED = {"dataflow.jobs.create": "roles/dataflow.developer"}
"""The same, with `--stream=on`."""

JOBS = {
    "run.jobs.create": "roles/run.admin",
    "run.jobs.setIamPolicy": "roles/run.admin",
}
"""The same, with `--usage=on`, `--ingestion=on` or `--export`."""
EXPORT_DATASET = "bigquery.datasets.create"
"""With `--export=bigquery:DATASET`, likewise."""

Json = dict[str, Any]


class ApiError(Exception):
    """Google refused; the message is Google's own."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


def call(
    environment: Mapping[str, str],
    method: str,
    api: str,
    path: str,
    body: Json | None = None,
    *,
    payer: str = "",
) -> Json:
    """One request to `https://API.googleapis.com/PATH`.

    ``payer`` is the project whose quota it counts against: with a person's token, some APIs want to be told
    (https://cloud.google.com/docs/quotas/set-quota-project, 2026-11).

    Raises:
        ApiError: it was refused or not answered.
    """
    base = (
        environment.get(f"CLOUDSDK_API_ENDPOINT_OVERRIDES_{api.upper()}") or f"https://{api}.googleapis.com/"
    )
    request = urllib.request.Request(  # noqa: S310 - a constant scheme, or the operator's own override
        base.rstrip("/") + "/" + path,
        method=method,
        data=json.dumps(body).encode() if body is not None else None,
        headers={
            "Authorization": f"Bearer {environment['LIBRA_TOKEN']}",
            "Content-Type": "application/json",
        }
        | ({"X-Goog-User-Project": payer} if payer else {}),
    )
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310 - see above
            return dict(json.load(answer))
    except urllib.error.HTTPError as error:
        with error:
            raise ApiError(error.code, error.read().decode(errors="replace")[:2000]) from None
    except OSError as error:
        raise ApiError(0, f"{base}: {error}") from error


def needed(values: Mapping[str, str], only: frozenset[str]) -> dict[str, str]:
    """The permissions that `up` needs with these parameters and steps, and a role that has each."""
    watched = values["LIBRA_MONITORING"] == "on"
    warehoused = values["LIBRA_WAREHOUSE"] == "on"
    queued = warehoused or values["LIBRA_WORKER"] == "on" or values["LIBRA_COLLECTOR"] == "queue"
    place = values["LIBRA_EXPORT"] if "export" in only else "off"
    started = any(values[f"LIBRA_{it.upper()}"] == "on" and it in only for it in ("usage", "ingestion"))
    built = any(name in only and values[f"LIBRA_{name.upper()}"] != "off" for name in IMAGES)
    return (
        NEEDED
        | (MONITORED if watched else {})
        | (QUEUED if queued and only & {"topics", "collector", "worker", "warehouse"} else {})
        | (WAREHOUSED if warehoused and "warehouse" in only else {})
        | (BUILT if built else {})
        | (JOBS if place != "off" or started else {})
        | ({EXPORT_DATASET: WAREHOUSED[EXPORT_DATASET]} if place.startswith("bigquery:") else {})
        | (PIPED if "pipelines" in only and values["LIBRA_PIPELINES"] == "on" else {})
        | (STREAMED if "stream" in only and values["LIBRA_STREAM"] == "on" else {})
    )


def lacking(environment: Mapping[str, str], project: str, needed: Mapping[str, str]) -> dict[str, str]:
    """The permissions of those needed that the caller has not, and a role that has each."""
    path = f"v1/projects/{project}:testIamPermissions"
    answer = call(environment, "POST", "cloudresourcemanager", path, {"permissions": list(needed)})
    granted = set(answer.get("permissions", []))
    return {permission: role for permission, role in needed.items() if permission not in granted}


def release_rules(environment: Mapping[str, str], project: str, database: str, *, replace: bool) -> str:
    """Put the rules in force where there are none, or in place of what is there; say what was done.

    Rules that are there and differ stay as they are unless `replace`: they may guard more than Libra.
    """
    release, text = release_of(project, database), RULES.read_text(encoding="utf-8")
    found = in_force(environment, release)
    if found == text:
        return "the rules in force are these already"
    if found is not None and not replace:
        return (
            "other rules are in force and were left as they are: merge firestore.rules into them, "
            "or replace them with --rules replace"
        )
    source = {"source": {"files": [{"name": RULES.name, "content": text}]}}
    ruleset = call(environment, "POST", "firebaserules", f"v1/projects/{project}/rulesets", source)["name"]
    wanted = {"name": release, "rulesetName": ruleset}
    if found is None:
        call(environment, "POST", "firebaserules", f"v1/projects/{project}/releases", wanted)
        return "the rules are in force"
    call(environment, "PATCH", "firebaserules", f"v1/{release}", {"release": wanted})
    return "the rules are in force, in place of others"


def release_of(project: str, database: str) -> str:
    """The release that has a database's rules."""
    name = "cloud.firestore" if database == "(default)" else f"cloud.firestore/{database}"
    return f"projects/{project}/releases/{name}"


def in_force(environment: Mapping[str, str], release: str) -> str | None:
    """The rules of a release; None: there is none.

    Raises:
        ApiError: Google refused.
    """
    try:
        ruleset = call(environment, "GET", "firebaserules", f"v1/{release}")["rulesetName"]
    except ApiError as error:
        if error.code == 404:
            return None
        raise
    files = call(environment, "GET", "firebaserules", f"v1/{ruleset}")["source"]["files"]
    return "\n".join(file["content"] for file in files)


def main() -> None:
    """`PROJECT DATABASE create|replace`: put the rules in force, as `./deploy.sh plan` prints it."""
    parser = argparse.ArgumentParser(
        prog="deploy.google", description='LIBRA_TOKEN="$(gcloud auth print-access-token)" has to be set.'
    )
    parser.add_argument("project")
    parser.add_argument("database")
    parser.add_argument("mode", choices=["create", "replace"])
    chosen = parser.parse_args()
    if "LIBRA_TOKEN" not in os.environ:
        parser.error(parser.description or "")
    try:
        replace = chosen.mode == "replace"
        print(release_rules(os.environ, chosen.project, chosen.database, replace=replace))  # noqa: T201
    except ApiError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()

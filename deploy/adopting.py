"""`python -m deploy.adopting --project=P --region=R ...`: import blocks for what `./deploy.sh up` has made.

Terraform adopts what they name, and makes nothing anew: save them as `deploy/terraform/imports.tf`. They hold
literal ids, because Terraform 1.5 takes no others. It looks at what is there, changes nothing, and takes the
parameters of `deploy.sh`. Services, roles and settings of fields need no import: to make one that is there
changes nothing.
"""

import json
import os
import sys
from collections.abc import Iterator

from deploy import indexes
from deploy.arguments import options_of
from deploy.gcloud import CommandError, DeployError, Gcloud, say
from deploy.parameters import ParameterError
from deploy.steps import STEPS, Deployment
from deploy.steps.accounts import exists
from deploy.steps.base import RECOMPUTE
from deploy.steps.monitoring import Monitored, Objectives
from deploy.steps.project import Indexes
from deploy.steps.schedule import JOBS
from deploy.steps.topics import names
from deploy.steps.worker import POOL, POOLS

Import = tuple[str, str]
"""An address in Terraform, and the id of what it adopts."""
ACCOUNTS = ("libra-runtime", "libra-build", "libra-trigger", "libra-scheduler")
SERVICES = {
    "libra-api": "module.windows[0].module.service",
    "libra-collector": "module.doors[0].module.collector[0]",
}
MONITORED = {
    "metrics": "google_logging_metric.metric",
    "objectives": "google_monitoring_slo.objective",
    "alerts": "google_monitoring_alert_policy.alert",
    "dashboard": "google_monitoring_dashboard.libra",
}


class Adoption:
    """The imports of one deployment. Each asks first whether there is something to adopt."""

    def __init__(self, deployment: Deployment) -> None:
        self._deployment = deployment
        self._home = f"projects/{deployment.project}"

    def imports(self) -> Iterator[Import]:
        """In the order of the modules."""
        yield from self._database()
        yield from self._accounts()
        yield from self._functions()
        yield from self._pubsub()
        yield from self._services()
        yield from self._monitoring()

    def _there(self, *words: str) -> str:
        """The name of what a command describes or lists; empty: it is not there."""
        return self._deployment.gcloud.look(*words, "--format=value(name)")

    def _database(self) -> Iterator[Import]:
        deployment, where = self._deployment, self._deployment.in_database
        name = deployment.values["FIRESTORE_DATABASE"]
        database = f"{self._home}/databases/{name}"
        if not self._there("firestore", "databases", "describe", *where):
            return
        yield "module.core.google_firestore_database.database", database
        wanted = set(indexes.wanted(indexes.declared()))
        for index in Indexes(deployment).composites():
            for found in wanted.intersection(indexes.present([index], [], [])):
                key = f"{found.collection}/{','.join(found.fields)}"
                yield f'module.core.google_firestore_index.composite["{key}"]', index["name"]
        if deployment.values["LIBRA_BACKUP"] == "daily" and (
            daily := self._there(
                "firestore", "backups", "schedules", "list", *where, "--filter=dailyRecurrence:*"
            )
        ):
            yield "module.core.google_firestore_backup_schedule.daily[0]", daily.splitlines()[0]
        if deployment.values["LIBRA_RULES"] != "keep":
            suffix = "" if name == "(default)" else f"/{name}"
            release = f"{self._home}/releases/cloud.firestore{suffix}"
            yield "module.core.google_firebaserules_release.rules[0]", release

    def _accounts(self) -> Iterator[Import]:
        own = {name: f'module.core.google_service_account.account["{name}"]' for name in ACCOUNTS}
        served = {name: f"{at}.google_service_account.account" for name, at in SERVICES.items()}
        worker = {POOL: "module.doors[0].google_service_account.worker[0]"}
        for name, address in (own | served | worker).items():
            if exists(self._deployment, name):
                yield address, f"{self._home}/serviceAccounts/{self._deployment.email(name)}"

    def _functions(self) -> Iterator[Import]:
        deployment = self._deployment
        for name in (RECOMPUTE, *deployment.triggers):
            if self._there("functions", "describe", name, "--gen2", *deployment.in_region):
                address = f'module.functions[0].google_cloudfunctions2_function.function["{name}"]'
                yield address, f"{self._home}/locations/{deployment.region}/functions/{name}"
        place = deployment.values["LIBRA_SCHEDULER_REGION"]
        for job in JOBS:
            if self._there(
                "scheduler", "jobs", "describe", job, f"--location={place}", deployment.in_project
            ):
                address = f'module.functions[0].google_cloud_scheduler_job.call["{job}"]'
                yield address, f"{self._home}/locations/{place}/jobs/{job}"

    def _services(self) -> Iterator[Import]:
        for name, address in SERVICES.items():
            where = (name, *self._deployment.in_region, "--format=value(metadata.name)")
            if self._deployment.gcloud.look("run", "services", "describe", *where):
                identity = f"{self._home}/locations/{self._deployment.region}/services/{name}"
                yield f"{address}.google_cloud_run_v2_service.service", identity
        if exists(self._deployment, POOL):  # else a gcloud that knows no worker pools may do
            where = (POOL, *self._deployment.in_region, "--format=value(metadata.name)")
            if self._deployment.gcloud.look(*POOLS, "describe", *where):
                identity = f"{self._home}/locations/{self._deployment.region}/workerPools/{POOL}"
                yield "module.doors[0].google_cloud_run_v2_worker_pool.worker[0]", identity

    def _pubsub(self) -> Iterator[Import]:
        for each in names():
            wanted = {
                f'topic.topic["{each.topic}"]': ("topics", each.topic),
                f'topic.topic["{each.dead}"]': ("topics", each.dead),
                f'subscription.worker["{each.source}"]': ("subscriptions", each.subscription),
                f'subscription.dead["{each.source}"]': ("subscriptions", each.dead),
            }
            for address, (kind, name) in wanted.items():
                if self._there("pubsub", kind, "describe", name, self._deployment.in_project):
                    yield f"module.doors[0].google_pubsub_{address}", f"{self._home}/{kind}/{name}"

    def _monitoring(self) -> Iterator[Import]:
        for step in (made(self._deployment) for made in STEPS if issubclass(made, Monitored)):
            if isinstance(step, Objectives) and step.served():
                address = "module.monitoring[0].google_monitoring_custom_service.libra"
                yield address, f"{self._home}/services/libra"
            for name, found in step.there().items():
                key = "" if step.name == "dashboard" else f'["{name}"]'
                yield f"module.monitoring[0].{MONITORED[step.name]}{key}", found["name"]


def blocks(imports: Iterator[Import]) -> str:
    """As Terraform reads them."""
    found = (f"import {{\n  to = {to}\n  id = {json.dumps(identity)}\n}}\n" for to, identity in imports)
    return "\n".join(found)


def main(words: list[str]) -> int:
    """Print the blocks; the exit status."""
    try:
        options = options_of(["status", *words], os.environ)
        found = blocks(Adoption(Deployment(options.values, Gcloud(planning=False))).imports())
    except (ParameterError, DeployError, CommandError) as error:
        say(f"deploy.adopting: {error}")
        return 1
    sys.stdout.write(found)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

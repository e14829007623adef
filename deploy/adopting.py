"""`python -m deploy.adopting --project=P --region=R ...`: import blocks for what `./deploy.sh up` has made.

Terraform adopts what they name, and makes nothing anew: save them as `deploy/terraform/imports.tf`. They hold
literal ids, because Terraform 1.5 takes no others. It looks at what is there, changes nothing, and takes the
parameters of `deploy.sh`. What it leaves out, and what it found that `terraform.tfvars` has to say, stands in
comments. Services, roles and settings of fields need no import: to make one that is there
changes nothing.
"""

import json
import os
import sys
from collections.abc import Iterator
from functools import cached_property

from deploy import indexes
from deploy.arguments import options_of
from deploy.flex import ACCOUNT as PIPELINES
from deploy.flex import bucket_of
from deploy.gcloud import CommandError, DeployError, Gcloud, say
from deploy.google import RULES, ApiError, in_force, release_of
from deploy.monitored import POOL
from deploy.parameters import ParameterError
from deploy.steps import STEPS, Deployment, jobs
from deploy.steps.accounts import exists
from deploy.steps.base import RECOMPUTE
from deploy.steps.export import JOB, Export
from deploy.steps.ingestion import JOB as INGESTION
from deploy.steps.ingestion import SERVICE as INGESTION_API
from deploy.steps.monitoring import Monitored, Objectives
from deploy.steps.pipelines import JOB as BEAM
from deploy.steps.project import Indexes
from deploy.steps.schedule import JOBS
from deploy.steps.stream import Stream
from deploy.steps.topics import names
from deploy.steps.usage import JOB as USAGE
from deploy.steps.warehouse import Warehouse
from deploy.steps.worker import POOLS
from deploy.warehouse import ACCOUNT, dataset, kinds, path, where_is

Import = tuple[str, str]
"""An address in Terraform, and the id of what it adopts."""
ACCOUNTS = ("libra-runtime", "libra-build", "libra-trigger", "libra-scheduler")
SERVICES = {
    "libra-api": ("LIBRA_API", "module.windows[0].module.service"),
    "libra-collector": ("LIBRA_COLLECTOR", "module.doors[0].module.collector[0]"),
    INGESTION_API: ("LIBRA_INGESTION", "module.ingestion[0].module.api"),
}
"""The parameter that wants a service, and its address."""
WAREHOUSE, EXPORT = "module.warehouse[0]", "module.export[0]"
STARTED = {
    USAGE: ("LIBRA_USAGE", "module.usage[0]", "usage"),
    INGESTION: ("LIBRA_INGESTION", "module.ingestion[0]", "worker"),
    JOB: ("LIBRA_EXPORT", EXPORT, "export"),
}
"""The jobs that a schedule starts: the parameter that wants each, its module, and its name there."""
MONITORED = {
    "metrics": "google_logging_metric.metric",
    "objectives": "google_monitoring_slo.objective",
    "alerts": "google_monitoring_alert_policy.alert",
    "dashboard": "google_monitoring_dashboard.libra",
}


class Adoption:
    """The imports of one deployment. Each asks first whether there is something to adopt.

    What is there and not wanted is not adopted: there is no resource that could. Over 200 lines because each
    part of a deployment has its own short method, and nothing else ties them together.
    """

    def __init__(self, deployment: Deployment) -> None:
        self._deployment = deployment
        self._home = f"projects/{deployment.project}"
        self._worker = deployment.values["LIBRA_WORKER"] == "on"
        self._warehoused = deployment.values["LIBRA_WAREHOUSE"] == "on"
        self._piped = deployment.values["LIBRA_PIPELINES"] == "on"
        self._started = {job: it for job, it in STARTED.items() if deployment.values[it[0]] != "off"}
        served = {name: it for name, it in SERVICES.items() if deployment.values[it[0]] != "off"}
        self._services_wanted = {name: address for name, (_, address) in served.items()}

    def notes(self) -> Iterator[str]:
        """What the imports alone do not say."""
        if not self._found:
            return
        on = "on" if self._found.endswith("\tPOINT_IN_TIME_RECOVERY_ENABLED") else "off"
        yield f'terraform.tfvars must say pitr = "{on}" to leave the database as it is.'
        if self._rules is not None and not self._rules_adopted:
            yield (
                "Other rules than firestore.rules are in force. They are not adopted, because an apply would "
                'replace them. To keep them, merge firestore.rules into them, and say rules = "keep" in '
                "terraform.tfvars. To replace them, run this again with --rules=replace."
            )
        if self._deployment.values["LIBRA_STREAM"] == "on" and (job := Stream(self._deployment).running()[0]):
            yield (
                f"The streaming job {job} runs. Terraform cannot adopt it, and Dataflow takes no second job "
                f"of its name. Run gcloud dataflow jobs drain {job} --region={self._deployment.region}, wait "
                "until it has ended, and apply then. Events that come meanwhile wait in their subscriptions."
            )

    def imports(self) -> Iterator[Import]:
        """In the order of the modules."""
        yield from self._database()
        yield from self._accounts()
        yield from self._functions()
        yield from self._pubsub()
        yield from self._services()
        yield from self._warehouse()
        yield from self._jobs()
        yield from self._export()
        yield from self._pipelines()
        yield from self._monitoring()

    def _there(self, *words: str) -> str:
        """The name of what a command describes or lists; empty: it is not there."""
        return self._deployment.gcloud.look(*words, "--format=value(name)")

    @cached_property
    def _found(self) -> str:
        """The database's name and, behind a tab, its point-in-time recovery; empty: there is none."""
        form = "--format=value(name,pointInTimeRecoveryEnablement)"
        return self._deployment.gcloud.look(
            "firestore", "databases", "describe", *self._deployment.in_database, form
        )

    @cached_property
    def _rules(self) -> str | None:
        """The rules in force; None: there are none, or nobody wants to know."""
        if self._deployment.values["LIBRA_RULES"] == "keep":
            return None
        database = self._deployment.values["FIRESTORE_DATABASE"]
        return in_force(self._deployment.google(), release_of(self._deployment.project, database))

    @property
    def _rules_adopted(self) -> bool:
        """Whether an apply may write the rules anew: they are ours, or are to be replaced."""
        if self._rules is None:
            return False
        replace = self._deployment.values["LIBRA_RULES"] == "replace"
        return replace or self._rules == RULES.read_text(encoding="utf-8")

    def _database(self) -> Iterator[Import]:
        deployment, where = self._deployment, self._deployment.in_database
        name = deployment.values["FIRESTORE_DATABASE"]
        database = f"{self._home}/databases/{name}"
        if not self._found:
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
        if self._rules_adopted:
            yield "module.core.google_firebaserules_release.rules[0]", release_of(deployment.project, name)

    def _accounts(self) -> Iterator[Import]:
        own = {name: f'module.core.google_service_account.account["{name}"]' for name in ACCOUNTS}
        served = {name: f"{at}.google_service_account.account" for name, at in self._services_wanted.items()}
        worker = {POOL: "module.doors[0].google_service_account.worker[0]"} if self._worker else {}
        pipeline = {ACCOUNT: f"{WAREHOUSE}.google_service_account.warehouse"} if self._warehoused else {}
        started = {job: f"{at}.google_service_account.{name}" for job, (_, at, name) in self._started.items()}
        piped = {PIPELINES: "module.pipelines[0].google_service_account.pipelines"} if self._piped else {}
        for name, address in (own | served | worker | pipeline | piped | started).items():
            if exists(self._deployment, name):
                yield address, f"{self._home}/serviceAccounts/{self._deployment.email(name)}"

    def _functions(self) -> Iterator[Import]:
        deployment = self._deployment
        for name in (RECOMPUTE, *deployment.triggers):
            if self._there("functions", "describe", name, "--gen2", *deployment.in_region):
                address = f'module.functions[0].google_cloudfunctions2_function.function["{name}"]'
                yield address, f"{self._home}/locations/{deployment.region}/functions/{name}"
        for job in JOBS:
            yield from self._scheduled(job, f'module.functions[0].google_cloud_scheduler_job.call["{job}"]')

    def _scheduled(self, job: str, address: str) -> Iterator[Import]:
        place = self._deployment.values["LIBRA_SCHEDULER_REGION"]
        where = (f"--location={place}", self._deployment.in_project)
        if self._there("scheduler", "jobs", "describe", job, *where):
            yield address, f"{self._home}/locations/{place}/jobs/{job}"

    def _services(self) -> Iterator[Import]:
        for name, address in self._services_wanted.items():
            where = (name, *self._deployment.in_region, "--format=value(metadata.name)")
            if self._deployment.gcloud.look("run", "services", "describe", *where):
                identity = f"{self._home}/locations/{self._deployment.region}/services/{name}"
                yield f"{address}.google_cloud_run_v2_service.service", identity
        if self._worker and exists(self._deployment, POOL):  # else a gcloud that knows no worker pools may do
            where = (POOL, *self._deployment.in_region, "--format=value(metadata.name)")
            if self._deployment.gcloud.look(*POOLS, "describe", *where):
                identity = f"{self._home}/locations/{self._deployment.region}/workerPools/{POOL}"
                yield "module.doors[0].google_cloud_run_v2_worker_pool.worker[0]", identity

    def _pubsub(self) -> Iterator[Import]:
        queued = self._deployment.values["LIBRA_COLLECTOR"] == "queue"
        if not (self._worker or self._warehoused or queued):
            return  # `down` leaves them, and so does Terraform
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

    def _warehouse(self) -> Iterator[Import]:
        deployment = self._deployment
        if not self._warehoused:
            return
        for each in names():
            if self._there("pubsub", "subscriptions", "describe", each.warehouse, deployment.in_project):
                address = f'{WAREHOUSE}.google_pubsub_subscription.warehouse["{each.warehouse}"]'
                yield address, f"{self._home}/subscriptions/{each.warehouse}"
        step, where = Warehouse(deployment), dataset(deployment.values)
        home = f"{self._home}/datasets/{where.name}"
        if step.found(where_is(where)):
            yield f"{WAREHOUSE}.google_bigquery_dataset.warehouse", home
        for name, kind in kinds(deployment.values).items():
            if step.found(path(where, name)):
                yield f'{WAREHOUSE}.google_bigquery_table.{kind}["{name}"]', f"{home}/tables/{name}"

    def _jobs(self) -> Iterator[Import]:
        for job, (_, module, name) in self._started.items():
            if jobs.described(self._deployment, job, "value(metadata.name)"):
                identity = f"{self._home}/locations/{self._deployment.region}/jobs/{job}"
                yield f"{module}.google_cloud_run_v2_job.{name}", identity
            yield from self._scheduled(job, f"{module}.google_cloud_scheduler_job.{name}")

    def _export(self) -> Iterator[Import]:
        deployment = self._deployment
        scheme, _, dataset = deployment.values["LIBRA_EXPORT"].partition(":")
        if scheme == "bigquery" and Export(deployment).dataset():
            yield f"{EXPORT}.google_bigquery_dataset.export[0]", f"{self._home}/datasets/{dataset}"

    def _pipelines(self) -> Iterator[Import]:
        deployment = self._deployment
        if not self._piped:
            return
        bucket = bucket_of(deployment.project)
        if self._there("storage", "buckets", "describe", bucket):
            name = bucket.removeprefix("gs://")
            yield "module.pipelines[0].google_storage_bucket.pipelines", f"{deployment.project}/{name}"
        form = "--format=value(metadata.name)"
        if deployment.gcloud.look("run", "jobs", "describe", BEAM, *deployment.in_region, form):
            identity = f"{self._home}/locations/{deployment.region}/jobs/{BEAM}"
            yield "module.pipelines[0].google_cloud_run_v2_job.recompute[0]", identity

    def _monitoring(self) -> Iterator[Import]:
        if self._deployment.values["LIBRA_MONITORING"] == "off":
            return
        for step in (made(self._deployment) for made in STEPS if issubclass(made, Monitored)):
            if isinstance(step, Objectives) and step.served():
                address = "module.monitoring[0].google_monitoring_custom_service.libra"
                yield address, f"{self._home}/services/libra"
            for name, found in step.there().items():
                key = "" if step.name == "dashboard" else f'["{name}"]'
                yield f"module.monitoring[0].{MONITORED[step.name]}{key}", found["name"]


def blocks(notes: Iterator[str], imports: Iterator[Import]) -> str:
    """As Terraform reads them: comments, then import blocks."""
    said = (f"# {note}\n" for note in notes)
    found = (f"import {{\n  to = {to}\n  id = {json.dumps(identity)}\n}}\n" for to, identity in imports)
    return "\n".join((*said, *found))


def main(words: list[str]) -> int:
    """Print the blocks; the exit status."""
    try:
        options = options_of(["status", *words], os.environ)
        adoption = Adoption(Deployment(options.values, Gcloud(planning=False)))
        found = blocks(adoption.notes(), adoption.imports())
    except (ParameterError, DeployError, CommandError, ApiError) as error:
        say(f"deploy.adopting: {error}")
        return 1
    sys.stdout.write(found)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

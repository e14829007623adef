"""One set of parameters, both ways: what `deploy.sh plan` prints, and what the Terraform files come to."""

import json
import shlex
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from deploy import variables
from deploy.gcloud import Gcloud
from deploy.parameters import PARAMETERS, read
from deploy.steps import STEPS, Deployment
from tests.support.terraform import FOLDER, ROOT, Module

Json = dict[str, Any]
SITE = "kitchen-board"
"""The board's own site, which Terraform alone is told."""


GIVEN = {
    "GOOGLE_CLOUD_PROJECT": "kitchen-1",
    "LIBRA_REGION": "europe-west6",
    "LIBRA_TIME_ZONE": "Europe/Zurich",
    "LIBRA_TIME_ACTION": "Served, hot",
    "LIBRA_LAG_SECONDS": "700",
    "LIBRA_MIN_INSTANCES": "2",
    "LIBRA_MAX_INSTANCES": "7",
    "LIBRA_MEMORY": "1Gi",
    "LIBRA_CPU": "2",
    "THREADS": "200",
    "LIBRA_SCHEDULER_REGION": "europe-west1",
    "LIBRA_PITR": "on",
    "LIBRA_BACKUP": "daily",
    "LIBRA_BACKUP_RETENTION": "2w",
    "LIBRA_SECRETS": "KEY=webhook-key:latest,TOKEN=push-token:3",
    "LIBRA_API": "writer",
    "LIBRA_API_OPERATORS": "ann@example.com",
    "LIBRA_API_DEADLINE_SECONDS": "30",
    "LIBRA_API_USAGE_SECRET": "reader-url:5",
    "LIBRA_COLLECTOR": "queue",
    "LIBRA_COLLECTOR_RATE": "500",
    "LIBRA_BOARD": "on",
    "LIBRA_WORKER": "on",
    "LIBRA_WORKER_INSTANCES": "3",
    "LIBRA_WORKER_MESSAGES": "500",
    "LIBRA_WORKER_MEMORY": "1Gi",
    "LIBRA_WAREHOUSE": "on",
    "LIBRA_WAREHOUSE_DATASET": "events",
    "LIBRA_USAGE": "on",
    "LIBRA_USAGE_SCHEDULE": "*/10 * * * *",
    "LIBRA_REDIS_SECRET": "valkey:2",
    "LIBRA_USAGE_NETWORK": "kitchen/counters",
    "LIBRA_USAGE_CLOSE_SECONDS": "7200",
    "LIBRA_USAGE_METRICS": "api_calls,pages",
    "LIBRA_INGESTION": "on",
    "LIBRA_INGESTION_SCHEDULE": "*/15 * * * *",
    "LIBRA_INGESTION_POSTGRES_SECRET": "shop-postgres:3",
    "LIBRA_INGESTION_KEY_SECRET": "shop-key:1",
    "LIBRA_INGESTION_TENANT_SECRETS": "acme-sftp,acme-bigquery",
    "LIBRA_INGESTION_DATASETS": "acme-analytics.analytics_1,acme-analytics.analytics_2,kitchen-1.analytics_3",
    "LIBRA_INGESTION_NETWORK": "kitchen/books",
    "LIBRA_INGESTION_PARALLEL": "3",
    "LIBRA_INGESTION_MEMORY": "2Gi",
    "LIBRA_INGESTION_REJECTED_DAYS": "30",
    "LIBRA_INGESTION_LATE_DAYS": "5",
    "LIBRA_INGESTION_ACCOUNTS": "ann@example.com",
    "LIBRA_INGESTION_ORIGINS": "https://shop.example",
    "LIBRA_INGESTION_DEADLINE_SECONDS": "40",
    "LIBRA_INGESTION_MAX_INSTANCES": "2",
    "LIBRA_EXPORT": "bigquery:books",
    "LIBRA_EXPORT_WHAT": "libra-totals,signals-entries",
    "LIBRA_EXPORT_SCHEDULE": "45 3 * * *",
    "LIBRA_EXPORT_MEMORY": "2Gi",
    "LIBRA_PIPELINES": "on",
    "LIBRA_PIPELINES_WORKERS": "7",
    "LIBRA_STREAM": "on",
    "LIBRA_NOTIFY": "17,projects/other/notificationChannels/4",
    "LIBRA_RUNBOOK": "https://wiki.example/libra",
}
"""Far from the defaults, so that a value that is not passed on shows."""
CASES = {
    "everything": GIVEN,
    "the defaults": {name: GIVEN[name] for name in ("GOOGLE_CLOUD_PROJECT", "LIBRA_REGION")}
    | {"LIBRA_PITR": "off"},  # Terraform has no `keep`
    "less": GIVEN
    | {"LIBRA_EDITS": "off", "LIBRA_COMPACT_SCHEDULE": "off", "LIBRA_MONITORING": "off"}
    | {
        "LIBRA_API": "reader",
        "LIBRA_API_USAGE_SECRET": "",
        "LIBRA_COLLECTOR": "direct",
        "LIBRA_BOARD": "off",
        "LIBRA_WORKER": "off",
        "LIBRA_WAREHOUSE": "off",
        "LIBRA_USAGE_NETWORK": "",
        "LIBRA_INGESTION_KEY_SECRET": "",
        "LIBRA_INGESTION_TENANT_SECRETS": "",
        "LIBRA_INGESTION_DATASETS": "",
        "LIBRA_INGESTION_NETWORK": "",
        "LIBRA_EXPORT": "postgres:books",
        "LIBRA_EXPORT_SECRET": "postgres-url:2",
        "LIBRA_STREAM": "off",
        "LIBRA_RULES": "keep",
        "LIBRA_PITR": "off",
    },
}


class Deployed:
    """One set of parameters, deployed both ways."""

    def __init__(self, environment: dict[str, str], folder: Path) -> None:
        self.values = read({}, environment, ROOT / "none.env")
        self.commands = planned(self.values)
        archive = folder / "functions.zip"
        archive.write_bytes(b"a zip")
        given: Json = {
            variables.name_of(it): self.values[it.variable] == "on"
            if it.allowed in variables.SWITCHES
            else environment.get(it.variable, it.default)
            for it in PARAMETERS
        }
        own = {"api_image": "an-image", "collector_image": "an-image", "worker_image": "an-image"}
        own |= {
            "usage_image": "an-image",
            "ingestion_image": "an-image",
            "export_image": "an-image",
            "pipelines_image": "an-image",
            "board_site": SITE,
            "functions_archive": str(archive),
            "sources": str(ROOT),
        }
        root = Module(FOLDER, given | own)
        self.resources = dict(everything(root, self.account))

    def account(self, name: str) -> str:
        """A service account's address."""
        return f"{name}@{self.values['GOOGLE_CLOUD_PROJECT']}.iam.gserviceaccount.com"

    def of(self, kind: str) -> list[Json]:
        """The resources of one kind."""
        return [it for address, it in self.resources.items() if kind_of(address) == kind]

    def asked(self, *words: str) -> list[tuple[list[str], dict[str, str]]]:
        """The commands of the plan that begin so: the words behind, and the flags."""
        found = []
        for command in self.commands:
            plain = [word for word in command if not word.startswith("--")]
            if plain[1 : 1 + len(words)] == list(words):
                flags = dict(
                    word.removeprefix("--").partition("=")[::2] for word in command if word not in plain
                )
                found.append((plain[1 + len(words) :], flags))
        return found


def kind_of(address: str) -> str:
    """The type of a resource, from its address."""
    return next(part for part in address.split(".") if part.startswith("google_"))


def planned(values: Mapping[str, str]) -> list[list[str]]:
    """What `deploy.sh plan` prints."""
    deployment = Deployment(values, Gcloud(planning=True))
    changes = [change for step in STEPS if step.name != "stage" for change in step(deployment).missing()]
    return [shlex.split(str(change)) for change in changes]


def everything(module: Module, account: Callable[[str], str], within: str = "") -> Iterator[tuple[str, Json]]:
    """The resources of a module and of those that it calls, by address. Accounts have their own names."""
    for address, resource in module.resources().items():
        text = json.dumps(resource)
        for name in ("runtime", "build", "trigger", "scheduler"):
            text = text.replace(
                f"google_service_account.account[libra-{name}].email", account(f"libra-{name}")
            )
        own = str(module.values.get("name", ""))
        text = text.replace("google_service_account.account.email", account(own))
        for known, name in (
            ("google_service_account.worker[0].email", "libra-worker"),
            ("google_service_account.warehouse.email", "libra-warehouse"),
            ("google_service_account.usage.email", "libra-usage"),
            ("google_service_account.worker.email", "libra-ingestion"),
            ("google_service_account.export.email", "libra-export"),
            ("google_service_account.pipelines.email", "libra-pipelines"),
            ("module.service.email", "libra-api"),
            ("module.collector.email", "libra-collector"),
        ):
            text = text.replace(known, account(name))
        text = text.replace("google_cloud_run_v2_job.export.name", "libra-export")
        text = text.replace("data.google_project.project.number", "PROJECT-NUMBER")
        yield within + address, json.loads(text)
    for name, values in module.modules().items():
        folder = (module.folder / values.pop("source")).resolve()
        if name == "functions[0]":
            core = module.folder / "modules" / "core"
            called = {key: it for key, it in module.modules()["core"].items() if key != "source"}
            secrets, accounts = Module(core, called).evaluate("local.secrets", "keys(local.accounts)")
            values |= {"secrets": secrets, "emails": {each: account(each) for each in accounts}}
        yield from everything(Module(folder, values), account, f"{within}module.{name}.")

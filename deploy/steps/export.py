"""The nightly export, if it is wanted: a Cloud Run job, its account, where it writes, its schedule."""

import json
from collections.abc import Iterator, Mapping
from functools import cached_property

from deploy import stage
from deploy.gcloud import Change, gcloud
from deploy.google import Json
from deploy.parameters import SEPARATOR, runtime
from deploy.send import described, sending
from deploy.steps import jobs
from deploy.steps.accounts import Grants, exists, forgetting, granting, reading, revoking
from deploy.steps.base import Step
from deploy.steps.images import building, clearing, image_of
from deploy.steps.schedule import ATTEMPTS
from deploy.steps.service import Service

JOB = "libra-export"
"""The job, what it runs as, its image, and what starts it."""
READS: Grants = [("roles/datastore.viewer", JOB)]
LOADS: Grants = [("roles/bigquery.jobUser", JOB)]
"""To load and to query takes a role in the project. What it may write to is one dataset."""
KEEPS = "roles/storage.objectUser"
"""To write objects, replace them, list them and remove old ones: on the one bucket."""
INVOKER = "roles/run.invoker"
HOURS, RETRIES = 3, 2
BODY = "build/export-dataset.json"
"""What is sent to BigQuery, relative to the root of the project."""


class Export(Step):
    """The job, unless it is there, ready, and of these sources and flags. Nothing here deletes a row."""

    name = "export"
    switch = "LIBRA_EXPORT"
    needs = (
        f"{Service.needs}, roles/cloudscheduler.admin, and roles/bigquery.admin, roles/storage.admin or "
        "roles/secretmanager.admin"
    )
    undoing = "Remove the export, its image and its account; what it has written stays"

    @property
    def _place(self) -> str:
        return self.deployment.values["LIBRA_EXPORT"]

    @property
    def _dataset(self) -> str:
        """The dataset that it writes to; empty: it writes elsewhere."""
        scheme, _, name = self._place.partition(":")
        return name if scheme == "bigquery" else ""

    @property
    def _bucket(self) -> str:
        """The bucket that it writes to, gs://NAME; empty: it writes elsewhere."""
        return "/".join(self._place.split("/")[:3]) if self._place.startswith("gs://") else ""

    @property
    def title(self) -> str:
        """What is wanted."""
        if self._place == "off":
            return "Leave the export out"
        when = (
            f"{self.deployment.values['LIBRA_EXPORT_SCHEDULE']}, {self.deployment.values['LIBRA_TIME_ZONE']}"
        )
        return f"Deploy the export to {self._place}: {when} (a few minutes)"

    def missing(self) -> Iterator[Change]:
        """The account and its grants, the dataset, the image, the job, who starts it; or their removal."""
        if self._place == "off":
            yield from self.surplus()
            return
        deployment = self.deployment
        if self._dataset:
            yield from granting(deployment, [JOB], READS + LOADS)
            yield from self._writing()
        else:
            yield from granting(deployment, [JOB], READS)
            yield from revoking(deployment, [], LOADS)
        if self._bucket:
            yield from self._keeping()
        if deployment.values["LIBRA_EXPORT_SECRET"]:
            yield from reading(deployment, JOB, deployment.values["LIBRA_EXPORT_SECRET"])
        yield from building(deployment, JOB, stage.EXPORT)
        yield from jobs.deploying(deployment, JOB, self._flags)
        secret = deployment.values["LIBRA_EXPORT_SECRET"].rpartition(":")[0]
        yield from forgetting(deployment, JOB, [secret] if secret else [])
        yield from jobs.starting(deployment, JOB)
        yield from jobs.scheduling(deployment, JOB, deployment.values["LIBRA_EXPORT_SCHEDULE"], ATTEMPTS)

    def surplus(self) -> Iterator[Change]:
        """What starts it, the job, its image, then its account, without which there is no job."""
        if not exists(self.deployment, JOB):
            return
        yield from jobs.removing(self.deployment, JOB)
        yield from clearing(self.deployment, JOB)
        yield from forgetting(self.deployment, JOB)
        yield from revoking(self.deployment, [JOB], READS + LOADS)

    def state(self) -> Iterator[tuple[str, str]]:
        """How its last execution ended, and when; its schedule."""
        if self._place == "off":
            return
        yield from jobs.state(self.deployment, JOB)

    # -- where it writes

    @cached_property
    def _google(self) -> Mapping[str, str]:
        return {} if self.gcloud.planning else self.deployment.google()

    def _writing(self) -> Iterator[Change]:
        """The dataset, in which the account may write. One that is there keeps whom it lets in."""
        found = self.dataset()
        made = dataset_body(self.deployment.project, self._dataset, self.deployment.region)
        ours = made["access"][-1]
        if not found:
            yield self._sent("POST", self._datasets, made)
        elif ours not in found.get("access", []):
            body = {"access": [*found.get("access", []), ours]}
            yield self._sent("PATCH", f"{self._datasets}/{self._dataset}", body)

    def _sent(self, method: str, path: str, body: Json) -> Change:
        file = stage.ROOT / BODY
        file.parent.mkdir(exist_ok=True)
        file.write_text(json.dumps(body, indent=2) + "\n", encoding="utf-8")
        return sending(self._google, method, "bigquery", path, BODY, body=body)

    def dataset(self) -> Json:
        """The dataset that it writes to, if it is there."""
        if self.gcloud.planning or not self._dataset:
            return {}
        return described(self._google, "bigquery", f"{self._datasets}/{self._dataset}")

    @property
    def _datasets(self) -> str:
        return f"bigquery/v2/projects/{self.deployment.project}/datasets"

    def _keeping(self) -> Iterator[Change]:
        """The account may write to the bucket, which has to be there: nothing here makes or removes one."""
        member = self.deployment.member(JOB)
        if (KEEPS, member) not in self.deployment.bindings(
            "storage", "buckets", "get-iam-policy", self._bucket
        ):
            words = ("storage", "buckets", "add-iam-policy-binding", self._bucket)
            yield gcloud(*words, f"--member={member}", f"--role={KEEPS}", patient=True)

    # -- the job

    @property
    def _flags(self) -> tuple[str, ...]:
        deployment, values = self.deployment, self.deployment.values
        own = {name: values[name] for name in ("LIBRA_EXPORT", "LIBRA_EXPORT_WHAT")}
        variables = SEPARATOR.join(f"{name}={value}" for name, value in (runtime(values) | own).items())
        secret = values["LIBRA_EXPORT_SECRET"]
        return (
            *deployment.in_region,
            f"--image={image_of(deployment, JOB, stage.EXPORT)}",
            f"--service-account={deployment.email(JOB)}",
            "--cpu=1",
            f"--memory={values['LIBRA_EXPORT_MEMORY']}",
            "--tasks=1",
            f"--max-retries={RETRIES}",
            f"--task-timeout={HOURS}h",
            f"--set-env-vars=^{SEPARATOR}^{variables}",
            f"--set-secrets=LIBRA_POSTGRES_URL={secret}" if secret else "--clear-secrets",
        )


def dataset_body(project: str, name: str, region: str) -> Json:
    """A dataset that is made for exports. The job's account may write its tables, last in the list."""
    return {
        "datasetReference": {"projectId": project, "datasetId": name},
        "location": region,
        "description": "Libra: exports",
        "access": [
            {"role": "OWNER", "specialGroup": "projectOwners"},
            {"role": "READER", "specialGroup": "projectReaders"},
            {"role": "WRITER", "userByEmail": f"{JOB}@{project}.iam.gserviceaccount.com"},
        ],
    }

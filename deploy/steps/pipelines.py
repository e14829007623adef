"""The pipelines, if they are wanted: their account, bucket, image and template, and the recompute by `beam`.

`libra pipeline build` takes this step too. The job that streams is a step of its own: see `stream`.
"""

import hashlib
from collections.abc import Iterator
from functools import cached_property

from deploy.flex import ACCOUNT, bucket_of, image_of, template_of
from deploy.gcloud import Change, gcloud, say
from deploy.parameters import SEPARATOR, runtime
from deploy.steps.accounts import BUILDER, Grants, exists, granting, revoking
from deploy.steps.base import Step
from deploy.steps.service import Service
from deploy.warehouse import ACCOUNT as WAREHOUSE

JOB = "libra-recompute-beam"
"""The Cloud Run job."""
GRANTS: Grants = [
    ("roles/datastore.user", ACCOUNT),  # a run corrects; a worker reads
    ("roles/dataflow.developer", ACCOUNT),
    ("roles/dataflow.worker", ACCOUNT),
    ("roles/artifactregistry.reader", ACCOUNT),
]
ACTS = "roles/iam.serviceAccountUser"
KEEPS = "roles/storage.objectAdmin"
LABEL = "metadata.labels.libra-config"
HOURS = 24
"""How long the job may take: it holds the lease for as long as Dataflow counts."""


class Pipelines(Step):
    """Everything that a job on Dataflow needs, unless it is there and of these sources and flags."""

    name = "pipelines"
    needs = f"{Service.needs}, and roles/storage.admin"

    @property
    def undoing(self) -> str:
        """The bucket may hold files of jobs that are under way."""
        return f"Remove the pipelines' job, their image and their account; {self.bucket} stays"

    @property
    def _wanted(self) -> bool:
        return self.deployment.values["LIBRA_PIPELINES"] == "on"

    @property
    def title(self) -> str:
        """What is wanted."""
        if not self._wanted:
            return "Leave the pipelines as they are"
        return "Build the pipelines' image and their template (ten minutes)"

    @property
    def bucket(self) -> str:
        """See `bucket_of`."""
        return bucket_of(self.deployment.project)

    @property
    def template(self) -> str:
        """See `template_of`."""
        return template_of(self.deployment.project)

    @cached_property
    def image(self) -> str:
        """See `image_of`."""
        return image_of(self.deployment.project, self.deployment.region)

    def missing(self) -> Iterator[Change]:
        """The account, the bucket, the image, the template, the job."""
        deployment = self.deployment
        if not self._wanted:
            return
        yield from granting(deployment, [ACCOUNT], GRANTS)
        yield from self._granted(ACTS, ACCOUNT, "iam", "service-accounts", target=deployment.email(ACCOUNT))
        if not self.gcloud.look("storage", "buckets", "describe", self.bucket, "--format=value(name)"):
            flags = (
                "--uniform-bucket-level-access",
                "--public-access-prevention",
                "--soft-delete-duration=0",
            )
            where = (f"--location={deployment.region}", deployment.in_project)
            yield gcloud("storage", "buckets", "create", self.bucket, *where, *flags)
        for account in self._keepers():
            yield from self._granted(KEEPS, account, "storage", "buckets", target=self.bucket)
        yield from self._built()
        yield from self._deployed()

    def surplus(self) -> Iterator[Change]:
        """The job, the image, what the accounts may do, then the account. The bucket stays."""
        deployment = self.deployment
        if not exists(deployment, ACCOUNT):
            return
        if self._described("metadata.name"):
            yield gcloud("run", "jobs", "delete", JOB, *deployment.in_region)
        if self._repository():
            yield gcloud("artifacts", "repositories", "delete", ACCOUNT, *self._in_location)
        kept = deployment.bindings("storage", "buckets", "get-iam-policy", self.bucket)
        for account in (ACCOUNT, WAREHOUSE):
            if (KEEPS, member := deployment.member(account)) in kept:
                words = ("storage", "buckets", "remove-iam-policy-binding", self.bucket)
                yield gcloud(*words, f"--member={member}", f"--role={KEEPS}")
        yield from revoking(deployment, [ACCOUNT], GRANTS)

    def state(self) -> Iterator[tuple[str, str]]:
        """Whether the job is of these sources and flags."""
        there = self._described(LABEL) if exists(self.deployment, ACCOUNT) else ""
        if there or self._wanted:
            same = there == self._flags()[-1].rpartition("=")[2]
            yield JOB, ("up to date" if same else "of other sources or flags") if there else "not deployed"

    @property
    def _in_location(self) -> tuple[str, str]:
        return f"--location={self.deployment.region}", self.deployment.in_project

    def _keepers(self) -> Iterator[str]:
        """Who reads and writes the bucket: jobs, and the stream's, which run as the warehouse's account."""
        yield ACCOUNT
        if self.deployment.values["LIBRA_WAREHOUSE"] == "on" or exists(self.deployment, WAREHOUSE):
            yield WAREHOUSE

    def _granted(self, role: str, account: str, *kind: str, target: str) -> Iterator[Change]:
        """Let an account do something with one thing, if it may not yet."""
        where = () if kind[0] == "storage" else (self.deployment.in_project,)
        policy = self.deployment.bindings(*kind, "get-iam-policy", target, *where)
        member = self.deployment.member(account)
        if (role, member) not in policy:
            words = (*kind, "add-iam-policy-binding", target, f"--member={member}", f"--role={role}", *where)
            yield gcloud(*words, patient=True)

    def _built(self) -> Iterator[Change]:
        """The image and the template that names it, once for each state of the sources."""
        deployment = self.deployment
        where = self._in_location
        if not self._repository():
            yield gcloud("artifacts", "repositories", "create", ACCOUNT, *where, "--repository-format=docker")
        listed = ("artifacts", "tags", "list", f"--package={ACCOUNT}", f"--repository={ACCOUNT}", *where)
        tags = self.gcloud.look(*listed, "--format=value(name)").splitlines()
        wanted = self.image.rpartition(":")[2]
        if deployment.force or not any(tag.rpartition("/")[2] == wanted for tag in tags):
            account = f"projects/{deployment.project}/serviceAccounts/{deployment.email(BUILDER)}"
            yield gcloud(
                *("builds", "submit", "build/pipelines", f"--tag={self.image}", *deployment.in_region),
                *(f"--service-account={account}", "--default-buckets-behavior=regional-user-owned-bucket"),
                "--suppress-logs",
                patient=True,
            )
        if deployment.force or self.image not in self._said():
            yield gcloud(
                *("dataflow", "flex-template", "build", self.template, f"--image={self.image}"),
                *("--sdk-language=PYTHON", "--metadata-file=pipelines/template.json", deployment.in_project),
            )

    def _said(self) -> str:
        """What the template says: a build that was stopped may have made the image alone."""
        there = self.gcloud.look("storage", "objects", "describe", self.template, "--format=value(name)")
        return self.gcloud.look("storage", "cat", self.template) if there else ""

    def _repository(self) -> str:
        describe = ("artifacts", "repositories", "describe", ACCOUNT, *self._in_location)
        return self.gcloud.look(*describe, "--format=value(name)")

    def _described(self, field: str) -> str:
        where = ("run", "jobs", "describe", JOB, *self.deployment.in_region)
        return self.gcloud.look(*where, f"--format=value({field})")

    def _deployed(self) -> Iterator[Change]:
        """The job. It is not started, and not started again by itself: a run holds the lease once.

        Its label is a digest of all that it was deployed with: a job that kept the zone of before would
        correct the totals to another declaration than the trigger's.
        """
        flags = self._flags()
        if self._described(LABEL) == flags[-1].rpartition("=")[2] and not self.deployment.force:
            say(f"   {JOB} is up to date")
            return
        yield gcloud("run", "jobs", "deploy", JOB, *flags, patient=True)

    def _flags(self) -> tuple[str, ...]:
        """How the job is deployed; the last flag has a digest of the others."""
        deployment, values = self.deployment, self.deployment.values
        variables = SEPARATOR.join(f"{name}={value}" for name, value in runtime(values).items())
        arguments = SEPARATOR.join(
            (
                *("-m", "pipelines", "--pipeline=recompute", "--runner=DataflowRunner"),
                *(f"--project={deployment.project}", f"--region={deployment.region}"),
                *(f"--temp_location={self.bucket}/temp", f"--sdk_container_image={self.image}"),
                f"--service_account_email={deployment.email(ACCOUNT)}",
                f"--max_num_workers={values['LIBRA_PIPELINES_WORKERS']}",
            )
        )
        flags = (
            *(*deployment.in_region, f"--image={self.image}"),
            *(f"--service-account={deployment.email(ACCOUNT)}", "--cpu=1", "--memory=1Gi"),
            *("--tasks=1", "--max-retries=0", f"--task-timeout={HOURS}h"),
            *("--command=python", f"--args=^{SEPARATOR}^{arguments}"),
            f"--set-env-vars=^{SEPARATOR}^{variables}",
        )
        config = hashlib.sha256("\n".join(flags).encode()).hexdigest()[:40]
        return (*flags, f"--labels=libra-config={config}")

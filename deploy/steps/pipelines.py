"""The pipelines: their account and bucket, their image, the template, and the job that recomputes by `beam`.

It is no step of `up`: nothing that runs all the time needs it, and its image takes ten minutes to build.
`libra pipeline build` takes it.
"""

from collections.abc import Iterator

from deploy import stage
from deploy.gcloud import Change, gcloud
from deploy.parameters import SEPARATOR, runtime
from deploy.steps.accounts import BUILDER, Grants, exists, granting
from deploy.steps.base import Step
from deploy.warehouse import ACCOUNT as WAREHOUSE

ACCOUNT = "libra-pipelines"
"""What jobs and their workers run as; also the repository, and the image in it."""
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
HOURS = 24
"""How long the job may take: it holds the lease for as long as Dataflow counts."""


def bucket_of(project: str) -> str:
    """Where the template is, and where jobs write what they need for themselves."""
    return f"gs://{project}-libra-pipelines"


def image_of(project: str, region: str) -> str:
    """The image; its tag says of which sources it is."""
    where = f"{region}-docker.pkg.dev/{project}/{ACCOUNT}/{ACCOUNT}"
    return f"{where}:{stage.fingerprint(stage.PIPELINES)[:40]}"


class Pipelines(Step):
    """Everything that a job on Dataflow needs, unless it is there and of these sources."""

    name = "pipelines"
    needs = (
        "roles/artifactregistry.admin, roles/cloudbuild.builds.editor, roles/run.admin, roles/storage.admin, "
        "roles/iam.serviceAccountAdmin and roles/resourcemanager.projectIamAdmin"
    )
    title = "Build the pipelines' image and their template (ten minutes)"

    @property
    def bucket(self) -> str:
        """See `bucket_of`."""
        return bucket_of(self.deployment.project)

    @property
    def image(self) -> str:
        """See `image_of`."""
        return image_of(self.deployment.project, self.deployment.region)

    @property
    def template(self) -> str:
        """The template's file."""
        return f"{self.bucket}/libra.json"

    def missing(self) -> Iterator[Change]:
        """The account, the bucket, the image, the template, the job."""
        deployment = self.deployment
        service = ("services", "list", "--enabled", deployment.in_project, "--format=value(config.name)")
        if "dataflow.googleapis.com" not in self.gcloud.look(*service).splitlines():
            yield gcloud("services", "enable", "dataflow.googleapis.com", deployment.in_project)
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
        for account in (
            ACCOUNT,
            *((WAREHOUSE,) if exists(deployment, WAREHOUSE) else ()),
        ):  # the stream's jobs
            yield from self._granted(KEEPS, account, "storage", "buckets", target=self.bucket)
        yield from self._built()
        yield from self._deployed()

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
        where = (f"--location={deployment.region}", deployment.in_project)
        if not self.gcloud.look(
            "artifacts", "repositories", "describe", ACCOUNT, *where, "--format=value(name)"
        ):
            yield gcloud("artifacts", "repositories", "create", ACCOUNT, *where, "--repository-format=docker")
        listed = ("artifacts", "tags", "list", f"--package={ACCOUNT}", f"--repository={ACCOUNT}", *where)
        tags = self.gcloud.look(*listed, "--format=value(name)").splitlines()
        wanted = self.image.rpartition(":")[2]
        if not deployment.force and any(tag.rpartition("/")[2] == wanted for tag in tags):
            return
        account = f"projects/{deployment.project}/serviceAccounts/{deployment.email(BUILDER)}"
        yield gcloud(
            *("builds", "submit", "build/pipelines", f"--tag={self.image}", *deployment.in_region),
            *(f"--service-account={account}", "--default-buckets-behavior=regional-user-owned-bucket"),
            "--suppress-logs",
            patient=True,
        )
        yield gcloud(
            *("dataflow", "flex-template", "build", self.template, f"--image={self.image}"),
            *("--sdk-language=PYTHON", "--metadata-file=pipelines/template.json", deployment.in_project),
        )

    def _deployed(self) -> Iterator[Change]:
        """The job. It is not started, and not started again by itself: a run holds the lease once."""
        deployment = self.deployment
        described = self.gcloud.look(
            *("run", "jobs", "describe", JOB, *deployment.in_region),
            "--format=value(spec.template.spec.template.spec.containers[0].image)",
        )
        if described == self.image and not deployment.force:
            return
        variables = SEPARATOR.join(f"{name}={value}" for name, value in runtime(deployment.values).items())
        arguments = SEPARATOR.join(
            (
                *("-m", "pipelines", "--pipeline=recompute", "--runner=DataflowRunner"),
                *(f"--project={deployment.project}", f"--region={deployment.region}"),
                *(f"--temp_location={self.bucket}/temp", f"--sdk_container_image={self.image}"),
                *(f"--service_account_email={deployment.email(ACCOUNT)}", "--max_num_workers=20"),
            )
        )
        yield gcloud(
            *("run", "jobs", "deploy", JOB, *deployment.in_region, f"--image={self.image}"),
            *(f"--service-account={deployment.email(ACCOUNT)}", "--cpu=1", "--memory=1Gi"),
            *("--tasks=1", "--max-retries=0", f"--task-timeout={HOURS}h"),
            *("--command=python", f"--args=^{SEPARATOR}^{arguments}"),
            f"--set-env-vars=^{SEPARATOR}^{variables}",
            patient=True,
        )

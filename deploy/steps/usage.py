"""Usage metering, if it is wanted: the flush as a Cloud Run job, its image and account, and its schedule.

Redis and PostgreSQL are the customer's. The job finds their addresses in Secret Manager. It reads a secret
when a run begins, so a new version of the secret needs no deployment.
"""

from collections.abc import Iterator

from deploy import stage
from deploy.gcloud import Change
from deploy.parameters import SEPARATOR, runtime
from deploy.steps import jobs
from deploy.steps.accounts import check_version, exists, forgetting, granting, reading, revoking
from deploy.steps.base import Step
from deploy.steps.images import building, clearing, image_of
from deploy.steps.service import Service

JOB = "libra-usage"
"""The job, its schedule, its account, and the repository with its image."""
SECRETS = {"LIBRA_REDIS_URL": "LIBRA_REDIS_SECRET", "LIBRA_POSTGRES_URL": "LIBRA_POSTGRES_SECRET"}
"""The variables with an address, and the parameter that says which secret holds it."""
TIMEOUT = "900s"
"""How long a run may take. The next one books what it left."""


class Usage(Step):
    """The job and its schedule, unless they are there and of these sources and flags."""

    name = "usage"
    switch = "LIBRA_USAGE"
    needs = f"{Service.needs}, roles/cloudscheduler.admin, and roles/secretmanager.admin"
    undoing = "Remove the flush of usage, its schedule, its image and its account"

    @property
    def _wanted(self) -> bool:
        return self.deployment.values["LIBRA_USAGE"] == "on"

    @property
    def title(self) -> str:
        """What is wanted."""
        return "Deploy the flush of usage (a few minutes)" if self._wanted else "Leave usage out"

    def missing(self) -> Iterator[Change]:
        """The account, its secrets, the image, the job, its schedule; or their removal."""
        if not self._wanted:
            yield from self.surplus()
            return
        for variable, parameter in SECRETS.items():
            check_version(self.deployment, parameter, f"what the flush reads as {variable}: docs/usage.md")
        yield from granting(self.deployment, [JOB], [])
        for secret in self._secrets:
            yield from reading(self.deployment, JOB, f"{secret}:")
        yield from building(self.deployment, JOB, stage.USAGE)
        yield from jobs.deploying(self.deployment, JOB, self._flags)
        yield from forgetting(self.deployment, JOB, self._secrets)
        yield from jobs.starting(self.deployment, JOB)
        yield from jobs.scheduling(self.deployment, JOB, self.deployment.values["LIBRA_USAGE_SCHEDULE"])

    def surplus(self) -> Iterator[Change]:
        """The schedule, the job, its image, what its account may read, then the account."""
        if not exists(self.deployment, JOB):
            return
        yield from jobs.removing(self.deployment, JOB)
        yield from clearing(self.deployment, JOB)
        yield from forgetting(self.deployment, JOB)
        yield from revoking(self.deployment, [JOB], [])

    def state(self) -> Iterator[tuple[str, str]]:
        """How its last run ended, and when; its schedule."""
        if self._wanted:
            yield from jobs.state(self.deployment, JOB)

    @property
    def _secrets(self) -> list[str]:
        """Each secret once."""
        return list(dict.fromkeys(self.deployment.values[it].partition(":")[0] for it in SECRETS.values()))

    @property
    def _flags(self) -> tuple[str, ...]:
        """Cloud Run starts no run again that failed: the next one books what it left."""
        deployment, values = self.deployment, self.deployment.values
        own = {name: values[name] for name in ("LIBRA_USAGE_CLOSE_SECONDS", "LIBRA_USAGE_METRICS")}
        variables = SEPARATOR.join(f"{name}={value}" for name, value in (runtime(values) | own).items())
        return (
            *deployment.in_region,
            f"--image={image_of(deployment, JOB, stage.USAGE)}",
            f"--service-account={deployment.email(JOB)}",
            *("--cpu=1", "--memory=512Mi", "--tasks=1", "--max-retries=0", f"--task-timeout={TIMEOUT}"),
            f"--set-secrets={','.join(f'{name}={values[it]}' for name, it in SECRETS.items())}",
            f"--set-env-vars=^{SEPARATOR}^{variables}",
            *deployment.in_network("LIBRA_USAGE_NETWORK"),
        )

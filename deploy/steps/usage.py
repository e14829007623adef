"""Usage metering, if it is wanted: the flush as a Cloud Run job, its image and account, and its schedule.

Redis and PostgreSQL are the customer's. The job finds their addresses in Secret Manager. It reads a secret
when a run begins, so a new version of the secret needs no deployment.
"""

import hashlib
from collections.abc import Iterator

from deploy import stage
from deploy.gcloud import Change, gcloud, say
from deploy.parameters import SEPARATOR, runtime
from deploy.steps.accounts import (
    INVOKER,
    caller,
    check_version,
    exists,
    forgetting,
    granting,
    reading,
    revoking,
)
from deploy.steps.base import Step
from deploy.steps.images import building, clearing, image_of
from deploy.steps.service import Service

JOB = "libra-usage"
"""The job, its schedule, its account, and the repository with its image."""
SECRETS = {"LIBRA_REDIS_URL": "LIBRA_REDIS_SECRET", "LIBRA_POSTGRES_URL": "LIBRA_POSTGRES_SECRET"}
"""The variables with an address, and the parameter that says which secret holds it."""
FIELDS = "schedule,timeZone,httpTarget.uri,httpTarget.httpMethod,httpTarget.oauthToken.serviceAccountEmail"
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
        yield from self._job()
        yield from forgetting(self.deployment, JOB, self._secrets)
        yield from self._called()
        yield from self._scheduled()

    def surplus(self) -> Iterator[Change]:
        """The schedule, the job, its image, what its account may read, then the account."""
        if not exists(self.deployment, JOB):
            return
        if self._schedule("value(name)"):
            yield gcloud("scheduler", "jobs", "delete", JOB, *self._in_scheduler)
        if self._describe("value(metadata.name)"):
            yield gcloud("run", "jobs", "delete", JOB, *self.deployment.in_region)
        yield from clearing(self.deployment, JOB)
        yield from forgetting(self.deployment, JOB)
        yield from revoking(self.deployment, [JOB], [])

    def state(self) -> Iterator[tuple[str, str]]:
        """Whether the job is ready and how its last run ended; its schedule."""
        if not self._wanted:
            return
        fields = "status.conditions[0].status,status.latestCreatedExecution.completionStatus"
        yield JOB, self._describe(f'value[separator="  "]({fields})') or "not deployed"
        fields = "state,schedule,timeZone,lastAttemptTime,status.code"
        yield "usage schedule", self._schedule(f'value[separator="  "]({fields})') or "not there"

    @property
    def _in_scheduler(self) -> tuple[str, str]:
        return f"--location={self.deployment.values['LIBRA_SCHEDULER_REGION']}", self.deployment.in_project

    @property
    def _secrets(self) -> list[str]:
        """Each secret once."""
        return list(dict.fromkeys(self.deployment.values[it].partition(":")[0] for it in SECRETS.values()))

    def _describe(self, form: str) -> str:
        return self.gcloud.look(
            "run", "jobs", "describe", JOB, *self.deployment.in_region, f"--format={form}"
        )

    def _job(self) -> Iterator[Change]:
        """Cloud Run starts no run again that failed: the next one books what it left."""
        deployment, values = self.deployment, self.deployment.values
        own = {name: values[name] for name in ("LIBRA_USAGE_CLOSE_SECONDS", "LIBRA_USAGE_METRICS")}
        variables = SEPARATOR.join(f"{name}={value}" for name, value in (runtime(values) | own).items())
        flags = (
            *deployment.in_region,
            f"--image={image_of(deployment, JOB, stage.USAGE)}",
            f"--service-account={deployment.email(JOB)}",
            *("--cpu=1", "--memory=512Mi", "--tasks=1", "--max-retries=0", f"--task-timeout={TIMEOUT}"),
            f"--set-secrets={','.join(f'{name}={values[it]}' for name, it in SECRETS.items())}",
            f"--set-env-vars=^{SEPARATOR}^{variables}",
            *deployment.in_network,
        )
        config = hashlib.sha256("\n".join(flags).encode()).hexdigest()[:40]
        there = self._describe("value(status.conditions[0].status,metadata.labels.libra-config)")
        if there == f"True\t{config}" and not deployment.force:
            say(f"   {JOB} is up to date")
            return
        yield gcloud("run", "jobs", "deploy", JOB, *flags, f"--labels=libra-config={config}", patient=True)

    def _called(self) -> Iterator[Change]:
        """Let the schedule start the job."""
        where, member = (JOB, *self.deployment.in_region), self.deployment.member(caller(self.deployment))
        if (INVOKER, member) not in self.deployment.bindings("run", "jobs", "get-iam-policy", *where):
            grant = (f"--member={member}", f"--role={INVOKER}")
            yield gcloud("run", "jobs", "add-iam-policy-binding", *where, *grant, patient=True)

    def _schedule(self, form: str) -> str:
        words = ("scheduler", "jobs", "describe", JOB, *self._in_scheduler, f"--format={form}")
        return self.gcloud.look(*words)

    def _scheduled(self) -> Iterator[Change]:
        deployment, values = self.deployment, self.deployment.values
        url = f"https://run.googleapis.com/v2/projects/{deployment.project}/locations/{deployment.region}/jobs/{JOB}:run"
        told = (values["LIBRA_USAGE_SCHEDULE"], values["LIBRA_TIME_ZONE"], url, "POST")
        wanted = "|".join((*told, deployment.email(caller(deployment))))
        found = self._schedule(f'value[separator="|"]({FIELDS})')
        if found == wanted:
            say(f"   the schedule of {JOB} is up to date")
            return
        names = ("schedule", "time-zone", "uri", "http-method")
        yield gcloud(
            *("scheduler", "jobs", "update" if found else "create", "http", JOB, *self._in_scheduler),
            *(f"--{name}={value}" for name, value in zip(names, told, strict=True)),
            f"--oauth-service-account-email={deployment.email(caller(deployment))}",
        )

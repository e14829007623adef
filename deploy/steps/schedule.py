"""The nightly call of the recompute."""

from collections.abc import Iterator

from deploy.gcloud import Change, gcloud, say
from deploy.steps.accounts import caller
from deploy.steps.base import Step

JOB = "libra-recompute"
ATTEMPTS = {"attempt-deadline": "1800s", "max-retry-attempts": "3", "min-backoff": "300s"} | {
    "max-backoff": "3600s",
    "max-doublings": "2",
}
FIELDS = (
    "schedule,timeZone,httpTarget.uri,httpTarget.httpMethod,httpTarget.oidcToken.serviceAccountEmail,"
    "httpTarget.oidcToken.audience,attemptDeadline,retryConfig.retryCount,retryConfig.minBackoffDuration,"
    "retryConfig.maxBackoffDuration,retryConfig.maxDoublings"
)


class Schedule(Step):
    """Cloud Scheduler's job."""

    name = "schedule"
    needs = "roles/cloudscheduler.admin and roles/iam.serviceAccountUser"
    undoing = "Remove the schedule"

    @property
    def title(self) -> str:
        """With its time and zone."""
        values = self.deployment.values
        return f"Schedule the recompute: {values['LIBRA_SCHEDULE']}, {values['LIBRA_TIME_ZONE']}"

    def missing(self) -> Iterator[Change]:
        """The job, or a change of it."""
        values, url = self.deployment.values, self.deployment.recompute_url()
        email = self.deployment.email(caller(self.deployment))
        when = (values["LIBRA_SCHEDULE"], values["LIBRA_TIME_ZONE"])
        wanted = "|".join((*when, f"{url}/", "POST", email, url, *ATTEMPTS.values()))
        found = self._describe(f'value[separator="|"]({FIELDS})')
        if found == wanted:
            say(f"   {JOB} is up to date")
            return
        yield gcloud(
            *("scheduler", "jobs", "update" if found else "create", "http", JOB, *self._where),
            *(f"--schedule={when[0]}", f"--time-zone={when[1]}", f"--uri={url}/", "--http-method=POST"),
            f"--{'update-headers' if found else 'headers'}=Content-Type=application/json",
            *("--message-body={}", f"--oidc-service-account-email={email}", f"--oidc-token-audience={url}"),
            *(f"--{flag}={value}" for flag, value in ATTEMPTS.items()),
        )

    def surplus(self) -> Iterator[Change]:
        """The job."""
        if self._describe("value(name)"):
            yield gcloud("scheduler", "jobs", "delete", JOB, *self._where)

    def state(self) -> Iterator[tuple[str, str]]:
        """Its state, time and last attempt."""
        fields = "state,schedule,timeZone,lastAttemptTime,status.code"
        yield "schedule", self._describe(f'value[separator="  "]({fields})') or "not there"

    @property
    def _where(self) -> tuple[str, str]:
        return f"--location={self.deployment.values['LIBRA_SCHEDULER_REGION']}", self.deployment.in_project

    def _describe(self, form: str) -> str:
        return self.gcloud.look("scheduler", "jobs", "describe", JOB, *self._where, f"--format={form}")

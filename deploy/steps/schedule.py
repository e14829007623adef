"""The nightly call of the recompute, and the hourly one that keeps totals small."""

from collections.abc import Iterator

from deploy.gcloud import Change, gcloud, say
from deploy.steps.accounts import caller
from deploy.steps.base import Step

JOB = "libra-recompute"
COMPACTION = "libra-compact"
JOBS = {JOB: ("LIBRA_SCHEDULE", "{}"), COMPACTION: ("LIBRA_COMPACT_SCHEDULE", '{"compact":true}')}
"""Each job's schedule, and what it asks of the recompute."""
OFF = "off"
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
    """Cloud Scheduler's jobs."""

    name = "schedule"
    needs = "roles/cloudscheduler.admin and roles/iam.serviceAccountUser"
    undoing = "Remove the schedule"

    @property
    def title(self) -> str:
        """With its times and zone."""
        values = self.deployment.values
        times = f"{values['LIBRA_SCHEDULE']}, and the compaction: {values['LIBRA_COMPACT_SCHEDULE']}"
        return f"Schedule the recompute: {times}; {values['LIBRA_TIME_ZONE']}"

    def missing(self) -> Iterator[Change]:
        """Each job, or a change of it; the removal of one that is off."""
        for job, (variable, body) in JOBS.items():
            if self.deployment.values[variable] == OFF:
                yield from self._removal(job)
            else:
                yield from self._job(job, self.deployment.values[variable], body)

    def _job(self, job: str, schedule: str, body: str) -> Iterator[Change]:
        url, email = self.deployment.recompute_url(), self.deployment.email(caller(self.deployment))
        when = (schedule, self.deployment.values["LIBRA_TIME_ZONE"])
        wanted = "|".join((*when, f"{url}/", "POST", email, url, *ATTEMPTS.values()))
        found = self._describe(job, f'value[separator="|"]({FIELDS})')
        if found == wanted:
            say(f"   {job} is up to date")
            return
        yield gcloud(
            *("scheduler", "jobs", "update" if found else "create", "http", job, *self._where),
            *(f"--schedule={when[0]}", f"--time-zone={when[1]}", f"--uri={url}/", "--http-method=POST"),
            f"--{'update-headers' if found else 'headers'}=Content-Type=application/json",
            *(f"--message-body={body}", f"--oidc-service-account-email={email}"),
            f"--oidc-token-audience={url}",
            *(f"--{flag}={value}" for flag, value in ATTEMPTS.items()),
        )

    def _removal(self, job: str) -> Iterator[Change]:
        if self._describe(job, "value(name)"):
            yield gcloud("scheduler", "jobs", "delete", job, *self._where)

    def surplus(self) -> Iterator[Change]:
        """The jobs."""
        for job in JOBS:
            yield from self._removal(job)

    def state(self) -> Iterator[tuple[str, str]]:
        """Of each job its state, time and last attempt."""
        fields = "state,schedule,timeZone,lastAttemptTime,status.code"
        for job, what in ((JOB, "schedule"), (COMPACTION, "compaction")):
            yield what, self._describe(job, f'value[separator="  "]({fields})') or "not there"

    @property
    def _where(self) -> tuple[str, str]:
        return f"--location={self.deployment.values['LIBRA_SCHEDULER_REGION']}", self.deployment.in_project

    def _describe(self, job: str, form: str) -> str:
        return self.gcloud.look("scheduler", "jobs", "describe", job, *self._where, f"--format={form}")

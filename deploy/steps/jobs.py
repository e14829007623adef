"""A Cloud Run job that a schedule starts: its deployment, who may start it, and when.

A job has no address. Cloud Scheduler starts it through Cloud Run's API, as the account that calls the
recompute.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence

from deploy.gcloud import Change, gcloud, say
from deploy.steps.accounts import INVOKER, caller
from deploy.steps.base import Deployment

FIELDS = "schedule,timeZone,httpTarget.uri,httpTarget.httpMethod,httpTarget.oauthToken.serviceAccountEmail"
RETRIES = (
    "attemptDeadline,retryConfig.retryCount,retryConfig.minBackoffDuration,retryConfig.maxBackoffDuration,"
    "retryConfig.maxDoublings"
)
"""What a schedule says beside, where it is told how often to try."""


def described(deployment: Deployment, job: str, form: str) -> str:
    """What Cloud Run says of the job; empty: it is not there."""
    return deployment.gcloud.look("run", "jobs", "describe", job, *deployment.in_region, f"--format={form}")


def deploying(deployment: Deployment, job: str, flags: Sequence[str]) -> Iterator[Change]:
    """Deploy the job, unless it is there, ready, and of these flags."""
    config = hashlib.sha256("\n".join(flags).encode()).hexdigest()[:40]
    there = described(deployment, job, "value(status.conditions[0].status,metadata.labels.libra-config)")
    if there == f"True\t{config}" and not deployment.force:
        say(f"   {job} is up to date")
        return
    yield gcloud("run", "jobs", "deploy", job, *flags, f"--labels=libra-config={config}", patient=True)


def starting(deployment: Deployment, job: str) -> Iterator[Change]:
    """Let the schedule's account start the job, and change nothing of it."""
    member, where = deployment.member(caller(deployment)), (job, *deployment.in_region)
    if (INVOKER, member) not in deployment.bindings("run", "jobs", "get-iam-policy", *where):
        grant = (f"--member={member}", f"--role={INVOKER}")
        yield gcloud("run", "jobs", "add-iam-policy-binding", *where, *grant, patient=True)


def scheduling(
    deployment: Deployment, job: str, schedule: str, attempts: Mapping[str, str] | None = None
) -> Iterator[Change]:
    """Start the job at its times, unless a schedule does.

    Args:
        deployment: what is deployed.
        job: the job, and the name of its schedule.
        schedule: as in cron.
        attempts: how often and when a call that failed is made again; None: Google's own way.
    """
    place = f"projects/{deployment.project}/locations/{deployment.region}/jobs/{job}"
    email = deployment.email(caller(deployment))
    told = {
        "schedule": schedule,
        "time-zone": deployment.values["LIBRA_TIME_ZONE"],
        "uri": f"https://run.googleapis.com/v2/{place}:run",
        "http-method": "POST",
        "oauth-service-account-email": email,
    } | dict(attempts or {})
    fields = f"{FIELDS},{RETRIES}" if attempts else FIELDS
    found = scheduled(deployment, job, f'value[separator="|"]({fields})')
    if found == "|".join(told.values()):
        say(f"   the schedule of {job} is up to date")
        return
    verb = "update" if found else "create"
    flags = [f"--{name}={value}" for name, value in told.items()]
    yield gcloud("scheduler", "jobs", verb, "http", job, *_where(deployment), *flags)


def scheduled(deployment: Deployment, job: str, form: str) -> str:
    """What Cloud Scheduler says of the job's schedule; empty: there is none."""
    words = ("scheduler", "jobs", "describe", job, *_where(deployment), f"--format={form}")
    return deployment.gcloud.look(*words)


def removing(deployment: Deployment, job: str) -> Iterator[Change]:
    """Remove the schedule, so that nothing starts the job, then the job."""
    if scheduled(deployment, job, "value(name)"):
        yield gcloud("scheduler", "jobs", "delete", job, *_where(deployment))
    if described(deployment, job, "value(metadata.name)"):
        yield gcloud("run", "jobs", "delete", job, *deployment.in_region)


def state(deployment: Deployment, job: str) -> Iterator[tuple[str, str]]:
    """How the last execution ended, and when; the schedule."""
    last = "status.latestCreatedExecution"
    fields = f"metadata.name,{last}.completionStatus,{last}.completionTimestamp"
    yield job, described(deployment, job, f'value[separator="  "]({fields})') or "not deployed"
    fields = "state,schedule,timeZone,lastAttemptTime,status.code"
    found = scheduled(deployment, job, f'value[separator="  "]({fields})')
    yield f"{job.removeprefix('libra-')} schedule", found or "not there"


def _where(deployment: Deployment) -> tuple[str, str]:
    return f"--location={deployment.values['LIBRA_SCHEDULER_REGION']}", deployment.in_project

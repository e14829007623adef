"""Ingestion, if it is wanted: the API on Cloud Run, and the worker, a Cloud Run job that a schedule starts.

Both are one image. The worker is a job and no worker pool: tenants' data come a few times a day, and a pool
costs a CPU all the time. A job that is cut off is safe: its lease ends, the next execution goes on, and the
fence keeps the old one from writing (docs/ingestion.md). PostgreSQL and its address are the customer's.
"""

import json
from collections.abc import Iterator, Mapping
from functools import cached_property

from deploy import stage
from deploy.gcloud import Change, gcloud
from deploy.parameters import SEPARATOR, runtime
from deploy.send import described, sending
from deploy.steps import jobs
from deploy.steps.accounts import check_version, exists, forgetting, granting, reading, revoking
from deploy.steps.images import building, clearing, image_of
from deploy.steps.service import Service

SERVICE = "libra-ingestion-api"
"""The API, and the account that it runs as."""
JOB = "libra-ingestion"
"""The worker, its schedule, its account, and the image of both."""
POSTGRES = "LIBRA_INGESTION_POSTGRES_SECRET"
SECRETS = {"LIBRA_POSTGRES_URL": POSTGRES, "LIBRA_INGESTION_KEY": "LIBRA_INGESTION_KEY_SECRET"}
"""What the worker finds in Secret Manager, and the parameter that says in which secret."""
SESSIONS, COUNTS = "roles/bigquery.readSessionUser", "roles/bigquery.jobUser"
"""In the tenant's project: to read by the Storage Read API, and to have BigQuery count what is read, by a
query. Both reach no data but those of the datasets."""
VIEWER = "roles/bigquery.dataViewer"
PROCESS = "worker"
"""What the image calls the worker (`stage.INGESTION`)."""
TIMEOUT = "3600s"
"""How long an execution may take. A schedule of ten minutes then has seven at once, at most."""


class Ingestion(Service):
    """The API, the worker and its schedule, unless they are there and of these sources and flags."""

    name = "ingestion"
    needs = (
        f"{Service.needs}, roles/cloudscheduler.admin, roles/secretmanager.admin, and with "
        "--ingestion-datasets roles/bigquery.admin and roles/resourcemanager.projectIamAdmin there"
    )
    service = SERVICE
    switch = "LIBRA_INGESTION"
    artefact = stage.INGESTION
    concurrency = 40  # the threads that Starlette asks PostgreSQL with
    memory = "512Mi"
    undoing = "Remove ingestion, its schedule, its image and its accounts; what it has loaded stays"

    @property
    def title(self) -> str:
        """What is wanted."""
        return "Deploy ingestion (a few minutes)" if self.mode == "on" else "Leave ingestion out"

    def missing(self) -> Iterator[Change]:
        """The API, then the worker and its schedule; or their removal, where it is not wanted."""
        yield from super().missing()
        if self.mode == "on":
            deployment = self.deployment
            yield from jobs.deploying(deployment, JOB, self._job)
            yield from forgetting(deployment, SERVICE, [deployment.values[POSTGRES].partition(":")[0]])
            yield from forgetting(deployment, JOB, [it.partition(":")[0] for it in self._secrets])
            yield from jobs.starting(deployment, JOB)
            yield from jobs.scheduling(deployment, JOB, deployment.values["LIBRA_INGESTION_SCHEDULE"])

    def surplus(self) -> Iterator[Change]:
        """What starts the worker, the worker, the API, then what both may do and their accounts."""
        if exists(self.deployment, JOB):
            yield from jobs.removing(self.deployment, JOB)
            yield from super().surplus()

    def state(self) -> Iterator[tuple[str, str]]:
        """Of the API and of the worker."""
        if self.mode == "on":
            yield from super().state()
            yield from jobs.state(self.deployment, JOB)

    def granted(self) -> Iterator[Change]:
        """Two accounts: the API reads PostgreSQL's address, the worker tenants' secrets too. Their image."""
        deployment = self.deployment
        for variable, parameter in SECRETS.items():
            if deployment.values[parameter]:
                check_version(deployment, parameter, f"what is read as {variable}: docs/ingestion.md")
        yield from granting(deployment, [SERVICE, JOB], [])
        yield from reading(deployment, SERVICE, deployment.values[POSTGRES])
        for secret in self._secrets:
            yield from reading(deployment, JOB, secret)
        yield from self._viewing("GRANT")
        yield from building(deployment, JOB, self.artefact)

    def barred(self) -> Iterator[Change]:
        """The image, what the accounts may read, then the accounts, that of the worker last."""
        deployment = self.deployment
        yield from clearing(deployment, JOB)
        yield from forgetting(deployment, SERVICE)
        yield from forgetting(deployment, JOB)
        yield from self._viewing("REVOKE")
        yield from revoking(deployment, [SERVICE, JOB], [])

    def environment(self) -> Mapping[str, str]:
        """See `services.ingestion.settings`."""
        own = self.own("ACCOUNTS", "ORIGINS", "DEADLINE_SECONDS")
        return own | {"LIBRA_INGESTION_AUDIENCE": self.audience()}

    def code(self) -> tuple[str, ...]:
        """The image of the worker, which starts the API unless it is told another process."""
        return (f"--image={image_of(self.deployment, JOB, self.artefact)}",)

    def flags(self) -> tuple[str, ...]:
        """PostgreSQL: its address, and the network that it is in."""
        address = f"--set-secrets=LIBRA_POSTGRES_URL={self.deployment.values[POSTGRES]}"
        return address, *self.deployment.in_network("LIBRA_INGESTION_NETWORK")

    @property
    def _secrets(self) -> list[str]:
        """SECRET:VERSION of all that the worker reads, each once."""
        values = self.deployment.values
        own = [values[parameter] for parameter in SECRETS.values()]
        named = [f"{it}:latest" for it in values["LIBRA_INGESTION_TENANT_SECRETS"].split(",") if it]
        return list({it.partition(":")[0]: it for it in [*own, *named] if it}.values())

    @property
    def _job(self) -> tuple[str, ...]:
        """Cloud Run starts no execution again that failed: the next one goes on."""
        deployment, values = self.deployment, self.deployment.values
        environment = runtime(values) | self.own("PARALLEL", "REJECTED_DAYS", "LATE_DAYS")
        variables = SEPARATOR.join(f"{name}={value}" for name, value in environment.items())
        secrets = (f"{name}={values[it]}" for name, it in SECRETS.items() if values[it])
        return (
            *deployment.in_region,
            *self.code(),
            f"--command={PROCESS}",
            f"--service-account={deployment.email(JOB)}",
            *("--cpu=1", f"--memory={values['LIBRA_INGESTION_MEMORY']}"),
            *("--tasks=1", "--max-retries=0", f"--task-timeout={TIMEOUT}"),
            f"--set-secrets={','.join(secrets)}",
            f"--set-env-vars=^{SEPARATOR}^{variables}",
            *deployment.in_network("LIBRA_INGESTION_NETWORK"),
        )

    # -- BigQuery

    @cached_property
    def _google(self) -> Mapping[str, str]:
        return {} if self.gcloud.planning else self.deployment.google()

    def _viewing(self, verb: str) -> Iterator[Change]:
        """Let the worker read the datasets, each by one statement, which keeps whom else they let in."""
        member, granting = self.deployment.member(JOB), verb == "GRANT"
        named = [it.split(".") for it in self.deployment.values["LIBRA_INGESTION_DATASETS"].split(",") if it]
        for project in dict.fromkeys(project for project, _ in named):
            there = self.deployment.bindings("projects", "get-iam-policy", project)
            for role in (SESSIONS, COUNTS):
                if ((role, member) in there) != granting:
                    words = f"{'add' if granting else 'remove'}-iam-policy-binding"
                    grant = (f"--member={member}", f"--role={role}", "--condition=None")
                    yield gcloud("projects", words, project, *grant, patient=granting)
        for project, dataset in named:
            if self._views(project, dataset) != granting:
                where = "TO" if granting else "FROM"
                said = f'{verb} `{VIEWER}` ON SCHEMA `{project}`.`{dataset}` {where} "{member}"'
                yield self._asked(f"{verb.lower()}-{project}.{dataset}", said)

    def _views(self, project: str, dataset: str) -> bool:
        """Whether the worker may read the dataset."""
        if self.gcloud.planning:
            return False
        found = described(self._google, "bigquery", f"bigquery/v2/projects/{project}/datasets/{dataset}")
        email = self.deployment.email(JOB)
        viewers = [it for it in found.get("access", []) if it.get("userByEmail") == email]
        return any(it.get("role") in {"READER", VIEWER} for it in viewers)

    def _asked(self, name: str, statement: str) -> Change:
        file = f"build/ingestion-grants/{name}.json"
        body = {"query": statement, "useLegacySql": False}
        (stage.ROOT / file).parent.mkdir(parents=True, exist_ok=True)
        (stage.ROOT / file).write_text(json.dumps(body, indent=2) + "\n", encoding="utf-8")
        path = f"bigquery/v2/projects/{self.deployment.project}/queries"
        return sending(self._google, "POST", "bigquery", path, file, body=body)

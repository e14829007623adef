"""The API on Cloud Run, if it is wanted: its account, what it may do, and the service."""

import hashlib
from collections.abc import Iterator

from deploy import stage
from deploy.gcloud import Change, gcloud, say
from deploy.parameters import SEPARATOR, runtime
from deploy.steps.accounts import BUILDER, barring, granting, invoking, revoking
from deploy.steps.base import RECOMPUTE, Step

SERVICE = "libra-api"
"""The service, and the account that it runs as."""
ROLES = {"reader": "roles/datastore.viewer", "writer": "roles/datastore.user"}
"""What the account may do in the database. Only `POST /v1/rejected/ID/retry` writes, and only removes."""
ENTRYPOINT = "python -m uvicorn services.api.main:app --host 0.0.0.0 --port $PORT"
THREADS = 40
"""Requests at once in an instance: the threads that Starlette reads Firestore with."""
PROBE = "httpGet.path=/healthz"


class Api(Step):
    """The service, unless it is there, ready, and of these sources and flags."""

    name = "api"
    needs = "roles/run.admin, roles/iam.serviceAccountAdmin and roles/resourcemanager.projectIamAdmin"
    undoing = "Remove the API and its account"

    @property
    def title(self) -> str:
        """What is wanted."""
        mode = self.deployment.values["LIBRA_API"]
        return "Leave the API out" if mode == "off" else f"Deploy the API as a {mode} (a few minutes)"

    def missing(self) -> Iterator[Change]:
        """The account, its grants, the service; or their removal, where the API is not wanted."""
        mode = self.deployment.values["LIBRA_API"]
        if mode == "off":
            yield from self.surplus()
            return
        deployment = self.deployment
        others = [(role, SERVICE) for name, role in ROLES.items() if name != mode]
        yield from revoking(deployment, [], others)
        yield from granting(deployment, [SERVICE], [(ROLES[mode], SERVICE)])
        yield from invoking(deployment, RECOMPUTE, SERVICE)
        yield from self._service()

    def surplus(self) -> Iterator[Change]:
        """The service, what its account may do, then the account: a grant that outlives its account cannot be
        told from one that is in use."""
        if self._describe("value(metadata.name)"):
            yield gcloud("run", "services", "delete", SERVICE, *self.deployment.in_region)
        yield from barring(self.deployment, RECOMPUTE, SERVICE)
        yield from revoking(self.deployment, [SERVICE], [(role, SERVICE) for role in ROLES.values()])

    def state(self) -> Iterator[tuple[str, str]]:
        """Whether it is ready, where it is, and its revision."""
        fields = "status.conditions[0].status,status.url,status.latestReadyRevisionName"
        yield SERVICE, self._describe(f'value[separator="  "]({fields})') or "not deployed"

    def _describe(self, form: str) -> str:
        where = self.deployment.in_region
        return self.gcloud.look("run", "services", "describe", SERVICE, *where, f"--format={form}")

    def _audience(self) -> str:
        """The service's address, which is known before it is deployed (Cloud Run's docs, 'URLs', 2026-11)."""
        form = "--format=value(projectNumber)"
        number = self.gcloud.look("projects", "describe", self.deployment.project, form) or "PROJECT-NUMBER"
        return f"https://{SERVICE}-{number}.{self.deployment.region}.run.app"

    def _service(self) -> Iterator[Change]:
        deployment, values = self.deployment, self.deployment.values
        environment = runtime(values) | {
            "LIBRA_API_RECOMPUTE_URL": deployment.recompute_url(),
            "LIBRA_API_AUDIENCE": self._audience(),
            "LIBRA_API_OPERATORS": values["LIBRA_API_OPERATORS"],
            "LIBRA_API_ORIGINS": values["LIBRA_API_ORIGINS"],
            "LIBRA_API_DEADLINE_SECONDS": values["LIBRA_API_DEADLINE_SECONDS"],
        }
        variables = SEPARATOR.join(f"{variable}={value}" for variable, value in environment.items())
        flags = (
            deployment.in_project,
            f"--region={deployment.region}",
            "--source=build/api",
            f"--set-build-env-vars=^{SEPARATOR}^GOOGLE_ENTRYPOINT={ENTRYPOINT}{SEPARATOR}GOOGLE_PYTHON_VERSION=3.11.x",
            f"--build-service-account=projects/{deployment.project}/serviceAccounts/{deployment.email(BUILDER)}",
            f"--service-account={deployment.email(SERVICE)}",
            "--no-invoker-iam-check",
            "--ingress=all",
            "--cpu=1",
            "--memory=512Mi",
            f"--concurrency={THREADS}",
            f"--timeout={int(values['LIBRA_API_DEADLINE_SECONDS']) + 10}s",
            "--min-instances=0",
            f"--max-instances={values['LIBRA_API_MAX_INSTANCES']}",
            f"--startup-probe={PROBE}",
            f"--liveness-probe={PROBE}",
            f"--set-env-vars=^{SEPARATOR}^{variables}",
        )
        lines = "".join(f"{line}\n" for line in (stage.fingerprint(stage.API), *flags))
        config = hashlib.sha256(lines.encode()).hexdigest()[:40]
        there = self._describe("value(status.conditions[0].status,metadata.labels.libra-config)")
        if there == f"True\t{config}" and not deployment.force:
            say(f"   {SERVICE} is up to date")
            return
        yield gcloud("run", "deploy", SERVICE, *flags, f"--labels=libra-config={config}", patient=True)

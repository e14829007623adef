"""A service on Cloud Run, if it is wanted: its account, what it may do, and the service itself."""

import hashlib
from abc import abstractmethod
from collections.abc import Iterator, Mapping

from deploy import stage
from deploy.gcloud import Change, gcloud, say
from deploy.parameters import SEPARATOR, runtime
from deploy.steps.accounts import BUILDER
from deploy.steps.base import Step

PROBE = "httpGet.path=/healthz"


class Service(Step):
    """A service, unless it is there, ready, and of these sources and flags.

    Anybody reaches it: it verifies tokens itself. Its account has the service's name. Its `switch` also says
    how it is wanted, and the names of its other parameters begin with it.
    """

    needs = (
        "roles/run.admin, roles/artifactregistry.admin, roles/cloudbuild.builds.editor, "
        "roles/iam.serviceAccountAdmin and roles/resourcemanager.projectIamAdmin"
    )
    service: str
    """The service, and the account that it runs as."""
    concurrency: int
    """Requests at once in an instance."""
    memory: str

    @property
    @abstractmethod
    def artefact(self) -> stage.Artefact:
        """What is deployed."""

    @property
    def mode(self) -> str:
        """How it is wanted; `off`: not at all."""
        return self.deployment.values[self.switch]

    def missing(self) -> Iterator[Change]:
        """The account, its grants, the service; or their removal, where it is not wanted."""
        if self.mode == "off":
            yield from self.surplus()
            return
        yield from self.granted()
        yield from self._deployed()

    def surplus(self) -> Iterator[Change]:
        """The service, what its account may do, then the account: a grant that outlives its account cannot be
        told from one that is in use."""
        if self._describe("value(metadata.name)"):
            yield gcloud("run", "services", "delete", self.service, *self.deployment.in_region)
        yield from self.barred()

    def state(self) -> Iterator[tuple[str, str]]:
        """Whether it is ready, where it is, and its revision."""
        fields = "status.conditions[0].status,status.url,status.latestReadyRevisionName"
        yield self.service, self._describe(f'value[separator="  "]({fields})') or "not deployed"

    @abstractmethod
    def granted(self) -> Iterator[Change]:
        """The account and all that it may do in this mode, and nothing else."""

    @abstractmethod
    def barred(self) -> Iterator[Change]:
        """The removal of what the account may do, then of the account."""

    @abstractmethod
    def environment(self) -> Mapping[str, str]:
        """Its own variables, beside those that every part of Libra reads."""

    def flags(self) -> tuple[str, ...]:
        """gcloud's flags beside those of every service."""
        return ()

    def code(self) -> tuple[str, ...]:
        """Flags that say what runs: here the staged sources, of which Cloud Run builds an image."""
        deployment = self.deployment
        entry = f"python -m uvicorn {self.artefact.entries[0]}:app --host 0.0.0.0 --port $PORT"
        build = f"GOOGLE_ENTRYPOINT={entry}{SEPARATOR}GOOGLE_PYTHON_VERSION=3.11.x"
        return (
            f"--source=build/{self.artefact.name}",
            f"--set-build-env-vars=^{SEPARATOR}^{build}",
            f"--build-service-account=projects/{deployment.project}/serviceAccounts/{deployment.email(BUILDER)}",
        )

    def audience(self) -> str:
        """The service's address, which is known before it is deployed (Cloud Run's docs, 'URLs', 2026-11)."""
        return f"https://{self.service}-{self.deployment.number()}.{self.deployment.region}.run.app"

    def own(self, *names: str) -> dict[str, str]:
        """Parameters of the service, such as ``ORIGINS``, by their variables."""
        return {(full := f"{self.switch}_{name}"): self.deployment.values[full] for name in names}

    def _describe(self, form: str) -> str:
        where = self.deployment.in_region
        return self.gcloud.look("run", "services", "describe", self.service, *where, f"--format={form}")

    def _deployed(self) -> Iterator[Change]:
        deployment, values = self.deployment, self.deployment.values
        environment = runtime(values) | dict(self.environment())
        variables = SEPARATOR.join(f"{variable}={value}" for variable, value in environment.items())
        flags = (
            deployment.in_project,
            f"--region={deployment.region}",
            *self.code(),
            f"--service-account={deployment.email(self.service)}",
            "--no-invoker-iam-check",
            "--ingress=all",
            "--cpu=1",
            f"--memory={self.memory}",
            f"--concurrency={self.concurrency}",
            f"--timeout={int(values[f'{self.switch}_DEADLINE_SECONDS']) + 10}s",
            "--min-instances=0",
            f"--max-instances={values[f'{self.switch}_MAX_INSTANCES']}",
            f"--startup-probe={PROBE}",
            f"--liveness-probe={PROBE}",
            f"--set-env-vars=^{SEPARATOR}^{variables}",
            *self.flags(),
        )
        lines = "".join(f"{line}\n" for line in (stage.fingerprint(self.artefact), *flags))
        config = hashlib.sha256(lines.encode()).hexdigest()[:40]
        there = self._describe("value(status.conditions[0].status,metadata.labels.libra-config)")
        if there == f"True\t{config}" and not deployment.force:
            say(f"   {self.service} is up to date")
            return
        yield gcloud("run", "deploy", self.service, *flags, f"--labels=libra-config={config}", patient=True)

"""The API on Cloud Run, if it is wanted."""

from collections.abc import Iterator, Mapping

from deploy import stage
from deploy.gcloud import Change
from deploy.steps.accounts import (
    barring,
    check_version,
    exists,
    forgetting,
    granting,
    invoking,
    reading,
    revoking,
)
from deploy.steps.base import RECOMPUTE
from deploy.steps.service import Service

SERVICE = "libra-api"
SECRET = "LIBRA_API_USAGE_SECRET"  # noqa: S105 - the name of a parameter
ROLES = {"reader": "roles/datastore.viewer", "writer": "roles/datastore.user"}
"""What the account may do in the database. Only `POST /v1/rejected/ID/retry` writes, and only removes."""


class Api(Service):
    """It reads Firestore, calls the recompute and, with a secret for it, reads usage from PostgreSQL."""

    name = "api"
    needs = f"{Service.needs}, and roles/secretmanager.admin for --api-usage-secret"
    service = SERVICE
    switch = "LIBRA_API"
    concurrency = 40  # the threads that Starlette reads Firestore with
    memory = "512Mi"
    undoing = "Remove the API and its account"

    @property
    def artefact(self) -> stage.Artefact:
        """With what reads usage, if it is to."""
        return stage.api(self.deployment.values)

    @property
    def title(self) -> str:
        """What is wanted."""
        return (
            "Leave the API out" if self.mode == "off" else f"Deploy the API as a {self.mode} (a few minutes)"
        )

    def missing(self) -> Iterator[Change]:
        """What every service needs; then its account reads no secret that it no longer needs."""
        yield from super().missing()
        if self.mode != "off":
            yield from forgetting(self.deployment, SERVICE, self._secrets)

    def granted(self) -> Iterator[Change]:
        """Its mode's role in the database, the call of the recompute, and the secret."""
        others = [(role, SERVICE) for mode, role in ROLES.items() if mode != self.mode]
        yield from revoking(self.deployment, [], others)
        yield from granting(self.deployment, [SERVICE], [(ROLES[self.mode], SERVICE)])
        yield from invoking(self.deployment, RECOMPUTE, SERVICE)
        for secret in self._secrets:
            check_version(self.deployment, SECRET, "PostgreSQL's address for the API: docs/usage.md")
            yield from reading(self.deployment, SERVICE, f"{secret}:")

    def barred(self) -> Iterator[Change]:
        """The call of the recompute, then the rest."""
        yield from barring(self.deployment, RECOMPUTE, SERVICE)
        if exists(self.deployment, SERVICE):
            yield from forgetting(self.deployment, SERVICE)
        yield from revoking(self.deployment, [SERVICE], [(role, SERVICE) for role in ROLES.values()])

    def environment(self) -> Mapping[str, str]:
        """See `services.api.settings`."""
        own = self.own("OPERATORS", "ORIGINS", "DEADLINE_SECONDS")
        return own | {
            "LIBRA_API_RECOMPUTE_URL": self.deployment.recompute_url(),
            "LIBRA_API_AUDIENCE": self.audience(),
        }

    def flags(self) -> tuple[str, ...]:
        """Where PostgreSQL is, and the way to it; none of both where it reads no usage."""
        if secret := self.deployment.values[SECRET]:
            return f"--set-secrets=LIBRA_POSTGRES_URL={secret}", *self.deployment.in_network(
                "LIBRA_USAGE_NETWORK"
            )
        return "--clear-secrets", "--clear-network"

    @property
    def _secrets(self) -> list[str]:
        """The secret that it reads, or none."""
        return [it.partition(":")[0] for it in (self.deployment.values[SECRET],) if it]

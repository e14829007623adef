"""The API on Cloud Run, if it is wanted."""

from collections.abc import Iterator, Mapping

from deploy import stage
from deploy.gcloud import Change
from deploy.steps.accounts import barring, granting, invoking, revoking
from deploy.steps.base import RECOMPUTE
from deploy.steps.service import Service

SERVICE = "libra-api"
ROLES = {"reader": "roles/datastore.viewer", "writer": "roles/datastore.user"}
"""What the account may do in the database. Only `POST /v1/rejected/ID/retry` writes, and only removes."""


class Api(Service):
    """It reads Firestore, and calls the recompute."""

    name = "api"
    service = SERVICE
    switch = "LIBRA_API"
    artefact = stage.API
    concurrency = 40  # the threads that Starlette reads Firestore with
    memory = "512Mi"
    undoing = "Remove the API and its account"

    @property
    def title(self) -> str:
        """What is wanted."""
        return (
            "Leave the API out" if self.mode == "off" else f"Deploy the API as a {self.mode} (a few minutes)"
        )

    def granted(self) -> Iterator[Change]:
        """Its mode's role in the database, and the call of the recompute."""
        others = [(role, SERVICE) for mode, role in ROLES.items() if mode != self.mode]
        yield from revoking(self.deployment, [], others)
        yield from granting(self.deployment, [SERVICE], [(ROLES[self.mode], SERVICE)])
        yield from invoking(self.deployment, RECOMPUTE, SERVICE)

    def barred(self) -> Iterator[Change]:
        """The call of the recompute, then the rest."""
        yield from barring(self.deployment, RECOMPUTE, SERVICE)
        yield from revoking(self.deployment, [SERVICE], [(role, SERVICE) for role in ROLES.values()])

    def environment(self) -> Mapping[str, str]:
        """See `services.api.settings`."""
        own = self.own("OPERATORS", "ORIGINS", "DEADLINE_SECONDS")
        return own | {
            "LIBRA_API_RECOMPUTE_URL": self.deployment.recompute_url(),
            "LIBRA_API_AUDIENCE": self.audience(),
        }

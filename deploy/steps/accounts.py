"""The service accounts, each with as little as it can do its work with, and who may call what."""

from collections.abc import Iterator

from deploy.gcloud import Change, gcloud
from deploy.steps.base import RECOMPUTE, Deployment, Step

RUNTIME = "libra-runtime"
"""What the functions run as."""
BUILDER = "libra-build"
"""What builds them."""


def deliverer(deployment: Deployment) -> str:
    """The account that delivers events; Firebase has none of its own for it."""
    return RUNTIME if deployment.for_firebase else "libra-trigger"


def caller(deployment: Deployment) -> str:
    """The account that calls the recompute; Firebase has none of its own for it."""
    return RUNTIME if deployment.for_firebase else "libra-scheduler"


class Accounts(Step):
    """Service accounts, their roles in the project, and the secrets that the functions read."""

    name = "accounts"
    needs = "roles/iam.serviceAccountAdmin and roles/resourcemanager.projectIamAdmin"
    title = "Create the service accounts and grant their roles"
    undoing = "Remove the service accounts and their roles"

    @property
    def _accounts(self) -> list[str]:
        return list(dict.fromkeys((RUNTIME, BUILDER, deliverer(self.deployment), caller(self.deployment))))

    @property
    def _grants(self) -> list[tuple[str, str]]:
        return [
            ("roles/datastore.user", RUNTIME),
            ("roles/eventarc.eventReceiver", deliverer(self.deployment)),
            ("roles/cloudbuild.builds.builder", BUILDER),
        ]

    def missing(self) -> Iterator[Change]:
        """Accounts, then grants."""
        deployment = self.deployment
        for account in self._accounts:
            if not self._exists(account):
                name = f"--display-name=Libra: {account.removeprefix('libra-')}"
                yield gcloud("iam", "service-accounts", "create", account, name, deployment.in_project)
        granted = self._granted()
        for role, account in self._grants:
            member = deployment.member(account)
            if (role, member) not in granted:
                yield gcloud(
                    *("projects", "add-iam-policy-binding", deployment.project),
                    *(f"--member={member}", f"--role={role}", "--condition=None"),
                    patient=True,
                )
        yield from self._secrets()

    def surplus(self) -> Iterator[Change]:
        """Grants, then accounts."""
        deployment = self.deployment
        granted = self._granted()
        for role, account in self._grants:
            member = deployment.member(account)
            if (role, member) in granted:
                yield gcloud(
                    *("projects", "remove-iam-policy-binding", deployment.project),
                    *(f"--member={member}", f"--role={role}", "--condition=None"),
                )
        for account in self._accounts:
            if self._exists(account):
                email = deployment.email(account)
                yield gcloud("iam", "service-accounts", "delete", email, deployment.in_project)

    def _exists(self, account: str) -> bool:
        email = self.deployment.email(account)
        describe = ("iam", "service-accounts", "describe", email, self.deployment.in_project)
        return bool(self.gcloud.look(*describe, "--format=value(email)"))

    def _granted(self) -> set[tuple[str, str]]:
        return self.deployment.bindings("projects", "get-iam-policy", self.deployment.project)

    def _secrets(self) -> Iterator[Change]:
        member, role = self.deployment.member(RUNTIME), "roles/secretmanager.secretAccessor"
        for entry in filter(None, self.deployment.values["LIBRA_SECRETS"].split(",")):
            secret = (entry.partition("=")[2].rpartition(":")[0], self.deployment.in_project)
            if (role, member) not in self.deployment.bindings("secrets", "get-iam-policy", *secret):
                grant = (f"--member={member}", f"--role={role}")
                yield gcloud("secrets", "add-iam-policy-binding", *secret, *grant)


class Invokers(Step):
    """Who may call the functions. `down` has nothing to do: the grants go with the functions."""

    name = "invokers"
    needs = "roles/run.admin"
    title = "Let only events call the triggers, and only the schedule the recompute"

    def missing(self) -> Iterator[Change]:
        """One grant for each function."""
        deployment, role = self.deployment, "roles/run.invoker"
        called = dict.fromkeys(deployment.triggers, deliverer(deployment)) | {RECOMPUTE: caller(deployment)}
        for service, account in called.items():
            member, where = deployment.member(account), (service, *deployment.in_region)
            if (role, member) not in deployment.bindings("run", "services", "get-iam-policy", *where):
                grant = (f"--member={member}", f"--role={role}")
                yield gcloud("run", "services", "add-iam-policy-binding", *where, *grant, patient=True)

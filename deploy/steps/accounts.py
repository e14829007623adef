"""The service accounts, each with as little as it can do its work with, and who may call what."""

import re
from collections.abc import Collection, Iterator

from deploy.gcloud import Change, CommandError, DeployError, gcloud, say
from deploy.steps.base import RECOMPUTE, Deployment, Step

RUNTIME = "libra-runtime"
"""What the functions run as."""
BUILDER = "libra-build"
"""What builds them."""
INVOKER = "roles/run.invoker"
"""Who has it for a service may call it."""
DISABLED = re.compile("SERVICE_DISABLED|not enabled|has not been used")
"""What gcloud says of an API that is not enabled."""
ACCESSOR = "roles/secretmanager.secretAccessor"
"""Who has it for a secret may read it."""


def deliverer(deployment: Deployment) -> str:
    """The account that delivers events; Firebase has none of its own for it."""
    return RUNTIME if deployment.for_firebase else "libra-trigger"


def caller(deployment: Deployment) -> str:
    """The account that calls the recompute; Firebase has none of its own for it."""
    return RUNTIME if deployment.for_firebase else "libra-scheduler"


Grants = list[tuple[str, str]]
"""Roles in the project, and the account that has each."""


def granting(deployment: Deployment, accounts: list[str], grants: Grants) -> Iterator[Change]:
    """Create the accounts and grant the roles that are not there."""
    for account in accounts:
        if not exists(deployment, account):
            name = f"--display-name=Libra: {account.removeprefix('libra-')}"
            yield gcloud("iam", "service-accounts", "create", account, name, deployment.in_project)
    granted = _granted(deployment)
    for role, account in grants:
        if (role, deployment.member(account)) not in granted:
            yield gcloud(*_binding("add", deployment, role, account), patient=True)


def revoking(deployment: Deployment, accounts: list[str], grants: Grants) -> Iterator[Change]:
    """Take the roles away and remove the accounts that are there."""
    granted = _granted(deployment)
    for role, account in grants:
        if (role, deployment.member(account)) in granted:
            yield gcloud(*_binding("remove", deployment, role, account))
    for account in accounts:
        if exists(deployment, account):
            email = deployment.email(account)
            yield gcloud("iam", "service-accounts", "delete", email, deployment.in_project)


def exists(deployment: Deployment, account: str) -> bool:
    """Whether the account is there."""
    email = deployment.email(account)
    describe = ("iam", "service-accounts", "describe", email, deployment.in_project)
    return bool(deployment.gcloud.look(*describe, "--format=value(email)"))


def _granted(deployment: Deployment) -> set[tuple[str, str]]:
    return deployment.bindings("projects", "get-iam-policy", deployment.project)


def _binding(verb: str, deployment: Deployment, role: str, account: str) -> tuple[str, ...]:
    words = ("projects", f"{verb}-iam-policy-binding", deployment.project)
    return (*words, f"--member={deployment.member(account)}", f"--role={role}", "--condition=None")


def reading(deployment: Deployment, account: str, version: str) -> Iterator[Change]:
    """Let an account read a secret, which SECRET:VERSION names, if it may not yet."""
    member, role = deployment.member(account), ACCESSOR
    secret = (version.rpartition(":")[0], deployment.in_project)
    if (role, member) not in deployment.bindings("secrets", "get-iam-policy", *secret):
        grant = (f"--member={member}", f"--role={role}")
        yield gcloud("secrets", "add-iam-policy-binding", *secret, *grant, patient=True)


def check_version(deployment: Deployment, parameter: str, holds: str) -> None:
    """Refuse a secret that Cloud Run would refuse once the image is built.

    Raises:
        DeployError: it has no such version, or the version is disabled.
    """
    secret, _, version = deployment.values[parameter].partition(":")
    where = (version, f"--secret={secret}", deployment.in_project)
    found = deployment.gcloud.look("secrets", "versions", "describe", *where, "--format=value(state)")
    if found.upper() != "ENABLED" and not deployment.gcloud.planning:
        raise DeployError(
            f"{parameter} is {secret}:{version}, and this version is {found.lower() or 'not there'}. "
            f"It must be enabled, and hold {holds}"
        )


def forgetting(deployment: Deployment, account: str, kept: Collection[str] = ()) -> Iterator[Change]:
    """Let an account read no secret of the project any more but these: whichever it read before, and also
    where another run ended halfway. Whoever wants no secret needs no Secret Manager."""
    member, role = deployment.member(account), ACCESSOR
    try:
        listed = deployment.gcloud.look("secrets", "list", deployment.in_project, "--format=value(name)")
    except CommandError as failure:
        if kept:
            raise
        if not DISABLED.search(str(failure)):
            say(f"   cannot look which secrets {account} may read: {str(failure).splitlines()[0]}")
        return
    for secret in (it.rpartition("/")[2] for it in listed.splitlines()):
        where = (secret, deployment.in_project)
        if secret not in kept and (role, member) in deployment.bindings("secrets", "get-iam-policy", *where):
            grant = (f"--member={member}", f"--role={role}")
            yield gcloud("secrets", "remove-iam-policy-binding", *where, *grant)


def invoking(deployment: Deployment, service: str, account: str) -> Iterator[Change]:
    """Let an account call a private service, if it may not yet."""
    if not _invokes(deployment, service, account):
        yield gcloud(*_invoker("add", deployment, service, account), patient=True)


def barring(deployment: Deployment, service: str, account: str) -> Iterator[Change]:
    """Let an account call a private service no longer, if it may."""
    if _invokes(deployment, service, account):
        yield gcloud(*_invoker("remove", deployment, service, account))


def _invokes(deployment: Deployment, service: str, account: str) -> bool:
    policy = deployment.bindings("run", "services", "get-iam-policy", service, *deployment.in_region)
    return (INVOKER, deployment.member(account)) in policy


def _invoker(verb: str, deployment: Deployment, service: str, account: str) -> tuple[str, ...]:
    words = ("run", "services", f"{verb}-iam-policy-binding", service, *deployment.in_region)
    return (*words, f"--member={deployment.member(account)}", f"--role={INVOKER}")


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
    def _grants(self) -> Grants:
        return [
            ("roles/datastore.user", RUNTIME),
            ("roles/eventarc.eventReceiver", deliverer(self.deployment)),
            ("roles/cloudbuild.builds.builder", BUILDER),
        ]

    def missing(self) -> Iterator[Change]:
        """Accounts, then grants."""
        yield from granting(self.deployment, self._accounts, self._grants)
        yield from self._secrets()

    def surplus(self) -> Iterator[Change]:
        """Grants, then accounts."""
        yield from revoking(self.deployment, self._accounts, self._grants)

    def _secrets(self) -> Iterator[Change]:
        for entry in filter(None, self.deployment.values["LIBRA_SECRETS"].split(",")):
            yield from reading(self.deployment, RUNTIME, entry.partition("=")[2])


class Invokers(Step):
    """Who may call the functions. `down` has nothing to do: the grants go with the functions."""

    name = "invokers"
    needs = "roles/run.admin"
    title = "Let only events call the triggers, and only the schedule the recompute"

    def missing(self) -> Iterator[Change]:
        """One grant for each function."""
        deployment = self.deployment
        called = dict.fromkeys(deployment.triggers, deliverer(deployment)) | {RECOMPUTE: caller(deployment)}
        for service, account in called.items():
            yield from invoking(deployment, service, account)

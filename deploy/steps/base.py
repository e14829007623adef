"""What a step of a deployment is, and what all steps know."""

import os
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from deploy.gcloud import Change, DeployError, Gcloud

TRIGGER = "libra-on-created"
RECOMPUTE = "libra-recompute"
TRIGGERS = {TRIGGER: "created", "libra-on-updated": "updated", "libra-on-deleted": "deleted"}
"""The triggers: each function's name, and what happens to an entry when it is called."""


@dataclass(frozen=True, slots=True)
class Deployment:
    """What is deployed, and where.

    Attributes:
        values: every parameter's value, checked.
        gcloud: runs the commands.
        force: deploy functions that have not changed, too.
        for_firebase: Firebase deploys the functions.
        delete_indexes: `down` removes the declared indexes, too.
        delete_topics: `down` removes the topics and the events in them, too.
        delete_database: `down` deletes the database, too.
        only: the names of the steps that are taken.
    """

    values: Mapping[str, str]
    gcloud: Gcloud
    force: bool = False
    for_firebase: bool = False
    delete_indexes: bool = False
    delete_topics: bool = False
    delete_database: bool = False
    only: frozenset[str] = frozenset()

    @property
    def project(self) -> str:
        """The project's id."""
        return self.values["GOOGLE_CLOUD_PROJECT"]

    @property
    def region(self) -> str:
        """Where the functions run."""
        return self.values["LIBRA_REGION"]

    @property
    def triggers(self) -> list[str]:
        """The triggers that are wanted: without edits, creations alone."""
        return [name for name in TRIGGERS if name == TRIGGER or self.values["LIBRA_EDITS"] == "on"]

    @property
    def in_project(self) -> str:
        """gcloud's flag for the project."""
        return f"--project={self.project}"

    @property
    def in_region(self) -> tuple[str, str]:
        """gcloud's flags for the project and the functions' region."""
        return f"--region={self.region}", self.in_project

    @property
    def in_database(self) -> tuple[str, str]:
        """gcloud's flags for the project and the database."""
        return f"--database={self.values['FIRESTORE_DATABASE']}", self.in_project

    def in_network(self, variable: str) -> tuple[str, ...]:
        """gcloud's flags for what reaches addresses of a network, such as those of Cloud SQL: that of a
        parameter, NETWORK/SUBNET or none."""
        network, _, subnet = self.values[variable].partition("/")
        if not network:
            return ("--clear-network",)
        return f"--network={network}", f"--subnet={subnet}", "--vpc-egress=private-ranges-only"

    def email(self, account: str) -> str:
        """A service account's address."""
        return f"{account}@{self.project}.iam.gserviceaccount.com"

    def member(self, account: str) -> str:
        """A service account, as policies name it."""
        return f"serviceAccount:{self.email(account)}"

    def bindings(self, *words: str) -> set[tuple[str, str]]:
        """The roles and members of a policy, which a command of gcloud prints.

        Raises:
            CommandError: the policy cannot be read.
        """
        listed = self.gcloud.look(
            *words, "--flatten=bindings[].members", "--format=value(bindings.role,bindings.members)"
        )
        return {(role, member) for role, _, member in (line.partition("\t") for line in listed.splitlines())}

    def number(self) -> str:
        """The project's number, which names Google's own accounts in it and the addresses of its services."""
        form = "--format=value(projectNumber)"
        return self.gcloud.look("projects", "describe", self.project, form) or "PROJECT-NUMBER"

    def recompute_url(self) -> str:
        """Where the recompute is called.

        Raises:
            DeployError: it is not deployed.
        """
        if self.gcloud.planning:
            return f"https://THE-URL-OF-{RECOMPUTE}.run.app"
        form = "--format=value(serviceConfig.uri)"
        if url := self.gcloud.look("functions", "describe", RECOMPUTE, "--gen2", *self.in_region, form):
            return url
        raise DeployError(
            f"the recompute {RECOMPUTE} is not deployed in {self.region}: run ./deploy.sh up without --only"
        )

    def google(self) -> dict[str, str]:
        """The environment with a token, for what gcloud has no command for.

        Raises:
            CommandError: gcloud has no credentials.
        """
        return os.environ | {"LIBRA_TOKEN": self.gcloud.look("auth", "print-access-token")}


class Step(ABC):
    """One step: it looks at what is there, and says what it would change.

    `up` makes what `missing` yields, `plan` prints it, `down` makes what `surplus` yields, and `status`
    prints `state`. Each looks first, so that each may be repeated; a step is done when nothing is missing.
    """

    name: str
    """What `--only` calls it."""
    needs: str
    """The roles that it needs."""
    always = False
    """Whether it is taken whatever `--only` says."""
    switch = ""
    """The parameter that is off by default, and with which off `up` removes what is there; empty: none."""

    def __init__(self, deployment: Deployment) -> None:
        self.deployment = deployment
        self.gcloud = deployment.gcloud

    @property
    @abstractmethod
    def title(self) -> str:
        """What `up` does here."""

    @property
    def undoing(self) -> str:
        """What `down` does here; empty: nothing."""
        return ""

    @abstractmethod
    def missing(self) -> Iterator[Change]:
        """The changes that what is there still needs; looks between them.

        Raises:
            CommandError: a read failed.
            DeployError: what is there cannot be used.
        """

    def surplus(self) -> Iterator[Change]:
        """The changes that remove what `missing` made."""
        yield from ()

    def state(self) -> Iterator[tuple[str, str]]:
        """What is there, for `status`: a name and how it is."""
        yield from ()

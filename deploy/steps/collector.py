"""The collector on Cloud Run, if it is wanted."""

from collections.abc import Iterator, Mapping

from deploy import stage
from deploy.gcloud import Change, DeployError, gcloud
from deploy.steps.accounts import exists, granting, revoking
from deploy.steps.service import Service
from shared.schemas import self_written
from shared.settings import Settings
from shared.topics import Topics

SERVICE = "libra-collector"
ROLES = {"queue": "roles/datastore.viewer", "direct": "roles/datastore.user"}
"""What the account may do in the database: read the API keys, or write entries and totals as well."""
PUBLISHER = "roles/pubsub.publisher"


class Collector(Service):
    """It reads API keys, and publishes to the topics of the sources, or counts events itself."""

    name = "collector"
    needs = f"{Service.needs}, and roles/pubsub.admin for --collector=queue"
    service = SERVICE
    switch = "LIBRA_COLLECTOR"
    artefact = stage.COLLECTOR
    concurrency = 80  # a request mostly waits; a body of 1 MiB takes some 5 MB while it is under way
    memory = "1Gi"
    undoing = "Remove the collector and its account"

    @property
    def title(self) -> str:
        """What is wanted."""
        if self.mode == "off":
            return "Leave the collector out"
        return f"Deploy the collector in mode {self.mode} (a few minutes)"

    def granted(self) -> Iterator[Change]:
        """Its mode's role in the database, and in mode `queue` to publish to its topics."""
        others = [(role, SERVICE) for mode, role in ROLES.items() if mode != self.mode]
        yield from revoking(self.deployment, [], others)
        yield from granting(self.deployment, [SERVICE], [(ROLES[self.mode], SERVICE)])
        for topic in self._topics():
            if self.mode == "queue":
                self._look_for(topic)
                yield from self._publishing(topic, wanted=True)
            else:
                yield from self._publishing(topic, wanted=False)

    def barred(self) -> Iterator[Change]:
        """Publishing, then the rest."""
        for topic in self._topics() if exists(self.deployment, SERVICE) else ():
            yield from self._publishing(topic, wanted=False)
        yield from revoking(self.deployment, [SERVICE], [(role, SERVICE) for role in ROLES.values()])

    def environment(self) -> Mapping[str, str]:
        """See `services.collector.settings`."""
        own = self.own("ACCOUNTS", "ORIGINS", "SIGNED_IN", "RATE", "DEADLINE_SECONDS")
        return own | {"LIBRA_COLLECTOR_MODE": self.mode, "LIBRA_COLLECTOR_AUDIENCE": self.audience()}

    @staticmethod
    def _topics() -> list[str]:
        return [Topics(name).topic for name in self_written(Settings())]

    def _look_for(self, topic: str) -> None:
        describe = ("pubsub", "topics", "describe", topic, self.deployment.in_project, "--format=value(name)")
        if not self.gcloud.planning and not self.gcloud.look(*describe):
            raise DeployError(
                f"there is no topic {topic}, which --collector=queue publishes to: run ./deploy.sh up "
                "--only=topics,collector, or deploy with --collector=direct"
            )

    def _publishing(self, topic: str, *, wanted: bool) -> Iterator[Change]:
        """Let the account publish to a topic, or no longer."""
        member, where = self.deployment.member(SERVICE), (topic, self.deployment.in_project)
        there = (PUBLISHER, member) in self.deployment.bindings("pubsub", "topics", "get-iam-policy", *where)
        if there != wanted:
            verb = f"{'add' if wanted else 'remove'}-iam-policy-binding"
            grant = (f"--member={member}", f"--role={PUBLISHER}")
            yield gcloud("pubsub", "topics", verb, *where, *grant, patient=wanted)

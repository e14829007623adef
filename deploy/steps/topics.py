"""Pub/Sub, if events are to go through it: for each source a topic, a subscription, and dead letters."""

import json
from collections.abc import Iterator
from typing import Any

from deploy.gcloud import Change, DeployError, gcloud
from deploy.steps.base import Step
from shared.schemas import self_written
from shared.settings import Settings
from shared.topics import ACK_SECONDS, BACKOFF_SECONDS, MAX_DELIVERIES, RETENTION_DAYS, Topics

KEPT = f"{RETENTION_DAYS * 86_400}s"
Found = dict[str, Any]
"""A topic or a subscription as Pub/Sub describes it; empty: it is not there."""
SUBSCRIBER, PUBLISHER = "roles/pubsub.subscriber", "roles/pubsub.publisher"


def names() -> list[Topics]:
    """The topics of every source that events may be sent to."""
    return [Topics(name) for name in self_written(Settings())]


class TopicsStep(Step):
    """Topics and subscriptions. `down` leaves them: they may hold events that nobody has counted yet."""

    name = "topics"
    needs = "roles/pubsub.admin"

    @property
    def _wanted(self) -> bool:
        values = self.deployment.values
        return "on" in (values["LIBRA_WORKER"], values["LIBRA_WAREHOUSE"]) or (
            values["LIBRA_COLLECTOR"] == "queue"
        )

    @property
    def title(self) -> str:
        """What is wanted."""
        return "Create the topics and their dead letters" if self._wanted else "Leave Pub/Sub as it is"

    @property
    def undoing(self) -> str:
        """Removing them has to be asked for: their messages go with them."""
        return "Remove the topics and the events in them" if self.deployment.delete_topics else ""

    def missing(self) -> Iterator[Change]:
        """Of each source the dead letters first, and what lets Pub/Sub write them last."""
        if not self._wanted:
            return
        topics, subscriptions = self._listed("topics"), self._listed("subscriptions")
        agent = f"serviceAccount:service-{self.deployment.number()}@gcp-sa-pubsub.iam.gserviceaccount.com"
        for each in names():
            for topic in (each.dead, each.topic):
                yield from self._topic(topic, topics.get(topic, {}))
            yield from self._subscription(each.dead, each.dead, subscriptions.get(each.dead, {}))
            found = subscriptions.get(each.subscription, {})
            yield from self._subscription(each.subscription, each.topic, found, each.dead)
            if self.deployment.values["LIBRA_WAREHOUSE"] == "on":
                there = subscriptions.get(each.warehouse, {})
                yield from self._subscription(each.warehouse, each.topic, there)
            # Pub/Sub itself moves a message to the dead letters: it publishes there, and acknowledges here.
            yield from granting(self, "topics", each.dead, agent, PUBLISHER)
            yield from granting(self, "subscriptions", each.subscription, agent, SUBSCRIBER)

    def surplus(self) -> Iterator[Change]:
        """Subscriptions, then topics."""
        for kind in ("subscriptions", "topics"):
            there = self._listed(kind)
            for each in names():
                first = (each.subscription, each.warehouse) if kind == "subscriptions" else (each.topic,)
                for name in (*first, each.dead):
                    if name in there:
                        yield gcloud("pubsub", kind, "delete", name, self.deployment.in_project)

    def state(self) -> Iterator[tuple[str, str]]:
        """Whether each subscription is there and attached."""
        there = self._listed("subscriptions")
        for each in names():
            found = there.get(each.subscription)
            yield each.subscription, str(found.get("state", "there")) if found else "not there"

    def _topic(self, name: str, found: Found) -> Iterator[Change]:
        if found.get("messageRetentionDuration") != KEPT:
            verb, flag = ("update" if found else "create"), f"--message-retention-duration={RETENTION_DAYS}d"
            yield gcloud("pubsub", "topics", verb, name, self.deployment.in_project, flag)

    def _subscription(self, name: str, topic: str, found: Found, dead: str = "") -> Iterator[Change]:
        project = self.deployment.project
        wanted: dict[str, Any] = {
            "topic": f"projects/{project}/topics/{topic}",
            "ackDeadlineSeconds": ACK_SECONDS,
            "messageRetentionDuration": KEPT,
            "expirationPolicy": {},
        }
        flags = [
            f"--ack-deadline={ACK_SECONDS}",
            f"--message-retention-duration={RETENTION_DAYS}d",
            "--expiration-period=never",
        ]
        if dead:
            shortest, longest = (f"{seconds}s" for seconds in BACKOFF_SECONDS)
            wanted["retryPolicy"] = {"minimumBackoff": shortest, "maximumBackoff": longest}
            wanted["deadLetterPolicy"] = {
                "deadLetterTopic": f"projects/{project}/topics/{dead}",
                "maxDeliveryAttempts": MAX_DELIVERIES,
            }
            flags += [
                f"--min-retry-delay={shortest}",
                f"--max-retry-delay={longest}",
                f"--dead-letter-topic={dead}",
                f"--max-delivery-attempts={MAX_DELIVERIES}",
            ]
        if found and found["topic"] != wanted["topic"]:
            raise DeployError(
                f"the subscription {name} is of {found['topic']}, not of {wanted['topic']}, and stays so. "
                f"Remove it with `gcloud pubsub subscriptions delete {name} "
                f"{self.deployment.in_project}`, which loses what it holds, and run the same command again"
            )
        if not found:
            flags.insert(0, f"--topic={topic}")
        if any(found.get(field) != value for field, value in wanted.items()):
            verb = "update" if found else "create"
            yield gcloud("pubsub", "subscriptions", verb, name, self.deployment.in_project, *flags)

    def _listed(self, kind: str) -> dict[str, Found]:
        """What there is, by its name in the project."""
        listed = self.gcloud.look("pubsub", kind, "list", self.deployment.in_project, "--format=json")
        return {str(it["name"]).rpartition("/")[2]: it for it in json.loads(listed or "[]")}


def granting(step: Step, kind: str, name: str, member: str, role: str) -> Iterator[Change]:
    """Let a member do something with a topic or a subscription, if it may not yet."""
    where = (name, step.deployment.in_project)
    if (role, member) not in step.deployment.bindings("pubsub", kind, "get-iam-policy", *where):
        grant = (f"--member={member}", f"--role={role}")
        yield gcloud("pubsub", kind, "add-iam-policy-binding", *where, *grant, patient=True)

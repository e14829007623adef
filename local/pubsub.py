"""The real Pub/Sub emulator: started, given topics and subscriptions as the deployment makes them, stopped.

It keeps everything in memory: a restart loses the topics and every message in them. It dead-letters a
message after the most deliveries, pauses before it delivers again, and seeks (seen in 2026-11 in 0.8.20). It
applies no filters and no IAM.
"""

import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import httpx

from local.emulated import Emulated
from local.errors import StackError
from local.front import Front
from local.jar import PUBSUB
from shared.topics import ACK_SECONDS, BACKOFF_SECONDS, MAX_DELIVERIES, RETENTION_DAYS, Topics

KEPT = f"{RETENTION_DAYS * 86_400}s"
EXISTS = 409


class PubSub(Emulated):
    """A Pub/Sub emulator on this machine."""

    jar = PUBSUB
    variable = "PUBSUB_EMULATOR_HOST"
    _front: Front | None = None

    @classmethod
    def prepare(
        cls,
        environment: Mapping[str, str],
        log: Path,
        *,
        port: int | None = None,
        java: Sequence[str] = (),
    ) -> Self:
        """Find what it takes to start one on 127.0.0.1; `start` starts it.

        Raises:
            StackError: the emulator or a Java for it is missing.
        """
        return cls.started_by(environment, log, (), port=port, java=java)

    @property
    def address(self) -> str:
        """What `PUBSUB_EMULATOR_HOST` is to be set to: the front's, once it is started."""
        return self._front.address if self._front else super().address

    @property
    def url(self) -> str:
        """The base of the emulator's own HTTP addresses."""
        return f"http://{super().address}"

    def start(self) -> None:
        """Start it, and the front; see `Emulated.start`."""
        super().start()
        self._front = self._front or Front(super().address)

    def stop(self) -> None:
        """Stop the front, and the emulator if it was started here."""
        if self._front:
            self._front.stop()
            self._front = None
        super().stop()

    def create(self, project: str, sources: Iterable[str]) -> None:
        """Make what the sources need; what is there already stays as it is.

        Raises:
            StackError: it refused.
        """
        for source in sources:
            names = Topics(source)
            for topic in (names.dead, names.topic):
                self._put(project, "topics", topic, {"messageRetentionDuration": KEPT})
            shortest, longest = BACKOFF_SECONDS
            dead = {
                "deadLetterTopic": f"projects/{project}/topics/{names.dead}",
                "maxDeliveryAttempts": MAX_DELIVERIES,
            }
            retry = {"minimumBackoff": f"{shortest}s", "maximumBackoff": f"{longest}s"}
            self._subscribe(project, names.dead, names.dead)
            self._subscribe(
                project, names.subscription, names.topic, deadLetterPolicy=dead, retryPolicy=retry
            )

    def create_for_warehouse(self, project: str, sources: Iterable[str]) -> None:
        """Make what the pipeline into the warehouse pulls; the topics are there.

        Raises:
            StackError: it refused.
        """
        for source in sources:
            self._subscribe(project, Topics(source).warehouse, Topics(source).topic)

    def _subscribe(self, project: str, subscription: str, topic: str, **options: object) -> None:
        body = {
            "topic": f"projects/{project}/topics/{topic}",
            "ackDeadlineSeconds": ACK_SECONDS,
            "messageRetentionDuration": KEPT,
            "expirationPolicy": {},
        }
        self._put(project, "subscriptions", subscription, body | options)

    def _put(self, project: str, kind: str, name: str, body: dict[str, Any]) -> None:
        answer = httpx.put(f"{self.url}/v1/projects/{project}/{kind}/{name}", json=body, timeout=60)
        if answer.is_error and answer.status_code != EXISTS:
            raise StackError(
                f"{kind}/{name}: the emulator answered {answer.status_code}: {answer.text[:500]}"
            )


def find_launcher(outside: Mapping[str, str]) -> Path | None:
    """gcloud's Pub/Sub emulator as the Firebase tools start it; None: they fetch their own."""
    if named := outside.get("PUBSUB_EMULATOR_BINARY_PATH"):
        return Path(named)
    gcloud = shutil.which("gcloud", path=outside.get("PATH", ""))
    root = Path(gcloud).resolve().parent.parent if gcloud else Path(outside.get("CLOUDSDK_ROOT_DIR", "/"))
    found = root / "platform" / "pubsub-emulator" / "bin" / "cloud-pubsub-emulator"
    return found if found.is_file() else None

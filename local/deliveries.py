"""How the relay delivers: its settings, its counters, and one copy of an event on its way."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Delivering:
    """How events are delivered.

    Attributes:
        targets: where the function for each kind of event listens, `host:port` by `created`, `updated` or
            `deleted`; the one under an empty name takes the others.
        concurrency: how many deliveries are under way at once.
        timeout_seconds: how long an answer is waited for.
        backoff_seconds: the longest pause before the first redelivery; it doubles with each.
        longest_backoff_seconds: where it stops growing. Eventarc's own are 10 and 600 seconds.
        oldest_seconds: the age at which an event is given up; 24 hours, as on the platform.
    """

    targets: Mapping[str, str] = field(default_factory=dict)
    concurrency: int = 64
    timeout_seconds: float = 60.0
    backoff_seconds: float = 0.2
    longest_backoff_seconds: float = 10.0
    oldest_seconds: float = 24 * 3600.0

    def url(self, event_type: str) -> str:
        """Where events of a type go, such as `google.cloud.firestore.document.v1.updated`."""
        kind = event_type.rpartition(".")[2]
        return f"http://{self.targets.get(kind) or self.targets['']}/"

    def pause(self, attempts: int, chance: float) -> float:
        """The pause after that many failures, in seconds; `chance`, 0 to 1, spreads it."""
        longest: float = min(self.longest_backoff_seconds, self.backoff_seconds * 2 ** min(attempts - 1, 32))
        return longest * (0.5 + chance / 2)


@dataclass
class Counters:
    """What the relay has done since it started.

    Attributes:
        received: events taken from the emulator.
        refused: requests that were no events.
        dropped: events lost on purpose.
        duplicated: second copies made on purpose.
        delivered: deliveries that were acknowledged.
        redelivered: deliveries tried again after a failure.
        expired: deliveries given up for their age.
        probes: events of the trigger `PROBE`, which are not delivered.
        failed: failures by status; `no answer` for a refused, broken or silent connection.
    """

    received: int = 0
    refused: int = 0
    dropped: int = 0
    duplicated: int = 0
    delivered: int = 0
    redelivered: int = 0
    expired: int = 0
    probes: int = 0
    failed: dict[str, int] = field(default_factory=dict)


@dataclass(slots=True, eq=False)
class Delivery:
    """One copy of an event on its way."""

    event: str
    headers: dict[str, str]
    body: bytes
    since: float
    attempts: int = 0

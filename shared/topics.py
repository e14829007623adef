"""What Pub/Sub calls the way of a source's events: one place for those who publish, pull, deploy and replay.

A topic has the name of its source. The worker pulls its subscription, the pipeline into the warehouse another
one. Pub/Sub moves a message that the worker has not acknowledged after `MAX_DELIVERIES` to the dead-letter
topic, whose subscription keeps it for `libra replay`.
"""

from dataclasses import dataclass

MAX_DELIVERIES = 30
"""With pauses that double from one second to ten minutes, an outage of three hours makes no dead letter."""
ACK_SECONDS = 60
"""How long a message may be with a subscriber that does not say otherwise; the worker does."""
RETENTION_DAYS = 7
"""How long a message is kept, acknowledged or not: so far back a subscription can be set."""
BACKOFF_SECONDS = (1, 600)
"""The shortest and the longest pause before a message that was refused is delivered again."""
ACCEPTED = "accepted"
"""The attribute that says when Libra accepted an event, where that was before its message was published."""


@dataclass(frozen=True, slots=True)
class Topics:
    """The names of one source's topics and subscriptions."""

    source: str

    @property
    def topic(self) -> str:
        """What the collector publishes to."""
        return self.source

    @property
    def subscription(self) -> str:
        """What the worker pulls."""
        return f"{self.source}-worker"

    @property
    def warehouse(self) -> str:
        """What the pipeline into the warehouse pulls."""
        return f"{self.source}-warehouse"

    @property
    def dead(self) -> str:
        """The dead-letter topic, and the subscription that keeps its messages."""
        return f"{self.source}-dead"

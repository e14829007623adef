"""The doors of events that Libra stores itself, in the local stack: Pub/Sub and its topics."""

from collections.abc import Iterable
from typing import Self

from local.emulator import QUICK
from local.pubsub import PubSub
from local.stack import LocalStack

SOURCES = ("user_events", "signals")


class Doors:
    """Pub/Sub with the topics of each source. A context manager: up inside, gone after.

    Attributes:
        pubsub: the Pub/Sub emulator.
        environment: what a process that uses them is given.
    """

    def __init__(self, stack: LocalStack, *, sources: Iterable[str] = SOURCES) -> None:
        """Nothing is started yet.

        Args:
            stack: the stack that is up.
            sources: whose topics are made.

        Raises:
            StackError: the Pub/Sub emulator is not installed, or is not where PUBSUB_EMULATOR_HOST says.
        """
        self._stack = stack
        self._sources = tuple(sources)
        if address := stack.environment.get(PubSub.variable):
            self.pubsub = PubSub.attach(address)
        else:
            self.pubsub = PubSub.prepare(stack.environment, stack.folder / "pubsub.txt", java=QUICK)
        self.environment = stack.environment | self.exports

    @property
    def where(self) -> dict[str, str]:
        """What there is, and its address."""
        return {"Pub/Sub": f"{self.pubsub.address}   topics {', '.join(self._sources)}"}

    @property
    def exports(self) -> dict[str, str]:
        """What another terminal needs."""
        return {PubSub.variable: self.pubsub.address}

    def __enter__(self) -> Self:
        """Start it; raises StackError."""
        self.pubsub.start()
        try:
            self.pubsub.create(self._stack.project, self._sources)
        except BaseException:
            self.pubsub.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """Stop it. The messages are gone with it."""
        self.pubsub.stop()

    def ended(self) -> str | None:
        """What to say if it ended by itself."""
        return self.pubsub.ended

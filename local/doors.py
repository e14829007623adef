"""The doors of events that Libra stores itself, in the local stack: Pub/Sub, its topics, and workers."""

import sys
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Self

from local.emulator import QUICK
from local.process import Child
from local.pubsub import PubSub
from local.served import START_SECONDS
from local.stack import LocalStack
from shared.schemas import self_written

PULLS = '"message": "The worker pulls"'


class Workers:
    """Processes of the worker. Each may be killed and started again.

    Attributes:
        environment: what each is given.
        children: those that run, in the order of their start.
    """

    def __init__(self, environment: Mapping[str, str], folder: Path) -> None:
        self.environment = dict(environment)
        self.children: list[Child] = []
        self._folder = folder
        self._started = 0

    def start(self, **environment: str) -> Child:
        """Start one more and wait until it pulls.

        Raises:
            StackError: it ended or stayed silent; the message shows the end of its log.
        """
        child = self.launch(**environment)
        child.wait_healthy(lambda: PULLS in child.log.read_text("utf-8"), seconds=START_SECONDS)
        return child

    def launch(self, **environment: str) -> Child:
        """Start one more without waiting."""
        self._started += 1
        log = self._folder / f"worker-{self._started}.txt"
        command = [sys.executable, "-m", "services.worker"]
        child = Child("a worker", command, log, self.environment | environment)
        self.children.append(child)
        return child

    def kill(self, child: Child) -> None:
        """End one as a crash would."""
        child.kill()
        self.children.remove(child)

    def stop(self) -> None:
        """Let each finish what is under way, and end it."""
        while self.children:
            self.children.pop().stop()


class Doors:
    """Pub/Sub with the topics of each source, and a worker. A context manager: up inside, gone after.

    Attributes:
        pubsub: the Pub/Sub emulator.
        sources: whose topics there are.
        workers: those that pull.
    """

    def __init__(self, stack: LocalStack, *, workers: int = 1) -> None:
        """Nothing is started yet.

        Args:
            stack: the stack that is up.
            workers: how many are started.

        Raises:
            StackError: the Pub/Sub emulator is not installed, or is not where PUBSUB_EMULATOR_HOST says.
        """
        self._stack = stack
        self._wanted = workers
        self._stop = ExitStack()
        if address := stack.environment.get(PubSub.variable):
            self.pubsub = PubSub.attach(address)
        else:
            self.pubsub = PubSub.prepare(stack.environment, stack.folder / "pubsub.txt", java=QUICK)
        self.sources = list(self_written(stack.settings))
        self.workers = Workers(stack.environment, stack.folder)

    @property
    def where(self) -> dict[str, str]:
        """What there is, and its address."""
        return {"Pub/Sub": f"{self.pubsub.url}   topics {', '.join(self.sources)}; a worker pulls them"}

    @property
    def exports(self) -> dict[str, str]:
        """What another terminal needs."""
        return {PubSub.variable: self.pubsub.address}

    def __enter__(self) -> Self:
        """Start everything and wait until it is healthy; raises StackError."""
        with ExitStack() as started:
            self.pubsub.start()
            started.callback(self.pubsub.stop)
            self._stack.pubsub = self.pubsub
            self.workers.environment |= self.exports
            self.create()
            started.callback(self.workers.stop)
            for _ in range(self._wanted):
                self.workers.start()
            self._stop = started.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop the workers, then Pub/Sub. The messages are gone with it."""
        self._stop.close()

    def create(self) -> None:
        """Make the topics and subscriptions that are missing; after a restart, all of them."""
        self.pubsub.create(self._stack.project, self.sources)

    def ended(self) -> str | None:
        """What to say if a process ended by itself."""
        workers = (each.ended for each in self.workers.children)
        return next(filter(None, (self.pubsub.ended, *workers)), None)

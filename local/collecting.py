"""The collector beside the local stack, with an API key to try it."""

from collections.abc import Mapping
from typing import Self

from local.pubsub import PubSub
from local.served import Served
from local.stack import LocalStack
from shared import api_keys
from shared.schemas import self_written
from shared.store.client import FirestoreStore


class Collector:
    """The collector: in mode `queue` if there is a Pub/Sub to publish to, else `direct`. A context manager.

    Attributes:
        served: its process.
        mode: `queue` or `direct`.
        key: an API key for every source that it takes, once it is up.
    """

    def __init__(self, stack: LocalStack, environment: Mapping[str, str] | None = None) -> None:
        """Nothing is started yet.

        Args:
            stack: the stack that is up.
            environment: what else its process is given; `PUBSUB_EMULATOR_HOST` decides the mode.
        """
        more = environment or {}
        self.mode = "queue" if PubSub.variable in more else "direct"
        self.key = ""
        self._settings = stack.settings
        own = {**more, "LIBRA_COLLECTOR_MODE": self.mode}
        self.served = Served.collector(stack.folder / "collector.txt", stack.environment | own)

    @property
    def where(self) -> dict[str, str]:
        """What there is, and its address."""
        how = "through Pub/Sub" if self.mode == "queue" else "counted before the answer"
        return {"collector": f"http://{self.served.address}   events over HTTP, {how}"}

    @property
    def exports(self) -> dict[str, str]:
        """What another terminal needs."""
        return {"LIBRA_COLLECTOR_URL": f"http://{self.served.address}", "LIBRA_KEY": self.key}

    def __enter__(self) -> Self:
        """Start it, wait until it is healthy, and make the key; raises StackError."""
        self.served.launch()
        try:
            self.served.wait_healthy()
            self.key = self.make_key()
        except BaseException:
            self.served.stop()
            raise
        return self

    def make_key(self) -> str:
        """An API key for every source that Libra writes itself."""
        store = FirestoreStore.connect(self._settings)
        known = tuple(self_written(self._settings))
        try:
            return api_keys.create(store, "libra up", known, known)[1]
        finally:
            store.close()

    def __exit__(self, *_: object) -> None:
        """Let it finish its requests, then end it."""
        self.served.stop()

    def ended(self) -> str | None:
        """What to say if it ended by itself."""
        return self.served.ended

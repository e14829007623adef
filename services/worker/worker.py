"""The worker of one process: a pull for each source, until it is told to stop."""

import asyncio
import os
import signal
import sys
from collections.abc import Mapping

from google.api_core.exceptions import GoogleAPICallError
from google.cloud.pubsub_v1 import SubscriberClient

from services.worker.door import Door
from services.worker.pulling import pull
from services.worker.settings import WorkerSettings
from shared.errors import LibraError
from shared.intake import Intake
from shared.log import logger
from shared.schemas import self_written
from shared.store.client import FirestoreStore
from shared.topics import Topics

DRAIN_SECONDS = 8
"""How long it finishes what is under way after SIGTERM. Cloud Run kills after ten."""
REPORT_SECONDS = 60


class PullError(LibraError):
    """A subscription cannot be pulled; the message names it and says what to do."""


class Worker:
    """Pulls the subscription of every source that Libra writes itself.

    Many workers may run at once: Pub/Sub deals the messages out, and which worker gets one does not matter.

    Attributes:
        doors: one for each source, by its name.
    """

    def __init__(self, settings: WorkerSettings) -> None:
        """Raises SettingError if no project is named and the credentials know none."""
        self._settings = settings
        store = FirestoreStore.connect(settings.books)
        self._project = store.database.split("/")[1]
        self.doors = {
            name: Door(name, Intake(store, source, home, settings.books))
            for name, (source, home) in self_written(settings.books).items()
        }

    async def run(self) -> None:
        """Pull until SIGTERM or SIGINT, then finish what is under way; end the process if that takes long.

        Raises:
            PullError: a subscription is not there, or may not be pulled.
        """
        loop, stop = asyncio.get_running_loop(), asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        client = SubscriberClient()
        paths = {
            name: client.subscription_path(self._project, Topics(name).subscription) for name in self.doors
        }
        pulls = {
            paths[name]: pull(client, paths[name], self._settings.messages, door.take, loop)
            for name, door in self.doors.items()
        }
        ends = {path: asyncio.wrap_future(each) for path, each in pulls.items()}
        logger.info("The worker pulls", extra={"subscriptions": list(paths.values())})
        report = asyncio.create_task(self._report())
        stopped = asyncio.create_task(stop.wait())
        await asyncio.wait({stopped, *ends.values()}, return_when=asyncio.FIRST_COMPLETED)
        report.cancel()
        for each in pulls.values():
            each.cancel()
        _, late = await asyncio.wait(ends.values(), timeout=DRAIN_SECONDS)
        self._log("The worker stops")
        failure = None if stop.is_set() else _failure(ends)
        if late:
            _end_at_once(failure)
        if failure:
            raise failure

    async def _report(self) -> None:
        seen: Mapping[str, int] = {}
        while True:
            await asyncio.sleep(REPORT_SECONDS)
            now = {name: door.figures.total() for name, door in self.doors.items()}
            if now != seen:
                self._log("The worker settled events")
            seen = now

    def _log(self, message: str) -> None:
        figures = {name: dict(door.figures) for name, door in self.doors.items()}
        logger.info(message, extra={"events": figures})


def _end_at_once(failure: PullError | None) -> None:
    """Leave what is under way to Pub/Sub: its threads wait for Firestore, and an ordinary end would wait for
    them."""
    logger.warning("Some events were still under way: Pub/Sub delivers them again")
    if failure:
        logger.error(str(failure))
    sys.stdout.flush()
    os._exit(1 if failure else 0)


def _failure(ends: Mapping[str, "asyncio.Future[object]"]) -> PullError:
    for path, end in ends.items():
        if end.done() and not end.cancelled() and isinstance(error := end.exception(), GoogleAPICallError):
            return PullError(
                f"the subscription {path} cannot be pulled: {error.message}; ./deploy.sh up --worker=on "
                "makes it and grants what it needs, and `libra up --with doors` makes the emulator's"
            )
    return PullError(f"the pull of {', '.join(ends)} ended without a reason: start the worker again")

"""Without a streaming runner: messages are pulled, written by a bounded run, and then acknowledged.

Beam's local runners do not do for this. The DirectRunner acknowledges a message before it is processed
(`_PubSubReadEvaluator`, 2.77), so a kill would lose events; the in-process runner reads bounded sources
only. Here a message is acknowledged only when the run that holds its row has ended well.
"""

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.transforms.window import TimestampedValue
from google.api_core.exceptions import DeadlineExceeded, GoogleAPIError, NotFound
from google.cloud.pubsub_v1 import SubscriberClient

from pipelines.events import Rows
from pipelines.inserting import Connect, Insert
from shared.errors import LibraError
from shared.log import logger
from shared.messages import plain
from shared.settings import Settings
from shared.topics import Topics
from shared.warehouse import Message

MOST_MESSAGES = 1_000
"""Messages of a source in one run."""
WAIT_SECONDS = 2.0
"""How long a pull waits for the first message."""
LEASE_SECONDS = 20
"""How long the messages of a run stay with it. A run takes about a second. Where one takes longer, they may
come twice, which is harmless. After a kill they come again after this time."""
LONGEST_PAUSE = 60.0
"""Seconds between two tries, at most, while runs fail."""

Pulled = Mapping[str, Sequence[tuple[str, Message]]]
"""What came: for each source the acknowledgement's id of each message, and the message."""


class PullError(LibraError):
    """A subscription or a table is not there; the message names it and says what to do."""


def write(messages: Mapping[str, Sequence[Message]], settings: Settings, connect: Connect) -> None:
    """Write the rows of some messages by a bounded run on this machine; return once they are in.

    Raises:
        Exception: what failed in the run. Nothing may be acknowledged.
    """
    options = PipelineOptions(flags=[], save_main_session=False)
    with beam.Pipeline(runner=FnApiRunner(), options=options) as pipeline:
        rows = [
            pipeline
            | f"Messages of {source}" >> beam.Create(list(found))
            | f"Times of {source}" >> beam.Map(_timed)
            | f"Rows of {source}" >> Rows(source, settings)
            for source, found in messages.items()
            if found
        ]
        _ = rows | "All" >> beam.Flatten() | "Insert" >> beam.ParDo(Insert(connect))


def _timed(message: Message) -> Any:
    return TimestampedValue(message, message.published.timestamp())


class Puller:
    """Pulls, writes and acknowledges until it is told to stop.

    It may be killed at any instant: what it has not acknowledged comes again, and its rows are folded.
    """

    def __init__(
        self,
        client: SubscriberClient,
        project: str,
        sources: Sequence[str],
        work: Callable[[Mapping[str, Sequence[Message]]], None],
        stop: threading.Event,
    ) -> None:
        self._client = client
        self._paths = {it: client.subscription_path(project, Topics(it).warehouse) for it in sources}
        self._work = work
        self._stop = stop

    def run(self) -> None:
        """Go on until `stop` is set; what is under way then is finished.

        Raises:
            PullError: something is not there that has to be.
        """
        pauses = _pauses()
        while not self._stop.is_set():
            pulled = {source: list(self._pull(path)) for source, path in self._paths.items()}
            if not any(pulled.values()):
                continue
            try:
                self._work({it: [message for _, message in found] for it, found in pulled.items()})
                self._acknowledge(pulled)
            except NotFound as error:
                raise PullError(f"{error.message}: run `libra up --with bigquery` or deploy.sh up") from error
            except Exception as error:  # noqa: BLE001 - whatever it was, nothing of it is acknowledged
                reason = {"error": type(error).__name__, "reason": str(error)[:1_000]}
                logger.error("Rows are not written yet: their messages come again", extra=reason)
                self._refuse(pulled)
                self._stop.wait(next(pauses))
            else:
                pauses = _pauses()
                counted = sum(map(len, pulled.values()))
                logger.info("Rows are written", extra={"messages": counted})

    def _pull(self, path: str) -> Iterator[tuple[str, Message]]:
        request = {"subscription": path, "max_messages": MOST_MESSAGES}
        try:
            answer = self._client.pull(request=request, timeout=WAIT_SECONDS, retry=None)
        except DeadlineExceeded:
            return
        except NotFound:
            raise PullError(
                f"{path} is not there: `libra up --with bigquery` or deploy.sh up makes it"
            ) from None
        except GoogleAPIError as error:  # of a call, or of all its tries together
            logger.error("Pub/Sub cannot be pulled", extra={"error": type(error).__name__})
            self._stop.wait(WAIT_SECONDS)
            return
        found = list(answer.received_messages)
        if found:
            self._lease(path, [it.ack_id for it in found], LEASE_SECONDS)
        for it in found:
            message = it.message
            yield (
                it.ack_id,
                Message(
                    message.message_id, message.data, dict(message.attributes), plain(message.publish_time)
                ),
            )

    def _acknowledge(self, pulled: Pulled) -> None:
        for source, found in pulled.items():
            if found:
                ids = [identity for identity, _ in found]
                self._client.acknowledge(request={"subscription": self._paths[source], "ack_ids": ids})

    def _refuse(self, pulled: Pulled) -> None:
        for source, found in pulled.items():
            if found:
                self._lease(self._paths[source], [identity for identity, _ in found], 0)

    def _lease(self, path: str, ids: list[str], seconds: int) -> None:
        """Keep messages, or give them back. Where it fails, they come again after the subscription's time."""
        request = {"subscription": path, "ack_ids": ids, "ack_deadline_seconds": seconds}
        with suppress(GoogleAPIError):
            self._client.modify_ack_deadline(request=request)


def _pauses() -> Iterator[float]:
    pause = 1.0
    while True:
        yield pause
        pause = min(2 * pause, LONGEST_PAUSE)

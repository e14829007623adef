"""From messages to rows, as Beam transforms: the same on every runner.

A message becomes a row or a dead letter by `shared.warehouse`, which asks what the worker asks. Rows that say
the same are folded while their first one is remembered. That saves writing them again. It is no promise:
the views take one row of each event, whatever was written.
"""

from collections.abc import Iterator
from typing import Any

import apache_beam as beam
from apache_beam.io.gcp.pubsub import PubsubMessage
from apache_beam.transforms.deduplicate import DeduplicatePerKey
from apache_beam.utils.timestamp import Duration

from shared.messages import plain
from shared.schemas import self_written
from shared.settings import Settings
from shared.warehouse import Message, Row, row_of

REMEMBERED = Duration(seconds=600)
"""How long after an event was published its row is remembered, by the watermark."""


class Judge(beam.DoFn):
    """Makes a message a row of its source, or a dead letter."""

    def __init__(self, source: str, settings: Settings) -> None:
        self._name = source
        self._settings = settings

    def setup(self) -> None:
        """Build the declarations where they are used: they need not travel."""
        self._source = self_written(self._settings)[self._name].source

    def process(self, message: Message) -> Iterator[tuple[str, Row]]:
        """The row, under what names it."""
        row = row_of(self._source, message)
        yield f"{row.table}/{row.name}", row


class Rows(beam.PTransform):
    """The rows that a source's messages become, each one once while it is remembered."""

    def __init__(self, source: str, settings: Settings) -> None:
        super().__init__()
        self._source = source
        self._settings = settings

    def expand(self, messages: Any) -> Any:
        """Judge, then fold. The key of the state is what a row says, so no other event is folded with it."""
        return (
            messages
            | "Judge" >> beam.ParDo(Judge(self._source, self._settings)).with_output_types(tuple[str, Row])
            | "Fold" >> DeduplicatePerKey(event_time_duration=REMEMBERED)
            | "Rows" >> beam.Values()
        )


def of_beam(message: PubsubMessage) -> Message:
    """What Beam's source of Pub/Sub reads, which names it with Pub/Sub's own id and time."""
    return Message(
        message.message_id, message.data or b"", dict(message.attributes or {}), plain(message.publish_time)
    )

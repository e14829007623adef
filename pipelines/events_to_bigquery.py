"""`python -m pipelines.events_to_bigquery`: events from Pub/Sub into BigQuery, one row for each event.

With `--runner=DataflowRunner` it starts a streaming job and returns. Otherwise it pulls, writes and
acknowledges on this machine until SIGTERM. The other flags are Beam's. docs/warehouse.md has the rest.

Exit status: 0 started, or told to stop; 1 something is not there; 2 a setting or an option cannot be
used.
"""

import argparse
import os
import signal
import sys
import threading
from collections.abc import Sequence
from functools import partial

import apache_beam as beam
from apache_beam.io.gcp.pubsub import ReadFromPubSub
from apache_beam.options.pipeline_options import PipelineOptions, StandardOptions
from google.cloud.pubsub_v1 import SubscriberClient

from pipelines.events import Rows, of_beam
from pipelines.inserting import Connect, Insert
from pipelines.pulling import Puller, PullError, write
from pipelines.running import options_of, submission
from pipelines.storage import Store
from shared import log
from shared.errors import PipelineError, SettingError
from shared.schemas import self_written
from shared.settings import Settings
from shared.topics import Topics
from shared.warehouse import Dataset, tables

STORAGE, INSERTS = "storage", "inserts"


def parsed(words: Sequence[str]) -> tuple[argparse.Namespace, list[str]]:
    """The program's own flags, and those that are Beam's."""
    parser = argparse.ArgumentParser(prog="pipelines.events_to_bigquery")
    parser.add_argument("--dataset", default="libra", help="The dataset of the tables [default: libra].")
    parser.add_argument("--sources", help="Sources, by commas [default: all that come over Pub/Sub].")
    parser.add_argument(
        "--writes",
        choices=(STORAGE, INSERTS),
        default=STORAGE,
        help="On a streaming runner: the Storage Write API, exactly once, which needs Java where the job is "
        "started; or insertAll.",
    )
    return parser.parse_known_args(words)


def streaming(
    pipeline: beam.Pipeline, settings: Settings, where: Dataset, sources: Sequence[str], writes: str
) -> None:
    """Lay the pipeline of a streaming runner: each source's subscription to its table."""
    declared = {name: books.source for name, books in self_written(settings).items()}
    rows = []
    for source in sources:
        subscription = f"projects/{where.project}/subscriptions/{Topics(source).warehouse}"
        rows.append(
            pipeline
            | f"Read {source}" >> ReadFromPubSub(subscription=subscription, with_attributes=True)
            | f"Messages of {source}" >> beam.Map(of_beam)
            | f"Rows of {source}" >> Rows(source, settings)
        )
    together = rows | "All" >> beam.Flatten()
    if writes == INSERTS:
        _ = together | "Insert" >> beam.ParDo(Insert(Connect(where.project, where.name)))
    else:
        _ = together | "Store" >> Store([it for it in tables(declared) if it.partition], where)


def pulling(settings: Settings, where: Dataset, sources: Sequence[str], *, emulator: bool) -> None:
    """Pull, write and acknowledge on this machine until SIGTERM or SIGINT. Raises PullError."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    connect = Connect(where.project, where.name, emulator=emulator)
    work = partial(write, settings=settings, connect=connect)
    with SubscriberClient() as client:
        puller = Puller(client, where.project, sources, work, stop)
        log.logger.info("The pipeline pulls", extra={"sources": list(sources), "dataset": where.name})
        puller.run()


def chosen(given: str | None, settings: Settings) -> list[str]:
    """The sources that are asked for. Raises SettingError."""
    known = list(self_written(settings))
    found = given.split(",") if given else known
    if unknown := [name for name in found if name not in known]:
        raise SettingError("--sources", unknown[0], f"names of {', '.join(known)}, by commas")
    return found


def project(options: PipelineOptions, settings: Settings) -> str:
    """Whose subscriptions and dataset. Raises SettingError."""
    if found := options.get_all_options().get("project") or settings.project:
        return str(found)
    raise SettingError("GOOGLE_CLOUD_PROJECT", "", "the id of a project; or --project")


def main(words: Sequence[str] | None = None) -> int:
    """Start what the flags ask for; the exit status."""
    log.configure("INFO")
    own, rest = parsed(sys.argv[1:] if words is None else words)
    try:
        settings = Settings.from_environment(os.environ)
        options = PipelineOptions(rest, save_main_session=False, streaming=True)
        where = Dataset(project(options, settings), own.dataset)
        sources = chosen(own.sources, settings)
        if options.view_as(StandardOptions).runner in (None, "DirectRunner"):
            options_of(rest)  # a mistyped --runner would start the stream here, and not on Dataflow
            emulator = bool(os.environ.get("BIGQUERY_EMULATOR_HOST"))
            pulling(settings, where, sources, emulator=emulator)
        else:
            pipeline = beam.Pipeline(options=options)
            streaming(pipeline, settings, where, sources, own.writes)
            log.logger.info("A job is submitted to Dataflow", extra=submission(options, "drain"))
            pipeline.run()
    except (SettingError, PipelineError, PullError) as error:
        log.logger.error(str(error))
        return 1 if isinstance(error, PullError) else 2
    return 0


if __name__ == "__main__":
    sys.exit(main())

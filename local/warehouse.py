"""BigQuery beside the local stack, and the pipeline that streams events into it where Pub/Sub is up too.

Beam is in an environment of its own, so the pipeline is a process of another Python.
"""

from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Self

from deploy.google import ApiError
from deploy.parameters import default
from deploy.warehouse import ensure
from local.bigquery import BigQuery
from local.errors import StackError
from local.process import Child
from local.pubsub import PubSub
from local.stack import ROOT, LocalStack
from shared.schemas import self_written
from shared.settings import Settings

PYTHON = ROOT / ".venv-pipelines" / "bin" / "python"
START_SECONDS = 120
PULLS = '"message": "The pipeline pulls"'


class Streaming:
    """Events of every source from Pub/Sub into BigQuery.

    Attributes:
        child: the process of the pipeline; None: it is not started.
    """

    def __init__(
        self, pubsub: PubSub, bigquery: BigQuery, environment: Mapping[str, str], folder: Path
    ) -> None:
        """Both emulators are up; nothing of this is started yet.

        Raises:
            StackError: Beam is not installed.
        """
        if not PYTHON.is_file():
            raise StackError(f"{PYTHON} is not there: run `make {PYTHON.parts[-3]}/.installed`")
        self._pubsub = pubsub
        self._bigquery = bigquery
        self._environment = dict(environment) | bigquery.exports | {pubsub.variable: pubsub.address}
        self._settings = Settings.from_environment(environment)
        self._folder = folder
        self.child: Child | None = None

    def prepare(self) -> None:
        """Make the dataset with its tables and views, and the subscriptions; what is there stays as it is.

        Raises:
            StackError: an emulator refused.
        """
        project = str(self._settings.project)
        values = {
            "GOOGLE_CLOUD_PROJECT": project,
            "LIBRA_WAREHOUSE_DATASET": default("LIBRA_WAREHOUSE_DATASET"),
            "LIBRA_REGION": "europe-west6",
            "LIBRA_TIME_ZONE": self._settings.time_zone.key,
        }
        there = {"CLOUDSDK_API_ENDPOINT_OVERRIDES_BIGQUERY": self._bigquery.url, "LIBRA_TOKEN": "none"}
        try:
            ensure(there, values)
        except ApiError as error:
            raise StackError(f"the BigQuery emulator refused: {error}") from error
        self._pubsub.create_for_warehouse(project, self_written(self._settings))

    def start(self) -> Child:
        """Start the pipeline and wait until it pulls. Raises StackError."""
        log = self._folder / "pipeline.txt"
        before = log.read_text("utf-8").count(PULLS) if log.exists() else 0
        command = [str(PYTHON), "-m", "pipelines.events_to_bigquery"]
        self.child = Child("the pipeline", command, log, self._environment | {"PYTHONPATH": str(ROOT)})
        self.child.wait_healthy(lambda: log.read_text("utf-8").count(PULLS) > before, seconds=START_SECONDS)
        return self.child

    def stop(self) -> None:
        """Let it finish what is under way, and end it."""
        if self.child:
            self.child.stop()
            self.child = None


class Warehouse:
    """BigQuery, and with `doors` the stream into it. A context manager: gone after, with all tables.

    Attributes:
        bigquery: the emulator.
    """

    def __init__(self, stack: LocalStack) -> None:
        """Nothing is started yet.

        Raises:
            StackError: the emulator cannot be installed, or is not where BIGQUERY_EMULATOR_HOST says.
        """
        self._stack = stack
        self._stop = ExitStack()
        self._streaming: Streaming | None = None
        if address := stack.environment.get(BigQuery.variable):
            self.bigquery = BigQuery.attach(address)
        else:
            self.bigquery = BigQuery.prepare(stack.environment, stack.folder / "bigquery.txt", say=stack.say)

    @property
    def where(self) -> dict[str, str]:
        """What there is, and its address."""
        events = "events stream in" if self._streaming else "no events: add `doors` to --with"
        return {"BigQuery": f"{self.bigquery.url}   {events}; tables are gone when it stops"}

    @property
    def exports(self) -> dict[str, str]:
        """What another terminal needs."""
        return self.bigquery.exports

    def __enter__(self) -> Self:
        """Start what there is and wait until it is healthy; raises StackError."""
        with ExitStack() as started:
            self.bigquery.start()
            started.callback(self.bigquery.stop)
            if pubsub := self._stack.pubsub:
                made = Streaming(pubsub, self.bigquery, self._stack.environment, self._stack.folder)
                made.prepare()
                started.callback(made.stop)
                made.start()
                self._streaming = made
            self._stop = started.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop the pipeline, then the emulator."""
        self._stop.close()

    def ended(self) -> str | None:
        """What to say if a process ended by itself."""
        pipeline = self._streaming.child if self._streaming else None
        return self.bigquery.ended or (pipeline.ended if pipeline else None)

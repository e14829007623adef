"""Running a pipeline: in this process, or as a job of Dataflow that is watched, billed and cancelled."""

import json
import os
import signal
import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import (
    DirectOptions,
    GoogleCloudOptions,
    PipelineOptions,
    StandardOptions,
)
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.runners.runner import PipelineState

from pipelines.prices import cost
from shared.errors import PipelineError, SnapshotTooOld
from shared.log import logger

POLL_SECONDS = 10.0
"""Between two looks at a job on Dataflow."""

SUBMIT_SECONDS = 8.0
"""How long a job that is being submitted is waited for, once this process is told to end: Cloud Run kills it
ten seconds after SIGTERM (https://cloud.google.com/run/docs/container-contract, 2026-11)."""

LOCAL = "DirectRunner"


def options_of(arguments: Sequence[str]) -> PipelineOptions:
    """Beam's options.

    Raises:
        PipelineError: one is not known to Beam, so a mistyped one does not count as left out.
    """
    options = PipelineOptions(list(arguments))
    known = options.get_all_options(retain_unknown_options=False)  # by names that need not be the flags' own
    unknown = options.get_all_options(retain_unknown_options=True).keys() - known.keys()
    wrong = [each for each in arguments if each.startswith("--") and each[2:].partition("=")[0] in unknown]
    if wrong or any(not each.startswith("--") for each in arguments):
        raise PipelineError(f"options {wrong or list(arguments)} are unknown to Beam: expected --name=value")
    return options


def submission(options: PipelineOptions, end: str = "cancel") -> dict[str, str]:
    """What names a job of Dataflow that is not there yet, and the command that cancels or drains it.

    A job is given a name if it has none: only Dataflow knows its id, and only once it has answered.

    Args:
        options: of the pipeline.
        end: ``cancel`` or ``drain``.
    """
    cloud = options.view_as(GoogleCloudOptions)
    cloud.job_name = cloud.job_name or f"libra-{uuid.uuid4().hex[:12]}"
    where = "".join(f" --{it}={value}" for it in ("region", "project") if (value := getattr(cloud, it)))
    named = f"--status=active --filter=name={cloud.job_name} --format='value(id)'{where}"
    command = f"gcloud dataflow jobs {end} $(gcloud dataflow jobs list {named}){where}"
    return {"job": cloud.job_name, end: command}


class Running:
    """One pipeline under way.

    A job of Dataflow is not known before `submit` returns. Told to end meanwhile, the process goes on until
    then, and cancels it.
    """

    def __init__(self, options: PipelineOptions) -> None:
        self._options = options
        self._runner = options.view_as(StandardOptions).runner or LOCAL
        self._job: Any = None
        self._lock = threading.RLock()  # a signal's handler runs in a thread that may hold it
        self._submitting = False
        self._told = False

    @property
    def local(self) -> bool:
        """Whether it runs on this machine."""
        return bool(self._runner == LOCAL)

    @property
    def temporary(self) -> str | None:
        """Where files may be written that every worker can reach; None: anywhere on this machine.

        Raises:
            PipelineError: no such place is named.
        """
        if self.local:
            return None
        found = self._options.view_as(GoogleCloudOptions).temp_location
        if not found:
            raise PipelineError(
                "--temp_location is not set: expected gs://BUCKET/FOLDER, where parts are written"
            )
        return str(found)

    def ranges(self, many: int) -> int:
        """Into how many ranges work is cut: one for each local worker, ``many`` on Dataflow."""
        return self._workers if self.local else many

    @property
    def _workers(self) -> int:
        """On this machine; 0 stands for one for each core."""
        return int(self._options.view_as(DirectOptions).direct_num_workers) or os.cpu_count() or 1

    def pipeline(self) -> beam.Pipeline:
        """An empty pipeline for this runner."""
        # Beam's own DirectRunner may choose Prism, which it would have to download.
        return beam.Pipeline(runner=FnApiRunner() if self.local else self._runner, options=self._options)

    def run(self, pipeline: beam.Pipeline, counter: str) -> str:
        """Run it to its end, and say how; ``counter`` is said as progress.

        Raises:
            SnapshotTooOld: a worker read what Firestore keeps no longer.
            PipelineError: it failed, or was cancelled.
        """
        begun = time.monotonic()
        try:
            self._submit(pipeline)
            self._watch(counter)
            state = self._job.wait_until_finish()
        except Exception as error:  # Beam raises whatever a worker raised, or its own
            self.cancel()  # one that cannot be watched would run on, and be paid for: nobody reads its result
            if SnapshotTooOld.__name__ in str(error):
                raise SnapshotTooOld(_last(error)) from error
            raise PipelineError(_last(error)) from error
        if state != PipelineState.DONE:
            raise PipelineError(f"it ended {state}")
        seconds = time.monotonic() - begun
        if self.local:
            return f"{LOCAL}, workers: {self._workers}, {seconds:.1f} s"
        return (
            f"Dataflow job {self._job.job_id()}, {seconds:.0f} s, {cost(self._job.metrics().all_metrics())}"
        )

    def cancel(self) -> None:
        """Cancel the job, if one runs elsewhere; a pipeline in this process ends with it."""
        if self._job is not None and not self.local:
            with suppress(Exception):  # it has ended, or cannot be reached: nothing more can be done here
                self._job.cancel()

    def end(self, *_: object) -> None:
        """End this process, and cancel what runs elsewhere first: for a signal's handler, or any thread."""
        with self._lock:
            self._told = True
            if self._submitting:
                threading.Timer(SUBMIT_SECONDS, self._lost).start()
                return  # `_submit` ends it
        self.cancel()
        os._exit(1)

    def _submit(self, pipeline: beam.Pipeline) -> None:
        if self.local:  # the pipeline runs in this call, and ends with this process
            self._job = pipeline.run()
            return
        logger.info("A job is submitted to Dataflow", extra=submission(self._options))
        self._submitting = True
        try:
            self._job = pipeline.run()
        finally:
            with self._lock:
                self._submitting = False
            if self._told:
                self.end()

    def _lost(self) -> None:
        if self._submitting:
            about = submission(self._options)
            logger.error("Dataflow has not answered, and may run the job: cancel it", extra=about)
            os._exit(1)

    def _watch(self, counter: str) -> None:
        while not self.local and not PipelineState.is_terminal(self._job.state):
            found = self._job.metrics().query()["counters"]
            said = {each.key.metric.name: each.attempted or each.committed or 0 for each in found}
            print(json.dumps({"entries": said.get(counter, 0)}), flush=True)  # noqa: T201 - to who supervises
            time.sleep(POLL_SECONDS)


def _last(error: Exception) -> str:
    """The line of a worker's traceback that says what was wrong."""
    lines = [line for line in str(error).splitlines() if line.strip()]
    named = [line for line in lines if SnapshotTooOld.__name__ in line]
    return (named or lines or [type(error).__name__])[-1].strip()[:2_000]


@contextmanager
def supervised(running: Running, by_input: bool) -> Iterator[None]:
    """Cancel what runs if this process is told to end, or, ``by_input``, when who started it ends."""

    def listen() -> None:
        while os.read(0, 1):  # not sys.stdin: its lock would be held when this process ends
            pass
        running.end()

    before = {each: signal.signal(each, running.end) for each in (signal.SIGTERM, signal.SIGINT)}
    if by_input:
        threading.Thread(target=listen, daemon=True).start()
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)

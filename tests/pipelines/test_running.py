"""A job on Dataflow: watched, billed, cancelled, and its failure told. A double stands where the job is."""

import json
import os
import re
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest
from apache_beam.options.pipeline_options import GoogleCloudOptions
from apache_beam.runners.runner import PipelineState
from apache_beam.testing.load_tests import dataflow_cost_consts as costs

from pipelines import running
from pipelines.prices import GB_HOUR, VCPU_HOUR, cost
from pipelines.running import Running, options_of, submission, supervised
from shared.errors import PipelineError, SnapshotTooOld

DATAFLOW = ["--runner=DataflowRunner", "--temp_location=gs://a/temp"]


def metric(name: str, value: float | None) -> Any:
    """A metric as Beam gives it: it has one of two values."""
    return SimpleNamespace(
        key=SimpleNamespace(metric=SimpleNamespace(name=name)), attempted=None, committed=value
    )


@dataclass
class Job:
    """A job that goes through states."""

    states: list[str]
    error: str = ""
    read: Iterator[int] = field(default_factory=lambda: iter((0, 1_000, 5_000)))
    cancelled: int = 0

    @property
    def state(self) -> str:
        return self.states.pop(0) if len(self.states) > 1 else self.states[0]

    def wait_until_finish(self) -> str:
        if self.error:
            raise RuntimeError(self.error)
        return self.states[0]

    def metrics(self) -> "Job":
        return self

    def query(self) -> dict[str, list[Any]]:
        return {"counters": [metric("other", 9), metric("entries", next(self.read))]}

    def all_metrics(self) -> list[Any]:
        return [metric("TotalVcpuTime", 7_200), metric("TotalMemoryUsage", 1_024 * 3_600 * 15)]

    def job_id(self) -> str:
        return "2026-11-25_1"

    def cancel(self) -> None:
        self.cancelled += 1
        raise OSError("it cannot be reached")


def ran(job: Job, monkeypatch: pytest.MonkeyPatch) -> str:
    """How it ran."""
    monkeypatch.setattr(running, "POLL_SECONDS", 0)
    return Running(options_of(DATAFLOW)).run(SimpleNamespace(run=lambda: job), "entries")


def test_progress_is_told_and_the_cost_is_in_the_report(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A line of JSON at each look; vCPU and GB hours, at list prices."""
    states = [PipelineState.PENDING, PipelineState.RUNNING, PipelineState.RUNNING, PipelineState.DONE]
    how = ran(Job(states), monkeypatch)
    assert [json.loads(line) for line in capsys.readouterr().out.splitlines()] == [
        {"entries": 0},
        {"entries": 1_000},
        {"entries": 5_000},
    ]
    assert how == "Dataflow job 2026-11-25_1, 0 s, 2.0 vCPU hours, 15.0 GB hours, about 0.17 USD"


def test_prices_are_those_that_beam_knows() -> None:
    """Beam's own benchmarks keep them in step with Google's list: a new Beam tells of a new price."""
    assert (VCPU_HOUR, GB_HOUR) == (costs.VCPU_PER_HR_BATCH, costs.MEM_PER_GB_HR_BATCH)


def test_a_job_without_metrics_costs_nothing_known() -> None:
    """They come a while after the job has ended."""
    assert cost([metric("TotalVcpuTime", None)]) == "0.0 vCPU hours, 0.0 GB hours, about 0.00 USD"


@pytest.mark.parametrize(
    ("job", "error", "says"),
    [
        (Job([PipelineState.CANCELLED]), PipelineError, "it ended CANCELLED"),
        (Job([PipelineState.FAILED], "quota\nno worker could be started\n"), PipelineError, "no worker"),
        (
            Job([PipelineState.FAILED], "a\nshared.errors.SnapshotTooOld: gone [while running 'Read']\nb"),
            SnapshotTooOld,
            "gone",
        ),
    ],
)
def test_a_job_that_ends_otherwise_is_a_failure(
    job: Job, error: type[Exception], says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the line that says what was wrong."""
    with pytest.raises(error, match=says):
        ran(job, monkeypatch)


def test_a_job_that_is_watched_no_more_is_cancelled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody would read its result. Before it has begun there is nothing to cancel; one that cannot be
    reached is not waited for."""
    job = Job([PipelineState.RUNNING])

    class AwayError(Exception):
        """Dataflow does not answer while the job runs."""

    def away(_: float) -> None:
        raise AwayError

    started = Running(options_of(DATAFLOW))
    started.cancel()
    monkeypatch.setattr(time, "sleep", away)
    with pytest.raises(PipelineError):
        started.run(SimpleNamespace(run=lambda: job), "entries")
    assert job.cancelled == 1


class EndedError(BaseException):
    """This process has ended."""


@pytest.fixture
def ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """The end of the process is an exception."""

    def ended(status: int) -> None:
        raise EndedError(status)

    monkeypatch.setattr(os, "_exit", ended)


@pytest.mark.usefixtures("ends")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_job_that_is_being_submitted_is_cancelled_once_it_is_there(number: int) -> None:
    """Told to end meanwhile: it has no id yet, and would run on with nobody to read its result."""
    job = Job([PipelineState.RUNNING])

    def submit() -> Job:
        os.kill(os.getpid(), number)
        return job

    started = Running(options_of(DATAFLOW))
    with pytest.raises(EndedError), supervised(started, by_input=False):
        started.run(SimpleNamespace(run=submit), "entries")
    assert job.cancelled == 1


@pytest.mark.usefixtures("ends")
def test_ctrl_c_cancels_a_job_that_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """As SIGTERM does."""
    job = Job([PipelineState.RUNNING])
    monkeypatch.setattr(time, "sleep", lambda _: os.kill(os.getpid(), signal.SIGINT))
    started = Running(options_of(DATAFLOW))
    with pytest.raises(EndedError), supervised(started, by_input=False):
        started.run(SimpleNamespace(run=lambda: job), "entries")
    assert job.cancelled == 1


def test_a_submission_that_gets_no_answer_ends_with_what_cancels_its_job(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Nobody knows whether Dataflow has the job. Its name is known before, for a kill -9 too."""
    ended = threading.Event()
    monkeypatch.setattr(os, "_exit", lambda _: ended.set())
    monkeypatch.setattr(running, "SUBMIT_SECONDS", 0.01)

    def submit() -> Job:
        os.kill(os.getpid(), signal.SIGTERM)
        assert ended.wait(60)
        return Job([PipelineState.DONE])

    options = options_of([*DATAFLOW, "--region=europe-west6", "--project=p"])
    started = Running(options)
    with caplog.at_level("INFO", "libra"), supervised(started, by_input=False):
        started.run(SimpleNamespace(run=submit), "entries")
    name = options.view_as(GoogleCloudOptions).job_name
    begun, lost = [it for it in caplog.records if hasattr(it, "cancel")]
    assert (begun.levelname, lost.levelname) == ("INFO", "ERROR")
    assert begun.__dict__["job"] == lost.__dict__["job"] == name
    assert f"--filter=name={name}" in lost.__dict__["cancel"]
    assert lost.__dict__["cancel"].endswith("--region=europe-west6 --project=p")


def test_a_job_keeps_the_name_that_it_was_given() -> None:
    """Else each has one of its own, which Dataflow takes."""
    given, other = (options_of([*DATAFLOW, *more]) for more in (["--job_name=mine"], []))
    assert submission(given)["job"] == "mine"
    assert re.fullmatch(r"libra-[0-9a-f]{12}", submission(other)["job"])
    assert submission(other)["job"] == other.view_as(GoogleCloudOptions).job_name


def test_ranges_and_places_are_those_of_the_runner() -> None:
    """A range for each local worker; many, and a bucket, on Dataflow."""
    local = Running(options_of(["--direct_num_workers=3"]))
    assert (local.local, local.ranges(1_024), local.temporary) == (True, 3, None)
    remote = Running(options_of(DATAFLOW))
    assert (remote.local, remote.ranges(1_024), remote.temporary) == (False, 1_024, "gs://a/temp")


@pytest.mark.parametrize(
    "option",
    ["--worker_machine_type=n2-standard-4", "--no_use_public_ips", "--experiment=a", "--max_num_workers=9"],
)
def test_an_option_of_beams_is_known_whatever_beam_calls_its_value(option: str) -> None:
    """`--worker_machine_type`, which docs/pipelines.md names, sets `machine_type`."""
    options_of([option])


@pytest.mark.parametrize("option", ["--max_workers=9", "--runer=DataflowRunner", "9"])
def test_a_mistyped_option_stops_the_start(option: str) -> None:
    """It would count as left out."""
    with pytest.raises(PipelineError, match=option):
        options_of([option])

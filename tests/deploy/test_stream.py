"""The streaming job as `deploy.sh` keeps it: started once, replaced when it differs, drained by `down`.

The step runs in this process, with gcloud's reads replaced.
"""

from pathlib import Path

import pytest

from deploy.gcloud import DeployError
from deploy.parameters import ParameterError, read
from deploy.steps.base import Deployment
from deploy.steps.stream import Stream
from tests.support.answering import Answering, assert_known, flags

GIVEN = {
    "GOOGLE_CLOUD_PROJECT": "kitchen-1",
    "LIBRA_REGION": "europe-west6",
    "LIBRA_TIME_ACTION": "Served, hot",
    "LIBRA_PIPELINES": "on",
    "LIBRA_STREAM": "on",
    "LIBRA_WAREHOUSE": "on",
}


def stream(job: str = "", label: str = "", **given: str) -> Stream:
    """The step where a job is there, with its state behind a tab, or none."""
    answers = {
        "dataflow jobs list": job,
        "dataflow jobs describe": label,
        "iam service-accounts describe": "there",
    }
    return Stream(Deployment(read({}, GIVEN | given, Path("none")), Answering(answers)))


def test_the_stream_is_started_once_and_replaced_when_it_differs() -> None:
    """A second job of the name would be refused; an update takes over what the old one holds."""
    (started,) = stream().missing()
    assert "--update" not in started.words
    label = flags(started.words)["additional-user-labels"].partition("=")[2]
    assert list(stream("2026-1\tRunning", label).missing()) == []
    for there in (
        stream("2026-1\tRunning", "another"),
        stream("2026-1\tQueued", label, LIBRA_TIME_ZONE="Europe/Zurich"),
    ):
        (replaced,) = there.missing()
        assert replaced.words[-1] == "--update"


def test_the_stream_writes_to_the_dataset_with_the_settings_of_the_functions() -> None:
    """The parameters of the template are those that `pipelines` takes."""
    (started,) = stream(LIBRA_WAREHOUSE_DATASET="events", LIBRA_PIPELINES_WORKERS="3").missing()
    given = flags(started.words)
    parameters = dict(it.partition("=")[::2] for it in given["parameters"].removeprefix("^@@^").split("@@"))
    assert (parameters["pipeline"], parameters["dataset"]) == ("events_to_bigquery", "events")
    assert parameters["max_num_workers"] == "3"
    assert "LIBRA_TIME_ACTION=Served, hot" in parameters["settings"].split(";")
    assert given["service-account-email"] == "libra-warehouse@kitchen-1.iam.gserviceaccount.com"


def test_a_stream_that_nobody_asks_for_is_left_alone() -> None:
    """`libra pipeline run` may have started it."""
    assert list(stream("2026-1\tRunning", LIBRA_STREAM="off").missing()) == []


def test_down_drains_the_stream_and_waits_for_it_to_end() -> None:
    """Its account and its image must be there until it has written all that it holds."""
    draining = stream("2026-1\tRunning", LIBRA_STREAM="off").surplus()
    assert next(draining).words[1:5] == ("dataflow", "jobs", "drain", "2026-1")
    with pytest.raises(DeployError, match=r"libra-events-to-bigquery \(2026-1\) is draining"):
        next(draining)
    for again in (stream("2026-1\tDraining").surplus(), stream("2026-1\tDraining").missing()):
        with pytest.raises(DeployError, match="is draining"):
            next(again)
    assert list(stream().surplus()) == []


def test_status_says_what_the_stream_does() -> None:
    """Its state is Dataflow's."""
    assert dict(stream("2026-1\tRunning", "x").state()) == {
        "libra-events-to-bigquery": "Running  of other sources or flags"
    }
    assert dict(stream().state()) == {"libra-events-to-bigquery": "not running"}
    assert dict(stream(LIBRA_STREAM="off").state()) == {}


@pytest.mark.parametrize("lacking", ["warehouse", "pipelines"])
def test_a_stream_without_what_it_rests_on_is_refused(lacking: str) -> None:
    """Before anything is asked of Google."""
    with pytest.raises(ParameterError, match=f"--stream on with --{lacking} off"):
        read({}, GIVEN | {f"LIBRA_{lacking.upper()}": "off"}, Path("none"))


@pytest.mark.timeout(600)
def test_gcloud_knows_every_flag(gcloud: str) -> None:
    """Of what the step changes, and of its reads."""
    running = stream("2026-1\tRunning")
    commands = [[*it.words[1:]] for it in (*stream().missing(), next(running.surplus()))]
    assert [*running.state()]
    assert isinstance(running.gcloud, Answering)
    assert_known(gcloud, [*commands, *running.gcloud.asked[-2:]])

"""`libra pipeline run` and the strategy beam on the command line: what is started, and what is refused."""

import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner

from cli import beam
from cli.commands.pipeline import command as pipeline
from cli.commands.recompute import command as recompute
from cli.main import main
from deploy.flex import image_of

PROJECT = {"GOOGLE_CLOUD_PROJECT": "kitchen-1", "LIBRA_TIME_ZONE": "Europe/Zurich", "LIBRA_TIME_ACTION": "*"}


def printed(*arguments: str, **environment: str) -> list[str]:
    """The command that would be run."""
    done = CliRunner(env=PROJECT | environment).invoke(pipeline, ["run", "--print", *arguments])
    assert done.exit_code == 0, done.output
    return shlex.split(done.output)


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An environment of the pipelines, as far as it is looked at."""
    monkeypatch.setattr(beam, "ROOT", tmp_path)
    python = tmp_path / ".venv-pipelines" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.touch()
    return python


def test_on_this_machine_it_runs_in_its_own_environment(installed: Path) -> None:
    """Options are handed on as they are."""
    words = printed("count", "--", "--result=/tmp/a b", "--direct_num_workers=2")
    options = ["--pipeline=count", "--result=/tmp/a b", "--direct_num_workers=2"]
    assert words == [str(installed), "-m", "pipelines", *options]


def test_a_job_is_started_from_the_template_with_the_settings_of_here() -> None:
    """A job has no environment of its own: what it counts by are parameters."""
    words = printed(
        "events_to_bigquery",
        "--region=europe-west6",
        "--",
        "--sources=signals,user_events",
        "--max_num_workers=9",
    )
    assert words[:5] == ["gcloud", "dataflow", "flex-template", "run", "libra-events-to-bigquery"]
    assert words[5:11] == [
        "--project=kitchen-1",
        "--region=europe-west6",
        "--service-account-email=libra-warehouse@kitchen-1.iam.gserviceaccount.com",
        "--template-file-gcs-location=gs://kitchen-1-libra-pipelines/libra.json",
        "--temp-location=gs://kitchen-1-libra-pipelines/temp",
        "--staging-location=gs://kitchen-1-libra-pipelines/staging",
    ]
    assert words[11].removeprefix("--parameters=^@@^").split("@@") == [
        "pipeline=events_to_bigquery",
        "settings=GOOGLE_CLOUD_PROJECT=kitchen-1;LIBRA_TIME_ZONE=Europe/Zurich;LIBRA_TIME_ACTION=*",
        f"sdk_container_image={image_of('kitchen-1', 'europe-west6')}",
        "sources=signals,user_events",
        "max_num_workers=9",
    ]


def test_a_running_job_is_replaced_by_its_name() -> None:
    """`--update` keeps its state: see docs/pipelines.md."""
    words = printed("events_to_bigquery", "--region=r", "--template=gs://t/x.json", "--update")
    assert words[4] == "libra-events-to-bigquery"
    assert "--template-file-gcs-location=gs://t/x.json" in words
    assert "--service-account-email=libra-warehouse@kitchen-1.iam.gserviceaccount.com" in words
    assert words[-1] == "--update"
    own = printed("events_to_bigquery", "--region=r", "--account=a@b", "--", "--sdk_container_image=x")
    assert "--service-account-email=a@b" in own
    assert "sdk_container_image=x" in own[-1].split("@@")
    assert own[-1].count("sdk_container_image") == 1
    assert printed("events_to_bigquery", "--region=r", "--job=tonight")[4] == "tonight"


@pytest.mark.parametrize(
    ("arguments", "environment", "says"),
    [
        (["count", "--job=tonight"], {}, "go with --region"),
        (["count", "--region=r"], {}, "has to see the job through"),
        (
            ["events_to_bigquery", "--region=r"],
            {"GOOGLE_CLOUD_PROJECT": ""},
            "GOOGLE_CLOUD_PROJECT is not set",
        ),
        (
            ["events_to_bigquery", "--region=r", "--", "--streaming"],
            {},
            "--streaming: a job takes options as --name=value",
        ),
    ],
)
def test_what_cannot_be_started_is_named(
    arguments: list[str], environment: dict[str, str], says: str
) -> None:
    """With the flag or the variable."""
    done = CliRunner(env=PROJECT | environment).invoke(pipeline, ["run", *arguments])
    assert done.exit_code == 2
    assert says in done.output


def test_without_the_environment_it_says_how_to_make_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For a pipeline, and for the strategy; nothing is connected to before."""
    monkeypatch.setattr(beam, "ROOT", tmp_path)
    for words in (
        ["pipeline", "run", "count"],
        ["recompute", "--strategy=beam"],
        ["verify", "--strategy=beam"],
    ):
        done = CliRunner(env=PROJECT).invoke(main, words)
        assert done.exit_code == 1
        assert "run make .venv-pipelines/.installed" in done.output


def test_options_of_beam_go_with_beam_alone() -> None:
    """A forgotten --strategy would count another way without a word."""
    done = CliRunner(env=PROJECT).invoke(recompute, ["--", "--runner=DataflowRunner"])
    assert done.exit_code == 2
    assert "options for Beam go with --strategy beam" in done.output

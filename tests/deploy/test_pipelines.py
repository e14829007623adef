"""What `libra pipeline build` makes in a project, and that it makes it once."""

import json
import shlex
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from click.testing import CliRunner

from cli.commands.pipeline import command
from deploy import stage
from deploy.parameters import read
from deploy.steps.base import Deployment
from deploy.steps.pipelines import ACCOUNT, ACTS, GRANTS, JOB, KEEPS, Pipelines
from deploy.warehouse import ACCOUNT as WAREHOUSE
from shared.settings import Settings
from tests.deploy.conftest import ROOT
from tests.support.answering import Answering, flags, unknown

GIVEN = {
    "GOOGLE_CLOUD_PROJECT": "kitchen-1",
    "LIBRA_REGION": "europe-west6",
    "LIBRA_TIME_ACTION": "Served, hot",
}
MEMBER = f"serviceAccount:{ACCOUNT}@kitchen-1.iam.gserviceaccount.com"


def step(answers: dict[str, str]) -> Pipelines:
    """The step in a project where this is there."""
    return Pipelines(Deployment(read({}, GIVEN, Path("none")), Answering(answers)))


def everything() -> dict[str, str]:
    """What is there when all has been made."""
    email, one = f"{ACCOUNT}@kitchen-1.iam.gserviceaccount.com", step({})
    return {
        "services list": "dataflow.googleapis.com\nrun.googleapis.com",
        "iam service-accounts describe": email,
        "projects get-iam-policy": "\n".join(
            f"{role}\tserviceAccount:{account}@kitchen-1.iam.gserviceaccount.com" for role, account in GRANTS
        ),
        "iam service-accounts get-iam-policy": f"{ACTS}\t{MEMBER}",
        "storage buckets describe": "kitchen-1-libra-pipelines",
        "storage buckets get-iam-policy": "\n".join(
            f"{KEEPS}\t{member}" for member in (MEMBER, MEMBER.replace(ACCOUNT, WAREHOUSE))
        ),
        "artifacts repositories describe": "libra-pipelines",
        "artifacts tags list": f"projects/x/tags/{one.image.rpartition(':')[2]}",
        f"run jobs describe {JOB}": one.image,
    }


def made(answers: dict[str, str]) -> list[list[str]]:
    """The commands that are still needed."""
    return [list(change.words) for change in step(answers).missing()]


def test_where_all_is_there_nothing_is_made() -> None:
    """A second build is a look."""
    assert made(everything()) == []


@pytest.mark.parametrize("absent", everything())
def test_what_is_missing_is_made_and_nothing_else(absent: str) -> None:
    """One thing is gone, or was made by other sources."""
    commands = made({begin: it for begin, it in everything().items() if begin != absent})
    verbs = {
        "services list": ["services enable"],
        "iam service-accounts describe": ["iam service-accounts"],
        "projects get-iam-policy": ["projects add-iam-policy-binding"] * len(GRANTS),
        "iam service-accounts get-iam-policy": ["iam service-accounts"],
        "storage buckets describe": ["storage buckets"],
        "storage buckets get-iam-policy": ["storage buckets"] * 2,
        "artifacts repositories describe": ["artifacts repositories"],
        "artifacts tags list": ["builds submit", "dataflow flex-template"],
        f"run jobs describe {JOB}": ["run jobs"],
    }
    assert [" ".join(words[1:3]) for words in commands] == verbs[absent]


def test_the_job_has_the_settings_of_the_functions_and_a_lease_of_its_own_time() -> None:
    """The real settings reader takes them. A run is not started twice by the platform."""
    (words,) = made({begin: it for begin, it in everything().items() if not begin.startswith("run jobs")})
    found = flags(words)
    environment = dict(
        it.partition("=")[::2] for it in found["set-env-vars"].removeprefix("^@@^").split("@@")
    )
    assert Settings.from_environment(environment).time_action == "Served, hot"
    assert (found["max-retries"], found["task-timeout"], found["tasks"]) == ("0", "24h", "1")
    arguments = found["args"].removeprefix("^@@^").split("@@")
    assert arguments[:3] == ["-m", "pipelines", "--pipeline=recompute"]
    assert f"--sdk_container_image={found['image']}" in arguments
    assert found["image"].endswith(f":{stage.fingerprint(stage.PIPELINES)[:40]}")


def test_the_template_is_where_a_job_is_started_from() -> None:
    """And what a template's parameters are is JSON that names the pipeline."""
    started = CliRunner(env=GIVEN).invoke(command, ["run", "--print", "x", "--region=europe-west6"]).output
    assert f"--template-file-gcs-location={step({}).template} " in started
    assert f"sdk_container_image={step({}).image}" in started
    said = json.loads((ROOT / "pipelines" / "template.json").read_text(encoding="utf-8"))
    assert [it["name"] for it in said["parameters"]] == ["pipeline", "settings"]


NEW = (
    ["storage", "buckets", "create"],
    ["builds", "submit"],
    ["dataflow", "flex-template"],
    ["run", "jobs"],
)
"""What no other step asks of gcloud; accounts, roles and repositories are those of the worker's step too."""


@pytest.mark.timeout(600)
def test_gcloud_knows_every_flag(gcloud: str) -> None:
    """What it does not know it says before anything else, so nothing is asked of Google."""
    done = CliRunner(env=GIVEN).invoke(command, ["build", "--print"])
    assert done.exit_code == 0, done.output
    started = CliRunner(env=GIVEN).invoke(
        command, ["run", "--print", "x", "--region=r", "--update", "--", "--a=b"]
    )
    lines = [shlex.split(line)[1:] for line in (done.output + started.output).splitlines()]
    commands = [words for words in lines if any(words[: len(each)] == each for each in NEW)]
    assert len(commands) == 5

    with ThreadPoolExecutor(2) as pool:
        for found in pool.map(unknown, [gcloud] * len(commands), commands):
            assert found == []


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"GOOGLE_CLOUD_PROJECT": ""}, "GOOGLE_CLOUD_PROJECT: not set"),
        ({"LIBRA_REGION": ""}, "LIBRA_REGION: not set"),
        ({"LIBRA_REGION": "zurich"}, "--region (LIBRA_REGION) is 'zurich'"),
    ],
)
def test_a_place_that_is_not_named_is_asked_for(given: dict[str, str], says: str) -> None:
    """Before anything is staged."""
    done = CliRunner(env=GIVEN | given).invoke(command, ["build", "--print"])
    assert done.exit_code == 2
    assert says in done.output

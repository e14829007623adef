"""What the step `pipelines` makes in a project, that it makes it once, and what `down` leaves.

`libra pipeline build` takes it too. It runs in this process, with gcloud's reads replaced.
"""

import json
import re
import shlex
from functools import cache
from pathlib import Path

import pytest
from click.testing import CliRunner

from cli.commands.pipeline import command
from deploy import stage
from deploy.flex import ACCOUNT, template_of
from deploy.parameters import read
from deploy.steps.base import Deployment
from deploy.steps.pipelines import ACTS, GRANTS, JOB, KEEPS, Pipelines
from deploy.warehouse import ACCOUNT as WAREHOUSE
from shared.settings import Settings
from tests.deploy.conftest import ROOT
from tests.support.answering import Answering, assert_known, flags

GIVEN = {
    "GOOGLE_CLOUD_PROJECT": "kitchen-1",
    "LIBRA_REGION": "europe-west6",
    "LIBRA_TIME_ACTION": "Served, hot",
    "LIBRA_PIPELINES": "on",
}
MEMBER = f"serviceAccount:{ACCOUNT}@kitchen-1.iam.gserviceaccount.com"


def step(answers: dict[str, str], **changed: str) -> Pipelines:
    """The step in a project where this is there."""
    return Pipelines(Deployment(read({}, GIVEN | changed, Path("none")), Answering(answers)))


@cache
def everything() -> dict[str, str]:
    """What is there when all has been made."""
    email, one = f"{ACCOUNT}@kitchen-1.iam.gserviceaccount.com", step({})
    return {
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
        "storage objects describe": "libra.json",
        "storage cat": json.dumps({"image": one.image}),
        f"run jobs describe {JOB}": deployed()["labels"].removeprefix("libra-config="),
    }


def deployed(**changed: str) -> dict[str, str]:
    """The flags of the job where nothing is there yet."""
    (words,) = (it for it in made({}, **changed) if it[1:4] == ["run", "jobs", "deploy"])
    return flags(words)


def made(answers: dict[str, str], **changed: str) -> list[list[str]]:
    """The commands that are still needed."""
    return [list(change.words) for change in step(answers, **changed).missing()]


def test_where_all_is_there_nothing_is_made() -> None:
    """A second build is a look."""
    assert made(everything()) == []


@pytest.mark.parametrize("absent", everything())
def test_what_is_missing_is_made_and_nothing_else(absent: str) -> None:
    """One thing is gone, or was made by other sources, or a build was stopped between two commands."""
    commands = made({begin: it for begin, it in everything().items() if begin != absent})
    verbs = {
        "iam service-accounts describe": ["iam service-accounts"],
        "projects get-iam-policy": ["projects add-iam-policy-binding"] * len(GRANTS),
        "iam service-accounts get-iam-policy": ["iam service-accounts"],
        "storage buckets describe": ["storage buckets"],
        "storage buckets get-iam-policy": ["storage buckets"] * 2,
        "artifacts repositories describe": ["artifacts repositories"],
        "artifacts tags list": ["builds submit"],
        "storage objects describe": ["dataflow flex-template"],
        "storage cat": ["dataflow flex-template"],
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


def test_a_setting_that_changes_is_told_to_the_job() -> None:
    """With the zone of before, a run would correct the hours to another declaration than the trigger's."""
    (words,) = made(everything(), LIBRA_TIME_ZONE="Europe/Zurich")
    assert words[1:4] == ["run", "jobs", "deploy"]
    assert "LIBRA_TIME_ZONE=Europe/Zurich" in flags(words)["set-env-vars"]


def test_the_template_is_where_a_job_is_started_from() -> None:
    """It names every option of the pipeline: Dataflow refuses one that is neither there nor Beam's."""
    started = CliRunner(env=GIVEN).invoke(command, ["run", "--print", "x", "--region=europe-west6"]).output
    assert f"--template-file-gcs-location={template_of('kitchen-1')} " in started
    assert f"sdk_container_image={step({}).image}" in started
    said = json.loads((ROOT / "pipelines" / "template.json").read_text(encoding="utf-8"))
    code = (ROOT / "pipelines" / "events_to_bigquery.py").read_text(encoding="utf-8")
    own = re.findall(r'add_argument\(\s*"--(\w+)"', code)
    assert [it["name"] for it in said["parameters"]] == ["pipeline", "settings", *own]


def test_another_setting_is_another_job() -> None:
    """A job of another zone would count by other declarations than the functions."""
    there = everything()
    for changed in ({"LIBRA_TIME_ZONE": "Europe/Zurich"}, {"LIBRA_PIPELINES_WORKERS": "7"}):
        assert [it.words[1:3] for it in step(there, **changed).missing()] == [("run", "jobs")]


def test_the_warehouses_account_has_the_bucket_where_there_is_a_warehouse() -> None:
    """In a plan, which finds nothing, too: the stream's jobs run as that account."""
    for wanted, keepers in (("on", {ACCOUNT, WAREHOUSE}), ("off", {ACCOUNT})):
        grants = [
            flags(list(it.words))
            for it in step({}, LIBRA_WAREHOUSE=wanted).missing()
            if "buckets" in it.words
        ]
        members = {it["member"] for it in grants if it.get("role") == KEEPS}
        assert members == {MEMBER.replace(ACCOUNT, each) for each in keepers}


def test_what_is_not_wanted_is_left_alone() -> None:
    """`libra pipeline build` may have made it: an `up` that does not speak of it takes nothing away."""
    assert list(step(everything(), LIBRA_PIPELINES="off").missing()) == []


def test_down_leaves_the_bucket_and_takes_the_rest() -> None:
    """What the accounts may do goes before the account. Without pipelines nothing is asked for."""
    removed = [" ".join(it.words[1:4]) for it in step(everything()).surplus()]
    assert removed == [
        "run jobs delete",
        "artifacts repositories delete",
        *["storage buckets remove-iam-policy-binding"] * 2,
        *["projects remove-iam-policy-binding kitchen-1"] * len(GRANTS),
        "iam service-accounts delete",
    ]
    assert list(step({}).surplus()) == []


def test_status_says_whether_the_job_is_of_these_sources() -> None:
    """And nothing where nobody wants one."""
    assert dict(step(everything()).state()) == {JOB: "up to date"}
    assert dict(step(everything(), THREADS="7").state()) == {JOB: "up to date"}
    assert dict(step(everything(), LIBRA_TIME_ACTION="x").state()) == {JOB: "of other sources or flags"}
    assert dict(step({}).state()) == {JOB: "not deployed"}
    assert dict(step({}, LIBRA_PIPELINES="off").state()) == {}


NEW = (
    ["storage", "buckets"],
    ["builds", "submit"],
    ["dataflow"],
    ["run", "jobs"],
)
"""What no other step asks of gcloud; accounts, roles and repositories are those of the worker's step too."""


@pytest.mark.timeout(600)
def test_gcloud_knows_every_flag(gcloud: str) -> None:
    """What it does not know it says before anything else, so nothing is asked of Google."""
    done = CliRunner(env=GIVEN).invoke(command, ["build", "--print"])
    assert done.exit_code == 0, done.output
    started = CliRunner(env=GIVEN).invoke(
        command, ["run", "--print", "x", "--region=r", "--update", "--", "--sdk_container_image=b"]
    )
    lines = [shlex.split(line)[1:] for line in (done.output + started.output).splitlines()]
    lines += [list(it.words[1:]) for it in step(everything()).surplus()]
    commands = [words for words in lines if any(words[: len(each)] == each for each in NEW)]
    assert len(commands) == 9

    assert_known(gcloud, commands)


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

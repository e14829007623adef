"""What `deploy.sh` refuses, before it changes anything."""

import inspect
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import pytest

from deploy import __main__ as program
from deploy.arguments import options_of
from deploy.gcloud import CommandError, Gcloud
from deploy.google import needed
from deploy.parameters import PARAMETERS, ParameterError
from deploy.steps import STEPS, Deployment, Step
from tests.deploy.conftest import ROOT, WHERE, Deploy, deployer
from tests.deploy.google_apis import GoogleApis


@pytest.fixture
def fresh() -> Iterator[GoogleApis]:
    """An empty project of the test's own."""
    with GoogleApis().serving() as started:
        yield started


@pytest.fixture
def deploy_fresh(fresh: GoogleApis, gcloud: str, tree: Path, tmp_path: Path) -> Deploy:
    """`deploy.sh` on that project."""
    return deployer(fresh, gcloud, tree, tmp_path)


@pytest.mark.parametrize("arguments", [["--help"], ["-h"], ["up", "--help"]])
def test_help_is_printed_and_nothing_else_happens(deploy_fresh: Deploy, arguments: list[str]) -> None:
    """Every command and every flag, and exit status 0."""
    done = deploy_fresh(*arguments)
    assert done.returncode == 0, done.stderr
    assert all(word in done.stderr for word in ("stage", "plan", "up", "status", "env", "down", "--project"))
    assert "unbound" not in done.stderr


@pytest.mark.parametrize("arguments", [["--help"], ["plan", *WHERE], ["plan", *WHERE, "--json"]])
def test_it_starts_without_any_package(arguments: list[str], tmp_path: Path) -> None:
    """A machine with Python and nothing installed plans a deployment; `-S` leaves the packages out."""
    bare = tmp_path / "python"
    bare.write_text(f'#!/bin/sh\nexec "{sys.executable}" -S "$@"\n', encoding="utf-8")
    bare.chmod(0o755)
    environment = {"PATH": "/usr/bin:/bin", "PYTHON": str(bare)}
    done = subprocess.run(
        [ROOT / "deploy.sh", *arguments, "--env-file=none.env"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    if "--json" in arguments:
        assert [step["step"] for step in json.loads(done.stdout)["steps"] if step["commands"]][
            -1
        ] == "dashboard"


def test_an_old_python_is_named(tmp_path: Path) -> None:
    """Where no Python will do, it says which is needed and how to name one."""
    for name in ("dirname",):
        (tmp_path / name).symlink_to(f"/usr/bin/{name}")
    done = subprocess.run(
        ["/bin/bash", ROOT / "deploy.sh", "plan"],
        env={"PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "no Python 3.11 or newer here" in done.stderr


def test_ctrl_c_ends_it_cleanly(monkeypatch: pytest.MonkeyPatch) -> None:
    """An interrupted deployment says that it may be repeated, and its status is that of an interrupt."""
    monkeypatch.setattr(program, "options_of", _interrupted)
    assert program.main(["up", *WHERE]) == 130


def _interrupted(*_: object) -> NoReturn:
    raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["up"], "--project (GOOGLE_CLOUD_PROJECT) is missing"),
        (["up", "--project=kitchen-1"], "--region (LIBRA_REGION) is missing"),
        (
            ["up", "--project=Kitchen!", "--region=europe-west6"],
            "--project (GOOGLE_CLOUD_PROJECT) is 'Kitchen!'",
        ),
        (["up", "--project=kitchen-1", "--region=zurich"], "--region (LIBRA_REGION) is 'zurich'"),
        (["up", *WHERE, "--location=nam5"], "--region europe-west6 with --location nam5"),
        (["up", *WHERE, "--time-zone=Zurich"], "--time-zone: LIBRA_TIME_ZONE='Zurich': an IANA time zone"),
        (["up", *WHERE, "--lag-seconds=300"], "--lag-seconds: LIBRA_LAG_SECONDS='300': more than 300"),
        (["up", *WHERE, "--bucket-seconds=7"], "--bucket-seconds: LIBRA_BUCKET_SECONDS='7'"),
        (["up", *WHERE, "--schedule=nightly"], "--schedule (LIBRA_SCHEDULE) is 'nightly'"),
        (["up", *WHERE, "--secrets=key"], "--secrets (LIBRA_SECRETS) is 'key'"),
        (["up", *WHERE, "--only=everything"], "--only everything: there is no such step"),
        (["up", *WHERE, "--regoin=x"], "unrecognized arguments: --regoin=x"),
        (["deploy", *WHERE], "invalid choice: 'deploy'"),
    ],
)
def test_a_wrong_parameter_is_refused_before_the_first_call(
    deploy_fresh: Deploy, fresh: GoogleApis, arguments: list[str], message: str
) -> None:
    """The message names the flag, what was found and what is allowed, and no request is sent."""
    done = deploy_fresh(*arguments)
    assert done.returncode == 2
    assert message in done.stderr
    assert fresh.requests == []


def test_a_missing_permission_is_named_before_any_change(deploy_fresh: Deploy, fresh: GoogleApis) -> None:
    """Every missing permission is named at once, with a role that has it."""
    fresh.lacking |= {"cloudscheduler.jobs.create", "datastore.indexes.create", "pubsub.topics.create"}
    done = deploy_fresh("up", *WHERE, "--worker=on")
    assert done.returncode == 1
    assert "cloudscheduler.jobs.create (as in roles/cloudscheduler.admin)" in done.stderr
    assert "datastore.indexes.create (as in roles/datastore.owner)" in done.stderr
    assert "pubsub.topics.create (as in roles/pubsub.admin)" in done.stderr
    assert fresh.changes() == []


@pytest.mark.parametrize(
    ("flags", "asked"),
    [
        ([], set()),
        (["--worker=on"], {"pubsub", "artifactregistry", "cloudbuild"}),
        (["--collector=queue"], {"pubsub", "artifactregistry", "cloudbuild"}),
        (["--collector=direct"], {"artifactregistry", "cloudbuild"}),
        (["--api=reader"], {"artifactregistry", "cloudbuild"}),
        (["--worker=on", "--only=alerts"], set()),
        (["--worker=on", "--only=topics"], {"pubsub"}),
        (["--pipelines=on"], {"artifactregistry", "cloudbuild", "storage"}),
        (["--pipelines=on", "--board=off", "--only=board"], set()),
        (
            ["--pipelines=on", "--warehouse=on", "--stream=on"],
            {"artifactregistry", "cloudbuild", "dataflow", "pubsub", "storage"},
        ),
    ],
)
def test_permissions_are_asked_of_the_steps_that_are_wanted(flags: list[str], asked: set[str]) -> None:
    """Pub/Sub's, Artifact Registry's and Dataflow's only where there are topics, an image or a job."""
    options = options_of(("up", *WHERE, *flags), {})
    services = {it.partition(".")[0] for it in needed(options.values, options.only)}
    assert services & {"pubsub", "artifactregistry", "cloudbuild", "dataflow", "storage"} == asked


SWITCHED = {step.name: step.switch for step in STEPS if step.switch}


def test_a_step_that_is_named_is_never_removed_because_a_flag_is_missing(tmp_path: Path) -> None:
    """Not by `up --only=worker` without --worker: the message names the flag. `off` removes it; a file or the
    environment says it as well as a flag, and a step that is not named takes no flag."""
    for name, variable in SWITCHED.items():
        (flag,) = (it.flag for it in PARAMETERS if it.variable == variable)
        for command in ("up", "plan"):
            with pytest.raises(ParameterError, match=rf"--only={name} without {flag} \({variable}\)"):
                options_of((command, *WHERE, f"--only={name},topics"), {})
        file = tmp_path / "deploy.env"
        file.write_text(f"{variable}=off\n", encoding="utf-8")
        for words, environment in (
            ((f"{flag}=off",), {}),
            ((), {variable: "off"}),
            ((f"--env-file={file}",), {}),
        ):
            values = options_of(("up", *WHERE, f"--only={name}", *words), environment).values
            assert values[variable] == "off"
        assert options_of(("down", *WHERE, f"--only={name}"), {}).values[variable] == "off"
    assert options_of(("up", *WHERE), {}).only > set(SWITCHED)
    assert options_of(("up", *WHERE, "--only=functions"), {}).only == {"functions"}


def test_every_step_that_removes_what_is_off_has_its_switch() -> None:
    """All but the objectives, which are on by default: a command without their flag removes nothing."""
    removing = set()
    for step in STEPS:
        own = [
            inspect.getsource(it.missing)
            for it in step.__mro__
            if issubclass(it, Step) and "missing" in vars(it)
        ]
        if any("yield from self.surplus()" in source for source in own):
            removing.add(step.name)
    assert removing - {"objectives"} == set(SWITCHED)
    defaults = {it.variable: it.default for it in PARAMETERS}
    assert {defaults[it] for it in SWITCHED.values()} == {"off"}


def test_a_look_that_fails_is_named_too() -> None:
    """`env` takes no step: its failure must not speak of one without a name."""
    options = options_of(("env", *WHERE), {})
    walk = program.Walk(options, Deployment(options.values, Gcloud(planning=True)))
    said = walk.failed(CommandError(("gcloud", "functions", "describe"), "no"))
    assert said.startswith("a look at what is deployed failed.\n  command: gcloud functions describe")


def test_a_project_without_billing_is_refused(deploy_fresh: Deploy, fresh: GoogleApis) -> None:
    """Functions need a billing account: `up` says so, and how to link one."""
    fresh.resources["cloudbilling/v1/projects/kitchen-1/billingInfo"] = {"billingEnabled": False}
    done = deploy_fresh("up", *WHERE)
    assert done.returncode == 1
    assert "gcloud billing projects link kitchen-1" in done.stderr
    assert fresh.changes() == []


def test_an_unknown_project_is_refused(deploy_fresh: Deploy, fresh: GoogleApis) -> None:
    """A mistyped project is named."""
    done = deploy_fresh("up", "--project=kitchen-2", "--region=europe-west6")
    assert done.returncode == 1
    assert "--project kitchen-2: there is no such active project" in done.stderr
    assert fresh.changes() == []


def test_a_region_that_does_not_exist_is_refused(deploy_fresh: Deploy, fresh: GoogleApis) -> None:
    """A mistyped region is named with those that there are, before anything but services is touched."""
    done = deploy_fresh("up", "--project=kitchen-1", "--region=europe-west66")
    assert done.returncode == 1
    assert "--region europe-west66: there is no such region; there are europe-west1" in done.stderr
    assert {it.api for it in fresh.changes()} == {"serviceusage"}


@pytest.mark.parametrize(
    ("database", "message"),
    [
        (
            {"locationId": "eur3", "type": "FIRESTORE_NATIVE"},
            "is in eur3, not in europe-west6: pass --location eur3",
        ),
        ({"locationId": "europe-west6", "type": "DATASTORE_MODE"}, "is of type DATASTORE_MODE"),
    ],
)
def test_a_database_that_can_not_serve_is_refused(
    deploy_fresh: Deploy, fresh: GoogleApis, database: dict[str, str], message: str
) -> None:
    """A database elsewhere, or in the other mode, is named: it cannot be moved or changed."""
    fresh.resources["firestore/v1/projects/kitchen-1/databases/(default)"] = {**database}
    done = deploy_fresh("up", *WHERE, "--only=database")
    assert done.returncode == 1
    assert message in done.stderr
    assert fresh.changes() == []

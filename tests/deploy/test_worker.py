"""Topics and the worker as `deploy.sh` deploys them: made, again, changed by somebody else, and away.

The tests of this module share one project and run in order of the file.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy import stage
from services.worker.settings import WorkerSettings
from tests.deploy import worker_pools
from tests.deploy.conftest import WHERE, Deploy, deployer
from tests.deploy.google_apis import GoogleApis

PROJECT = "pubsub/v1/projects/kitchen-1"
REPOSITORY = "artifactregistry/v1/projects/kitchen-1/locations/europe-west6/repositories/libra-worker"
MEMBER = "serviceAccount:libra-worker@kitchen-1.iam.gserviceaccount.com"
AGENT = "serviceAccount:service-1234567890@gcp-sa-pubsub.iam.gserviceaccount.com"
SOURCES = ("user_events", "signals")
ONLY = (*WHERE, "--only=topics,worker")
pytestmark = pytest.mark.timeout(600)
ON = (*ONLY, "--worker=on", "--worker-instances=2", "--worker-messages=500")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the calls for worker pools are written down."""
    return tmp_path_factory.mktemp("pools")


@pytest.fixture(scope="module")
def apis() -> Iterator[GoogleApis]:
    """A project with nothing of the doors in it."""
    made = GoogleApis()
    build = "libra-build@kitchen-1.iam.gserviceaccount.com"
    made.resources[f"iam/accounts/{build}"] = {"email": build, "uniqueId": "1"}
    made.enabled |= {f"{name}.googleapis.com" for name in ("run", "cloudbuild", "artifactregistry", "pubsub")}
    with made.serving() as started:
        yield started


@pytest.fixture(scope="module")
def deploy(
    apis: GoogleApis, gcloud: str, tree: Path, folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Deploy:
    """`deploy.sh` with a gcloud in front of the real one."""
    command = tmp_path_factory.mktemp("bin") / "gcloud"
    script = worker_pools.__file__
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{script}" "{gcloud}" "{folder}" "$@"\n')
    command.chmod(0o755)
    return deployer(apis, str(command), tree, tmp_path_factory.mktemp("gcloud"))


def calls(folder: Path, *verb: str) -> list[list[str]]:
    """The calls of a command."""
    log = folder / "calls.jsonl"
    found = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
    return [words for words in found if words[: len(verb)] == list(verb)]


def bindings(apis: GoogleApis, target: str) -> list[tuple[str, list[str]]]:
    """Who may do what with something."""
    return [(it["role"], it["members"]) for it in apis.policies.get(target, {}).get("bindings", [])]


def test_without_being_asked_for_nothing_is_made_or_looked_for(
    deploy: Deploy, apis: GoogleApis, folder: Path
) -> None:
    """Who has no worker needs no gcloud that knows worker pools."""
    before = len(apis.changes())
    done = deploy("up", *ONLY, "--worker=off")
    assert done.returncode == 0, done.stderr
    assert deploy("status", *ONLY).returncode == 0
    assert len(apis.changes()) == before
    assert calls(folder) == []


def test_every_source_has_a_topic_and_dead_letters(deploy: Deploy, apis: GoogleApis) -> None:
    """Messages are kept seven days, a subscription for ever, and Pub/Sub may move what keeps failing."""
    done = deploy("up", *ON)
    assert done.returncode == 0, done.stderr
    for source in SOURCES:
        for name in (source, f"{source}-dead"):
            assert apis.resources[f"{PROJECT}/topics/{name}"]["messageRetentionDuration"] == "604800s"
        found = apis.resources[f"{PROJECT}/subscriptions/{source}-worker"]
        assert found["topic"] == f"projects/kitchen-1/topics/{source}"
        assert found["expirationPolicy"] == {}
        assert found["retryPolicy"] == {"minimumBackoff": "1s", "maximumBackoff": "600s"}
        assert found["deadLetterPolicy"]["deadLetterTopic"] == f"projects/kitchen-1/topics/{source}-dead"
        assert found["deadLetterPolicy"]["maxDeliveryAttempts"] == 30
        dead = apis.resources[f"{PROJECT}/subscriptions/{source}-dead"]
        assert dead["topic"] == f"projects/kitchen-1/topics/{source}-dead"
        assert bindings(apis, f"{PROJECT}/topics/{source}-dead") == [("roles/pubsub.publisher", [AGENT])]
        subscribers = bindings(apis, f"{PROJECT}/subscriptions/{source}-worker")
        assert subscribers == [("roles/pubsub.subscriber", [AGENT, MEMBER])]


def test_the_pool_starts_with_the_settings_that_it_is_given(folder: Path) -> None:
    """The real settings reader takes them, and the image is of the staged sources."""
    (words,) = calls(folder, "beta", "run", "worker-pools", "deploy")
    flags = dict(word.removeprefix("--").partition("=")[::2] for word in words[5:])
    environment = dict(
        it.partition("=")[::2] for it in flags["set-env-vars"].removeprefix("^@@^").split("@@")
    )
    settings = WorkerSettings.from_environment(environment)
    assert settings.messages == 500
    assert str(settings.books.time_zone) == "Europe/Zurich"
    assert flags["scaling"] == "2"
    assert flags["service-account"] == MEMBER.partition(":")[2]
    (build,) = calls(folder, "builds", "submit")
    assert f"--pack=image={flags['image']}" in build
    assert flags["image"].endswith(stage.fingerprint(stage.WORKER)[:40])


def test_the_image_is_built_from_files_that_say_how_it_starts() -> None:
    """The build takes the command and the version of Python from files in the folder."""
    files = dict(stage.sources(stage.WORKER))
    assert files["Procfile"] == b"web: python -m services.worker\n"
    assert files[".python-version"] == b"3.11\n"


def test_its_account_may_write_documents_and_pull(apis: GoogleApis) -> None:
    """Nothing else in the project."""
    project = apis.policies["cloudresourcemanager/v1/projects/kitchen-1"]["bindings"]
    assert [it["role"] for it in project if MEMBER in it["members"]] == ["roles/datastore.user"]


def test_a_second_run_changes_nothing(deploy: Deploy, apis: GoogleApis, folder: Path) -> None:
    """The same sources and flags: not even a build, once the image is there."""
    tags = f"{REPOSITORY}/packages/libra-worker/tags"
    name = f"{tags.removeprefix('artifactregistry/v1/')}/{stage.fingerprint(stage.WORKER)[:40]}"
    apis.resources[tags] = {"tags": [{"name": name, "version": "sha256:0"}]}
    before, made = len(apis.changes()), len(calls(folder, "builds"))
    done = deploy("up", *ON)
    assert done.returncode == 0, done.stderr
    assert "libra-worker is up to date" in done.stderr
    assert len(apis.changes()) == before
    assert len(calls(folder, "builds")) == made
    shown = json.loads(deploy("status", *ON, "--json").stdout)
    assert shown["libra-worker"] == "ready"
    assert shown["user_events-worker"] == "there"


def test_what_somebody_changed_is_changed_back(deploy: Deploy, apis: GoogleApis) -> None:
    """A retry policy that is gone, and dead letters that come too early."""
    target = f"{PROJECT}/subscriptions/signals-worker"
    apis.resources[target] |= {"retryPolicy": {}}
    apis.resources[target]["deadLetterPolicy"]["maxDeliveryAttempts"] = 5
    assert deploy("up", *WHERE, "--only=topics", "--worker=on").returncode == 0
    assert apis.resources[target]["retryPolicy"]["maximumBackoff"] == "600s"
    assert apis.resources[target]["deadLetterPolicy"]["maxDeliveryAttempts"] == 30


def test_a_subscription_of_another_topic_is_refused(deploy: Deploy, apis: GoogleApis) -> None:
    """Somebody deleted the topic: the subscription holds on to nothing, and would never get a message."""
    target = f"{PROJECT}/subscriptions/signals-worker"
    before = apis.resources[target]["topic"]
    apis.resources[target]["topic"] = "_deleted-topic_"
    done = deploy("up", *WHERE, "--only=topics", "--worker=on")
    apis.resources[target]["topic"] = before
    assert done.returncode == 1
    assert "signals-worker is of _deleted-topic_" in done.stderr
    assert "gcloud pubsub subscriptions delete signals-worker" in done.stderr


def test_who_wants_it_no_more_keeps_the_events(deploy: Deploy, apis: GoogleApis, folder: Path) -> None:
    """The pool, its image and its account go; what nobody has counted yet stays until it is named."""
    done = deploy("up", *ONLY, "--worker=off")
    assert done.returncode == 0, done.stderr
    assert len(calls(folder, "beta", "run", "worker-pools", "delete")) == 1
    assert REPOSITORY not in apis.resources
    assert f"iam/accounts/{MEMBER.partition(':')[2]}" not in apis.resources
    assert deploy("down", *ONLY).returncode == 0
    assert f"{PROJECT}/subscriptions/user_events-worker" in apis.resources
    done = deploy("down", *ONLY, "--delete-topics")
    assert done.returncode == 0, done.stderr
    assert not [name for name in apis.resources if name.startswith(PROJECT)]

"""The collector as `deploy.sh` deploys it with the real gcloud: with its queue, again, without, and away.

The tests of this module share one project and run in order of the file.
"""

import io
import json
import zipfile
from collections.abc import Iterator
from typing import Any

import pytest

from deploy import stage
from deploy.steps.collector import SERVICE
from services.collector.settings import CollectorSettings
from tests.deploy.conftest import WHERE, Deploy
from tests.deploy.google_apis import GoogleApis

REGION = "projects/kitchen-1/locations/europe-west6"
BUCKET = "run-sources-kitchen-1-europe-west6"
RUN = "run/apis/serving.knative.dev/v1/namespaces/kitchen-1/services/libra-collector"
MEMBER = "serviceAccount:libra-collector@kitchen-1.iam.gserviceaccount.com"
TOPICS = ("user_events", "signals")
ONLY = (*WHERE, "--only=collector")
pytestmark = pytest.mark.timeout(600)  # a deployment takes fifty commands of gcloud
FLAGS = (
    "--collector=queue",
    "--collector-origins=https://shop.example,chrome-extension://abcdef",
    "--collector-accounts=shop@kitchen-1.iam.gserviceaccount.com",
    "--collector-signed-in=signals",
    "--collector-rate=500",
)


@pytest.fixture(scope="module")
def apis() -> Iterator[GoogleApis]:
    """A project with the topics and no collector, in which gcloud has deployed from source before."""
    made = GoogleApis()
    build = "libra-build@kitchen-1.iam.gserviceaccount.com"
    made.resources |= {
        f"artifactregistry/v1/{REGION}/repositories/cloud-run-source-deploy": {"format": "DOCKER"},
        f"storage/b/{BUCKET}": {"id": BUCKET, "name": BUCKET},
        f"iam/accounts/{build}": {"email": build, "uniqueId": "1"},
        **{topic(name): {"name": f"projects/kitchen-1/topics/{name}"} for name in TOPICS},
    }
    made.enabled |= {f"{name}.googleapis.com" for name in ("run", "cloudbuild", "artifactregistry", "pubsub")}
    with made.serving() as started:
        yield started


def topic(name: str) -> str:
    """Where a topic is."""
    return f"pubsub/v1/projects/kitchen-1/topics/{name}"


@pytest.fixture(scope="module")
def service(deploy: Deploy, apis: GoogleApis) -> dict[str, Any]:
    """The service that the first `up` asked for."""
    done = deploy("up", *ONLY, *FLAGS)
    assert done.returncode == 0, done.stderr
    return apis.change("POST", RUN.rpartition("/")[0]).body


def roles(apis: GoogleApis) -> list[str]:
    """What the collector's account may do in the project."""
    bindings = apis.policies["cloudresourcemanager/v1/projects/kitchen-1"].get("bindings", [])
    return [it["role"] for it in bindings if MEMBER in it["members"]]


def publishes(apis: GoogleApis) -> list[str]:
    """The topics that its account may publish to."""
    granted = {"role": "roles/pubsub.publisher", "members": [MEMBER]}
    return [name for name in TOPICS if granted in apis.policies.get(topic(name), {}).get("bindings", [])]


def test_without_being_asked_for_it_is_not_deployed(deploy: Deploy, apis: GoogleApis) -> None:
    """Nothing becomes public by default."""
    before = len(apis.changes())
    done = deploy("up", *ONLY, "--collector=off")
    assert done.returncode == 0, done.stderr
    assert len(apis.changes()) == before


def test_without_its_topics_nothing_is_changed(deploy: Deploy, apis: GoogleApis) -> None:
    """A collector that cannot publish would answer 503 to everybody; the message names the topic."""
    hidden = {path: apis.resources.pop(path) for path in map(topic, TOPICS)}
    done = deploy("up", *ONLY, "--collector=queue")
    apis.resources |= hidden
    assert done.returncode == 1
    assert "there is no topic user_events" in done.stderr
    assert RUN not in apis.resources


def test_its_account_may_read_keys_and_publish_to_its_topics(
    apis: GoogleApis, service: dict[str, Any]
) -> None:
    """Nothing else: it cannot write a document, nor publish anywhere else."""
    assert service["spec"]["template"]["spec"]["serviceAccountName"] == MEMBER.partition(":")[2]
    assert roles(apis) == ["roles/datastore.viewer"]
    assert publishes(apis) == list(TOPICS)
    assert {path for path in apis.policies if path.startswith("pubsub")} == set(map(topic, TOPICS))


def test_it_starts_with_the_settings_that_it_is_given(service: dict[str, Any]) -> None:
    """The real settings reader takes them."""
    (container,) = service["spec"]["template"]["spec"]["containers"]
    environment = {it["name"]: it.get("value", "") for it in container["env"]}
    settings = CollectorSettings.from_environment(environment | {"K_SERVICE": SERVICE})
    assert (settings.mode, settings.books.project, settings.rate) == ("queue", "kitchen-1", 500)
    assert str(settings.books.time_zone) == "Europe/Zurich"
    assert settings.tokens.audience == "https://libra-collector-1234567890.europe-west6.run.app"
    assert settings.tokens.accounts == {"shop@kitchen-1.iam.gserviceaccount.com"}
    assert settings.origins == {"https://shop.example", "chrome-extension://abcdef"}
    assert settings.signed_in == {"signals"}
    assert not settings.emulated


def test_it_is_built_from_the_staged_folder(apis: GoogleApis, service: dict[str, Any]) -> None:
    """Every staged file, started as outsiders start it, by Python 3.11."""
    assert service["metadata"]["annotations"]["run.googleapis.com/invoker-iam-disabled"] == "True"
    build = apis.change("POST", f"run/v2/{REGION}/builds:submit").body["buildpackBuild"]
    assert "uvicorn services.collector.main:app" in build["environmentVariables"]["GOOGLE_ENTRYPOINT"]
    with zipfile.ZipFile(io.BytesIO(apis.uploads[-1])) as archive:
        names = {it for it in archive.namelist() if not it.endswith("/")}
    assert names == {name for name, _ in stage.sources(stage.COLLECTOR)} - {".gcloudignore"}


def test_a_second_run_changes_nothing(deploy: Deploy, apis: GoogleApis, service: dict[str, Any]) -> None:
    """The same sources and flags: not even a build."""
    assert service
    before = len(apis.changes())
    done = deploy("up", *ONLY, *FLAGS)
    assert done.returncode == 0, done.stderr
    assert "libra-collector is up to date" in done.stderr
    assert len(apis.changes()) == before
    shown = deploy("status", *ONLY, "--json")
    assert "https://libra-collector-abc123-oa.a.run.app" in json.loads(shown.stdout)["libra-collector"]


def test_the_plan_names_every_command(deploy: Deploy) -> None:
    """Without a cloud account."""
    planned = json.loads(deploy("plan", *ONLY, *FLAGS, "--json").stdout)
    (step,) = [each for each in planned["steps"] if each["step"] == "collector"]
    commands = "\n".join(step["commands"])
    for part in ("service-accounts create libra-collector", "run deploy libra-collector"):
        assert part in commands
    for name in TOPICS:
        assert f"pubsub topics add-iam-policy-binding {name}" in commands


def test_in_mode_direct_it_writes_and_publishes_no_more(deploy: Deploy, apis: GoogleApis) -> None:
    """Another role in the database; what it does not need any more is taken away."""
    done = deploy("up", *ONLY, "--collector=direct")
    assert done.returncode == 0, done.stderr
    assert roles(apis) == ["roles/datastore.user"]
    assert publishes(apis) == []


def nothing_is_left(apis: GoogleApis) -> bool:
    """Neither the service, nor what its account may do, nor the account."""
    account = "iam/accounts/libra-collector@kitchen-1.iam.gserviceaccount.com"
    return not (RUN in apis.resources or roles(apis) or publishes(apis) or account in apis.resources)


def test_who_wants_it_no_more_has_nothing_left(deploy: Deploy, apis: GoogleApis) -> None:
    """`up` with --collector=off takes service, grants and account away; again, nothing changes."""
    done = deploy("up", *ONLY, "--collector=off")
    assert done.returncode == 0, done.stderr
    assert nothing_is_left(apis)
    before = len(apis.changes())
    assert deploy("down", *ONLY).returncode == 0
    assert len(apis.changes()) == before


def test_down_takes_back_what_it_may_publish_to(deploy: Deploy, apis: GoogleApis) -> None:
    """In mode queue too."""
    assert deploy("up", *ONLY, "--collector=queue").returncode == 0
    assert publishes(apis) == list(TOPICS)
    done = deploy("down", *ONLY)
    assert done.returncode == 0, done.stderr
    assert nothing_is_left(apis)


@pytest.mark.parametrize(
    ("flag", "message"),
    [
        ("--collector=both", "off|queue|direct"),
        ("--collector-origins=*", "--collector-origins"),
        ("--collector-rate=0", "--collector-rate"),
        ("--collector-signed-in=Signals", "--collector-signed-in"),
    ],
)
def test_a_wrong_flag_is_refused_before_anything_is_changed(
    deploy: Deploy, apis: GoogleApis, flag: str, message: str
) -> None:
    """With what is allowed."""
    before = len(apis.changes())
    done = deploy("up", *ONLY, flag)
    assert (done.returncode, message in done.stderr) == (2, True), done.stderr
    assert len(apis.changes()) == before

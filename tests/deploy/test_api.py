"""The API as `deploy.sh` deploys it with the real gcloud: as a reader, again, as a writer, and away.

The tests of this module share one project and run in order of the file.
"""

import io
import json
import zipfile
from collections.abc import Iterator
from typing import Any

import pytest

from deploy import stage
from deploy.steps.api import SERVICE
from services.api.settings import ApiSettings
from tests.deploy.conftest import WHERE, Deploy
from tests.deploy.google_apis import GoogleApis

REGION = "projects/kitchen-1/locations/europe-west6"
BUCKET = "run-sources-kitchen-1-europe-west6"
RUN = "run/apis/serving.knative.dev/v1/namespaces/kitchen-1/services/libra-api"
URL = "https://libra-recompute-abc123-oa.a.run.app"
MEMBER = "serviceAccount:libra-api@kitchen-1.iam.gserviceaccount.com"
SCHEDULER = "serviceAccount:libra-scheduler@kitchen-1.iam.gserviceaccount.com"
API = (*WHERE, "--only=api")
CALLERS = ("--api-operators=ann@example.com", "--api-origins=https://shop.example,http://localhost:5173")


@pytest.fixture(scope="module")
def apis() -> Iterator[GoogleApis]:
    """A project in which everything but the API is deployed, and gcloud has deployed from source before."""
    made = GoogleApis()
    build = "libra-build@kitchen-1.iam.gserviceaccount.com"
    made.resources |= {
        f"cloudfunctions/v2/{REGION}/functions/libra-recompute": {
            "name": f"{REGION}/functions/libra-recompute",
            "environment": "GEN_2",
            "state": "ACTIVE",
            "serviceConfig": {"uri": URL},
        },
        f"artifactregistry/v1/{REGION}/repositories/cloud-run-source-deploy": {"format": "DOCKER"},
        f"storage/b/{BUCKET}": {"id": BUCKET, "name": BUCKET},
        f"iam/accounts/{build}": {"email": build, "uniqueId": "1"},
    }
    made.policies[f"run/v1/{REGION}/services/libra-recompute"] = {
        "bindings": [{"role": "roles/run.invoker", "members": [SCHEDULER]}]
    }
    made.enabled |= {f"{name}.googleapis.com" for name in ("run", "cloudbuild", "artifactregistry")}
    with made.serving() as started:
        yield started


@pytest.fixture(scope="module")
def service(deploy: Deploy, apis: GoogleApis) -> dict[str, Any]:
    """The service that the first `up` asked for."""
    done = deploy("up", *API, "--api=reader", *CALLERS)
    assert done.returncode == 0, done.stderr
    return apis.change("POST", RUN.rpartition("/")[0]).body


def roles(apis: GoogleApis) -> list[str]:
    """What the API's account may do in the project."""
    bindings = apis.policies["cloudresourcemanager/v1/projects/kitchen-1"].get("bindings", [])
    return [it["role"] for it in bindings if MEMBER in it["members"]]


def callers(apis: GoogleApis) -> set[str]:
    """Who may call the recompute."""
    (binding,) = apis.policies[f"run/v1/{REGION}/services/libra-recompute"]["bindings"]
    assert binding["role"] == "roles/run.invoker"
    return set(binding["members"])


def test_without_being_asked_for_it_is_not_deployed(deploy: Deploy, apis: GoogleApis) -> None:
    """Nothing becomes public by default."""
    before = len(apis.changes())
    done = deploy("up", *API, "--api=off")
    assert done.returncode == 0, done.stderr
    assert len(apis.changes()) == before


def test_it_runs_as_an_account_of_its_own_that_may_read_and_call_the_recompute(
    apis: GoogleApis, service: dict[str, Any]
) -> None:
    """Nothing else: it cannot write a document."""
    assert service["spec"]["template"]["spec"]["serviceAccountName"] == MEMBER.partition(":")[2]
    assert roles(apis) == ["roles/datastore.viewer"]
    assert callers(apis) == {SCHEDULER, MEMBER}


def test_it_starts_with_the_settings_that_it_is_given(service: dict[str, Any]) -> None:
    """The real settings reader takes them."""
    (container,) = service["spec"]["template"]["spec"]["containers"]
    environment = {it["name"]: it.get("value", "") for it in container["env"]}
    settings = ApiSettings.from_environment(environment | {"K_SERVICE": SERVICE})
    assert settings.books.project == "kitchen-1"
    assert str(settings.books.time_zone) == "Europe/Zurich"
    assert settings.recompute_url == URL
    assert settings.tokens.audience == "https://libra-api-1234567890.europe-west6.run.app"
    assert settings.tokens.accounts == {"ann@example.com"}
    assert settings.origins == {"https://shop.example", "http://localhost:5173"}
    assert not settings.emulated


def test_it_is_built_from_the_staged_folder(apis: GoogleApis, service: dict[str, Any]) -> None:
    """Every staged file, started as outsiders start it, by Python 3.11."""
    assert service["metadata"]["annotations"]["run.googleapis.com/invoker-iam-disabled"] == "True"
    build = apis.change("POST", f"run/v2/{REGION}/builds:submit").body["buildpackBuild"]
    assert "uvicorn services.api.main:app" in build["environmentVariables"]["GOOGLE_ENTRYPOINT"]
    assert build["environmentVariables"]["GOOGLE_PYTHON_VERSION"].startswith("3.11")
    with zipfile.ZipFile(io.BytesIO(apis.uploads[-1])) as archive:
        names = {it for it in archive.namelist() if not it.endswith("/")}
    assert names == {name for name, _ in stage.sources(stage.API)} - {".gcloudignore"}


def test_it_is_bounded_probed_and_reached_from_anywhere(service: dict[str, Any]) -> None:
    """As many requests at once as it has threads, and more time than its own deadline."""
    metadata, spec = service["spec"]["template"]["metadata"], service["spec"]["template"]["spec"]
    assert (spec["containerConcurrency"], spec["timeoutSeconds"]) == (40, 30)
    assert metadata["annotations"]["autoscaling.knative.dev/maxScale"] == "3"
    assert service["metadata"]["annotations"]["run.googleapis.com/ingress"] == "all"
    (container,) = spec["containers"]
    for probe in ("startupProbe", "livenessProbe"):
        assert container[probe]["httpGet"]["path"] == "/healthz"


def test_with_it_the_recompute_takes_calls_from_outside_the_projects_network(deploy: Deploy) -> None:
    """Cloud Run calls through the internet; without the API, only the project's own network gets through."""
    for flags, ingress in ((("--api=reader",), "all"), ((), "internal-only")):
        planned = deploy("plan", *WHERE, "--only=functions", *flags).stdout.splitlines()
        (line,) = (it for it in planned if it.startswith("gcloud functions deploy libra-recompute"))
        assert f"--ingress-settings={ingress}" in line.split()
        others = [it for it in planned if it.startswith("gcloud functions deploy libra-on-")]
        assert len(others) == 3
        assert all("--ingress-settings=internal-only" in it.split() for it in others)


def test_a_second_run_changes_nothing(deploy: Deploy, apis: GoogleApis, service: dict[str, Any]) -> None:
    """The same sources and flags: not even a build."""
    assert service
    before = len(apis.changes())
    done = deploy("up", *API, "--api=reader", *CALLERS)
    assert done.returncode == 0, done.stderr
    assert "libra-api is up to date" in done.stderr
    assert len(apis.changes()) == before
    shown = deploy("status", *API, "--json")
    assert "https://libra-api-abc123-oa.a.run.app" in json.loads(shown.stdout)["libra-api"]


def test_a_writer_has_another_role_and_only_that(deploy: Deploy, apis: GoogleApis) -> None:
    """It may remove a rejected record; the role of a reader is gone."""
    done = deploy("up", *API, "--api=writer", *CALLERS)
    assert done.returncode == 0, done.stderr
    assert roles(apis) == ["roles/datastore.user"]


@pytest.mark.parametrize("command", ["up", "down"])
def test_who_wants_it_no_more_has_nothing_left(deploy: Deploy, apis: GoogleApis, command: str) -> None:
    """`up` with --api=off takes the service, its roles, its call of the recompute and its account away. So
    does `down`. The schedule may call the recompute as before. A second time, nothing is left to do."""
    made = deploy("up", *API, "--api=reader", *CALLERS)
    assert made.returncode == 0, made.stderr
    assert callers(apis) == {SCHEDULER, MEMBER}
    done = deploy(command, *API, "--api=off")
    assert done.returncode == 0, done.stderr
    assert RUN not in apis.resources
    assert roles(apis) == []
    assert callers(apis) == {SCHEDULER}
    assert "iam/accounts/libra-api@kitchen-1.iam.gserviceaccount.com" not in apis.resources
    before = len(apis.changes())
    assert deploy(command, *API, "--api=off").returncode == 0
    assert len(apis.changes()) == before

"""The flush of usage as `deploy.sh` deploys it: made once, changed when something differs, and away."""

import re
import shlex
from datetime import timedelta
from functools import cache
from pathlib import Path

import pytest

from deploy import stage
from deploy.gcloud import Change, DeployError, Gcloud
from deploy.google import needed
from deploy.parameters import PARAMETERS, read
from deploy.steps import NAMES
from deploy.steps.accounts import ACCESSOR, INVOKER
from deploy.steps.base import Deployment
from deploy.steps.images import image_of
from deploy.steps.project import Services
from deploy.steps.usage import JOB, Usage
from services.usage.settings import KEPT_SECONDS, UsageSettings
from tests.support.answering import Answering, assert_known, flags

GIVEN = {
    "GOOGLE_CLOUD_PROJECT": "kitchen-1",
    "LIBRA_REGION": "europe-west6",
    "LIBRA_SCHEDULER_REGION": "europe-west1",
    "LIBRA_TIME_ZONE": "Europe/Zurich",
    "LIBRA_USAGE": "on",
    "LIBRA_REDIS_SECRET": "valkey:2",
    "LIBRA_USAGE_METRICS": "api_calls,pages",
    "LIBRA_USAGE_CLOSE_SECONDS": "7200",
}
ACCOUNT = f"{JOB}@kitchen-1.iam.gserviceaccount.com"
MEMBER = f"serviceAccount:{ACCOUNT}"
SCHEDULER = "libra-scheduler@kitchen-1.iam.gserviceaccount.com"
URL = "https://run.googleapis.com/v2/projects/kitchen-1/locations/europe-west6/jobs/libra-usage:run"


def step(answers: dict[str, str], **changed: str) -> Usage:
    """The step in a project where this is there."""
    return Usage(Deployment(read({}, GIVEN | changed, Path("none")), Answering(answers)))


def words(changes: list[Change]) -> list[str]:
    """What each command does: its words in front of flags and names of secrets."""
    return [" ".join(it for it in change.words[1:4] if not it.startswith("-")) for change in changes]


@cache
def everything() -> dict[str, str]:
    """What is there when all has been made."""
    secrets = dict.fromkeys(("valkey", "libra-postgres"), f"{ACCESSOR}\t{MEMBER}")
    bare = {
        "iam service-accounts describe": ACCOUNT,
        "secrets versions describe": "ENABLED",
        "secrets list": "valkey\nlibra-postgres\nlibra-redis",
        **{f"secrets get-iam-policy {name}": it for name, it in secrets.items()},
        "artifacts repositories describe": JOB,
        "artifacts tags list": image_of(step({}).deployment, JOB, stage.USAGE).rpartition(":")[2],
        f"run jobs get-iam-policy {JOB}": f"{INVOKER}\tserviceAccount:{SCHEDULER}",
        "scheduler jobs describe": f"*/5 * * * *|Europe/Zurich|{URL}|POST|{SCHEDULER}",
    }
    (deployed,) = step(bare).missing()
    config = flags(deployed.words)["labels"].partition("=")[2]
    return bare | {f"run jobs describe {JOB}": f"True\t{config}"}


def test_where_all_is_there_nothing_is_made() -> None:
    """A second run is a look. Another size, secret, network or image is another job."""
    assert list(step(everything()).missing()) == []
    for changed in (
        {"LIBRA_USAGE_NETWORK": "kitchen/counters"},
        {"LIBRA_REDIS_SECRET": "valkey:3"},
        {"LIBRA_USAGE_METRICS": ""},
    ):
        assert words(list(step(everything(), **changed).missing())) == ["run jobs deploy"]


@pytest.mark.parametrize(
    ("absent", "made"),
    [
        ("iam service-accounts describe", "iam service-accounts create"),
        ("secrets get-iam-policy valkey", "secrets add-iam-policy-binding valkey"),
        ("secrets get-iam-policy libra-postgres", "secrets add-iam-policy-binding libra-postgres"),
        ("artifacts repositories describe", "artifacts repositories create"),
        ("artifacts tags list", "builds submit build/usage"),
        (f"run jobs describe {JOB}", "run jobs deploy"),
        (f"run jobs get-iam-policy {JOB}", "run jobs add-iam-policy-binding"),
        ("scheduler jobs describe", "scheduler jobs create"),
    ],
)
def test_what_is_missing_is_made_and_nothing_else(absent: str, made: str) -> None:
    """One thing is gone, or was made by other sources."""
    found = {begin: it for begin, it in everything().items() if begin != absent}
    assert words(list(step(found).missing())) == [made]


def test_a_schedule_that_differs_is_changed() -> None:
    """Another time is an update, not a second job."""
    (change,) = step(everything(), LIBRA_USAGE_SCHEDULE="0 * * * *").missing()
    assert change.words[1:6] == ("scheduler", "jobs", "update", "http", JOB)
    found = flags(change.words)
    assert (found["schedule"], found["uri"], found["location"]) == ("0 * * * *", URL, "europe-west1")
    assert found["oauth-service-account-email"] == SCHEDULER


def test_the_job_starts_with_the_settings_that_it_is_given() -> None:
    """The real settings reader takes them. The job holds no address, and no run is started again."""
    (change,) = step(
        {begin: it for begin, it in everything().items() if not begin.startswith("run jobs describe")}
    ).missing()
    found = flags(change.words)
    given = dict(it.partition("=")[::2] for it in found["set-env-vars"].removeprefix("^@@^").split("@@"))
    secrets = dict(it.partition("=")[::2] for it in found["set-secrets"].split(","))
    assert secrets == {"LIBRA_REDIS_URL": "valkey:2", "LIBRA_POSTGRES_URL": "libra-postgres:latest"}
    settings = UsageSettings.from_environment(given | secrets)
    assert settings.metrics == frozenset({"api_calls", "pages"})
    assert settings.close_after == timedelta(hours=2)
    assert str(settings.books.time_zone) == "Europe/Zurich"
    assert (found["max-retries"], found["tasks"], found["service-account"]) == ("0", "1", ACCOUNT)
    assert dict(stage.sources(stage.USAGE))["Procfile"] == b"web: python -m services.usage\n"


def test_an_hour_is_sealed_no_later_than_the_job_takes() -> None:
    """What deploy.sh allows is what the job allows: nothing is deployed that would refuse to start."""
    (parameter,) = [it for it in PARAMETERS if it.variable == "LIBRA_USAGE_CLOSE_SECONDS"]
    allowed = {it for it in range(20_000) if re.fullmatch(parameter.allowed, str(it))}
    assert allowed == set(range(KEPT_SECONDS + 1))


def test_a_secret_that_the_job_reads_no_more_is_taken_from_it() -> None:
    """Once the job no longer needs it. Also where the run that changed it ended halfway, and the job is up to
    date. What others may read, and other secrets, stay as they are."""
    before = everything()
    there = before | {
        "secrets get-iam-policy libra-redis": f"{ACCESSOR}\tserviceAccount:x\n{ACCESSOR}\t{MEMBER}"
    }
    (change,) = step(there).missing()
    assert change.words[1:4] == ("secrets", "remove-iam-policy-binding", "libra-redis")
    assert (flags(change.words)["member"], flags(change.words)["role"]) == (MEMBER, ACCESSOR)
    changed = words(list(step(before, LIBRA_REDIS_SECRET="libra-redis:1").missing()))  # noqa: S106 - its name
    assert changed == [
        "secrets add-iam-policy-binding libra-redis",
        "run jobs deploy",
        "secrets remove-iam-policy-binding valkey",
    ]


def test_its_account_reads_two_secrets_and_has_no_role_in_the_project() -> None:
    """The schedule's account may start the job, and nothing else here."""
    planned = Usage(Deployment(read({}, GIVEN, Path("none")), Gcloud(planning=True))).missing()
    granted = [it.words for it in planned if "add-iam-policy-binding" in it.words]
    roles = [(it[1], flags(it)["role"], flags(it)["member"]) for it in granted]
    assert roles == [
        ("secrets", ACCESSOR, MEMBER),
        ("secrets", ACCESSOR, MEMBER),
        ("run", INVOKER, f"serviceAccount:{SCHEDULER}"),
    ]


@pytest.mark.parametrize(("state", "said"), [("", "not there"), ("DISABLED", "disabled")])
def test_a_secret_that_the_job_could_not_read_is_refused_first(state: str, said: str) -> None:
    """Before the image is built, by the parameter's name."""
    with pytest.raises(DeployError, match=rf"LIBRA_REDIS_SECRET is valkey:2, and this version is {said}"):
        list(step(everything() | {"secrets versions describe": state}).missing())


def test_who_wants_it_no_more_loses_all_of_it() -> None:
    """The schedule first, so that nothing starts a job that is half away; the grants before the account."""
    off = step(everything(), LIBRA_USAGE="off")
    expected = [
        "scheduler jobs delete",
        "run jobs delete",
        "artifacts repositories delete",
        "secrets remove-iam-policy-binding valkey",
        "secrets remove-iam-policy-binding libra-postgres",
        "iam service-accounts delete",
    ]
    assert words(list(off.missing())) == expected
    assert words(list(step(everything()).surplus())) == expected
    assert list(step({}, LIBRA_USAGE="off").missing()) == []
    assert dict(off.state()) == {}


def test_status_says_how_the_last_run_ended() -> None:
    """And the schedule's last attempt."""
    found = {
        f"run jobs describe {JOB}": "True  EXECUTION_SUCCEEDED",
        "scheduler jobs": "ENABLED  */5 * * * *",
    }
    assert dict(step(found).state()) == {
        JOB: "True  EXECUTION_SUCCEEDED",
        "usage schedule": "ENABLED  */5 * * * *",
    }
    assert dict(step({}).state()) == {JOB: "not deployed", "usage schedule": "not there"}


def test_what_it_needs_is_asked_for_only_where_it_is_wanted() -> None:
    """Permissions and services."""
    for wanted in ("on", "off"):
        values = read({}, GIVEN | {"LIBRA_USAGE": wanted}, Path("none"))
        asked = needed(values, frozenset(NAMES))
        assert ({"run.jobs.create", "cloudbuild.builds.create"} <= asked.keys()) == (wanted == "on")
        (enabled,) = Services(Deployment(values, Gcloud(planning=True))).missing()
        assert ("secretmanager.googleapis.com" in enabled.words) == (wanted == "on")


@pytest.mark.timeout(600)
@pytest.mark.parametrize("network", ["", "kitchen/counters"])
def test_gcloud_knows_every_flag(gcloud: str, network: str) -> None:
    """Of the commands that no other step has."""
    planned = step({"secrets versions": "ENABLED"}, LIBRA_USAGE_NETWORK=network).missing()
    own = [list(it.words[1:]) for it in planned if it.words[1] in {"run", "scheduler"}]
    assert len(own) == 3
    page = (stage.ROOT / "docs" / "usage.md").read_text(encoding="utf-8")
    (over_http,) = re.findall(r"^gcloud (scheduler .*)$", page, re.MULTILINE)
    assert_known(
        gcloud,
        [*own, shlex.split(over_http.replace("--project=P", "--project=kitchen-1"))]
        if not network
        else own[:1],
    )

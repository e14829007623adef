"""Ingestion as `deploy.sh` deploys it: made once, changed when something differs, and away."""

import json
import re
from datetime import timedelta
from functools import cache
from pathlib import Path

import pytest

from deploy import stage
from deploy.gcloud import Change, DeployError, Gcloud
from deploy.google import needed
from deploy.parameters import PARAMETERS, read
from deploy.steps import NAMES
from deploy.steps import ingestion as module
from deploy.steps.accounts import ACCESSOR, INVOKER
from deploy.steps.base import Deployment
from deploy.steps.images import image_of
from deploy.steps.ingestion import COUNTS, JOB, PROCESS, SERVICE, SESSIONS, VIEWER, Ingestion
from deploy.steps.project import Services
from services.ingestion.settings import IngestionSettings
from tests.support.answering import Answering, assert_known, flags

GIVEN = {
    "GOOGLE_CLOUD_PROJECT": "kitchen-1",
    "LIBRA_REGION": "europe-west6",
    "LIBRA_SCHEDULER_REGION": "europe-west1",
    "LIBRA_TIME_ZONE": "Europe/Zurich",
    "LIBRA_INGESTION": "on",
    "LIBRA_INGESTION_POSTGRES_SECRET": "books:2",
    "LIBRA_INGESTION_KEY_SECRET": "key:1",
    "LIBRA_INGESTION_TENANT_SECRETS": "acme-sftp",
    "LIBRA_INGESTION_DATASETS": "acme-analytics.analytics_1",
    "LIBRA_INGESTION_ACCOUNTS": "ann@example.com",
    "LIBRA_INGESTION_PARALLEL": "3",
}
WORKER, API = (f"serviceAccount:{it}@kitchen-1.iam.gserviceaccount.com" for it in (JOB, SERVICE))
SCHEDULER = "libra-scheduler@kitchen-1.iam.gserviceaccount.com"
URL = "https://run.googleapis.com/v2/projects/kitchen-1/locations/europe-west6/jobs/libra-ingestion:run"
EMAIL = WORKER.partition(":")[2]


@pytest.fixture(autouse=True)
def bigquery(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, str]]:
    """Whom the tenant's dataset lets in: the worker among others."""
    access = [{"role": "OWNER", "specialGroup": "projectOwners"}, {"role": "READER", "userByEmail": EMAIL}]
    monkeypatch.setattr(module, "described", lambda *_: {"access": access})
    return access


def step(answers: dict[str, str], **changed: str) -> Ingestion:
    """The step in a project where this is there."""
    return Ingestion(Deployment(read({}, GIVEN | changed, Path("none")), Answering(answers)))


def words(changes: list[Change]) -> list[str]:
    """What each command does: its words in front of flags, and whose grant it is."""
    said = []
    for change in changes:
        if change.call:
            said.append(json.loads((stage.ROOT / change.words[-1]).read_text(encoding="utf-8"))["query"])
        else:
            said.append(" ".join(it for it in change.words[1:5] if not it.startswith("-")))
    return said


@cache
def everything() -> dict[str, str]:
    """What is there when all has been made."""
    image = image_of(step({}).deployment, JOB, stage.INGESTION)
    bare = {
        "iam service-accounts describe": "there",
        "secrets versions describe": "ENABLED",
        "secrets list": "\n".join(
            f"projects/1/secrets/{it}" for it in ("acme-sftp", "books", "key", "other")
        ),
        "secrets get-iam-policy books": f"{ACCESSOR}\t{API}\n{ACCESSOR}\t{WORKER}",
        "secrets get-iam-policy key": f"{ACCESSOR}\t{WORKER}",
        "secrets get-iam-policy acme-sftp": f"{ACCESSOR}\t{WORKER}",
        "projects get-iam-policy acme-analytics": f"{SESSIONS}\t{WORKER}\n{COUNTS}\t{WORKER}",
        "projects describe": "1234567890",
        "artifacts repositories describe": JOB,
        "artifacts tags list": image.rpartition(":")[2],
        f"run jobs get-iam-policy {JOB}": f"{INVOKER}\tserviceAccount:{SCHEDULER}",
        "scheduler jobs describe": f"*/10 * * * *|Europe/Zurich|{URL}|POST|{SCHEDULER}",
    }
    api, worker = (flags(it.words)["labels"].partition("=")[2] for it in step(bare).missing())
    described = {
        f"run services describe {SERVICE}": f"True\t{api}",
        f"run jobs describe {JOB}": f"True\t{worker}",
    }
    return bare | described


def test_where_all_is_there_nothing_is_made() -> None:
    """A second run is a look. Another secret, network or setting is another revision of what has it."""
    assert words(list(step(everything()).missing())) == []
    both = [f"run deploy {SERVICE}", f"run jobs deploy {JOB}"]
    for changed, made in (
        ({"LIBRA_INGESTION_NETWORK": "kitchen/books"}, both),
        ({"LIBRA_INGESTION_POSTGRES_SECRET": "books:3"}, both),
        ({"LIBRA_INGESTION_KEY_SECRET": ""}, [*both[1:], "secrets remove-iam-policy-binding key"]),
        ({"LIBRA_INGESTION_TENANT_SECRETS": ""}, ["secrets remove-iam-policy-binding acme-sftp"]),
        ({"LIBRA_INGESTION_PARALLEL": "4"}, both[1:]),
        ({"LIBRA_INGESTION_ORIGINS": "https://shop.example"}, both[:1]),
    ):
        assert words(list(step(everything(), **changed).missing())) == made


@pytest.mark.parametrize(
    ("absent", "made"),
    [
        (
            "iam service-accounts describe",
            [f"iam service-accounts create {SERVICE}", f"iam service-accounts create {JOB}"],
        ),
        ("secrets get-iam-policy books", ["secrets add-iam-policy-binding books"] * 2),
        ("secrets get-iam-policy key", ["secrets add-iam-policy-binding key"]),
        ("secrets get-iam-policy acme-sftp", ["secrets add-iam-policy-binding acme-sftp"]),
        ("projects get-iam-policy acme-analytics", ["projects add-iam-policy-binding acme-analytics"] * 2),
        ("artifacts repositories describe", [f"artifacts repositories create {JOB}"]),
        ("artifacts tags list", ["builds submit build/ingestion"]),
        (f"run services describe {SERVICE}", [f"run deploy {SERVICE}"]),
        (f"run jobs describe {JOB}", [f"run jobs deploy {JOB}"]),
        (f"run jobs get-iam-policy {JOB}", [f"run jobs add-iam-policy-binding {JOB}"]),
        ("scheduler jobs describe", ["scheduler jobs create http"]),
    ],
)
def test_what_is_missing_is_made_and_nothing_else(absent: str, made: list[str]) -> None:
    """One thing is gone, or was made by other sources."""
    found = {begin: it for begin, it in everything().items() if begin != absent}
    assert words(list(step(found).missing())) == made


def test_the_worker_is_let_into_a_dataset_beside_those_who_are_in(bigquery: list[dict[str, str]]) -> None:
    """One statement, which names nobody else: a list of all who are let in could be old when it is sent."""
    bigquery.pop()
    said = f'GRANT `{VIEWER}` ON SCHEMA `acme-analytics`.`analytics_1` TO "{WORKER}"'
    (change,) = step(everything() | {"auth print-access-token": "a-token"}).missing()
    assert words([change]) == [said]
    assert change.words[3:6] == ("POST", "bigquery", "bigquery/v2/projects/kitchen-1/queries")


def test_a_schedule_that_differs_is_changed() -> None:
    """Another time is an update, not a second job."""
    (change,) = step(everything(), LIBRA_INGESTION_SCHEDULE="0 * * * *").missing()
    assert change.words[1:6] == ("scheduler", "jobs", "update", "http", JOB)
    found = flags(change.words)
    assert (found["schedule"], found["uri"], found["location"]) == ("0 * * * *", URL, "europe-west1")
    assert found["oauth-service-account-email"] == SCHEDULER


def test_both_start_with_the_settings_that_they_are_given() -> None:
    """The real settings reader takes them. Neither holds an address, and both are one image."""
    gone = {begin: it for begin, it in everything().items() if "describe libra-ingestion" not in begin}
    api, worker = (flags(it.words) for it in step(gone).missing())
    held = {"LIBRA_POSTGRES_URL": "postgresql://u:p@h/d", "LIBRA_INGESTION_KEY": "A" * 43 + "="}
    read_ones = []
    for found, names in ((api, {"LIBRA_POSTGRES_URL"}), (worker, held.keys())):
        given = dict(it.partition("=")[::2] for it in found["set-env-vars"].removeprefix("^@@^").split("@@"))
        secrets = dict(it.partition("=")[::2] for it in found["set-secrets"].split(","))
        assert secrets == {
            it: {"LIBRA_POSTGRES_URL": "books:2", "LIBRA_INGESTION_KEY": "key:1"}[it] for it in names
        }
        assert not set(held.values()) & set(given.values())
        read_ones.append(IngestionSettings.from_environment(given | {it: held[it] for it in names}))
    assert read_ones[0].tokens.audience == f"https://{SERVICE}-1234567890.europe-west6.run.app"
    assert read_ones[0].tokens.accounts == frozenset({"ann@example.com"})
    assert (read_ones[1].parallel, read_ones[1].late) == (3, timedelta(days=3))
    assert api["image"] == worker["image"]
    assert (worker["max-retries"], worker["tasks"], worker["service-account"]) == ("0", "1", EMAIL)


def test_the_image_has_the_process_that_the_job_starts() -> None:
    """The service starts the first one, `web`; the job names the other."""
    *_, processes = (content for name, content in stage.sources(stage.INGESTION) if name == "Procfile")
    named = dict(line.split(": ", 1) for line in processes.decode().splitlines())
    assert list(named) == ["web", PROCESS]
    assert named[PROCESS] == "python -m services.ingestion --scheduled"
    assert named["web"].startswith("python -m uvicorn services.ingestion.main:app ")


def test_what_deploy_sh_allows_is_what_ingestion_allows() -> None:
    """Nothing is deployed that would refuse to start."""
    bounds = {"PARALLEL": (1, 32), "LATE_DAYS": (1, 365), "DEADLINE_SECONDS": (1, 300)}
    for name, (low, high) in bounds.items():
        (parameter,) = [it for it in PARAMETERS if it.variable == f"LIBRA_INGESTION_{name}"]
        allowed = {it for it in range(2_000) if re.fullmatch(parameter.allowed, str(it))}
        assert allowed == set(range(low, high + 1)), name


def test_each_account_has_as_little_as_it_can_do_its_work_with() -> None:
    """The API reads one secret. The worker reads what is named, and has no role in the project."""
    planned = Ingestion(Deployment(read({}, GIVEN, Path("none")), Gcloud(planning=True))).missing()
    granted = [it.words for it in planned if "add-iam-policy-binding" in " ".join(it.words)]
    named = [
        (*(w for w in it[1:5] if not w.startswith("-")), flags(it)["role"], flags(it)["member"])
        for it in granted
    ]
    secret = ("secrets", "add-iam-policy-binding")
    assert named == [
        (*secret, "books", ACCESSOR, API),
        (*secret, "books", ACCESSOR, WORKER),
        (*secret, "key", ACCESSOR, WORKER),
        (*secret, "acme-sftp", ACCESSOR, WORKER),
        ("projects", "add-iam-policy-binding", "acme-analytics", SESSIONS, WORKER),
        ("projects", "add-iam-policy-binding", "acme-analytics", COUNTS, WORKER),
        ("run", "jobs", "add-iam-policy-binding", JOB, INVOKER, f"serviceAccount:{SCHEDULER}"),
    ]


@pytest.mark.parametrize(("state", "said"), [("", "not there"), ("DISABLED", "disabled")])
def test_a_secret_that_could_not_be_read_is_refused_first(state: str, said: str) -> None:
    """Before the image is built, by the parameter's name."""
    with pytest.raises(DeployError, match=rf"LIBRA_INGESTION_POSTGRES_SECRET is books:2, .* is {said}"):
        list(step(everything() | {"secrets versions describe": state}).missing())


def test_who_wants_it_no_more_loses_all_of_it() -> None:
    """The schedule first, so that nothing starts a worker that is half away; grants before their accounts."""
    off = step(everything() | {"auth print-access-token": "a-token"}, LIBRA_INGESTION="off")
    expected = [
        "scheduler jobs delete libra-ingestion",
        "run jobs delete libra-ingestion",
        "run services delete libra-ingestion-api",
        "artifacts repositories delete libra-ingestion",
        "secrets remove-iam-policy-binding books",
        "secrets remove-iam-policy-binding acme-sftp",
        "secrets remove-iam-policy-binding books",
        "secrets remove-iam-policy-binding key",
        "projects remove-iam-policy-binding acme-analytics",
        "projects remove-iam-policy-binding acme-analytics",
        f'REVOKE `{VIEWER}` ON SCHEMA `acme-analytics`.`analytics_1` FROM "{WORKER}"',
        f"iam service-accounts delete {API.partition(':')[2]}",
        f"iam service-accounts delete {EMAIL}",
    ]
    assert words(list(off.missing())) == expected
    assert words(list(step(everything()).surplus())) == expected
    nothing = step({}, LIBRA_INGESTION="off")
    assert list(nothing.missing()) == []
    assert isinstance(nothing.gcloud, Answering)
    assert len(nothing.gcloud.asked) == 1
    assert dict(off.state()) == {}


def test_status_says_how_the_last_run_ended() -> None:
    """And the schedule's last attempt, and the API."""
    found = {f"run jobs describe {JOB}": "2  EXECUTION_SUCCEEDED", "scheduler jobs": "ENABLED  */10 * * * *"}
    assert dict(step(found).state()) == {
        SERVICE: "not deployed",
        JOB: "2  EXECUTION_SUCCEEDED",
        "ingestion schedule": "ENABLED  */10 * * * *",
    }


def test_what_it_needs_is_asked_for_only_where_it_is_wanted() -> None:
    """Permissions and services; BigQuery's where the worker reads as its own account."""
    for wanted, datasets in (("on", "acme-analytics.analytics_1"), ("on", ""), ("off", "")):
        given = GIVEN | {"LIBRA_INGESTION": wanted, "LIBRA_INGESTION_DATASETS": datasets}
        values = read({}, given, Path("none"))
        asked = needed(values, frozenset(NAMES))
        assert ({"run.jobs.create", "cloudbuild.builds.create"} <= asked.keys()) == (wanted == "on")
        (enabled,) = Services(Deployment(values, Gcloud(planning=True))).missing()
        assert ("secretmanager.googleapis.com" in enabled.words) == (wanted == "on")
        both = {"bigquery.googleapis.com", "bigquerystorage.googleapis.com"}
        assert both & set(enabled.words) == (both if datasets else set())


@pytest.mark.timeout(600)
def test_gcloud_knows_every_flag(gcloud: str) -> None:
    """Of the commands that no other step has."""
    answers = {"secrets versions": "ENABLED"}
    planned = step(answers, LIBRA_INGESTION_NETWORK="kitchen/books", LIBRA_INGESTION_DATASETS="").missing()
    own = [it.words[1:] for it in planned if it.words[1] == "run" and "deploy" in it.words[2:4]]
    assert len(own) == 2
    assert_known(gcloud, [list(command) for command in own])

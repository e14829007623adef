"""The nightly export as `deploy.sh` makes it: once, again, after a change, for another place, and away.

The step runs in this process, with BigQuery's API recorded and gcloud replaced: gcloud takes seconds a call.
"""

import json
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from deploy import stage
from deploy.arguments import options_of
from deploy.gcloud import Gcloud
from deploy.google import needed
from deploy.parameters import ParameterError, read
from deploy.steps.accounts import INVOKER
from deploy.steps.base import Deployment
from deploy.steps.export import BODY, JOB, KEEPS, LOADS, READS, Export
from deploy.steps.images import image_of
from deploy.steps.project import Services
from services.export.settings import ExportSettings
from tests.deploy.google_apis import GoogleApis

BIGQUERY = {
    "GOOGLE_CLOUD_PROJECT": "kitchen-1",
    "LIBRA_REGION": "europe-west6",
    "LIBRA_TIME_ZONE": "Europe/Zurich",
    "LIBRA_TIME_ACTION": "Served, hot",
    "LIBRA_EXPORT": "bigquery:books",
    "LIBRA_EXPORT_WHAT": "libra-totals,libra-entries",
}
POSTGRES = BIGQUERY | {"LIBRA_EXPORT": "postgres:books", "LIBRA_EXPORT_SECRET": "pg-url:3"}
BUCKET = BIGQUERY | {"LIBRA_EXPORT": "gs://kitchen-exports/totals/nightly"}
FLAGS = ("plan", "--project=kitchen-1", "--region=europe-west6")
EMAIL = f"{JOB}@kitchen-1.iam.gserviceaccount.com"
MEMBER = f"serviceAccount:{EMAIL}"
CALLER = "libra-scheduler@kitchen-1.iam.gserviceaccount.com"
SECRET = "roles/secretmanager.secretAccessor"  # noqa: S105 - a role
URI = f"https://run.googleapis.com/v2/projects/kitchen-1/locations/europe-west6/jobs/{JOB}:run"
DATASETS = "bigquery/bigquery/v2/projects/kitchen-1/datasets"


class Answering(Gcloud):
    """A gcloud that finds what it is told; a read is known by the words that it begins with."""

    def __init__(self, answers: dict[str, str]) -> None:
        super().__init__(planning=False)
        self.answers = answers

    def look(self, *words: str, program: tuple[str, ...] = ("gcloud",)) -> str:
        """What is there."""
        assert program == ("gcloud",)
        return next((it for begin, it in self.answers.items() if " ".join(words).startswith(begin)), "")


@pytest.fixture
def apis(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[GoogleApis]:
    """BigQuery with nothing in it; what is sent is written to a folder of the test."""
    with GoogleApis().serving() as started:
        for name, value in started.environment().items():
            monkeypatch.setenv(name, value)
        monkeypatch.delenv("http_proxy")
        image = stage.fingerprint(stage.EXPORT)
        monkeypatch.setattr(stage, "fingerprint", lambda _: image)
        monkeypatch.setattr(stage, "ROOT", tmp_path)
        yield started


def step(given: dict[str, str], answers: dict[str, str]) -> Export:
    """The step in a project where this is there."""
    return Export(Deployment(read({}, given, Path("none")), Answering(answers)))


def made(given: dict[str, str], answers: dict[str, str]) -> list[list[str]]:
    """The commands that are still needed; what is sent to BigQuery is sent."""
    token = {"auth print-access-token": "a-token-of-nobody"}
    changes = list(step(given, answers | token).missing())
    for change in changes:
        if change.call:
            change.call()
    return [list(change.words) for change in changes if not change.call]


def flags(words: list[str]) -> dict[str, str]:
    """The flags of a command."""
    return dict(it[2:].partition("=")[::2] for it in words if it.startswith("--"))


def everything(given: dict[str, str]) -> dict[str, str]:
    """What is there when all has been made."""
    image = image_of(step(given, {}).deployment, JOB, stage.EXPORT)
    (deployed,) = (it for it in made(given, {}) if it[1:4] == ["run", "jobs", "deploy"])
    config = flags(deployed)["labels"].partition("=")[2]
    grants = READS + LOADS if given is BIGQUERY else READS
    when = ("30 2 * * *", "Europe/Zurich", URI, "POST", CALLER, "1800s", "3", "300s", "3600s", "2")
    return {
        "iam service-accounts describe": EMAIL,
        "projects get-iam-policy": "\n".join(f"{role}\t{MEMBER}" for role, _ in grants),
        "secrets list": "pg-url\nold-url",
        "secrets get-iam-policy pg-url": f"{SECRET}\t{MEMBER}" if given is POSTGRES else "",
        "storage buckets get-iam-policy gs://kitchen-exports": f"{KEEPS}\t{MEMBER}",
        "artifacts repositories describe": JOB,
        "artifacts tags list": f"projects/x/tags/{image.rpartition(':')[2]}",
        f"run jobs describe {JOB}": f"True\t{config}",
        "run jobs get-iam-policy": f"{INVOKER}\tserviceAccount:{CALLER}",
        f"scheduler jobs describe {JOB}": "|".join(when),
    }


@pytest.mark.parametrize("given", [BIGQUERY, POSTGRES, BUCKET], ids=lambda it: it["LIBRA_EXPORT"])
def test_where_all_is_there_nothing_is_made(apis: GoogleApis, given: dict[str, str]) -> None:
    """A second `up` is a look."""
    there = everything(given)
    before = len(apis.changes())
    assert made(given, there) == []
    assert len(apis.changes()) == before == (given is BIGQUERY)


@pytest.mark.parametrize(
    ("absent", "verbs"),
    {
        "iam service-accounts describe": ["iam service-accounts create"],
        "projects get-iam-policy": [f"projects add-iam-policy-binding {role}" for role, _ in READS],
        "secrets get-iam-policy pg-url": [f"secrets add-iam-policy-binding {SECRET}"],
        "artifacts repositories describe": ["artifacts repositories create"],
        "artifacts tags list": ["builds submit build/export"],
        f"run jobs describe {JOB}": ["run jobs deploy"],
        "run jobs get-iam-policy": [f"run jobs add-iam-policy-binding {INVOKER}"],
        f"scheduler jobs describe {JOB}": ["scheduler jobs create"],
    }.items(),
)
def test_what_is_missing_is_made_and_nothing_else(apis: GoogleApis, absent: str, verbs: list[str]) -> None:
    """One thing is gone, or was made by other sources."""
    assert apis
    there = {begin: it for begin, it in everything(POSTGRES).items() if begin != absent}
    asked = [" ".join([*words[1:], flags(words).get("role", "")]) for words in made(POSTGRES, there)]
    assert len(asked) == len(verbs)
    assert all(set(verb.split()) <= set(it.split()) for verb, it in zip(verbs, asked, strict=True))


def test_the_job_starts_with_the_settings_that_it_is_given(apis: GoogleApis) -> None:
    """The real settings reader takes them. The address is a secret, and BigQuery has none."""
    assert apis
    for given, secret in ((POSTGRES, "LIBRA_POSTGRES_URL=pg-url:3"), (BIGQUERY, ""), (BUCKET, "")):
        (words,) = (it for it in made(given, {}) if it[1:4] == ["run", "jobs", "deploy"])
        found = flags(words)
        pairs = (it.partition("=") for it in found["set-env-vars"].removeprefix("^@@^").split("@@"))
        settings = ExportSettings.from_environment({name: value for name, _, value in pairs})
        assert settings.place == given["LIBRA_EXPORT"]
        assert [(it.source, it.what) for it in settings.wanted] == [("libra", "totals"), ("libra", "entries")]
        assert settings.books.time_action == "Served, hot"
        assert found.get("set-secrets", "") == secret
        assert ("clear-secrets" in found) == (not secret)
        assert found["service-account"] == EMAIL


def test_the_account_writes_to_its_dataset_and_to_no_other(apis: GoogleApis) -> None:
    """A dataset that is there keeps whom it lets in. Once the account may write, nothing is sent."""
    roles = {flags(words)["role"] for words in made(BIGQUERY, {}) if words[1] == "projects"}
    assert roles == {"roles/datastore.viewer", "roles/bigquery.jobUser"}
    (change,) = apis.changes()
    ours = {"role": "WRITER", "userByEmail": EMAIL}
    assert (change.method, change.body["access"][-1]) == ("POST", ours)
    others = [{"role": "READER", "userByEmail": "ann@example.com"}]
    apis.resources[f"{DATASETS}/books"]["access"] = others
    made(BIGQUERY, {})
    assert (apis.changes()[-1].method, apis.changes()[-1].body) == ("PATCH", {"access": [*others, ours]})
    assert json.loads((stage.ROOT / BODY).read_text("utf-8")) == apis.changes()[-1].body
    before = len(apis.changes())
    made(BIGQUERY, {})
    assert len(apis.changes()) == before


def test_a_secret_that_it_reads_no_more_is_taken_from_it(apis: GoogleApis) -> None:
    """Another secret, or no PostgreSQL at all, once the job no longer needs it."""
    reads = {"secrets get-iam-policy old-url": f"{SECRET}\t{MEMBER}"}
    for given in (POSTGRES, BIGQUERY):
        (command,) = made(given, everything(given) | reads)
        assert command[1:4] == ["secrets", "remove-iam-policy-binding", "old-url"]
    assert apis


def test_the_account_writes_to_its_bucket_and_to_no_other(apis: GoogleApis) -> None:
    """The bucket is not made: what is not there cannot be granted. Of BigQuery the account keeps nothing."""
    there = everything(BUCKET)
    del there["storage buckets get-iam-policy gs://kitchen-exports"]
    there["projects get-iam-policy"] = "\n".join(f"{role}\t{MEMBER}" for role, _ in READS + LOADS)
    revoked, granted = made(BUCKET, there)
    assert flags(revoked)["role"] == "roles/bigquery.jobUser"
    assert granted[1:5] == ["storage", "buckets", "add-iam-policy-binding", "gs://kitchen-exports"]
    assert (flags(granted)["role"], flags(granted)["member"]) == ("roles/storage.objectUser", MEMBER)
    assert apis.changes() == []


def test_who_moves_to_postgres_keeps_no_right_in_bigquery(apis: GoogleApis) -> None:
    """The role that another place took is taken away."""
    there = everything(POSTGRES)
    there["projects get-iam-policy"] = "\n".join(f"{role}\t{MEMBER}" for role, _ in READS + LOADS)
    (words,) = made(POSTGRES, there)
    assert words[1:3] == ["projects", "remove-iam-policy-binding"]
    assert flags(words)["role"] == "roles/bigquery.jobUser"
    assert apis.changes() == []


def test_who_wants_it_no_more_keeps_what_it_has_written(apis: GoogleApis) -> None:
    """What starts it goes first, the account last; BigQuery is asked nothing."""
    there = everything(BIGQUERY)
    before = len(apis.requests)
    off = made(BIGQUERY | {"LIBRA_EXPORT": "off"}, there)
    assert [" ".join(words[1:4]) for words in off] == [
        "scheduler jobs delete",
        "run jobs delete",
        "artifacts repositories delete",
        *["projects remove-iam-policy-binding kitchen-1"] * 2,
        "iam service-accounts delete",
    ]
    assert off == [list(change.words) for change in step(BIGQUERY, there).surplus()]
    assert made(BIGQUERY | {"LIBRA_EXPORT": "off"}, {}) == []
    assert len(apis.requests) == before


def test_status_says_how_the_last_night_ended() -> None:
    """And the state of its schedule; nothing where it is not wanted."""
    ended = "libra-export  EXECUTION_FAILED  2025-11-25T02:31:00Z"
    there = {f"run jobs describe {JOB}": ended}
    assert dict(step(BIGQUERY, there).state()) == {JOB: ended, "export schedule": "not there"}
    assert dict(step(BIGQUERY | {"LIBRA_EXPORT": "off"}, there).state()) == {}


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (("--export=postgres",), r"--export postgres with --export-secret '': .*SECRET:VERSION"),
        (("--export=bigquery:books", "--export-secret=pg-url:1"), "BigQuery and a bucket have none"),
        (("--export=gs://books", "--export-secret=pg-url:1"), "BigQuery and a bucket have none"),
        (("--export=gs://Books",), r"--export \(LIBRA_EXPORT\) is 'gs://Books'"),
        (("--export=bigquery:libra", "--warehouse=on"), "--export bigquery:libra: the warehouse has views"),
        (("--export=exports",), r"--export \(LIBRA_EXPORT\) is 'exports'"),
        (("--export-what=libra-sums",), r"--export-what \(LIBRA_EXPORT_WHAT\) is 'libra-sums'"),
        (("--export-what=bakery-totals",), r"--export-what bakery-totals: .*there are libra-totals, .*"),
    ],
)
def test_what_the_job_would_refuse_is_refused_before_it_is_deployed(
    given: tuple[str, ...], says: str
) -> None:
    """Each message names the flag, and what is allowed."""
    with pytest.raises(ParameterError, match=says):
        options_of((*FLAGS, *given), {})


def test_preflight_asks_for_what_it_needs_and_services_are_enabled() -> None:
    """Only what its place needs."""
    wanted = {
        "bigquery:books": ({"bigquery.datasets.create"}, "bigquery.googleapis.com"),
        "postgres": (set[str](), "secretmanager.googleapis.com"),
    }
    only = frozenset({"export"})
    plain = read({}, BIGQUERY | {"LIBRA_EXPORT": "off"}, Path("none"))
    for place, (permissions, service) in wanted.items():
        values = plain | {"LIBRA_EXPORT": place, "LIBRA_EXPORT_SECRET": "pg-url:1"}
        more = needed(values, only).keys() - needed(plain, only).keys()
        assert more - {it for it in more if it.startswith(("run.", "artifact", "cloudbuild"))} == permissions
        assert {"run.jobs.create", "artifactregistry.repositories.create"} <= more
        (enabled,) = Services(Deployment(values, Gcloud(planning=True))).missing()
        assert service in enabled.words
        assert needed(values, frozenset({"schedule"})) == needed(plain, frozenset({"schedule"}))


@pytest.mark.timeout(600)
def test_gcloud_knows_every_flag(gcloud: str, apis: GoogleApis) -> None:
    """What it does not know it says before anything else, so nothing is asked of Google."""
    assert apis
    commands = [words for given in (BIGQUERY, POSTGRES) for words in made(given, {}) if "jobs" in words]
    commands += [words for words in made(BUCKET, {}) if "buckets" in words]
    commands += [
        list(it.words) for it in step(BIGQUERY, everything(BIGQUERY)).surplus() if "jobs" in it.words
    ]
    updated = everything(BIGQUERY) | {f"scheduler jobs describe {JOB}": "0 0 * * *"}
    commands += made(BIGQUERY, updated)
    verbs = {words[3] for words in commands}
    assert verbs == {"deploy", "delete", "add-iam-policy-binding", "create", "update"}

    def unknown(words: list[str]) -> list[str]:
        asked = [gcloud, *words[1:], "--no-such-flag"]
        said = subprocess.run(asked, capture_output=True, text=True, check=False).stderr
        return said.partition("unrecognized arguments:")[2].partition("\n\n")[0].split()

    with ThreadPoolExecutor(2) as pool:
        for found in pool.map(unknown, commands):
            assert [word for word in found if word.startswith("--")] == ["--no-such-flag"]

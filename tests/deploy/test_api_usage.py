"""The API with usage as `deploy.sh` deploys it: its secret, its way to PostgreSQL, its artefact, and away."""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from types import MappingProxyType

import pytest

from deploy import stage
from deploy.gcloud import Change, CommandError, DeployError, Gcloud
from deploy.parameters import PARAMETERS, ParameterError, read
from deploy.steps.accounts import ACCESSOR, INVOKER
from deploy.steps.api import SECRET, SERVICE, Api
from deploy.steps.base import RECOMPUTE, Deployment
from deploy.steps.functions import Stage
from deploy.steps.project import Services
from services.api.settings import ApiSettings
from services.api.usage import FLAG
from tests.support.answering import Answering, assert_known, flags

GIVEN = {
    "GOOGLE_CLOUD_PROJECT": "kitchen-1",
    "LIBRA_REGION": "europe-west6",
    "LIBRA_API": "reader",
    SECRET: "reader-url:2",
    "LIBRA_USAGE_NETWORK": "kitchen/counters",
}
ACCOUNT = f"{SERVICE}@kitchen-1.iam.gserviceaccount.com"
MEMBER = f"serviceAccount:{ACCOUNT}"
MINE = f"{ACCESSOR}\t{MEMBER}"
ROLE = f"roles/datastore.viewer\t{MEMBER}"


Given = Mapping[str, str]


class Without(Answering):
    """A project that has no Secret Manager, or in which nobody may list secrets."""

    said = "ERROR: (gcloud.secrets.list) SERVICE_DISABLED: Secret Manager API has not been used"

    def look(self, *words: str, program: tuple[str, ...] = ("gcloud",)) -> str:
        """What is there."""
        if words[:2] == ("secrets", "list"):
            raise CommandError(words, self.said)
        return super().look(*words, program=program)


def step(
    answers: dict[str, str], changed: Given = MappingProxyType({}), kind: type[Answering] = Answering
) -> Api:
    """The step in a project where this is there."""
    return Api(Deployment(read({}, GIVEN | dict(changed), Path("none")), kind(answers)))


def words(changes: list[Change]) -> list[str]:
    """What each command does."""
    return [" ".join(it for it in change.words[1:4] if not it.startswith("-")) for change in changes]


@cache
def everything(secret: str = GIVEN[SECRET]) -> dict[str, str]:
    """What is there when all has been made."""
    bare = {
        "iam service-accounts describe": ACCOUNT,
        "projects get-iam-policy": ROLE,
        "secrets versions describe": "ENABLED",
        "secrets list": "old-url\nreader-url",
        "secrets get-iam-policy reader-url": MINE if secret else "",
        f"run services get-iam-policy {RECOMPUTE}": f"{INVOKER}\t{MEMBER}",
        f"functions describe {RECOMPUTE}": "https://recompute.example",
        "projects describe": "1234567890",
    }
    (deployed,) = step(bare, {SECRET: secret}).missing()
    config = flags(deployed.words)["labels"].partition("=")[2]
    return bare | {f"run services describe {SERVICE}": f"True\t{config}"}


def deployed(changed: Given = MappingProxyType({})) -> dict[str, str]:
    """The flags of the service."""
    bare = {begin: it for begin, it in everything().items() if not begin.startswith("run services describe")}
    (change,) = (it for it in step(bare, changed).missing() if it.words[1:3] == ("run", "deploy"))
    return flags(change.words)


def test_with_a_secret_it_reads_usage_and_without_it_has_neither_address_nor_driver() -> None:
    """The real settings reader takes it. The artefact carries the driver only where the API reads."""
    found = deployed()
    assert found["source"] == "build/api-usage"
    assert found["set-secrets"] == "LIBRA_POSTGRES_URL=reader-url:2"
    assert (found["network"], found["subnet"], found["vpc-egress"]) == (
        *("kitchen", "counters"),
        "private-ranges-only",
    )
    given = dict(it.partition("=")[::2] for it in found["set-env-vars"].removeprefix("^@@^").split("@@"))
    assert "LIBRA_POSTGRES_URL" not in given
    address = {"LIBRA_POSTGRES_URL": "postgresql://reader@10.0.0.2/books", "K_SERVICE": SERVICE}
    assert ApiSettings.from_environment(given | address).postgres_url
    found = deployed({SECRET: ""})
    assert (found["source"], found.keys() & {"set-secrets", "network"}) == ("build/api", set())
    assert found.keys() >= {"clear-secrets", "clear-network"}
    assert "clear-network" in deployed({"LIBRA_USAGE_NETWORK": ""})
    for values, artefact in ((GIVEN, stage.API_USAGE), (GIVEN | {SECRET: ""}, stage.API)):
        assert stage.api(read({}, values, Path("none"))) == artefact


def test_where_all_is_there_nothing_is_made() -> None:
    """A second run is a look, with usage and without."""
    for secret in (GIVEN[SECRET], ""):
        assert list(step(everything(secret), {SECRET: secret}).missing()) == []


def test_another_secret_takes_the_place_of_the_old_one() -> None:
    """The account may read the new one first, and the old one no more once the service is deployed. So it is
    where the API is to read no usage any more, and where a run ended halfway."""
    there = everything()
    changed = words(list(step(there, {SECRET: "old-url:1"}).missing()))
    assert changed == [
        "secrets add-iam-policy-binding old-url",
        f"run deploy {SERVICE}",
        "secrets remove-iam-policy-binding reader-url",
    ]
    none = words(list(step(there, {SECRET: ""}).missing()))
    assert none == [f"run deploy {SERVICE}", "secrets remove-iam-policy-binding reader-url"]
    left = there | {"secrets get-iam-policy old-url": MINE}
    assert words(list(step(left).missing())) == ["secrets remove-iam-policy-binding old-url"]


def test_who_wants_it_no_more_loses_the_grant_before_the_account() -> None:
    """By `up` with --api=off, and by `down`."""
    there = everything() | {f"run services describe {SERVICE}": SERVICE}
    for changes in (step(there, {"LIBRA_API": "off"}).missing(), step(there).surplus()):
        assert words(list(changes)) == [
            "run services delete",
            "run services remove-iam-policy-binding",
            "secrets remove-iam-policy-binding reader-url",
            "projects remove-iam-policy-binding kitchen-1",
            "iam service-accounts delete",
        ]


def test_a_project_without_secret_manager_has_an_api_without_usage(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """It is not asked to enable it. Who may not list secrets is told what nobody looked at."""
    assert list(step(everything(""), {SECRET: ""}, Without).missing()) == []
    assert capsys.readouterr().err.splitlines() == [f"   {SERVICE} is up to date"]

    class Denied(Without):
        said = "ERROR: PERMISSION_DENIED: secretmanager.secrets.list"

    assert list(step(everything(""), {SECRET: ""}, Denied).missing()) == []
    assert (
        f"cannot look which secrets {SERVICE} may read: ERROR: PERMISSION_DENIED" in capsys.readouterr().err
    )
    with pytest.raises(CommandError, match="SERVICE_DISABLED"):
        list(step(everything(), kind=Without).missing())


def test_a_secret_that_it_could_not_read_is_refused_first() -> None:
    """By the parameter's name."""
    with pytest.raises(
        DeployError, match=r"LIBRA_API_USAGE_SECRET is reader-url:2, and this .* is not there"
    ):
        list(step(everything() | {"secrets versions describe": ""}).missing())


@pytest.mark.parametrize("secret", ["libra-postgres:latest", "libra-postgres:7"])
def test_the_secret_of_the_flush_is_refused(secret: str) -> None:
    """Its role writes bills. Without an API nothing is refused."""
    with pytest.raises(ParameterError, match=r"--api-usage-secret libra-postgres.*a role that only reads"):
        read({}, GIVEN | {SECRET: secret}, Path("none"), deployed=True)
    off = GIVEN | {SECRET: secret, "LIBRA_API": "off"}
    assert read({}, off, Path("none"), deployed=True)[SECRET] == secret


def test_the_service_and_the_stage_are_told_and_the_route_names_the_flag() -> None:
    """Secret Manager is enabled only with an API that reads. `plan` says how it is staged."""
    for changed, wanted in (({}, True), ({SECRET: ""}, False), ({"LIBRA_API": "off"}, False)):
        planned = Deployment(read({}, GIVEN | changed, Path("none")), Gcloud(planning=True))
        (enabled,) = Services(planned).missing()
        assert ("secretmanager.googleapis.com" in enabled.words) == wanted
        (staged,) = Stage(planned).missing()
        assert ("--api-usage-secret=reader-url:2" in staged.words) == (SECRET not in changed)
    assert FLAG.partition("=")[0] in {it.flag for it in PARAMETERS if it.variable == SECRET}


@pytest.mark.timeout(600)
def test_gcloud_knows_every_flag(gcloud: str) -> None:
    """With usage; tests/deploy/test_api.py deploys without."""
    planned = Api(Deployment(read({}, GIVEN, Path("none")), Gcloud(planning=True))).missing()
    (deploy,) = (list(it.words[1:]) for it in planned if it.words[1:3] == ("run", "deploy"))
    assert_known(gcloud, [deploy])

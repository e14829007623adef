"""`deploy.sh up` as the real gcloud carries it out: the requests that reach Google, in one project's life.

The tests of this module share one project and run in order of the file: deployed, unchanged, changed.

Over 300 lines because it is the life of one project, and each test rests on the ones before it.
"""

import base64
import io
import json
import re
import shlex
import subprocess
import zipfile
from pathlib import Path

import pytest

from deploy import indexes
from deploy.steps.base import TRIGGERS
from shared.catalog import LIBRA_HOME
from shared.settings import Settings
from tests.deploy.conftest import ROOT, WHERE, Deploy
from tests.deploy.google_apis import GoogleApis, Json, Refusal

FUNCTIONS = "cloudfunctions/v2/projects/kitchen-1/locations/europe-west6/functions"
DATABASE = r"firestore/v1/projects/kitchen-1/databases/\(default\)"
URL = "https://libra-recompute-abc123-oa.a.run.app"

# The first `up` runs some fifty commands of gcloud, each of which takes a second or two of CPU.
pytestmark = [pytest.mark.usefixtures("deployed"), pytest.mark.timeout(600)]


def account(name: str) -> str:
    """A service account of the project."""
    return f"{name}@kitchen-1.iam.gserviceaccount.com"


@pytest.fixture(scope="module")
def deployed(deploy: Deploy) -> subprocess.CompletedProcess[str]:
    """The first `up` on an empty project."""
    done = deploy("up", *WHERE)
    assert done.returncode == 0, done.stderr
    return done


@pytest.fixture(scope="module")
def functions(deployed: subprocess.CompletedProcess[str], apis: GoogleApis) -> dict[str, Json]:
    """The functions as they were asked for, by entry point."""
    assert "Libra is deployed" in deployed.stdout
    asked = [it.body for it in apis.changes() if it.api == "cloudfunctions" and it.method == "POST"]
    return {it["buildConfig"]["entryPoint"]: it for it in asked}


def test_the_trigger_redelivers_and_hears_of_created_entries_only(functions: dict[str, Json]) -> None:
    """An event is retried until it is counted, and only the creation of an entry is one."""
    trigger = functions["on_libra_created"]["eventTrigger"]
    assert trigger["retryPolicy"] == "RETRY_POLICY_RETRY"
    assert trigger["eventType"] == "google.cloud.firestore.document.v1.created"
    assert trigger["triggerRegion"] == "europe-west6"
    assert trigger["serviceAccountEmail"] == account("libra-trigger")
    assert sorted(trigger["eventFilters"], key=lambda it: it["attribute"]) == [
        {"attribute": "database", "value": "(default)"},
        {"attribute": "document", "value": "libra/{entryId}", "operator": "match-path-pattern"},
        {"attribute": "namespace", "value": "(default)"},
    ]


def test_the_trigger_serves_as_many_events_as_it_has_threads(functions: dict[str, Json]) -> None:
    """Concurrency and the server's threads are one number, or group commit has nothing to group."""
    service = functions["on_libra_created"]["serviceConfig"]
    assert service["maxInstanceRequestConcurrency"] == 300
    assert service["environmentVariables"]["THREADS"] == "300"
    assert service["availableCpu"] == "1"
    assert service["availableMemory"] == "512Mi"
    assert service["maxInstanceCount"] == 5
    assert service["timeoutSeconds"] == 120


def test_only_one_recompute_runs_and_it_has_an_hour(functions: dict[str, Json]) -> None:
    """A second caller waits outside, and a long count is not cut off."""
    service = functions["recompute"]["serviceConfig"]
    assert service["maxInstanceRequestConcurrency"] == 1
    assert service["maxInstanceCount"] == 1
    assert service["timeoutSeconds"] == 3600
    assert "eventTrigger" not in functions["recompute"]


@pytest.mark.parametrize("entry_point", ["on_libra_created", "recompute"])
def test_functions_are_private_and_have_little_rights(functions: dict[str, Json], entry_point: str) -> None:
    """Nothing outside the project reaches a function, and it may do no more than use the database."""
    service = functions[entry_point]["serviceConfig"]
    assert service["ingressSettings"] == "ALLOW_INTERNAL_ONLY"
    assert service["serviceAccountEmail"] == account("libra-runtime")
    assert functions[entry_point]["buildConfig"]["runtime"] == "python311"
    assert functions[entry_point]["buildConfig"]["serviceAccount"].endswith(account("libra-build"))


@pytest.mark.parametrize("entry_point", ["on_libra_created", "recompute"])
def test_functions_are_given_the_settings(functions: dict[str, Json], entry_point: str) -> None:
    """Both functions read the same settings, the LAG among them."""
    variables = functions[entry_point]["serviceConfig"]["environmentVariables"]
    settings = Settings.from_environment(variables)
    assert settings.project == "kitchen-1"
    assert settings.database == "(default)"
    assert str(settings.time_zone) == "Europe/Zurich"
    assert settings.lag.total_seconds() == 600
    assert settings.emulator_host is None


def test_what_is_uploaded_is_the_staged_folder(apis: GoogleApis, tree: Path) -> None:
    """gcloud uploads every staged file and nothing else: it would drop links and ignored files silently."""
    staged = tree / "build" / "functions"
    expected = {it.relative_to(staged).as_posix() for it in staged.rglob("*.*") if it.is_file()}
    for upload in apis.uploads:
        with zipfile.ZipFile(io.BytesIO(upload)) as archive:
            assert {it for it in archive.namelist() if not it.endswith("/")} == expected - {".gcloudignore"}


def test_each_account_holds_one_role_in_the_project(apis: GoogleApis) -> None:
    """Least privilege: the scheduler's account holds none at all, and no account more than one."""
    bindings = apis.policies["cloudresourcemanager/v1/projects/kitchen-1"]["bindings"]
    assert {it["role"]: it["members"] for it in bindings} == {
        "roles/datastore.user": [f"serviceAccount:{account('libra-runtime')}"],
        "roles/eventarc.eventReceiver": [f"serviceAccount:{account('libra-trigger')}"],
        "roles/cloudbuild.builds.builder": [f"serviceAccount:{account('libra-build')}"],
    }


@pytest.mark.parametrize(
    ("service", "caller"),
    [
        ("libra-on-created", "libra-trigger"),
        ("libra-on-updated", "libra-trigger"),
        ("libra-on-deleted", "libra-trigger"),
        ("libra-recompute", "libra-scheduler"),
    ],
)
def test_one_account_may_call_each_function(apis: GoogleApis, service: str, caller: str) -> None:
    """Events call the trigger, the schedule calls the recompute; nobody else calls either."""
    policy = apis.policies[f"run/v1/projects/kitchen-1/locations/europe-west6/services/{service}"]
    assert [(it["role"], it["members"]) for it in policy["bindings"]] == [
        ("roles/run.invoker", [f"serviceAccount:{account(caller)}"])
    ]


def test_the_schedule_calls_the_recompute_with_its_own_token(apis: GoogleApis) -> None:
    """Nightly at two in the configured zone, with an OIDC token for exactly that service, and retries."""
    job = apis.resources["cloudscheduler/v1/projects/kitchen-1/locations/europe-west6/jobs/libra-recompute"]
    assert (job["schedule"], job["timeZone"]) == ("0 2 * * *", "Europe/Zurich")
    target = job["httpTarget"]
    assert (target["httpMethod"], target["uri"]) == ("POST", f"{URL}/")
    assert target["oidcToken"] == {"audience": URL, "serviceAccountEmail": account("libra-scheduler")}
    assert json.loads(base64.b64decode(target["body"])) == {}
    assert target["headers"]["Content-Type"] == "application/json"
    assert job["attemptDeadline"] == "1800s"
    assert job["retryConfig"]["retryCount"] == 3


def test_the_compaction_is_scheduled_each_hour_until_it_is_off(deploy: Deploy, apis: GoogleApis) -> None:
    """It asks the recompute, with the same token; `--compact-schedule=off` removes its job, and no other."""
    jobs = "cloudscheduler/v1/projects/kitchen-1/locations/europe-west6/jobs"
    job = apis.resources[f"{jobs}/libra-compact"]
    assert job["schedule"] == "30 * * * *"
    assert json.loads(base64.b64decode(job["httpTarget"]["body"])) == {"compact": True}
    assert job["httpTarget"]["uri"] == f"{URL}/"
    done = deploy("up", *WHERE, "--compact-schedule=off", "--only=schedule")
    assert done.returncode == 0, done.stderr
    assert [path for path in apis.resources if path.startswith(jobs)] == [f"{jobs}/libra-recompute"]
    assert deploy("up", *WHERE, "--only=schedule").returncode == 0


def test_the_database_is_created_in_native_mode_and_protected(apis: GoogleApis) -> None:
    """An empty project gets a database in the functions' region that cannot be deleted by accident."""
    request = apis.change("POST", r"firestore/v1/projects/kitchen-1/databases")
    assert request.query["databaseId"] == ["(default)"]
    assert request.body["locationId"] == "europe-west6"
    assert request.body["type"] == "FIRESTORE_NATIVE"
    assert request.body["deleteProtectionState"] == "DELETE_PROTECTION_ENABLED"


def test_the_indexes_the_exemptions_and_the_policy_are_declared(apis: GoogleApis) -> None:
    """What is written on every event is not indexed, markers expire, and each index of the file is there."""
    created = [it for it in apis.changes() if re.search(r"/collectionGroups/[^/]+/indexes$", it.path)]
    asked = [(it.path.split("/")[-2], it.body["queryScope"], it.body["fields"]) for it in created]
    wanted = indexes.declared()
    assert asked == [(it["collectionGroup"], it["queryScope"], it["fields"]) for it in wanted["indexes"]]
    patched = [it for it in apis.changes() if it.method == "PATCH" and "/fields/" in it.path]
    exempt = {tuple(it.path.split("/")[6::2]) for it in patched if it.query["updateMask"] == ["indexConfig"]}
    assert exempt == {(it.collection, *it.fields) for it in indexes.wanted(wanted) if it.kind == "exempt"}
    assert all(it.body.get("indexConfig") in ({}, None) for it in patched)
    policies = [it for it in patched if it.query["updateMask"] == ["ttlConfig"]]
    assert [it.path.split("/")[6::2] for it in policies] == [[LIBRA_HOME.seen, "expires_at"]]


def test_rules_are_put_in_force_where_there_are_none(apis: GoogleApis) -> None:
    """A project without rules gets Libra's."""
    files = apis.change("POST", "firebaserules/.*/rulesets").body["source"]["files"]
    assert files[0]["content"] == (ROOT / "firestore.rules").read_text(encoding="utf-8")
    release = apis.change("POST", "firebaserules/.*/releases").body
    assert release["name"] == "projects/kitchen-1/releases/cloud.firestore"


def test_it_ends_by_saying_what_was_deployed(deployed: subprocess.CompletedProcess[str]) -> None:
    """The operator reads what is there, how to see it and what it costs when idle."""
    for word in ("libra-on-created", "libra-recompute", "./deploy.sh status", "When idle", "USD"):
        assert word in deployed.stdout


def test_plan_prints_what_up_does_and_asks_nothing(
    deployed: subprocess.CompletedProcess[str], deploy: Deploy, apis: GoogleApis
) -> None:
    """`plan` prints the commands of `up` on an empty project, word for word, and sends no request."""
    before = len(apis.requests)
    planned = deploy("plan", *WHERE)
    assert planned.returncode == 0, planned.stderr
    assert len(apis.requests) == before
    printed = [line for line in planned.stdout.splitlines() if line.startswith("gcloud")]
    ran = [line.strip() for line in deployed.stderr.splitlines() if line.startswith("   gcloud")]
    assert [it.replace("https://THE-URL-OF-libra-recompute.run.app", URL) for it in printed] == ran


def test_a_second_run_changes_nothing(deploy: Deploy, apis: GoogleApis) -> None:
    """`up` on what `up` left asks for no change at all."""
    before = len(apis.changes())
    again = deploy("up", *WHERE)
    assert again.returncode == 0, again.stderr
    assert apis.changes()[before:] == []


def test_a_changed_parameter_redeploys_what_it_touches(deploy: Deploy, apis: GoogleApis) -> None:
    """Only the triggers know of their instances, so only they are deployed again."""
    before = len(apis.changes())
    changed = deploy("up", *WHERE, "--max-instances=9", "--only=functions")
    assert changed.returncode == 0, changed.stderr
    patches = [it for it in apis.changes()[before:] if it.method == "PATCH"]
    assert [it.path.rpartition("/")[2] for it in patches] == list(TRIGGERS)
    assert {it.body["serviceConfig"]["maxInstanceCount"] for it in patches} == {9}


def test_without_edits_only_creations_have_a_trigger(deploy: Deploy, apis: GoogleApis) -> None:
    """`--edits=off` removes the two triggers that are too many; `up` without it brings them back."""
    done = deploy("up", *WHERE, "--max-instances=9", "--edits=off", "--only=functions")
    assert done.returncode == 0, done.stderr
    there = {path.rpartition("/")[2] for path in apis.resources if path.startswith(f"{FUNCTIONS}/")}
    assert there == {"libra-on-created", "libra-recompute"}
    again = deploy("up", *WHERE, "--max-instances=9", "--only=functions,invokers")
    assert again.returncode == 0, again.stderr
    there = {path.rpartition("/")[2] for path in apis.resources if path.startswith(f"{FUNCTIONS}/")}
    assert there == {*TRIGGERS, "libra-recompute"}


def test_env_tells_a_shell_what_is_deployed(deploy: Deploy) -> None:
    """The command line takes over the settings of the deployed recompute, the LAG among them."""
    done = deploy("env", *WHERE)
    assert done.returncode == 0, done.stderr
    lines = dict(line.removeprefix("export ").split("=", 1) for line in done.stdout.splitlines())
    settings = Settings.from_environment({name: shlex.split(value)[0] for name, value in lines.items()})
    assert (settings.project, str(settings.time_zone)) == ("kitchen-1", "Europe/Zurich")
    assert settings.lag.total_seconds() == 600


def test_a_shorter_lag_reaches_the_trigger_first(deploy: Deploy, apis: GoogleApis) -> None:
    """The recompute keeps its longer LAG for now, and the run says what is still to do."""
    done = deploy("up", *WHERE, "--lag-seconds=400", "--only=functions")
    assert done.returncode == 0, done.stderr
    lags = {
        name: apis.resources[f"{FUNCTIONS}/{name}"]["serviceConfig"]["environmentVariables"][
            "LIBRA_LAG_SECONDS"
        ]
        for name in (*TRIGGERS, "libra-recompute")
    }
    assert lags == dict.fromkeys(TRIGGERS, "400") | {"libra-recompute": "600"}
    assert "NOT YET DONE: LIBRA_LAG_SECONDS=400 is not yet deployed to the recompute" in done.stdout


def test_other_rules_are_left_alone_unless_replaced(deploy: Deploy, apis: GoogleApis) -> None:
    """Rules may guard more than Libra: they are replaced only when told."""
    ruleset = apis.resources["firebaserules/v1/projects/kitchen-1/releases/cloud.firestore"]["rulesetName"]
    theirs = "rules_version = '2'; // theirs"
    apis.resources[f"firebaserules/v1/{ruleset}"]["source"]["files"][0]["content"] = theirs
    before = len(apis.changes())
    kept = deploy("up", *WHERE, "--only=rules")
    assert "other rules are in force and were left as they are" in kept.stderr
    assert apis.changes()[before:] == []
    deploy("up", *WHERE, "--only=rules", "--rules=replace")
    assert [it.method for it in apis.changes()[before:]] == ["POST", "PATCH"]


def test_options_bring_recovery_backups_and_secrets(deploy: Deploy, apis: GoogleApis) -> None:
    """Point-in-time recovery, a daily backup and a secret's reader are there once asked for."""
    home = "secretmanager/v1/projects/kitchen-1/secrets/webhook-key"
    done = deploy(
        "up",
        *WHERE,
        "--only=database,accounts,backup",
        "--pitr=on",
        "--backup=daily",
        "--backup-retention=14d",
        "--secrets=WEBHOOK_KEY=webhook-key:latest",
    )
    assert done.returncode == 0, done.stderr
    recovery = apis.change("PATCH", DATABASE).body
    assert recovery["pointInTimeRecoveryEnablement"] == "POINT_IN_TIME_RECOVERY_ENABLED"
    assert apis.change("POST", f"{DATABASE}/backupSchedules").body["retention"] == "1209600s"
    assert apis.policies[home]["bindings"][0]["members"] == [f"serviceAccount:{account('libra-runtime')}"]


def test_status_says_what_is_deployed(deploy: Deploy, apis: GoogleApis) -> None:
    """One look shows the functions, retries, the schedule, the database, the index and the policy."""
    before = len(apis.changes())
    done = deploy("status", *WHERE)
    assert done.returncode == 0, done.stderr
    assert apis.changes()[before:] == []
    lines = {line.split()[0]: line for line in done.stdout.splitlines()}
    assert "ACTIVE" in lines["libra-on-created"]
    assert "RETRY_POLICY_RETRY" in lines["libra-on-created"]
    assert "Europe/Zurich" in lines["schedule"]
    assert lines["indexes"].endswith(f"{len(indexes.declared()['indexes'])} READY")
    assert "ACTIVE" in lines["time-to-live"]


def test_down_removes_what_up_made_and_no_data(deploy: Deploy, apis: GoogleApis) -> None:
    """The functions, the schedule, the accounts and their roles go; the database and its settings stay."""
    made = deploy("up", *WHERE, "--only=backup", "--backup=daily")
    assert made.returncode == 0, made.stderr
    done = deploy("down", *WHERE)
    assert done.returncode == 0, done.stderr
    gone = [path for path in apis.resources if re.match(r"cloudfunctions|cloudscheduler|iam/", path)]
    assert gone == []
    assert not apis.policies["cloudresourcemanager/v1/projects/kitchen-1"].get("bindings")
    database = "firestore/v1/projects/kitchen-1/databases/(default)"
    assert database in apis.resources
    kept = {path.split("/")[6] for path in apis.resources if path.startswith(f"{database}/")}
    assert kept == {"collectionGroups", "backupSchedules"}


def test_down_deletes_indexes_and_data_only_when_named(deploy: Deploy, apis: GoogleApis) -> None:
    """The database goes when it is named, its protection first; another name is refused before any call."""
    before = len(apis.requests)
    refused = deploy("down", *WHERE, "--delete-database=customers")
    assert refused.returncode == 2
    assert "the database here is (default)" in refused.stderr
    assert len(apis.requests) == before
    done = deploy("down", *WHERE, "--delete-indexes", "--delete-database=(default)")
    assert done.returncode == 0, done.stderr
    assert not [path for path in apis.resources if "/indexes/" in path]
    protection = [it.body for it in apis.changes() if it.method == "PATCH" and it.path.endswith("(default)")][
        -1
    ]
    assert protection["deleteProtectionState"] == "DELETE_PROTECTION_DISABLED"
    assert "firestore/v1/projects/kitchen-1/databases/(default)" not in apis.resources


def test_functions_that_firebase_deploys_are_granted_what_they_need(deploy: Deploy, apis: GoogleApis) -> None:
    """Firebase has a function's own account deliver its events and call its schedule, so that one may."""
    done = deploy("up", *WHERE, "--for-firebase", "--only=accounts,invokers")
    assert done.returncode == 0, done.stderr
    member = f"serviceAccount:{account('libra-runtime')}"
    project = apis.policies["cloudresourcemanager/v1/projects/kitchen-1"]["bindings"]
    roles = {it["role"] for it in project if member in it["members"]}
    assert roles == {"roles/datastore.user", "roles/eventarc.eventReceiver"}
    for service in (*TRIGGERS, "libra-recompute"):
        policy = apis.policies[f"run/v1/projects/kitchen-1/locations/europe-west6/services/{service}"]
        assert any(member in it["members"] for it in policy["bindings"] if it["role"] == "roles/run.invoker")


def test_a_failing_call_stops_it_and_names_the_step(deploy: Deploy, apis: GoogleApis) -> None:
    """What failed, Google's words, and the role to ask for; nothing after it is tried."""
    apis.refuse(
        "POST", f"{FUNCTIONS}", Refusal(403, "PERMISSION_DENIED", "Permission 'x' denied on resource")
    )
    before = len(apis.changes())
    done = deploy("up", *WHERE, "--only=functions,schedule")
    apis.refusals.clear()
    assert done.returncode == 1
    assert 'the step "Deploy the recompute libra-recompute (a few minutes)" failed' in done.stderr
    assert "Permission 'x' denied" in done.stderr
    assert "roles/cloudfunctions.admin" in done.stderr
    assert not [it for it in apis.changes()[before:] if it.api == "cloudscheduler"]


def test_a_grant_that_is_not_known_yet_is_waited_for(deploy: Deploy, apis: GoogleApis) -> None:
    """A new account's role takes minutes to reach Eventarc: `up` tries again in place of failing."""
    words = "Permission denied while using the Eventarc Service Agent. It may take a few minutes."
    apis.refuse("POST", f"{FUNCTIONS}", Refusal(400, "FAILED_PRECONDITION", words, times=2))
    done = deploy("up", *WHERE, "--only=functions")
    apis.refusals.clear()
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("not known everywhere yet") == 2
    assert f"{FUNCTIONS}/libra-recompute" in apis.resources

"""What `firebase deploy` would ask Google for, as the pinned tools themselves make it of the staged folder.

The tools are not sent to a cloud: their own code reads the folder and the parameters, and builds the
requests. That is as far as they can be followed without an account.
"""

import json
import os
import subprocess
from pathlib import Path

import pytest

from deploy.stage import CONFIG, ROOT, STAGED
from tests.firebase.conftest import Json

TOOLS = ROOT / "node_modules" / "firebase-tools"
RUNTIME = "libra-runtime@kitchen-1.iam.gserviceaccount.com"
PARAMETERS = {
    "LIBRA_REGION": "europe-west1",
    "LIBRA_LOCATION": "eur3",
    "LIBRA_TIME_ZONE": "Europe/Zurich",
    "LIBRA_MAX_INSTANCES": "7",
    "THREADS": "40",
}


@pytest.fixture(scope="module")
def asked() -> Json:
    """The requests for the functions and the jobs, by function."""
    subprocess.run([ROOT / "deploy.sh", "stage"], env=dict(os.environ) | PARAMETERS, check=True, timeout=170)
    script = str(Path(__file__).with_name("resolve.js"))
    words = ["node", script, str(TOOLS), str(STAGED), str(CONFIG / ".env"), "kitchen-1"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


def test_firebase_deploys_the_trigger_with_retries(asked: Json) -> None:
    """Retried, in the database's location, on the creation of an entry, delivered by its own account."""
    trigger = asked["functions"]["libra-on-created"]["eventTrigger"]
    filters = sorted(trigger.pop("eventFilters"), key=lambda it: str(it["attribute"]))
    assert trigger == {
        "eventType": "google.cloud.firestore.document.v1.created",
        "retryPolicy": "RETRY_POLICY_RETRY",
        "triggerRegion": "eur3",
        "serviceAccountEmail": RUNTIME,
    }
    assert filters == [
        {"attribute": "database", "value": "(default)"},
        {"attribute": "document", "value": "libra/{entryId}", "operator": "match-path-pattern"},
        {"attribute": "namespace", "value": "(default)"},
    ]


def test_firebase_deploys_the_functions_as_gcloud_does(asked: Json) -> None:
    """Region, account, ingress, concurrency, memory, time and instances follow the same parameters."""
    trigger = asked["functions"]["libra-on-created"]
    assert trigger["name"] == "projects/kitchen-1/locations/europe-west1/functions/libra-on-created"
    services = {name: it["serviceConfig"] for name, it in asked["functions"].items()}
    for service in services.values():
        assert service.pop("serviceAccountEmail") == RUNTIME
        assert service.pop("ingressSettings") == "ALLOW_INTERNAL_ONLY"
        assert service.pop("availableCpu") == "1"
        del service["environmentVariables"]
    for trigger_name in ("libra-on-created", "libra-on-updated", "libra-on-deleted"):
        assert services[trigger_name] == {
            "availableMemory": "512Mi",
            "maxInstanceRequestConcurrency": 40,
            "minInstanceCount": 0,
            "maxInstanceCount": 7,
            "timeoutSeconds": 120,
        }
    assert services["libra-recompute"] == {
        "availableMemory": "1024Mi",
        "maxInstanceRequestConcurrency": 1,
        "minInstanceCount": 0,
        "maxInstanceCount": 1,
        "timeoutSeconds": 3600,
    }


def test_firebase_schedules_the_recompute(asked: Json) -> None:
    """Nightly in the configured zone, with a token, retries and as long to answer as there can be."""
    job = asked["jobs"]["libra-recompute"]
    assert (job["schedule"], job["timeZone"]) == ("0 2 * * *", "Europe/Zurich")
    assert job["httpTarget"]["httpMethod"] == "POST"
    assert job["httpTarget"]["oidcToken"]["serviceAccountEmail"] == RUNTIME
    assert job["attemptDeadline"] == "1800s"
    assert job["retryConfig"]["retryCount"] == 3

"""Google's APIs on loopback, as far as `deploy.sh` needs them: a recorder that the real gcloud talks to.

Every request is kept, and what it creates is there for the next one, so that a second `deploy.sh up`
meets the project that the first one left. Answers have the shape that gcloud's own client demands;
nothing is checked here that Google would check: the tests look at the requests.

Over 300 lines because each API of Google that gcloud asks has its answers here, in one recorder.
"""

import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

Json = dict[str, Any]

_METADATA = {"cloudfunctions": "google.cloud.functions.v2.OperationMetadata"}

APIS = (
    "artifactregistry",
    "bigquery",
    "cloudbilling",
    "cloudbuild",
    "cloudfunctions",
    "cloudresourcemanager",
    "cloudscheduler",
    "eventarc",
    "firebasehosting",
    "firebaserules",
    "firestore",
    "iam",
    "logging",
    "monitoring",
    "pubsub",
    "run",
    "secretmanager",
    "serviceusage",
    "storage",
)
"""The endpoints that gcloud is pointed here; each has its own first path segment."""

LISTS = {
    *("alertPolicies", "backupSchedules", "dashboards", "jobs", "metrics"),
    *("services", "serviceLevelObjectives"),
}
"""The collections that a GET lists, empty or not."""
READS = frozenset({"GET"})
READING_VERBS = (":getIamPolicy", ":testIamPermissions", ":generateUploadUrl", "getDefaultServiceAccount")


@dataclass(frozen=True)
class Request:
    """One request that reached an API."""

    method: str
    api: str
    path: str
    query: dict[str, list[str]]
    body: Json
    raw: bytes = field(repr=False)

    @property
    def changes(self) -> bool:
        """Whether it asks for a change, as opposed to a look."""
        return self.method not in READS and not self.path.endswith(READING_VERBS)


class Refusal(Exception):  # noqa: N818 - an answer, not a fault of the recorder
    """An HTTP error to answer with, so many times."""

    def __init__(self, code: int, status: str, message: str, times: int = 1_000) -> None:
        super().__init__(message)
        self.code, self.status, self.message, self.times = code, status, message, times


class GoogleApis:
    """The recorder and the project it stands for.

    Attributes:
        requests: what was asked, in order.
        refusals: answers to give instead: (method, a pattern for `api/path`) -> the refusal.
        resources: what exists, by `api/path`.
        lacking: permissions that the caller has not.
        releases: what each site of Firebase Hosting served, the latest last.
        now: when functions say that they were deployed.

    Over 200 lines because each method is one call of an API, and all share the resources of one project.
    """

    def __init__(self, project: str = "kitchen-1") -> None:
        self.project = project
        self.requests: list[Request] = []
        self.refusals: dict[tuple[str, str], Refusal] = {}
        self.resources: dict[str, Json] = {
            f"cloudresourcemanager/v1/projects/{project}": {
                "projectId": project,
                "projectNumber": "1234567890",
                "lifecycleState": "ACTIVE",
            },
            f"cloudbilling/v1/projects/{project}/billingInfo": {"billingEnabled": True},
        }
        self.enabled: set[str] = set()
        self.policies: dict[str, Json] = {}
        self.lacking: set[str] = set()
        self.now = datetime.now(UTC)
        self.uploads: list[bytes] = []
        self.releases: dict[str, list[Json]] = {}
        self._lock = threading.Lock()
        self._operations = 0
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())

    @contextmanager
    def serving(self) -> Iterator[Self]:
        """Answer requests until the block ends."""
        thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield self
        finally:
            self._server.shutdown()
            self._server.server_close()
            thread.join()

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def environment(self) -> dict[str, str]:
        """What points gcloud here."""
        overrides = {f"CLOUDSDK_API_ENDPOINT_OVERRIDES_{api.upper()}": f"{self.url}/{api}/" for api in APIS}
        # gcloud puts the region in front of Cloud Run's host: a proxy is asked for any host.
        return overrides | {"http_proxy": self.url}

    def changes(self) -> list[Request]:
        """The requests that asked for a change."""
        return [request for request in self.requests if request.changes]

    def change(self, method: str, pattern: str) -> Request:
        """The one change whose `api/path` matches."""
        found = [
            request
            for request in self.changes()
            if request.method == method and re.fullmatch(pattern, f"{request.api}/{request.path}")
        ]
        assert len(found) == 1, f"{method} {pattern}: {len(found)} requests among {self.changes()}"
        return found[0]

    def refuse(self, method: str, pattern: str, refusal: Refusal) -> None:
        """Answer matching requests with an error from now on."""
        self.refusals[method, pattern] = refusal

    def answer(self, request: Request) -> Json:
        """Keep the request and say what Google would."""
        with self._lock:
            self.requests.append(request)
            target = f"{request.api}/{request.path}"
            for (method, pattern), refusal in self.refusals.items():
                if method == request.method and refusal.times and re.fullmatch(pattern, target):
                    refusal.times -= 1
                    raise refusal
            for (method, pattern), reply in self._routes().items():
                match = re.fullmatch(pattern, target)
                if match and method == request.method:
                    return reply(request, match)
            return self._generic(request, target)

    def _routes(self) -> dict[tuple[str, str], Callable[[Request, re.Match[str]], Json]]:
        return {
            ("GET", r"cloudbuild/v1/.*/operations/[^/]+"): lambda *_: self._built(),
            ("GET", r"(.*)/operations/[^/]+"): lambda _, match: self._done(match[1]),
            ("POST", r"(.*):getIamPolicy"): lambda _, match: self._policy(match[1]),
            ("GET", r"(.*):getIamPolicy"): lambda _, match: self._policy(match[1]),
            ("POST", r"(.*):setIamPolicy"): self._set_policy,
            ("POST", r"cloudresourcemanager/.*:testIamPermissions"): self._test_permissions,
            ("GET", r"serviceusage/v1/projects/[^/]+/services"): lambda *_: self._services(),
            ("POST", r"serviceusage/v1/projects/[^/]+/services:batchEnable"): self._enable,
            ("POST", r"serviceusage/v1/projects/[^/]+/services/([^/]+):enable"): self._enable_one,
            ("GET", r"serviceusage/v1/projects/[^/]+/services/([^/:]+)"): self._service,
            ("GET", r"cloudfunctions/v2/projects/[^/]+/locations/[^/]+/runtimes"): lambda *_: {
                "runtimes": [{"name": "python311", "environment": "GEN_2", "stage": "GA"}]
            },
            ("GET", r"run/v1/projects/([^/]+)/locations"): lambda *_: {
                "locations": [
                    {"name": f"projects/{self.project}/locations/{region}", "locationId": region}
                    for region in ("europe-west1", "europe-west4", "europe-west6", "us-central1")
                ]
            },
            ("POST", r"cloudfunctions/v2/(.*)/functions:generateUploadUrl"): lambda *_: {
                "uploadUrl": f"{self.url}/upload/source.zip",
                "storageSource": {"bucket": "gcf-v2-uploads", "object": "source.zip"},
            },
            ("PUT", r"upload/source.zip"): self._upload,
            ("POST", r"(cloudfunctions/v2/.*/functions)"): self._create_function,
            ("PATCH", r"(cloudfunctions/v2/.*/functions/[^/]+)"): self._patch_function,
            ("GET", r"cloudbuild/v1/.*/defaultServiceAccount"): lambda *_: {
                "serviceAccountEmail": "projects/1/serviceAccounts/1-compute@developer.gserviceaccount.com"
            },
            ("POST", r"(firestore/v1/projects/[^/]+/databases)"): self._create_database,
            ("POST", r"(firestore/v1/.*/collectionGroups/[^/]+/indexes)"): self._create_index,
            ("PATCH", r"(firestore/v1/.*/fields/[^/]+)"): self._patch_field,
            ("PATCH", r"(firestore/v1/projects/[^/]+/databases/[^/]+)"): self._patch_long,
            ("DELETE", r"(firestore/v1/projects/[^/]+/databases/[^/]+)"): self._delete_long,
            ("DELETE", r"firestore/v1/.*/collectionGroups/-/indexes/([^/]+)"): self._delete_index,
            ("GET", r"(firestore/v1/.*/collectionGroups)/-/indexes"): lambda _, match: {
                "indexes": self._under(match[1], "/indexes/")
            },
            ("GET", r"(firestore/v1/.*/collectionGroups)/(?:-|__default__)/fields"): self._list_fields,
            ("POST", r"(iam/v1/projects/[^/]+/serviceAccounts)"): self._create_account,
            ("GET", r"iam/v1/projects/-/serviceAccounts/(.+)"): self._account,
            ("DELETE", r"iam/v1/projects/-/serviceAccounts/(.+)"): self._delete_account,
            ("POST", r"(cloudscheduler/v1/.*/jobs)"): self._create_job,
            ("DELETE", r"(cloudfunctions/.*|run/.*)"): self._delete_long,
            ("POST", r"(firebaserules/v1/projects/[^/]+/rulesets)"): self._create_ruleset,
            ("POST", r"(firebaserules/v1/projects/[^/]+/releases)"): self._create_release,
            ("POST", r"(firestore/v1/.*/backupSchedules)"): self._create_backup_schedule,
            ("GET", r"firebasehosting/v1beta1/projects/[^/]+/sites/([^/]+)/releases"): lambda _, match: {
                "releases": self.releases.get(match[1], [])[::-1][:1]
            },
            ("POST", r"firebasehosting/.*/sites/([^/]+)(?:/channels/live)?/releases"): self._release,
            ("GET", r"(storage/b)"): lambda _, match: {"items": self._under(match[1], "")},
            ("POST", r"upload/storage/v1/b/([^/]+)/o"): self._upload_object,
            ("GET", r"(pubsub/v1/projects/[^/]+/(topics|subscriptions))"): lambda _, match: {
                match[2]: self._under(match[1], "")
            },
            ("PUT", r"(pubsub/v1/projects/[^/]+/(?:topics|subscriptions)/[^/]+)"): self._put_pubsub,
            ("PATCH", r"(pubsub/v1/projects/[^/]+/(?:topics|subscriptions)/[^/]+)"): self._patch_pubsub,
            ("POST", r"(artifactregistry/v1/.*/repositories)"): self._create_repository,
            ("DELETE", r"(artifactregistry/.*)"): self._delete_long,
            ("POST", r"run/v2/(projects/[^/]+/locations/[^/]+)/builds:submit"): lambda *_: {
                "buildOperation": self._built()
            },
            ("POST", r"(bigquery/bigquery/v2/.*/(?:datasets|tables))"): self._create_in_bigquery,
            ("POST", r"(logging/v2/projects/[^/]+/metrics)"): self._create_metric,
            ("POST", r"(monitoring/v3/projects/[^/]+/alertPolicies)"): self._create_policy,
            ("POST", r"(monitoring/v3/projects/[^/]+/services)"): self._create_service,
            (
                "POST",
                r"(monitoring/v3/projects/[^/]+/services/[^/]+/serviceLevelObjectives)",
            ): self._create_objective,
            ("GET", r"(monitoring/v3/projects/[^/]+/services)"): lambda _, match: {
                "services": [it for it in self._under(match[1], "") if "custom" in it]
            },
            ("POST", r"monitoring/v1/(projects/[^/]+)/dashboards"): self._create_board,
            ("POST", r"(run/apis/serving.knative.dev/v1/namespaces/[^/]+/services)"): self._put_service,
            ("PUT", r"(run/apis/serving.knative.dev/v1/namespaces/[^/]+/services)/[^/]+"): self._put_service,
        }

    def _generic(self, request: Request, target: str) -> Json:
        """A plain resource: a look, a list, a change or an end."""
        if request.method == "GET":
            if target in self.resources:
                return self.resources[target]
            if target.rpartition("/")[2] in LISTS:
                return {target.rpartition("/")[2]: self._under(target, "")}
        elif target in self.resources and request.method == "DELETE":
            del self.resources[target]
            return {}
        elif target in self.resources and request.method in {"PATCH", "PUT"}:
            self.resources[target] |= request.body
            return self.resources[target]
        raise Refusal(404, "NOT_FOUND", f"{target} was not found")

    def _under(self, prefix: str, within: str) -> list[Json]:
        return [it for path, it in self.resources.items() if path.startswith(prefix + "/") and within in path]

    def _done(self, target: str, kind: str = "google.protobuf.Empty") -> Json:
        """An operation that has ended; its name is where its API keeps operations."""
        self._operations += 1
        home = re.sub(r"(/databases/[^/]+|/locations/[^/]+)/.*", r"\1", self._name(target))
        return {
            "name": f"{home}/operations/{self._operations}",
            "done": True,
            "metadata": {"@type": f"type.googleapis.com/{_METADATA.get(target.partition('/')[0], kind)}"},
            "response": {"@type": f"type.googleapis.com/{kind}"},
        }

    def _name(self, target: str) -> str:
        return re.sub(r"^[^/]+/v\d/", "", target)

    def _policy(self, target: str) -> Json:
        return self.policies.get(target, {"version": 1, "etag": "BwX=", "bindings": []})

    def _set_policy(self, request: Request, match: re.Match[str]) -> Json:
        self.policies[match[1]] = request.body["policy"]
        return self.policies[match[1]]

    def _test_permissions(self, request: Request, _: re.Match[str]) -> Json:
        return {"permissions": [it for it in request.body["permissions"] if it not in self.lacking]}

    def _services(self) -> Json:
        return {
            "services": [
                {
                    "name": f"projects/1234567890/services/{name}",
                    "config": {"name": name, "title": name},
                    "state": "ENABLED",
                }
                for name in sorted(self.enabled)
            ]
        }

    def _service(self, _: Request, match: re.Match[str]) -> Json:
        return {"name": match[0], "state": "ENABLED" if match[1] in self.enabled else "DISABLED"}

    def _enable(self, request: Request, _: re.Match[str]) -> Json:
        self.enabled.update(request.body["serviceIds"])
        return self._done("serviceusage/v1")

    def _enable_one(self, _: Request, match: re.Match[str]) -> Json:
        self.enabled.add(match[1])
        return self._done("serviceusage/v1")

    def _upload(self, request: Request, _: re.Match[str]) -> Json:
        self.uploads.append(request.raw)
        return {}

    def _create_function(self, request: Request, match: re.Match[str]) -> Json:
        return self._put_function(f"{match[1]}/{request.query['functionId'][0]}", request.body)

    def _patch_function(self, request: Request, match: re.Match[str]) -> Json:
        return self._put_function(match[1], self.resources[match[1]] | request.body)

    def _put_function(self, target: str, body: Json) -> Json:
        name, region = target.rpartition("/")[2], target.split("/")[5]
        service = f"projects/{self.project}/locations/{region}/services/{name}"
        uri = f"https://{name}-abc123-oa.a.run.app"
        self.resources[target] = body | {
            "name": self._name(target),
            "state": "ACTIVE",
            "environment": "GEN_2",
            "updateTime": self.now.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
            "url": f"https://{region}-{self.project}.cloudfunctions.net/{name}",
            "serviceConfig": body.get("serviceConfig", {}) | {"service": service, "uri": uri},
        }
        self.resources[f"run/apis/serving.knative.dev/v1/namespaces/{self.project}/services/{name}"] = {}
        return self._done(target, "google.cloud.functions.v2.Function")

    def _delete_long(self, _: Request, match: re.Match[str]) -> Json:
        if match[1] not in self.resources:
            raise Refusal(404, "NOT_FOUND", f"{match[1]} was not found")
        del self.resources[match[1]]
        return self._done(match[1])

    def _create_database(self, request: Request, match: re.Match[str]) -> Json:
        target = f"{match[1]}/{request.query['databaseId'][0]}"
        self.resources[target] = {
            "pointInTimeRecoveryEnablement": "POINT_IN_TIME_RECOVERY_DISABLED",
            "deleteProtectionState": "DELETE_PROTECTION_DISABLED",
            "name": self._name(target),
        } | request.body
        return self._done(target, "google.firestore.admin.v1.Database")

    def _patch_long(self, request: Request, match: re.Match[str]) -> Json:
        self.resources[match[1]] |= request.body
        return self._done(match[1])

    def _create_index(self, request: Request, match: re.Match[str]) -> Json:
        target = f"{match[1]}/CICAgOjXh4EK{self._operations}"
        fields = [*request.body["fields"], {"fieldPath": "__name__", "order": "ASCENDING"}]
        self.resources[target] = request.body | {
            "name": self._name(target),
            "state": "READY",
            "fields": fields,
        }
        return self._done(match[1])

    def _delete_index(self, _: Request, match: re.Match[str]) -> Json:
        gone = next(path for path in self.resources if path.endswith(f"/indexes/{match[1]}"))
        del self.resources[gone]
        return {}

    def _patch_field(self, request: Request, match: re.Match[str]) -> Json:
        mask = request.query.get("updateMask", ["indexConfig,ttlConfig"])[0].split(",")
        field_now = self.resources.get(match[1], {"name": self._name(match[1])})
        for part in mask:
            field_now.pop(part, None)
            if part in request.body:
                field_now[part] = request.body[part] | ({"state": "ACTIVE"} if part == "ttlConfig" else {})
        self.resources[match[1]] = field_now
        return self._done(match[1])

    def _list_fields(self, request: Request, match: re.Match[str]) -> Json:
        wanted = "ttlConfig" if "ttlConfig" in request.query.get("filter", [""])[0] else "indexConfig"
        return {"fields": [it for it in self._under(match[1], "/fields/") if wanted in it]}

    def _create_in_bigquery(self, request: Request, match: re.Match[str]) -> Json:
        reference = request.body.get("tableReference") or request.body["datasetReference"]
        name = reference.get("tableId") or reference["datasetId"]
        self.resources[f"{match[1]}/{name}"] = dict(request.body)
        return request.body

    def _create_account(self, request: Request, match: re.Match[str]) -> Json:
        email = f"{request.body['accountId']}@{self.project}.iam.gserviceaccount.com"
        self.resources[f"iam/accounts/{email}"] = {
            "name": f"{self._name(match[1])}/{email}",
            "email": email,
            "uniqueId": "1",
        }
        return self.resources[f"iam/accounts/{email}"]

    def _account(self, _: Request, match: re.Match[str]) -> Json:
        found = self.resources.get(f"iam/accounts/{match[1]}")
        if found is None:
            raise Refusal(404, "NOT_FOUND", f"Unknown service account {match[1]}")
        return found

    def _delete_account(self, request: Request, match: re.Match[str]) -> Json:
        self._account(request, match)
        del self.resources[f"iam/accounts/{match[1]}"]
        return {}

    def _create_job(self, request: Request, match: re.Match[str]) -> Json:
        name = request.body["name"].rpartition("/")[2]
        self.resources[f"{match[1]}/{name}"] = request.body | {"state": "ENABLED"}
        return self.resources[f"{match[1]}/{name}"]

    def _create_ruleset(self, request: Request, match: re.Match[str]) -> Json:
        target = f"{match[1]}/{self._operations}"
        self.resources[target] = request.body | {"name": self._name(target)}
        return self.resources[target]

    def _create_release(self, request: Request, match: re.Match[str]) -> Json:
        self.resources[f"{match[1]}/{request.body['name'].rpartition('/releases/')[2]}"] = request.body
        return request.body

    def _create_backup_schedule(self, request: Request, match: re.Match[str]) -> Json:
        target = f"{match[1]}/1"
        self.resources[target] = request.body | {"name": self._name(target)}
        return self.resources[target]

    def _release(self, request: Request, match: re.Match[str]) -> Json:
        self.releases.setdefault(match[1], []).append({"releaseTime": "2025-09-05T02:00:00Z", **request.body})
        return {}

    def _create_metric(self, request: Request, match: re.Match[str]) -> Json:
        """Google gives its descriptor a name and a type."""
        name = request.body["name"]
        kind = {"name": f"projects/{self.project}/metricDescriptors/{name}", "type": f"user/{name}"}
        descriptor = request.body.get("metricDescriptor", {}) | kind
        self.resources[f"{match[1]}/{name}"] = request.body | {"metricDescriptor": descriptor}
        return self.resources[f"{match[1]}/{name}"]

    def _create_policy(self, request: Request, match: re.Match[str]) -> Json:
        """Google numbers policies and conditions."""
        self._operations += 1
        target = f"{match[1]}/{self._operations}"
        self.resources[target] = request.body | {"name": self._name(target)}
        return self.resources[target]

    def _create_service(self, request: Request, match: re.Match[str]) -> Json:
        return self._named(match[1], request.query["serviceId"][0], request.body)

    def _create_objective(self, request: Request, match: re.Match[str]) -> Json:
        """An objective is of a service that there is."""
        if match[1].rpartition("/")[0] not in self.resources:
            raise Refusal(404, "NOT_FOUND", f"{match[1]} was not found")
        return self._named(match[1], request.query["serviceLevelObjectiveId"][0], request.body)

    def _named(self, collection: str, name: str, body: Json) -> Json:
        target = f"{collection}/{name}"
        self.resources[target] = body | {"name": self._name(target)}
        return self.resources[target]

    def _create_board(self, request: Request, match: re.Match[str]) -> Json:
        name = f"{match[1]}/dashboards/7-b"
        self.resources[f"monitoring/v1/{name}"] = request.body | {"name": name, "etag": "e1"}
        return self.resources[f"monitoring/v1/{name}"]

    def _upload_object(self, request: Request, match: re.Match[str]) -> Json:
        """The last of several parts is the object; its boundary is the first line."""
        boundary = request.raw.partition(b"\r\n" if b"\r\n" in request.raw[:200] else b"\n")[0]
        part = request.raw.split(b"\n" + boundary)[1].replace(b"\r\n\r\n", b"\n\n", 1).partition(b"\n\n")[2]
        self.uploads.append(part)
        return {"bucket": match[1], "name": "source.zip", "generation": "1", "size": str(len(part))}

    def _put_pubsub(self, request: Request, match: re.Match[str]) -> Json:
        self.resources[match[1]] = request.body | {"name": self._name(match[1])}
        return self.resources[match[1]]

    def _patch_pubsub(self, request: Request, match: re.Match[str]) -> Json:
        self.resources[match[1]] |= next(it for it in request.body.values() if isinstance(it, dict))
        return self.resources[match[1]]

    def _create_repository(self, request: Request, match: re.Match[str]) -> Json:
        target = f"{match[1]}/{request.query['repositoryId'][0]}"
        self.resources[target] = request.body | {"name": self._name(target)}
        return self._done(target, "google.devtools.artifactregistry.v1.Repository")

    def _built(self) -> Json:
        """A build that has ended."""
        image = {"name": "image", "digest": "sha256:0"}
        build = {
            "id": "1",
            "projectId": self.project,
            "logUrl": "https://logs",
            "status": "SUCCESS",
            "name": "projects/1/locations/europe-west6/builds/1",
            "results": {"images": [image]},
        }
        kind = "type.googleapis.com/google.devtools.cloudbuild.v1."
        return {
            "name": f"projects/{self.project}/locations/europe-west6/operations/1",
            "done": True,
            "metadata": {"@type": f"{kind}BuildOperationMetadata", "build": build},
            "response": {"@type": f"{kind}Build", **build},
        }

    def _put_service(self, request: Request, match: re.Match[str]) -> Json:
        """A service that is ready at once."""
        metadata = request.body["metadata"]
        name, generation = metadata["name"], metadata.get("generation", 0) + 1
        url, revision = f"https://{name}-abc123-oa.a.run.app", f"{name}-{generation:05}-abc"
        status = {
            "conditions": [{"type": it, "status": "True"} for it in ("Ready", "RoutesReady")],
            "observedGeneration": generation,
            "url": url,
            "latestReadyRevisionName": revision,
            "latestCreatedRevisionName": revision,
            "traffic": [{"revisionName": revision, "percent": 100, "latestRevision": True}],
        }
        body = request.body | {"metadata": metadata | {"generation": generation}, "status": status}
        self.resources[f"{match[1]}/{name}"] = body
        return body

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        apis = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _serve(self) -> None:
                raw = b"".join(self._chunks())
                url = urlsplit(self.path)
                api, _, path = url.path.lstrip("/").partition("/")
                is_json = "json" in self.headers.get("Content-Type", "")
                body = json.loads(raw) if raw and is_json else {}
                request = Request(self.command, api, path, parse_qs(url.query), body, raw)
                try:
                    self._reply(200, apis.answer(request))
                except Refusal as refusal:
                    error = {"code": refusal.code, "status": refusal.status, "message": refusal.message}
                    self._reply(refusal.code, {"error": error})

            def _chunks(self) -> Iterator[bytes]:
                """The body: of a length that is said before, or in chunks, each with its own."""
                if self.headers.get("Transfer-Encoding") != "chunked":
                    yield self.rfile.read(int(self.headers.get("Content-Length") or 0))
                    return
                while size := int(self.rfile.readline(), 16):
                    yield self.rfile.read(size)
                    self.rfile.readline()
                self.rfile.readline()

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _serve  # noqa: N815 - http.server's names

            def _reply(self, code: int, body: Json) -> None:
                data = json.dumps(body).encode()
                self.send_response(code)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_: object) -> None:
                """The tests look at `requests`, not at a log."""

        return Handler

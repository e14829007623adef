"""The board as the pinned Firebase CLI deploys it, whose every endpoint is a recorder on loopback."""

import gzip
import hashlib
import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.gcloud import CommandError, Gcloud
from deploy.stage import ROOT
from deploy.steps.board import FIREBASE, MARK
from tests.deploy.google_apis import GoogleApis, Json, Request

VERSION = "projects/kitchen-1/sites/kitchen-1/versions/1"


class Hosting(GoogleApis):
    """Firebase Hosting, which has none of the files yet."""

    def answer(self, request: Request) -> Json:
        """See `GoogleApis.answer`."""
        for pattern, reply in self._replies(request).items():
            if re.fullmatch(pattern, f"{request.api}/{request.path}"):
                self.requests.append(request)
                return reply
        return super().answer(request)

    def _replies(self, request: Request) -> dict[str, Json]:
        hosting = "firebasehosting/v1beta1/projects/[^/]+/sites/kitchen-1"
        return {
            r"google/oauth2/v3/token": {"access_token": "a-token-of-nobody", "expires_in": 3600, "scope": ""},
            r"firebase/v1beta1/projects/kitchen-1": {
                "projectId": "kitchen-1",
                "projectNumber": "1",
                "resources": {"hostingSite": "kitchen-1"},
            },
            hosting: {"name": "projects/kitchen-1/sites/kitchen-1"},
            f"{hosting}/versions": {"name": VERSION},
            f"{hosting}/versions/1": {"name": VERSION, "status": "FINALIZED"},
            f".*{VERSION}:populateFiles": {
                "uploadUrl": f"{self.url}/upload/files",
                "uploadRequiredHashes": list(request.body.get("files", {}).values()),
            },
            r"upload/files/\w+": {},
        }


@pytest.fixture
def hosting() -> Iterator[Hosting]:
    """A project with Hosting, where everything is permitted."""
    with Hosting().serving() as started:
        yield started


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A copy of the project, so that its built board stays as it is."""
    shutil.copytree(ROOT / "board", tmp_path / "board")
    for name in ("firebase.json", "package.json", "package-lock.json"):
        shutil.copy2(ROOT / name, tmp_path)
    (tmp_path / "node_modules").symlink_to(ROOT / "node_modules", target_is_directory=True)
    return tmp_path


def firebase(hosting: Hosting, root: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """The CLI, which is signed in with a token, as the step calls it."""
    names = {
        "FIREBASE_TOKEN_URL": "google",
        "FIREBASE_API_URL": "firebase",
        "FIREBASE_HOSTING_API_URL": "firebasehosting",
        "FIREBASE_RESOURCEMANAGER_URL": "cloudresourcemanager",
        "FIREBASE_SERVICE_USAGE_URL": "serviceusage",
    }
    own = {name: f"{hosting.url}/{api}" for name, api in names.items()}
    environment = {"PATH": os.environ["PATH"], "HOME": str(root), "FIREBASE_TOKEN": "1//nobody", **own}
    command = (
        "env",
        "FIRESTORE_DATABASE=kitchen",
        *FIREBASE,
        *words,
        "--project=kitchen-1",
        "--non-interactive",
    )
    return subprocess.run(
        command, cwd=root, env=environment, capture_output=True, text=True, timeout=170, check=False
    )


def test_the_page_is_built_uploaded_and_released(hosting: Hosting, root: Path) -> None:
    """For the database that is named, with the headers of firebase.json, and with the step's message."""
    hosting.enabled.add("firebasehosting.googleapis.com")
    done = firebase(hosting, root, "deploy", "--only=hosting", f"--message={MARK}0123")
    assert done.returncode == 0, done.stdout[-1500:]
    page = root / "build" / "board"
    built = {f"/{it.relative_to(page)}": it for it in page.rglob("*.*")}
    assert any(b'"kitchen"' in it.read_bytes() for it in built.values())
    populated = next(it.body["files"] for it in hosting.requests if it.path.endswith(":populateFiles"))
    assert populated.keys() == built.keys()
    uploaded = {gzip.decompress(it.raw) for it in hosting.requests if it.api == "upload"}
    assert uploaded == {it.read_bytes() for it in built.values()}
    for request in hosting.requests:
        if request.api == "upload":
            assert request.path.rpartition("/")[2] == hashlib.sha256(request.raw).hexdigest()
    (final,) = (it.body for it in hosting.requests if it.method == "PATCH")
    declared = json.loads((ROOT / "firebase.json").read_text(encoding="utf-8"))["hosting"]["headers"]
    assert [it["headers"] for it in final["config"]["headers"]] == [
        {header["key"]: header["value"] for header in it["headers"]} for it in declared
    ]
    (release,) = hosting.releases["kitchen-1"]
    assert release["message"] == f"{MARK}0123"


def test_the_site_is_disabled(hosting: Hosting, root: Path) -> None:
    """As `--board=off` asks for it."""
    hosting.enabled.add("firebasehosting.googleapis.com")
    done = firebase(hosting, root, "hosting:disable", "--site=kitchen-1", "--force")
    assert done.returncode == 0, (done.stdout, done.stderr)
    (release,) = hosting.releases["kitchen-1"]
    assert release["type"] == "SITE_DISABLE"


def test_the_step_knows_a_missing_sign_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By what the CLI says, among whatever npm says."""
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("METADATA_SERVER_DETECTION", "none")
    monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS", raising=False)
    listed = ("hosting:sites:list", "--project=kitchen-1", "--non-interactive")
    with pytest.raises(CommandError, match="firebase login"):
        Gcloud(planning=False).look(*listed, program=FIREBASE)

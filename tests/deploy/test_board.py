"""The board as `deploy.sh` deploys it, with doubles of npm and of the Firebase CLI in place of the real ones.

The tests of this module share one project and run in order of the file.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.arguments import options_of
from deploy.gcloud import DeployError, Gcloud
from deploy.steps.base import Deployment
from deploy.steps.board import MARK, SIGN_IN, Board
from tests.deploy.conftest import WHERE, Deploy, deployer
from tests.deploy.google_apis import GoogleApis, Json

BOARD = (*WHERE, "--only=board", "--database=kitchen")
SITE = "kitchen-1"
NPM = """#!/bin/sh
echo "npm $*" >> "{said}"
mkdir -p node_modules && touch node_modules/.package-lock.json
"""
NPX = """#!{python}
import json, os, sys, urllib.request
from pathlib import Path
words = sys.argv[1:]
said = Path("{said}")
print("npm notice: there is a new npm", file=sys.stderr)
with said.open("a") as file:
    print("npx", *words, "with", os.environ.get("FIRESTORE_DATABASE"), file=file)
assert words[:2] == ["--no", "firebase"] and Path("node_modules/.package-lock.json").is_file()
command, flags = words[2], dict(it.lstrip("-").partition("=")[::2] for it in words[3:])
if said.with_name("signed-out").exists():
    sys.exit(print("Error: Failed to authenticate, have you run firebase login?") or 1)
releases = {{
    "deploy": {{"type": "DEPLOY", "message": flags.get("message")}},
    "hosting:disable": {{"type": "SITE_DISABLE"}},
}}
if command in releases:
    project, site = flags["project"], flags.get("site", "{site}")
    url = os.environ["CLOUDSDK_API_ENDPOINT_OVERRIDES_FIREBASEHOSTING"]
    body, kind = json.dumps(releases[command]).encode(), {{"Content-Type": "application/json"}}
    urllib.request.urlopen(
        urllib.request.Request(f"{{url}}v1beta1/projects/{{project}}/sites/{{site}}/releases", body, kind)
    )
"""


class Tools:
    """The doubles, and what they were asked."""

    def __init__(self, folder: Path) -> None:
        self._said = folder / "said.txt"
        self.signed_out = folder / "signed-out"
        (folder / "bin").mkdir()
        for name, text in (("npm", NPM), ("npx", NPX)):
            file = folder / "bin" / name
            file.write_text(text.format(said=self._said, python=sys.executable, site=SITE), encoding="utf-8")
            file.chmod(0o755)

    def asked(self) -> list[str]:
        """What they were asked since the last time."""
        said = self._said.read_text(encoding="utf-8").splitlines() if self._said.exists() else []
        self._said.unlink(missing_ok=True)
        return said


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the doubles are."""
    return tmp_path_factory.mktemp("gcloud")


@pytest.fixture(scope="module")
def tools(folder: Path) -> Tools:
    """npm and npx, in front of the real ones."""
    return Tools(folder)


@pytest.fixture(scope="module")
def apis() -> Iterator[GoogleApis]:
    """A project with Firebase Hosting, which serves nothing."""
    made = GoogleApis()
    site = {"name": f"projects/kitchen-1/sites/{SITE}", "type": "DEFAULT_SITE"}
    made.resources["firebasehosting/v1beta1/projects/kitchen-1/sites"] = {
        "sites": [{"name": "projects/kitchen-1/sites/other", "type": "USER_SITE"}, site]
    }
    with made.serving() as started:
        yield started


@pytest.fixture(scope="module")
def deploy(apis: GoogleApis, gcloud: str, tree: Path, folder: Path, tools: Tools) -> Deploy:
    """`deploy.sh` with the doubles."""
    assert tools
    return deployer(apis, gcloud, tree, folder)


def status(deploy: Deploy) -> str:
    """What `status` says of the board."""
    done = deploy("status", *BOARD, "--json")
    assert done.returncode == 0, done.stderr
    return str(json.loads(done.stdout)["board"])


def test_without_being_asked_for_it_needs_neither_node_nor_a_sign_in(deploy: Deploy, tools: Tools) -> None:
    """It is off by default; a project without it is left as it is."""
    done = deploy("up", *BOARD, "--board=off")
    assert done.returncode == 0, done.stderr
    assert deploy("down", *BOARD).returncode == 0
    assert tools.asked() == []
    assert status(deploy) == "not deployed"


def test_without_a_sign_in_nothing_is_begun(deploy: Deploy, apis: GoogleApis, tools: Tools) -> None:
    """All of `up` is refused before its first change, with the ways to sign in."""
    tools.signed_out.touch()
    done = deploy("up", *WHERE, "--board=on")
    tools.signed_out.unlink()
    assert done.returncode == 1
    assert SIGN_IN in done.stderr
    assert apis.changes() == []
    assert tools.asked() == [
        "npm ci --no-audit --no-fund --loglevel=error",
        "npx --no firebase hosting:sites:list --project=kitchen-1 --non-interactive with None",
    ]


def test_it_is_deployed_for_the_database(deploy: Deploy, apis: GoogleApis, tools: Tools) -> None:
    """The CLI builds the page with the database's id, and `plan` says the same command."""
    done = deploy("up", *BOARD, "--board=on")
    assert done.returncode == 0, done.stderr
    _, deployed = tools.asked()
    (release,) = apis.releases[SITE]
    assert release["message"].startswith(MARK)
    assert deployed == (
        "npx --no firebase deploy --only=hosting --project=kitchen-1 --non-interactive "
        f"--message={release['message']} with kitchen"
    )
    assert status(deploy) == "2025-09-05T02:00:00Z  https://kitchen-1.web.app"
    planned = deploy("plan", *BOARD, "--board=on").stdout
    ran = next(line.strip() for line in done.stderr.splitlines() if line.startswith("   env "))
    assert f"\nnpm ci --no-audit --no-fund --loglevel=error\n{ran}\n" in planned
    assert "firebasehosting.googleapis.com" in deploy("plan", *WHERE, "--board=on").stdout


def test_a_second_run_deploys_nothing(deploy: Deploy, tools: Tools, tree: Path) -> None:
    """The same sources and database; a changed one is deployed again."""
    assert deploy("up", *BOARD, "--board=on").returncode == 0
    assert not [it for it in tools.asked() if "deploy" in it]
    panels = tree / "board" / "panels.json"
    panels.write_text(panels.read_text(encoding="utf-8") + "\n", encoding="utf-8")
    assert deploy("up", *BOARD, "--board=on").returncode == 0
    assert len([it for it in tools.asked() if "deploy" in it]) == 1


@pytest.mark.parametrize("command", ["up", "down"])
def test_who_wants_it_no_more_has_it_taken_away(
    deploy: Deploy, apis: GoogleApis, tools: Tools, command: str
) -> None:
    """By `up` with --board=off, and by `down`; a second time, nothing is left to do."""
    assert deploy("up", *BOARD, "--board=on").returncode == 0
    tools.asked()
    done = deploy(command, *BOARD, "--board=off")
    assert done.returncode == 0, done.stderr
    assert apis.releases[SITE][-1]["type"] == "SITE_DISABLE"
    (asked,) = tools.asked()
    assert "hosting:disable --site=kitchen-1 --project=kitchen-1 --non-interactive --force" in asked
    assert deploy(command, *BOARD, "--board=off").returncode == 0
    assert tools.asked() == []
    assert status(deploy) == "not deployed"


def test_another_page_is_left_alone_unless_it_may_be_replaced(
    deploy: Deploy, apis: GoogleApis, tools: Tools
) -> None:
    """Neither `up` nor `down` touches what somebody else released there."""
    theirs: Json = {"type": "DEPLOY", "message": "our shop", "releaseTime": "2025-09-04T12:00:00Z"}
    apis.releases.setdefault(SITE, []).append(theirs)
    off = deploy("up", *BOARD, "--board=off")
    assert off.returncode == deploy("down", *BOARD).returncode == 0
    refused = deploy("up", *BOARD, "--board=on")
    assert refused.returncode == 1
    assert "serves another page (released 2025-09-04T12:00:00Z); nothing was changed" in refused.stderr
    assert status(deploy) == "not deployed: Firebase Hosting serves another page"
    assert apis.releases[SITE][-1] == theirs
    assert tools.asked() == []
    assert deploy("up", *BOARD, "--board=replace").returncode == 0
    assert apis.releases[SITE][-1]["message"].startswith(MARK)


def test_a_site_that_firebase_json_names_is_the_boards(
    deploy: Deploy, apis: GoogleApis, tools: Tools, tree: Path
) -> None:
    """What it serves counts, not what the project's own site does."""
    file = tree / "firebase.json"
    before = file.read_text(encoding="utf-8")
    named = json.loads(before)
    named["hosting"]["site"] = "other"
    file.write_text(json.dumps(named), encoding="utf-8")
    apis.releases["other"] = [{"type": "DEPLOY", "message": f"{MARK}old", "releaseTime": "then"}]
    try:
        assert status(deploy) == "then  https://other.web.app"
        assert deploy("down", *BOARD).returncode == 0
    finally:
        file.write_text(before, encoding="utf-8")
    assert apis.releases["other"][-1]["type"] == "SITE_DISABLE"
    assert "--site=other" in tools.asked()[-1]


def test_without_npm_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before the first change, and what to install."""
    monkeypatch.setattr("shutil.which", lambda _: None)
    values = options_of(("up", *BOARD, "--board=on"), {}).values
    with pytest.raises(DeployError, match=r"--board on: npm is not installed: Node 20 or newer"):
        Board(Deployment(values, Gcloud(planning=True))).check()

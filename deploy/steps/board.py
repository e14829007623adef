"""The board on Firebase Hosting, if it is wanted. The Firebase CLI deploys it: gcloud has no command for it.

Hosting keeps a message with each release. The board's holds the digest of what it was built from. It tells a
release of the board from another page's, which is never touched unless asked.
"""

import hashlib
import json
import shutil
from collections.abc import Iterator
from typing import Any

from deploy.gcloud import Change, CommandError, DeployError, say
from deploy.google import ApiError, call
from deploy.stage import ROOT
from deploy.steps.base import Step

FIREBASE = ("npx", "--no", "firebase")
"""The pinned CLI of package.json, never one that npx would fetch."""
MARK = "Libra's board "
"""How the message of each release of the board begins."""
SOURCES = ("board", "firebase.json", "package.json", "package-lock.json")
INSTALLED = ROOT / "node_modules" / ".package-lock.json"
SIGN_IN = (
    "sign in to the Firebase CLI, which does not take what `gcloud auth login` gave: `npx firebase login`, "
    "or `gcloud auth application-default login`, or GOOGLE_APPLICATION_CREDENTIALS=FILE for a service account"
)


class Board(Step):
    """The board's page, unless the release that is served is of these sources and this database."""

    name = "board"
    switch = "LIBRA_BOARD"
    needs = "roles/firebasehosting.admin, in a project with Firebase"

    @property
    def title(self) -> str:
        """What is wanted."""
        return "Leave the board out" if self._mode == "off" else "Deploy the board on Firebase Hosting"

    undoing = "Take the board off Firebase Hosting"

    @property
    def _mode(self) -> str:
        return self.deployment.values["LIBRA_BOARD"]

    def check(self) -> None:
        """Refuse what would stop the deployment of the board halfway; it may install the Firebase CLI here.

        Raises:
            DeployError: npm is missing, Hosting serves another page, or the CLI is not signed in.
        """
        if not (shutil.which("npm") and shutil.which("npx")):
            raise DeployError(
                f"--board {self._mode}: npm is not installed: Node 20 or newer, https://nodejs.org"
            )
        served = self._served()
        if served and not _ours(served) and self._mode != "replace":
            raise DeployError(
                f"--board {self._mode}: Firebase Hosting of {self.deployment.project} serves another page "
                f"(released {served.get('releaseTime')}); nothing was changed.\n"
                "  do: --board replace, if the board may take its place; docs/board.md tells another way"
            )
        for change in self._tools():
            self.gcloud.make(change)
        try:
            listed = ("hosting:sites:list", f"--project={self.deployment.project}", "--non-interactive")
            self.gcloud.look(*listed, program=FIREBASE)
        except CommandError as failure:
            if "firebase login" not in str(failure):
                raise
            raise DeployError(f"--board {self._mode}: {SIGN_IN}; nothing was changed") from failure

    def missing(self) -> Iterator[Change]:
        """A release, which the CLI builds first; or the end of it, where the board is not wanted."""
        if self._mode == "off":
            yield from self.surplus()
            return
        wanted = MARK + self._digest()
        if self._served().get("message") == wanted and not self.deployment.force:
            say("   the board is up to date")
            return
        yield from self._tools()
        database = f"FIRESTORE_DATABASE={self.deployment.values['FIRESTORE_DATABASE']}"
        flags = ("--only=hosting", f"--project={self.deployment.project}", "--non-interactive")
        yield Change(("env", database, *FIREBASE, "deploy", *flags, f"--message={wanted}"))

    def surplus(self) -> Iterator[Change]:
        """The release, if the board is what is served."""
        served = self._served()
        if _ours(served):
            yield from self._tools()
            where = (f"--site={served['site']}", f"--project={self.deployment.project}", "--non-interactive")
            yield Change((*FIREBASE, "hosting:disable", *where, "--force"))

    def state(self) -> Iterator[tuple[str, str]]:
        """When what is served was released, and where."""
        served = self._served()
        if not served:
            yield self.name, "not deployed"
        elif not _ours(served):
            yield self.name, "not deployed: Firebase Hosting serves another page"
        else:
            yield self.name, f"{served.get('releaseTime')}  https://{served['site']}.web.app"

    def _served(self) -> dict[str, Any]:
        """The release that the site serves; empty: none, or there is no Firebase Hosting."""
        if self.gcloud.planning:
            return {}
        try:
            site = self._site()
            releases = self._hosting(f"sites/{site}/releases?pageSize=1").get("releases", []) if site else []
        except ApiError as error:
            if error.code not in {403, 404}:
                raise CommandError((*FIREBASE, "hosting:sites:list"), str(error)) from error
            return {}
        return next(({**it, "site": site} for it in releases if it.get("type") != "SITE_DISABLE"), {})

    def _site(self) -> str | None:
        """The one that `firebase.json` names, else the project's own."""
        hosting = json.loads((ROOT / "firebase.json").read_text(encoding="utf-8"))["hosting"]
        if named := hosting.get("site"):
            return str(named)
        listed = self._hosting("sites").get("sites", [])
        own = (it["name"].rpartition("/")[2] for it in listed if it.get("type") == "DEFAULT_SITE")
        return next(own, None)

    def _hosting(self, path: str) -> dict[str, Any]:
        project, environment = self.deployment.project, self.deployment.google()
        return call(
            environment, "GET", "firebasehosting", f"v1beta1/projects/{project}/{path}", payer=project
        )

    def _digest(self) -> str:
        """Of all that the page is built from, and how Hosting serves it."""
        digest = hashlib.sha256(self.deployment.values["FIRESTORE_DATABASE"].encode())
        files = [
            file for name in SOURCES for file in ((ROOT / name), *(ROOT / name).rglob("*")) if file.is_file()
        ]
        for file in sorted(files):
            content = file.read_bytes()
            digest.update(f"\0{file.relative_to(ROOT)}\0{len(content)}\0".encode() + content)
        return digest.hexdigest()[:40]

    def _tools(self) -> Iterator[Change]:
        """npm's packages, as package-lock.json pins them, unless they are here."""
        locked = max((ROOT / name).stat().st_mtime for name in ("package.json", "package-lock.json"))
        if self.gcloud.planning or not INSTALLED.is_file() or INSTALLED.stat().st_mtime < locked:
            yield Change(("npm", "ci", "--no-audit", "--no-fund", "--loglevel=error"))


def _ours(release: dict[str, Any]) -> bool:
    return str(release.get("message", "")).startswith(MARK)

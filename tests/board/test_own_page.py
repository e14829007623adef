"""docs/board.md, "From nothing to a live total in your own web page", followed to the letter."""

import re
import shlex
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import expect

from deploy.stage import ROOT
from local.process import free_port, wait_until
from tests.board.conftest import Board, store_of
from tests.board.test_board import entries, write
from tests.firebase.conftest import PATIENCE, Suite

pytestmark = pytest.mark.timeout(300)

GUIDE = (ROOT / "docs" / "board.md").read_text(encoding="utf-8").partition("## From nothing")[2]


def block(language: str, number: int = 0) -> str:
    """A code block of the guide."""
    found: list[str] = re.findall(rf"^   ```{language}\n(.*?)^   ```$", GUIDE, re.MULTILINE | re.DOTALL)
    return found[number]


@dataclass
class Site:
    """The reader's folder, and where it is served."""

    folder: Path
    address: str


@pytest.fixture
def site(suite: Suite, tmp_path: Path) -> Iterator[Site]:
    """What the guide says, at the suite's own ports. What it installs is what `npm ci` installed here."""
    installed = block("bash").split("npm install ")[1].split()
    assert all((ROOT / "node_modules" / package).is_dir() for package in installed), installed
    (tmp_path / "node_modules").symlink_to(ROOT / "node_modules")
    (tmp_path / "index.html").write_text(block("html"), encoding="utf-8")
    script = block("js")
    for usual, emulator in (("9099", "auth"), ("8080", "firestore")):
        assert usual in script
        script = script.replace(usual, str(suite.ports.by_name[emulator]))
    (tmp_path / "live.js").write_text(script, encoding="utf-8")
    address = f"127.0.0.1:{free_port()}"
    words = shlex.split(block("bash", 1).replace("127.0.0.1:8000", address))
    assert words[:2] == ["npx", "esbuild"]
    words[:2] = [str(tmp_path / "node_modules" / ".bin" / "esbuild")]
    served = subprocess.Popen(words, cwd=tmp_path, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL)
    try:
        wait_until(lambda: answers(address), seconds=PATIENCE, what="the page served")
        yield Site(tmp_path, address)
    finally:
        served.terminate()
        served.communicate()


def answers(address: str) -> bool:
    """Whether somebody serves there."""
    try:
        return httpx.get(f"http://{address}", timeout=5).is_success
    except httpx.TransportError:
        return False


def test_the_guide_leads_to_a_live_total(fresh: Suite, board: Board, site: Site) -> None:
    """The page of the guide shows 0, and follows every entry that is served."""
    board.page.goto(f"http://{site.address}")
    served = board.page.locator("#served")
    expect(served).to_have_text("0")
    _, entry = entries(2)
    for number in (1, 2):
        write(store_of(fresh), f"own{number}", [entry])
        expect(served).to_have_text(str(number))
    board.said = [text for text in board.said if "404" not in text]  # the browser asks for an icon

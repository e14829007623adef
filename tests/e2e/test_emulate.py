"""`make emulate` with a stand-in for the Firebase tools: however it ends, it leaves nothing behind."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from local.process import wait_until
from local.stack import ROOT
from tests.support.stack_processes import wait_until_gone

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")

TOOLS = """#!/bin/sh
# emulators:start --config FILE ...: says that it runs, and goes on until it is ended or told to.
echo $$ > "$(dirname "$0")/running"
test -f "$3" || exit 9
while [ ! -f "$(dirname "$0")/end" ]; do sleep 0.1; done
exit 3
"""
MAIN = """
import sys
from pathlib import Path
from local import suite
folder = Path(sys.argv.pop(1))
suite.ROOT, suite.WORK, suite.STAGED = folder, folder / "work", folder
suite.FIREBASE, suite.BOARD = folder / "firebase", folder / "firebase.json"
suite.main()
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A project's root with the tools in it."""
    shutil.copy2(ROOT / "firebase.json", tmp_path)
    (tmp_path / "firebase").write_text(TOOLS, encoding="utf-8")
    (tmp_path / "firebase").chmod(0o755)
    return tmp_path


def emulate(folder: Path, project: str = "demo-emulate") -> "subprocess.Popen[str]":
    """`python -m local.suite` in that root, as a shell starts it."""
    words = [sys.executable, "-c", MAIN, str(folder), "--project", project]
    return subprocess.Popen(
        words, cwd=ROOT, env=os.environ, stderr=subprocess.PIPE, text=True, start_new_session=True
    )


def left(folder: Path) -> set[str]:
    """The configurations in a root."""
    return {file.name for file in folder.glob("*.json")}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_ended_from_outside_it_takes_its_configuration_and_the_suite_along(
    folder: Path, number: signal.Signals, project: str
) -> None:
    """Ctrl-C, a service manager's SIGTERM, a terminal that is closed: each reaches the whole group here."""
    with emulate(folder, project) as process:
        wait_until((folder / "running").exists, seconds=60, what="the tools are started")
        assert left(folder) == {"firebase.json", "firebase.4400.json"}
        os.killpg(process.pid, number)
        _, said = process.communicate(timeout=60)
    assert said.endswith("\nStopped.\n"), said
    assert process.returncode == 0
    assert left(folder) == {"firebase.json"}
    wait_until_gone(project)


def test_a_suite_that_ends_by_itself_is_over_with_its_status(folder: Path) -> None:
    """And its configuration is gone."""
    (folder / "end").touch()
    with emulate(folder) as process:
        _, said = process.communicate(timeout=60)
    assert process.returncode == 3, said
    assert left(folder) == {"firebase.json"}


def test_without_its_tools_it_says_so_and_leaves_nothing(folder: Path) -> None:
    """What cannot start was configured all the same."""
    (folder / "firebase").unlink()
    with emulate(folder) as process:
        _, said = process.communicate(timeout=60)
    assert (process.returncode, said) == (1, "make emulate: the Firebase tools are not installed: npm ci\n")
    assert left(folder) == {"firebase.json"}

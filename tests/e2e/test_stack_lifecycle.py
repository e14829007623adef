"""The local stack as a whole: up, broken on purpose, down, and nothing left behind."""

import os
import re
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from local import served
from local import stack as stack_module
from local.emulator import QUICK, Emulator
from local.errors import StackError
from local.process import Child, free_port, wait_until
from local.stack import LocalStack
from shared.errors import SettingError
from shared.store.client import FirestoreStore
from tests.support.kitchen import Kitchen
from tests.support.stack_processes import of_project, wait_until_gone

linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc, and the leash is Linux's")


@pytest.fixture(scope="module")
def stack() -> Iterator[LocalStack]:
    """One stack for the tests that leave it as it was: up, with its trigger."""
    with LocalStack(project=f"demo-{uuid.uuid4().hex[:12]}") as running:
        yield running


@pytest.fixture
def shop(stack: LocalStack) -> Iterator[Kitchen]:
    """A kitchen that has written its first entries."""
    store = FirestoreStore.connect(stack.settings)
    shop = Kitchen(store, stack.settings)
    write(stack, shop, 0, 5)
    yield shop
    stack.emulator.reset(stack.project)
    store.close()


def write(stack: LocalStack, shop: Kitchen, first: int, last: int) -> dict[str, Any]:
    """Write entries and wait until they are counted; the relay's counters."""
    received = stack.relay_state()["received"]
    for number in range(first, last):
        shop.write(f"entry-{number}")
    return stack.wait_until_quiet(received + last - first)


def test_a_killed_function_misses_nothing(stack: LocalStack, shop: Kitchen) -> None:
    """What arrives while it is away is delivered when it is back."""
    stack.kill_function()
    ended = r"the function on_libra_created ended; its log .*function\.txt ends with"
    assert re.match(ended, stack.ended() or "")
    for number in range(5, 10):
        shop.write(f"entry-{number}")
    stack.start_function()
    state = write(stack, shop, 10, 15)
    assert stack.ended() is None
    assert state["redelivered"] > 0
    assert shop.totals() == shop.exact() != {}


def test_a_restarted_emulator_is_empty_and_still_fires(stack: LocalStack, shop: Kitchen) -> None:
    """On the same port, without its documents, with the trigger."""
    port = stack.emulator.port
    stack.restart_emulator()
    assert stack.emulator.port == port
    assert shop.entries() == []
    write(stack, shop, 0, 1)
    assert shop.totals() == shop.exact() != {}


def test_a_reset_empties_one_project(stack: LocalStack, shop: Kitchen) -> None:
    """Documents of a project go; the trigger stays."""
    stack.emulator.reset(stack.project)
    assert shop.entries() == []
    assert shop.totals() == {}
    write(stack, shop, 0, 1)
    assert shop.totals() == shop.exact() != {}


@linux
def test_nothing_is_left_behind(project: str, tmp_path: Path) -> None:
    """After the stack every process is gone, and its own log folder is too; one that was given stays."""
    with LocalStack(project=project, recompute=True) as stack:
        assert len(of_project(project)) >= 4
        folder = stack.folder
        assert {log.stem for log in folder.iterdir()} == {"emulator", "function", "recompute", "relay"}
    assert of_project(project) == set()
    assert not folder.exists()
    with LocalStack(project=project, folder=tmp_path):
        pass
    assert (tmp_path / "relay.txt").read_text().startswith('{"severity": "INFO", "message": "relay stopped"')


@linux
def test_a_function_that_does_not_start_says_why(
    project: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error shows the end of its log and where the log is; what had started is stopped."""
    broken = tmp_path / "main.py"
    broken.write_text("raise RuntimeError('the oven is off')\n")
    monkeypatch.setattr(served, "SOURCE", broken)
    with pytest.raises(StackError, match=r"(?s)on_libra_created ended; its log .*function\.txt.*oven is off"):
        LocalStack(project=project, folder=tmp_path).__enter__()
    assert of_project(project) == set()


def test_a_wrong_setting_stops_it_before_anything_starts(project: str, tmp_path: Path) -> None:
    """The function would not start with it: the error names the variable, its value and what is allowed."""
    with pytest.raises(SettingError, match="LIBRA_TIME_ZONE='Mars': an IANA time zone"):
        LocalStack(project=project, folder=tmp_path, settings={"LIBRA_TIME_ZONE": "Mars"})


@linux
def test_nothing_outlives_a_parent_that_is_killed(project: str, tmp_path: Path) -> None:
    """kill -9 of the process that started the stack ends the stack."""
    script = "import pathlib, sys, time; from local.stack import LocalStack\n"
    script += (
        "with LocalStack(project=sys.argv[1], folder=pathlib.Path(sys.argv[2])): print('up'); time.sleep(600)"
    )
    command = [sys.executable, "-u", "-c", script, project, str(tmp_path)]
    environment = os.environ | {"PYTHONPATH": str(stack_module.ROOT)}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as parent:
        try:
            assert parent.stdout
            assert parent.stdout.readline() == "up\n"
            assert len(of_project(project)) >= 3
        finally:
            parent.kill()
    wait_until_gone(project)


def test_an_emulator_that_runs_elsewhere_can_be_used(project: str, tmp_path: Path) -> None:
    """One that was started with the relay's address: its events are counted, and it is not stopped."""
    port = free_port()
    functions = f"127.0.0.1:{port}"
    with Emulator.prepare(os.environ, tmp_path / "e.txt", functions=functions, java=QUICK) as emulator:
        environment = os.environ | {"FIRESTORE_EMULATOR_HOST": emulator.address}
        with LocalStack(project=project, relay_port=port, folder=tmp_path, environment=environment) as stack:
            store = FirestoreStore.connect(stack.settings)
            kitchen = Kitchen(store, stack.settings)
            kitchen.write("entry")
            stack.wait_until_quiet(1)
            assert kitchen.totals() == kitchen.exact() != {}
            store.close()
            with pytest.raises(StackError, match="was running before"):
                stack.restart_emulator()
        assert emulator.healthy()


def test_an_emulator_that_sends_its_events_nowhere_is_refused(
    emulator: Emulator, project: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It registers triggers and never fires them: that is found out at the start, and what to do is said."""
    monkeypatch.setattr(stack_module, "PROBE_SECONDS", 1)
    environment = os.environ | {"FIRESTORE_EMULATOR_HOST": emulator.address}
    refused = LocalStack(project=project, folder=tmp_path, environment=environment)
    with pytest.raises(
        StackError, match=r"sends no events to the relay.*--functions_emulator 127\.0\.0\.1:\d+"
    ):
        refused.__enter__()


@linux
def test_stopping_a_child_stops_what_it_started(tmp_path: Path) -> None:
    """A grandchild that ignores SIGTERM goes too; stopping again does nothing."""
    pid_file = tmp_path / "pid"
    script = f"trap '' TERM; sh -c 'trap \"\" TERM; echo $$ > {pid_file}; while :; do sleep 1; done' & wait"
    child = Child("a shell", ["sh", "-c", script], tmp_path / "log.txt", os.environ)
    wait_until(lambda: pid_file.exists() and pid_file.read_text() != "", seconds=60, what="the grandchild")
    grandchild = int(pid_file.read_text())
    child.stop(seconds=0.2)
    child.stop()
    assert not child.running
    wait_until(lambda: not _lives(grandchild), seconds=60, what="the grandchild gone")


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (ProcessLookupError, FileNotFoundError):
        return False


def test_ctrl_c_reaches_the_parent_only(tmp_path: Path) -> None:
    """A child has a session of its own, so that the parent stops its children in order."""
    child = Child("a sleep", ["sleep", "60"], tmp_path / "log.txt", os.environ)
    assert os.getsid(child.pid) == child.pid != os.getsid(0)
    os.kill(child.pid, signal.SIGTERM)
    wait_until(lambda: not child.running, seconds=60, what="the sleep ended")
    child.kill()

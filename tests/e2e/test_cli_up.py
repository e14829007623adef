"""`libra up` and `libra demo` as a person runs them: started, watched, ended."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import httpx
import pytest

from local.process import free_port
from local.stack import ROOT
from tests.support.stack_processes import of_project, wait_until_gone

ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "FIRESTORE_EMULATOR_HOST"}
linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


def libra(*arguments: str) -> list[str]:
    """The command line."""
    return [sys.executable, "-u", "-m", "cli.main", *arguments]


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    return subprocess.run(
        libra(*arguments),
        env=ENVIRONMENT | environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=170,
        check=False,
    )


def hear_ctrl_c() -> None:
    """A shell's background job is started with SIGINT ignored, and its children would inherit that."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@contextmanager
def up(project: str, *arguments: str) -> Iterator[tuple["subprocess.Popen[str]", str]]:
    """A running `libra up` in a process group of its own, and what it said once all was up."""
    with subprocess.Popen(
        libra("up", "--project", project, "--emulator-port", str(free_port()), *arguments),
        env=ENVIRONMENT,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=hear_ctrl_c,  # noqa: PLW1509 - it only sets a signal's disposition
    ) as process:
        try:
            assert process.stdout
            printed = ""
            while "Ctrl-C stops everything" not in printed:
                line = process.stdout.readline()
                assert line, (printed, process.stderr.read() if process.stderr else "")
                printed += line
            yield process, printed
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


@linux
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_up_tells_where_it_listens_and_ends_cleanly(project: str, number: signal.Signals) -> None:
    """Ctrl-C, as a terminal sends it to the whole group, and SIGTERM: all goes in order, status 0."""
    with up(project) as (process, printed):
        firestore, function, recompute, api, relay = (
            re.search(rf"^  {name} +(\S+)", printed, re.MULTILINE)
            for name in ("Firestore", "function", "recompute", "API", "relay")
        )
        assert firestore
        assert function
        assert recompute
        assert api
        assert relay
        assert httpx.get(f"http://{firestore[1]}").text.strip() == "Ok"
        assert httpx.get(f"http://{relay[1]}/relay").json()["received"] == 0
        assert httpx.get(f"http://{recompute[1]}").status_code == 405
        token = re.search(r"export LIBRA_API_URL=\S+ LIBRA_TOKEN=(\S+)", printed)
        assert token
        headers = {"Authorization": f"Bearer {token[1]}"}
        assert httpx.get(f"{api[1]}/v1/runs", headers=headers).json() == {"runs": [], "next": None}
        assert httpx.get(f"{api[1]}/v1/runs").status_code == 401
        assert f"export FIRESTORE_EMULATOR_HOST={firestore[1]} GOOGLE_CLOUD_PROJECT={project}" in printed
        assert len(of_project(project)) >= 4
        os.killpg(process.pid, number)
        rest, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (0, "")
    assert rest.endswith("Stopped.\n")
    assert of_project(project) == set()


@linux
@pytest.mark.parametrize(
    ("command", "name"), [("java", "the Firestore emulator"), ("services.api.main:app", "the API")]
)
def test_up_says_so_when_a_part_ends_by_itself(project: str, command: str, name: str) -> None:
    """Killed from outside: the message names the part and its log, status 1, nothing is left."""
    with up(project) as (process, printed):
        folder = re.search(r"logs +(\S+)", printed)
        assert folder
        (part,) = (pid for pid in of_project(project) if command in _command(pid))
        os.kill(part, signal.SIGKILL)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    assert errors.startswith(f"libra: {name} ended; its log ")
    wait_until_gone(project)


@linux
def test_up_with_doors_has_pubsub_and_its_topics(project: str) -> None:
    """The address it prints is an emulator with a topic for each source; it goes with the stack."""
    with up(project, "--with", "doors") as (process, printed):
        address = re.search(r"^  Pub/Sub +(\S+)", printed, re.MULTILINE)
        assert address
        assert "PUBSUB_EMULATOR_HOST=127.0.0.1:" in printed
        listed = httpx.get(f"{address[1]}/v1/projects/{project}/topics").json()["topics"]
        names = {topic["name"].rpartition("/")[2] for topic in listed}
        assert names == {"user_events", "user_events-dead", "signals", "signals-dead"}
        os.killpg(process.pid, signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (0, "")
    assert of_project(project) == set()


def test_up_with_something_unknown_names_what_there_is() -> None:
    """Before anything is started."""
    ended = run("up", "--with", "doors,attic")
    assert ended.returncode == 2
    assert "there is no 'attic'; there are doors" in ended.stderr


def _command(pid: int) -> str:
    with open(f"/proc/{pid}/cmdline", encoding="utf-8") as file:
        return file.read()


def test_a_small_demo_is_exact() -> None:
    """Entries, duplicates, bad entries, edits, lost events, a recompute: always exact, no control codes."""
    ended = run("demo", "--entries", "300", "--lost", "20", "--events", "200", "--seed", "5")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.count("exact: ") == 4
    assert "300/300" in ended.stdout
    assert re.search(r"\d+ made twice", ended.stdout)
    assert re.search(r"Rejected: \d+ entries, by reason", ended.stdout)
    assert "15 entries are edited, 6 deleted" in ended.stdout
    assert re.search(r"20 more entries, whose events are lost for good: \d+ totals are short", ended.stdout)
    assert re.search(r"drift +[1-9]\d* in \d+ totals", ended.stdout)
    assert "\x1b" not in ended.stdout
    assert max(map(len, ended.stdout.splitlines())) <= 80


def test_a_demo_that_loses_events_shows_the_differences() -> None:
    """The comparison is a real one: lost events make it fail, with a table and status 1."""
    ended = run("demo", "--entries", "100", "--lost", "0", "--events", "0", "--drop", "0.3")
    assert ended.returncode == 1
    assert "exact: " not in ended.stdout
    assert re.search(r"\d+ differences", ended.stdout)


@pytest.mark.parametrize(
    ("arguments", "environment", "status", "message"),
    [
        (["demo"], {"LIBRA_TIME_ZONE": "Mars"}, 2, "libra: LIBRA_TIME_ZONE='Mars': an IANA time zone"),
        (["generate"], {"LIBRA_LAG_SECONDS": "soon"}, 2, "libra: LIBRA_LAG_SECONDS='soon': a whole number"),
        (["up"], {"FIRESTORE_EMULATOR_HOST": "here"}, 2, "libra: FIRESTORE_EMULATOR_HOST='here': host:port"),
        (["up"], {"FIRESTORE_EMULATOR_HOST": "127.0.0.1:1"}, 1, "libra: FIRESTORE_EMULATOR_HOST=127.0.0.1:1"),
        (["generate"], {"FIRESTORE_EMULATOR_HOST": "127.0.0.1:1"}, 2, "libra: GOOGLE_CLOUD_PROJECT=''"),
        (["import", "no.jsonl"], {}, 2, "Error: Invalid value for 'FILE': File 'no.jsonl' does not exist"),
        (["demo", "--duplicate", "2"], {}, 2, "Error: Invalid value for '--duplicate': 2.0 is not in"),
        (["demo", "--until", "soon"], {}, 2, "Error: Invalid value for '--until': 'soon' is not a date"),
        (["weigh"], {}, 2, "Error: No such command 'weigh'"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(
    arguments: list[str], environment: dict[str, str], status: int, message: str
) -> None:
    """A wrong setting or flag ends with status 2, another expected error with 1, never with a traceback."""
    ended = run(*arguments, **environment)
    assert "Traceback" not in ended.stderr
    assert ended.stderr.strip().splitlines()[-1].startswith(message)
    assert ended.returncode == status


def test_a_demo_runs_where_the_output_can_not_hold_its_letters() -> None:
    """An ASCII terminal shows something else for what it cannot show; the result is the same."""
    ascii_only = {"PYTHONUTF8": "0", "PYTHONIOENCODING": "ascii"}
    ended = run("demo", "--entries", "60", "--lost", "0", "--events", "0", **ascii_only)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert "exact: " in ended.stdout


def test_help_lists_every_command() -> None:
    """With what each does."""
    listed = run("--help").stdout
    for command in ("up", "demo", "generate", "import"):
        assert re.search(rf"^  {command} +[A-Z]", listed, re.MULTILINE)

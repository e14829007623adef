"""`docs/operations.md` names commands, messages and errors that there are."""

import os
import re
import shlex
import subprocess
from pathlib import Path

import pytest

from deploy import parameters
from deploy.arguments import flags_of
from deploy.steps import NAMES
from tests.deploy.conftest import ROOT

PAGE = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
SOURCES = "\n".join(
    file.read_text(encoding="utf-8")
    for folder in ("functions", "services", "shared")
    for file in (ROOT / folder).rglob("*.py")
)
COMMANDS = sorted(set(re.findall(r"\./deploy\.sh [^`\n#&;)]+", PAGE)))


def table(heading: str) -> list[list[str]]:
    """The cells of the first table after a heading, its own heading row left out."""
    after = PAGE.partition(f"\n{heading}\n")[2]
    rows = re.search(r"(?:^\|.*\n)+", after, re.MULTILINE)
    assert rows, heading
    lines = rows[0].splitlines()[2:]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_of_the_page_is_one(command: str) -> None:
    """Its flags and steps are those of `deploy.sh`."""
    words = shlex.split(command.rstrip('."'))[1:]
    if words != ["--help"]:
        assert set(flags_of(words)["only"].split(",")) <= set(NAMES)


def test_the_first_commands_work_as_they_are_written(tree: Path, tmp_path: Path) -> None:
    """Up to the first one that needs a cloud account, in a shell that has none."""
    block = re.search(r"## Deploying\n.*?```bash\n(.*?)^gcloud auth login", PAGE, re.DOTALL | re.MULTILINE)
    assert block
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}
    shell = ["bash", "-euo", "pipefail", "-c", block[1]]
    done = subprocess.run(
        shell, cwd=tree, env=environment, capture_output=True, text=True, timeout=170, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "every entry point imports" in done.stderr
    assert "gcloud functions deploy libra-on-created" in done.stdout


def test_the_page_names_every_step() -> None:
    """In the order in which `up` takes them."""
    assert [cells[0].strip("| `") for cells in table("## Deploying")] == list(NAMES)


def test_the_page_has_the_table_of_parameters() -> None:
    """As `python -m deploy.parameters` prints it."""
    assert f"\n{parameters.table()}\n" in PAGE


def test_every_message_of_the_page_is_logged() -> None:
    """Whoever searches the logs for it finds it."""
    for cells in table("## Logs"):
        assert f'"{cells[0].strip("| ")}"' in SOURCES, cells[0]


def test_every_link_within_the_page_leads_somewhere() -> None:
    """At three in the morning, a page must not be missing."""
    headings = {
        re.sub(r"[^\w -]", "", line.lower()).strip().replace(" ", "-")
        for line in re.findall(r"^#+ (.*)$", PAGE, re.MULTILINE)
    }
    assert set(re.findall(r"\]\(#([^)]+)\)", PAGE)) <= headings


def test_every_error_of_the_page_is_raised() -> None:
    """The names are those of `shared/errors.py`."""
    errors = (ROOT / "shared" / "errors.py").read_text(encoding="utf-8")
    named = {
        "BucketsStraddle",
        "Contention",
        "Denied",
        "IndexMissing",
        "LeaseHeld",
        "MassLoss",
        "Overloaded",
        "SnapshotTooOld",
    }
    for name in named | {"StateError", "Transient", "WatermarkAhead"}:
        assert f"`{name}`" in PAGE
        assert f"class {name}(" in errors

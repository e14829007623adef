"""The image: its files are those of the import closure, and start with the locked packages; it is linted."""

import importlib.metadata
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from deploy import audit, locked, stage
from deploy.stage import PIPELINES, ROOT
from pipelines.__main__ import PIPELINES as STARTED

LOADED = """
import json, sys
sys.path.insert(0, sys.argv[1])
sys.argv[1:] = ["--check"]
import runpy
try:
    runpy.run_path(sys.path[0] + "/pipelines/__main__.py", run_name="__main__")
except SystemExit as ended:
    assert not ended.code, ended.code
files = [str(getattr(module, "__file__", None) or "") for module in list(sys.modules.values())]
print(json.dumps([file for file in files if file]))
"""


@pytest.fixture
def staged(tmp_path: Path) -> Path:
    """What the image is built from, as it is staged."""
    for name, content in stage.sources(PIPELINES):
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    return tmp_path


def test_it_starts_with_its_own_files_and_the_locked_packages(staged: Path) -> None:
    """As the image's last step does: every pipeline is loaded, from the staged folder, with nothing else."""
    done = subprocess.run(
        [sys.executable, "-I", "-B", "-c", LOADED, staged], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    files = json.loads(done.stdout.splitlines()[-1])
    ours = {Path(file).relative_to(staged).as_posix() for file in files if file.startswith(str(staged))}
    assert ours == {name for name, _ in stage.sources(PIPELINES) if name.endswith(".py")}
    packages = {
        str(file.locate()): name
        for name in {it.metadata["Name"] for it in importlib.metadata.distributions()}
        for file in importlib.metadata.files(name) or ()
    }
    used = {packages[file].lower().replace("_", "-") for file in files if file in packages}
    assert "apache-beam" in used
    used -= {"pip", "setuptools"}  # each environment of Python 3.11 has them, and a .pth file loads one
    assert used <= {package.name for package in locked.python(ROOT / PIPELINES.requirements)}


def test_every_licence_may_be_deployed() -> None:
    """As `make audit` asks of the other artefacts, whose packages are installed in the other environment."""
    found = audit.licences(locked.python(ROOT / PIPELINES.requirements))
    assert len(found) > 50
    assert [name for name, text in found.items() if not audit.allowed(text)] == []


def test_every_pipeline_that_can_be_started_is_staged() -> None:
    """A pipeline more is a name in `pipelines.__main__` and an entry of the artefact."""
    assert set(PIPELINES.entries) == {"pipelines.__main__", *(f"pipelines.{name}" for name in STARTED)}


def test_the_dockerfile_has_no_finding() -> None:
    """hadolint, with nothing ignored."""
    linter = Path(sys.executable).with_name("hadolint")
    done = subprocess.run([linter, ROOT / PIPELINES.image], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_the_dockerfile_and_the_lock_have_one_beam() -> None:
    """The worker's boot program belongs to a version of Beam, and so do the packages."""
    text = (ROOT / PIPELINES.image).read_text(encoding="utf-8")
    (found,) = re.findall(r"^FROM apache/beam_python3\.11_sdk:(\S+) AS beam$", text, re.MULTILINE)
    assert found == importlib.metadata.version("apache-beam")
    assert {
        it.version for it in locked.python(ROOT / PIPELINES.requirements) if it.name == "apache-beam"
    } == {found}


def test_what_the_dockerfile_copies_and_starts_is_there(staged: Path) -> None:
    """Names that stand in it are those of staged files."""
    text = (ROOT / PIPELINES.image).read_text(encoding="utf-8")
    (file,) = re.findall(r"FLEX_TEMPLATE_PYTHON_PY_FILE=/libra/(\S+)", text)
    assert (staged / file).is_file()
    assert (staged / "requirements.txt").is_file()
    assert (staged / "Dockerfile").read_text(encoding="utf-8") == text


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "one of the arguments --pipeline --check is required"),
        (["--pipeline=counts"], "invalid choice: 'counts'"),
        (["--pipeline=count", "--settings=LIBRA_TIME_ZONE"], "expected NAME=VALUE;NAME=VALUE"),
    ],
)
def test_what_cannot_be_started_is_named(arguments: list[str], says: str) -> None:
    """Status 2, before anything is loaded."""
    command = [sys.executable, "-m", "pipelines", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert says in done.stderr

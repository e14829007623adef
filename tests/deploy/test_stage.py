"""The staged folder: what is in it, what is not, and that it starts as it is."""

import hashlib
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from deploy import stage
from tests.deploy.conftest import ROOT

LARGEST_KIB = 400
LOAD = "import sys; sys.path.insert(0, {path!r}); import {modules}; print(len(sys.modules))"


@pytest.fixture(scope="module")
def staged() -> Path:
    """The folder, staged by `./deploy.sh stage` and checked in its clean interpreter."""
    done = subprocess.run(
        [ROOT / "deploy.sh", "stage"], capture_output=True, text=True, timeout=170, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "every entry point imports" in done.stderr
    return ROOT / "build" / "functions"


def files(folder: Path) -> Iterator[tuple[str, Path]]:
    """Every file by its path in the folder; the interpreter that the emulator needs is not part of it."""
    for file in sorted(folder.rglob("*")):
        inside = file.relative_to(folder)
        if file.is_file() and inside.parts[0] != "venv" and "__pycache__" not in inside.parts:
            yield inside.as_posix(), file


def digest(folder: Path) -> str:
    """Names, bytes, modes and times."""
    seen = hashlib.sha256()
    for name, file in files(folder):
        status = file.stat()
        seen.update(f"{name} {status.st_mode} {status.st_mtime_ns}".encode() + file.read_bytes())
    return seen.hexdigest()


def test_it_holds_the_functions_and_what_they_import(staged: Path) -> None:
    """The entry points, the shared package, the lock and the triggers; nothing else at all."""
    names = {name for name, _ in files(staged)}
    top = {name for name in names if "/" not in name}
    assert top >= {"main.py", "events.py", "requirements.txt", "functions.yaml", ".gcloudignore"}
    extra = {name for name in names if not re.fullmatch(r"(shared/([a-z_]+/)*)?[a-z_]+\.py", name)}
    assert extra == {"requirements.txt", "functions.yaml", ".gcloudignore"}


def test_no_test_secret_or_local_file_is_in_it(staged: Path) -> None:
    """What an engineer has lying about does not reach the cloud."""
    for name, file in files(staged):
        text = file.read_text(encoding="utf-8")
        assert not re.search(r"(^|/)(test|conftest|\.env|deploy|cli\b)|\.(key|pem|json|log|pyc)$", name), name
        assert not re.search(r"BEGIN [A-Z ]*PRIVATE KEY|AIza[0-9A-Za-z_-]{35}|ya29\.", text), name
        assert str(ROOT) not in text, name
        assert not file.is_symlink(), name


def test_it_is_small(staged: Path) -> None:
    """It is uploaded on every deployment and loaded on every cold start."""
    assert sum(file.stat().st_size for _, file in files(staged)) / 1024 < LARGEST_KIB


def test_the_same_sources_give_the_same_folder(staged: Path) -> None:
    """Names, bytes, modes and times: an archive of it is the same archive."""
    before = digest(staged)
    stage.stage()
    assert digest(staged) == before


def test_the_fingerprint_follows_the_sources(monkeypatch: pytest.MonkeyPatch) -> None:
    """A changed byte of a source is a new fingerprint, so `up` deploys it."""
    before = stage.fingerprint()
    assert stage.fingerprint() == before
    changed = [(name, content + b"#" * (name == "main.py")) for name, content in stage.sources()]
    monkeypatch.setattr(stage, "sources", lambda _: iter(changed))
    assert stage.fingerprint() != before


def test_an_entry_point_that_is_missing_is_named(staged: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A `functions.yaml` that names what `main.py` has not would deploy a function that never starts."""
    assert staged.is_dir()
    monkeypatch.setattr(stage, "entry_points", lambda: ["on_libra_created", "on_libra_moved"])
    with pytest.raises(stage.StageError, match="no entry point on_libra_moved"):
        stage.check(stage.make_venv())


def modules_loaded(python: Path, folder: Path, modules: str) -> int:
    """How many modules a cold interpreter holds after an import."""
    code = LOAD.format(path=str(folder), modules=modules)
    done = subprocess.run([python, "-I", "-B", "-c", code], capture_output=True, text=True, check=True)
    return int(done.stdout)


def test_a_cold_start_loads_little_more_than_its_two_libraries(staged: Path) -> None:
    """At most a fifth more modules than google-cloud-firestore and functions-framework alone."""
    python = stage.make_venv()
    alone = modules_loaded(python, staged, "google.cloud.firestore, functions_framework")
    assert modules_loaded(python, staged, "main") <= 1.2 * alone


def test_it_runs_where_only_the_deployed_requirements_are(staged: Path) -> None:
    """The interpreter that checked it has none of the tools that tests and the command line need."""
    assert staged.is_dir()
    done = subprocess.run(
        [stage.make_venv(), "-I", "-c", "import pytest"], capture_output=True, text=True, check=False
    )
    assert "No module named 'pytest'" in done.stderr
    assert sys.version_info >= (3, 11)


def test_the_api_starts_where_only_its_own_requirements_are() -> None:
    """Its staged folder is imported by an interpreter that has neither tools nor what functions need."""
    stage.stage(stage.API)
    python = stage.make_venv(stage.API)
    stage.check(python, stage.API)
    for absent in ("functions_framework", "pytest"):
        done = subprocess.run([python, "-I", "-c", f"import {absent}"], capture_output=True, check=False)
        assert done.returncode == 1


def test_two_processes_make_an_interpreter_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second one would clear the folder under the first one's pip."""
    made = []

    def run(*command: str) -> None:
        made.append(command[2])
        if command[2] == "venv":
            time.sleep(0.2)  # long enough for the other one to come
            Path(command[-1]).mkdir()

    monkeypatch.setattr(stage, "_run", run)
    monkeypatch.setattr(stage, "VENV", tmp_path / "build" / "venv")
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(stage.make_venv, (stage.FUNCTIONS, stage.FUNCTIONS))
    assert first == second
    assert made == ["venv", "pip"]

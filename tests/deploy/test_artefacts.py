"""Each artefact: its files, the packages that it imports, and what a cold start loads of ours."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from deploy import locked, stage
from deploy.closure import ClosureError, closure, finder
from deploy.stage import ARTEFACTS, FUNCTIONS, ROOT, Artefact
from services.api.usage import NEEDED

CODE = ("functions", "shared", "libra", "local", "cli", "deploy", "services", "pipelines", "tests")
LISTS = Path(__file__).parent / "artefacts"
API = {
    *("cachecontrol", "fastapi", "firebase_admin", "google", "grpc", "httpx", "jwt", "pydantic"),
    *("requests", "starlette"),
}
PACKAGES = {
    "functions": {"cloudevents", "functions_framework", "google", "grpc", "starlette"},
    "api": API,
    "api-usage": API | {"psycopg", "psycopg_pool"},
    "collector": {
        *("cachecontrol", "fastapi", "firebase_admin", "google", "grpc", "jwt", "pydantic"),
        *("pydantic_core", "requests", "starlette"),
    },
    "worker": {"google", "grpc"},
    "export": {"google", "grpc", "psycopg", "psycopg_pool", "pyarrow", "requests"},
    "usage": {"psycopg", "psycopg_pool", "redis"},
    "usage-http": {
        *("cachecontrol", "fastapi", "firebase_admin", "google", "jwt", "psycopg", "psycopg_pool"),
        *("pydantic", "redis", "requests", "starlette"),
    },
    "ingestion": {
        *("asyncssh", "cachecontrol", "cryptography", "fastapi", "firebase_admin", "google", "grpc", "jwt"),
        *("psycopg", "psycopg_pool", "pyarrow", "pydantic", "requests", "starlette"),
    },
    "pipelines": {"apache_beam", "google", "grpc"},
}
LATE: dict[str, set[str]] = {
    "functions": set(),
    "api": set(),
    "api-usage": set(),
    "collector": set(),
    "worker": set(),
    "export": {f"shared.exports.{name}" for name in ("bucket", "database", "rest", "warehouse")}
    | {"shared.postgres"},
    "usage": set(),
    "usage-http": set(),
    "ingestion": set(),
}
"""Modules of ours that are deployed, and that importing the entry modules does not load. tests/pipelines does
the same for the pipelines, in their environment."""
LOADED = """
import importlib, json, sys
sys.path.insert(0, sys.argv[1])
for name in json.loads(sys.argv[2]):
    importlib.import_module(name)
ours = [n for n, m in sys.modules.items() if str(getattr(m, "__file__", None) or "").startswith(sys.argv[1])]
print(json.dumps(sorted(ours)))
"""


def named(artefact: Artefact) -> str:
    """The name of a case."""
    return artefact.name


@pytest.mark.parametrize("artefact", ARTEFACTS, ids=named)
def test_the_list_of_files_is_the_one_that_was_agreed(artefact: Artefact) -> None:
    """A file more or less in the artefact is a line in its list, so a reviewer sees it."""
    expected = (LISTS / f"{artefact.name}.txt").read_text(encoding="utf-8").split()
    assert [name for name, _ in stage.sources(artefact)] == sorted(expected)


@pytest.mark.parametrize("artefact", ARTEFACTS, ids=named)
def test_the_packages_are_the_ones_that_were_agreed(artefact: Artefact) -> None:
    """A new third-party import makes every cold start slower: it is decided, never an accident."""
    assert artefact.closure().outside == PACKAGES[artefact.name]


def test_an_api_without_usage_carries_nothing_of_postgresql() -> None:
    """Where it is told of a PostgreSQL, it imports what reads usage by name. These are the names."""
    assert set(NEEDED) == {"shared.usage", "psycopg", "psycopg_pool"}
    assert (ROOT / "shared" / "usage.py").is_file()
    assert {"psycopg", "psycopg_pool"}.isdisjoint(stage.API.closure().outside)
    assert {"shared.usage", "shared.postgres"}.isdisjoint(stage.API.closure().modules)
    assert "psycopg" not in {package.name for package in locked.python(ROOT / stage.API.requirements)}


def test_an_api_with_usage_carries_what_it_imports_by_name_and_nothing_else() -> None:
    """Two modules and one driver more, in the versions that are locked for the API and for the flush."""
    with_usage, without = stage.API_USAGE.closure(), stage.API.closure()
    assert set(with_usage.modules) - set(without.modules) == {"shared.postgres", "shared.usage"}
    assert with_usage.outside >= without.outside
    plain, flush, both = (
        {package.name: package.version for package in locked.python(ROOT / each.requirements)}
        for each in (stage.API, stage.USAGE, stage.API_USAGE)
    )
    assert both == plain | {name: flush[name] for name in ("psycopg", "psycopg-binary", "psycopg-pool")}


def test_nothing_of_beam_reaches_a_function_or_a_service() -> None:
    """Neither an import of Beam or of the pipelines, nor a package that is locked for the pipelines alone."""
    for artefact in ARTEFACTS:
        if artefact != stage.PIPELINES:
            locked_for = {package.name for package in locked.python(ROOT / artefact.requirements)}
            assert "apache-beam" not in locked_for, artefact.name
            assert "apache_beam" not in artefact.closure().outside, artefact.name
            assert not [name for name in artefact.closure().modules if name.startswith("pipelines")]


def test_only_the_pipelines_and_their_tests_import_beam() -> None:
    """Whoever imports it needs the pipelines' environment to start."""
    imports = re.compile(r"^\s*(?:from|import) apache_beam\b", re.MULTILINE)
    files = [file for top in CODE for file in (ROOT / top).rglob("*.py")]
    found = {file.relative_to(ROOT).parts[:2] for file in files if imports.search(file.read_text("utf-8"))}
    assert {parts for parts in found if parts[0] != "pipelines"} == {("tests", "pipelines")}


@pytest.mark.parametrize("artefact", [it for it in ARTEFACTS if it.name in LATE], ids=named)
def test_a_cold_import_loads_the_closure_and_late_imports_wait(artefact: Artefact, tmp_path: Path) -> None:
    """Importing the staged entry modules loads all of the closure but the modules imported late."""
    for name, content in stage.sources(artefact):
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    done = subprocess.run(
        [
            "env",
            *artefact.variables,
            sys.executable,
            "-I",
            "-B",
            "-c",
            LOADED,
            tmp_path,
            json.dumps(artefact.entries),
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    assert set(json.loads(done.stdout)) == artefact.closure().modules.keys() - LATE[artefact.name]


@pytest.fixture
def copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of what artefacts are made from, in which a test may write."""
    for name in ("functions", "shared"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(stage, "ROOT", tmp_path)
    return tmp_path


def test_a_new_service_leaves_the_trigger_as_it_was(copied: Path) -> None:
    """Neither the service nor the shared module that only the service imports reaches the trigger."""
    before, digest = dict(stage.sources()), stage.fingerprint()
    service = copied / "services" / "bakery"
    service.mkdir(parents=True)
    (copied / "shared" / "ovens.py").write_text("import psycopg\n", encoding="utf-8")
    (copied / "services" / "__init__.py").write_text("", encoding="utf-8")
    (service / "__init__.py").write_text("", encoding="utf-8")
    (service / "requirements.txt").write_text("", encoding="utf-8")
    (service / "main.py").write_text("from shared import ovens\n", encoding="utf-8")
    assert dict(stage.sources()) == before
    assert stage.fingerprint() == digest
    bakery = Artefact("bakery", ".", ("services.bakery.main",), "services/bakery/requirements.txt")
    assert [name for name, _ in stage.sources(bakery)] == [
        ".gcloudignore",
        "requirements.txt",
        "services/__init__.py",
        "services/bakery/__init__.py",
        "services/bakery/main.py",
        "shared/__init__.py",
        "shared/ovens.py",
    ]
    assert bakery.closure().outside == {"psycopg"}


def test_a_new_import_of_the_trigger_is_a_new_artefact(copied: Path) -> None:
    """The proof that the comparison can fail: one import more brings the module along."""
    digest = stage.fingerprint()
    (copied / "shared" / "ovens.py").write_text("", encoding="utf-8")
    main = copied / "functions" / "main.py"
    main.write_text(main.read_text(encoding="utf-8") + "import shared.ovens\n", encoding="utf-8")
    assert "shared/ovens.py" in dict(stage.sources(FUNCTIONS))
    assert stage.fingerprint() != digest


FOLLOWED = {
    "import shared.a": {"shared", "shared.a"},
    "import shared.inner.b as it": {"shared", "shared.inner", "shared.inner.b", "shared.a"},
    "from shared import a": {"shared", "shared.a"},
    "from shared.a import VALUE": {"shared", "shared.a"},
    "from shared.inner import b": {"shared", "shared.inner", "shared.inner.b", "shared.a"},
    "def late():\n    from shared import a": {"shared", "shared.a"},
    "if False:\n    import shared.a": {"shared", "shared.a"},
    "import beside": {"beside"},
    "import json, deploy.stage": set(),
}


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """Two folders with a package of three modules."""
    inner = tmp_path / "shared" / "inner"
    inner.mkdir(parents=True)
    (tmp_path / "entry").mkdir()
    for file, text in {
        "shared/__init__.py": "",
        "shared/a.py": "VALUE = 1",
        "shared/inner/__init__.py": "",
        "shared/inner/b.py": "from ..a import VALUE\nfrom . import b",
        "entry/beside.py": "",
    }.items():
        (tmp_path / file).write_text(text, encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize("text", FOLLOWED, ids=repr)
def test_every_form_of_import_is_followed(small: Path, text: str) -> None:
    """Top-level, late, conditional and relative imports, and the packages above what they name."""
    (small / "entry" / "main.py").write_text(text, encoding="utf-8")
    found = closure(("main",), finder(small / "entry", small, packages=("shared",)))
    assert found.modules.keys() == {"main"} | FOLLOWED[text]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("\nfrom shared.a import *", r"main\.py:2 imports \*"),
        ("from . import a", r"main\.py:1 imports relative to a folder above"),
    ],
)
def test_what_cannot_be_followed_is_refused(small: Path, text: str, reason: str) -> None:
    """The message names the file and the line."""
    (small / "entry" / "main.py").write_text(text, encoding="utf-8")
    with pytest.raises(ClosureError, match=reason):
        closure(("main",), finder(small / "entry", small, packages=("shared",)))


def test_a_missing_entry_module_is_named(small: Path) -> None:
    """An artefact without its entry module would never start."""
    with pytest.raises(ClosureError, match="no entry module absent"):
        closure(("absent",), finder(small / "entry", small, packages=("shared",)))

"""The tree is the one that docs/architecture.md shows, every package has its layer, nothing is too long."""

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
BESIDE = {"build", "node_modules", "mutants"}
"""Folders that tools make."""
TOP = (
    "board",
    "functions",
    "shared",
    "libra",
    "local",
    "cli",
    "deploy",
    "services",
    "pipelines",
    "docs",
    "requirements",
    "tests",
)

CODE = ("functions", "shared", "libra", "local", "cli", "deploy", "services", "pipelines", "tests")


def shown() -> set[str]:
    """The folders of the tree in docs/architecture.md."""
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    (tree,) = re.findall(r"<!-- tree -->\n```\n(.*?)```", page, re.DOTALL)
    folders, parent = set(), ""
    for indent, name in re.findall(r"^( *)(\w+)/", tree, re.MULTILINE):
        parent = parent if indent else name
        folders.add(f"{parent}/{name}" if indent else name)
    return folders


def folders(top: Path) -> set[str]:
    """A folder and those directly in it that hold files of ours."""
    inside = [each for each in top.iterdir() if each.is_dir() and each.name not in BESIDE]
    named = [each for each in inside if re.fullmatch(r"[a-z]\w*", each.name) and any(each.glob("*.*"))]
    return {top.name} | {f"{top.name}/{each.name}" for each in named}


def test_the_tree_in_the_docs_is_the_real_one() -> None:
    """A folder that is new, gone or renamed is on the page in the same commit."""
    real = set().union(*(folders(ROOT / name) for name in TOP if (ROOT / name).is_dir()))
    assert {each for each in real if not each.endswith("artefacts")} == shown()


def test_every_package_has_a_layer() -> None:
    """An import rule that leaves a package out holds nothing for it."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]
    layers = {part.strip() for each in settings["contracts"][0]["layers"] for part in each.split("|")}
    modules = {
        f"shared.{each.stem}"
        for each in (ROOT / "shared").iterdir()
        if each.suffix == ".py" or (each / "__init__.py").is_file()
    }
    services = {f"services.{each.parent.name}" for each in (ROOT / "services").glob("*/__init__.py")}
    packages = {each.name for each in ROOT.iterdir() if (each / "__init__.py").is_file()} - {
        "services",
        "shared",
        "tests",
    }
    assert (modules - {"shared.__init__"}) | services | packages == layers


def long_ones() -> Iterator[str]:
    """Modules above 300 lines and classes above 200 whose docstring gives no reason."""
    for file in (each for top in CODE for each in (ROOT / top).rglob("*.py")):
        module = ast.parse(file.read_text(encoding="utf-8"))
        lines = len(file.read_text(encoding="utf-8").splitlines())
        reason = " ".join((ast.get_docstring(module) or "").split())
        if lines > 300 and "Over 300 lines because" not in reason:
            yield f"{file.relative_to(ROOT)}: {lines} lines"
        for node in ast.walk(module):
            if isinstance(node, ast.ClassDef) and (node.end_lineno or 0) - node.lineno >= 200:
                reason = " ".join((ast.get_docstring(node) or "").split())
                if "Over 200 lines because" not in reason:
                    yield f"{file.relative_to(ROOT)}: class {node.name}"


def test_what_is_long_says_why() -> None:
    """A module of more than 300 lines, or a class of more than 200, has more than one subject or a reason."""
    assert list(long_ones()) == []


def test_functions_import_nothing_but_shared() -> None:
    """Its modules have no package of their own, so the import rules cannot name them."""
    ours = re.compile(r"^\s*(?:from|import) (cli|local|deploy|services|pipelines|tests)\b", re.MULTILINE)
    for module in (ROOT / "functions").glob("*.py"):
        assert not ours.findall(module.read_text(encoding="utf-8")), module.name

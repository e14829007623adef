"""The import closure of an entry module, read from the sources and never by importing them.

Every import counts, wherever it stands: at the top, inside a function, under `TYPE_CHECKING`. A module brings
the `__init__` of each package above it, because Python runs them first.
"""

import ast
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

Find = Callable[[str], Path | None]
"""A dotted name to the file of that module of ours, or None where the name is not ours."""


class ClosureError(Exception):
    """A source cannot be followed; the message names its file and line."""


@dataclass(frozen=True, slots=True)
class Closure:
    """What a set of entry modules imports, directly and indirectly."""

    modules: dict[str, Path] = field(default_factory=dict)
    """Our own modules by dotted name, packages above them included."""
    outside: set[str] = field(default_factory=set)
    """The top-level names of third-party packages; the standard library is not listed."""


def finder(*folders: Path, packages: tuple[str, ...]) -> Find:
    """Look modules up as `sys.path` would: in each folder in turn.

    Args:
        folders: the folder of the entry modules first, where any name is ours; then the project's root,
            where only `packages` are ours.
        packages: the project's own top-level packages.
    """

    def find(name: str) -> Path | None:
        for folder in folders:
            if folder is folders[0] or name.partition(".")[0] in packages:
                base = folder.joinpath(*name.split("."))
                for file in (base / "__init__.py", base.with_suffix(".py")):
                    if file.is_file():
                        return file
        return None

    return find


def closure(entries: tuple[str, ...], find: Find) -> Closure:
    """Follow the imports of the entry modules until nothing new appears.

    Raises:
        ClosureError: an entry module is missing, or a module imports `*`.
    """
    found = Closure()
    waiting = list(entries)
    for name in entries:
        if find(name) is None:
            raise ClosureError(f"there is no entry module {name}")
    while waiting:
        name = waiting.pop()
        if name in found.modules:
            continue
        if file := find(name):
            found.modules[name] = file
            waiting += [parent for parent in _parents(name) if find(parent)]
            waiting += _imported(name, file, find)
        elif find(name.partition(".")[0]) is None and name.partition(".")[0] not in sys.stdlib_module_names:
            found.outside.add(name.partition(".")[0])
    return found


def _parents(name: str) -> Iterator[str]:
    while "." in name:
        name = name.rpartition(".")[0]
        yield name


def _imported(name: str, file: Path, find: Find) -> Iterator[str]:
    for node in ast.walk(ast.parse(file.read_bytes(), str(file))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = _base(node, name, file)
            yield base
            for alias in node.names:
                if alias.name == "*":
                    raise ClosureError(f"{file}:{node.lineno} imports *: name what it uses")
                if find(f"{base}.{alias.name}"):
                    yield f"{base}.{alias.name}"


def _base(node: ast.ImportFrom, name: str, file: Path) -> str:
    """The absolute name that `from ... import` reads from."""
    if not node.level:
        return node.module or ""
    package = name.split(".") if file.name == "__init__.py" else name.split(".")[:-1]
    above = package[: len(package) - node.level + 1]
    if not above or len(package) < node.level:
        raise ClosureError(f"{file}:{node.lineno} imports relative to a folder above its package")
    return ".".join([*above, *([node.module] if node.module else [])])

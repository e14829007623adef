"""The lock files: which packages at which versions, and their digests."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PINNED = re.compile(r"^(?P<name>[A-Za-z0-9._-]+)(\[[^\]]*\])?==(?P<version>\S+)( ; (?P<marker>.*?))? \\$")
HASH = re.compile(r"^    --hash=sha256:(?P<digest>[0-9a-f]{64})")


@dataclass(frozen=True, slots=True)
class Package:
    """One locked package.

    Attributes:
        ecosystem: PyPI or npm.
        name: as the registry has it.
        version: the only one that may be installed.
        digests: SHA-256 of each file that may be; of PyPI alone.
        marker: where it is installed; empty: everywhere.
    """

    ecosystem: str
    name: str
    version: str
    digests: tuple[str, ...] = ()
    marker: str = ""

    @property
    def purl(self) -> str:
        """Its name among all registries (https://github.com/package-url/purl-spec)."""
        kind = {"PyPI": "pypi", "npm": "npm"}[self.ecosystem]
        return f"pkg:{kind}/{self.name.replace('@', '%40')}@{self.version}"


class LockError(Exception):
    """A line of a lock file is not what `make lock` writes."""


def python(file: Path) -> Iterator[Package]:
    """The packages of a requirements file with hashes.

    Raises:
        LockError: a line is something else.
    """
    found: list[tuple[re.Match[str], list[str]]] = []
    for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), start=1):
        if pinned := PINNED.match(line):
            found.append((pinned, []))
        elif digest := HASH.match(line):
            found[-1][1].append(digest["digest"])
        elif line.strip() and not line.strip().startswith("#"):
            raise LockError(f"{file}:{number}: {line!r} is no pinned package and no hash")
    for pinned, digests in found:
        yield Package("PyPI", pinned["name"], pinned["version"], tuple(digests), pinned["marker"] or "")


def node(file: Path) -> Iterator[Package]:
    """The packages of a package-lock.json, each version once."""
    seen = set()
    for path, entry in json.loads(file.read_text(encoding="utf-8"))["packages"].items():
        name = path.rpartition("node_modules/")[2]
        if name and (name, entry["version"]) not in seen:
            seen.add((name, entry["version"]))
            yield Package("npm", name, entry["version"])

"""`python -m deploy.audit`: known faults of the locked packages, and the licences of those that are deployed.

The faults are asked of https://osv.dev, for all lock files at once. Where it cannot be reached, this says so
loudly and ends well: a machine without a network must still build. The licences are those that the installed
Python packages name themselves.

Exit status: 0 nothing is known, or nothing could be asked; 1 a fault or a licence that is not allowed.
"""

import importlib.metadata
import json
import os
import sys
import urllib.error
import urllib.request
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from deploy.locked import Package, node, python
from deploy.stage import ARTEFACTS, ROOT

OSV = "https://api.osv.dev/v1/querybatch"
BATCH = 500
ALLOWED = (
    "Apache",
    "BSD",
    "MIT",
    "ISC",
    "0BSD",
    "Zlib",
    "CC0",
    "EPL-2.0",
    "LGPL",
    "MPL",
    "Mozilla Public License",
    "PSF",
    "Python Software Foundation",
)
"""How a licence's name begins that may be deployed: none asks for the source of the program around it.
The LGPL and the EPL (asyncssh) ask for the source of the library itself, which PyPI holds unchanged."""


def locks() -> list[Package]:
    """Every locked package, each once."""
    files = [ROOT / artefact.requirements for artefact in ARTEFACTS]
    files += sorted((ROOT / "requirements").glob("*.txt"))
    found = {(it.purl): it for file in files for it in python(file)}
    found |= {it.purl: it for it in node(ROOT / "package-lock.json")}
    return list(found.values())


def faults(packages: list[Package], url: str) -> Iterator[tuple[Package, str]]:
    """What is known of packages: each with the id of a report.

    Raises:
        OSError: it cannot be asked.
        ValueError: what was answered is no answer.
    """
    for begin in range(0, len(packages), BATCH):
        batch = packages[begin : begin + BATCH]
        asked = [
            {"package": {"ecosystem": it.ecosystem, "name": it.name}, "version": it.version} for it in batch
        ]
        request = urllib.request.Request(  # noqa: S310 - a constant scheme, or the operator's own
            url, data=json.dumps({"queries": asked}).encode(), headers={"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310 - see above
            results: list[Mapping[str, Any]] = json.load(answer)["results"]
        for package, result in zip(batch, results, strict=True):
            yield from ((package, str(report["id"])) for report in result.get("vulns", []))


def licence(name: str) -> str:
    """What an installed package says of itself; empty, where it is not installed or says nothing."""
    try:
        told = importlib.metadata.metadata(name)
    except importlib.metadata.PackageNotFoundError:
        return ""
    classified = [
        it.rpartition(" :: ")[2] for it in told.get_all("Classifier") or [] if it.startswith("License ::")
    ]
    named = [it for it in classified if it != "OSI Approved"]
    for field in ("License-Expression", "License"):
        if field == "License" and named:
            return " AND ".join(named)
        if told.get_all(field):
            return str(told[field]).strip()
    return ""


def allowed(named: str) -> bool:
    """Whether all that a licence asks for, with one of its alternatives for each, may be deployed."""
    return all(
        any(it.strip("( )").removeprefix("3-Clause ").startswith(ALLOWED) for it in part.split(" OR "))
        for part in named.split(" AND ")
    )


def licences(packages: Iterable[Package]) -> dict[str, str]:
    """The licence of each package that is installed here, by name."""
    return {it.name: named for it in packages if (named := licence(it.name))}


def main(environment: Mapping[str, str]) -> int:
    """Print both; the exit status."""
    wrong = 0
    deployed = {it.name: it for artefact in ARTEFACTS for it in python(ROOT / artefact.requirements)}
    named = licences(deployed.values())
    for name, text in sorted(named.items()):
        verdict = "" if allowed(text) else "  NOT ALLOWED"
        wrong += bool(verdict)
        _say(f"{name:28} {text}{verdict}")
    if unknown := sorted(deployed.keys() - named.keys()):
        _say(f"NOT CHECKED: {', '.join(unknown)} are not installed here, or name no licence")
    packages = locks()
    try:
        found = list(faults(packages, environment.get("LIBRA_OSV") or OSV))
    except (OSError, ValueError, KeyError) as error:
        _say(f"NOT CHECKED: no advisories of {len(packages)} packages: {error}")
        return int(wrong > 0)
    for package, report in found:
        _say(f"{package.ecosystem} {package.name} {package.version}: https://osv.dev/{report}")
    _say(f"{len(packages)} packages, {len(found)} known faults")
    return int(wrong + len(found) > 0)


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")


if __name__ == "__main__":
    sys.exit(main(os.environ))

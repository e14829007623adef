"""The bill of materials of an artefact, as CycloneDX 1.6: `build/NAME.cdx.json`, beside the staged folder.

Beside it and not in it: the folder is what is deployed, and a list of it must not change a byte of it. The
same sources give the same bill.
"""

import hashlib
import json
import uuid
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from deploy.locked import Package

NAMESPACE = uuid.UUID("6f1c1c1e-5d0a-4b7e-9a53-6c6962726121")
"""Of the bills' serial numbers, which follow from what they list."""

Json = dict[str, Any]


def bill(
    name: str, fingerprint: str, files: Iterable[tuple[str, bytes]], packages: Iterable[Package]
) -> Json:
    """What an artefact consists of: its own files and the locked packages.

    Args:
        name: of the artefact.
        fingerprint: its digest.
        files: its own files.
        packages: what its lock file names.
    """
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid5(NAMESPACE, fingerprint)}",
        "version": 1,
        "metadata": {
            "component": {
                "type": "application",
                "bom-ref": f"libra-{name}",
                "name": f"libra-{name}",
                "version": fingerprint[:40],
            }
        },
        "components": [*map(_library, packages), *(_file(path, content) for path, content in files)],
    }


def _library(package: Package) -> Json:
    marked = [{"name": "libra:marker", "value": package.marker}] if package.marker else []
    return {
        "type": "library",
        "bom-ref": package.purl,
        "name": package.name,
        "version": package.version,
        "purl": package.purl,
        "externalReferences": [
            {
                "type": "distribution",
                "url": f"https://pypi.org/project/{package.name}/{package.version}/#files",
                "hashes": [{"alg": "SHA-256", "content": digest} for digest in package.digests],
            }
        ],
        **({"properties": marked} if marked else {}),
    }


def _file(path: str, content: bytes) -> Json:
    digest = hashlib.sha256(content).hexdigest()
    return {
        "type": "file",
        "bom-ref": f"file:{path}",
        "name": path,
        "hashes": [{"alg": "SHA-256", "content": digest}],
    }


def write(file: Path, found: Json) -> None:
    """Write a bill."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")

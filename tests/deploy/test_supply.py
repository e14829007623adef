"""What is deployed is listed, licensed and looked up: bills of materials, licences, known faults."""

import json
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from deploy import audit, locked, sbom, stage
from deploy.locked import LockError, Package
from tests.deploy.conftest import ROOT

NOWHERE = "http://127.0.0.1:9/"


def made(artefact: stage.Artefact) -> dict[str, Any]:
    """The bill of an artefact."""
    packages = locked.python(ROOT / artefact.requirements)
    return sbom.bill(artefact.name, stage.fingerprint(artefact), stage.sources(artefact), packages)


@pytest.mark.parametrize("artefact", stage.ARTEFACTS, ids=lambda it: it.name)
def test_a_bill_lists_every_file_and_every_package(artefact: stage.Artefact) -> None:
    """With digests, and names that other tools know; each reference is one of a kind."""
    found = made(artefact)
    assert (found["bomFormat"], found["specVersion"], found["version"]) == ("CycloneDX", "1.6", 1)
    files = {it["name"] for it in found["components"] if it["type"] == "file"}
    assert files == {name for name, _ in stage.sources(artefact)}
    lock = (ROOT / artefact.requirements).read_text(encoding="utf-8")
    libraries = [it for it in found["components"] if it["type"] == "library"]
    assert len(libraries) == sum("==" in line and not line.startswith(" ") for line in lock.splitlines())
    listed = [digest["content"] for it in libraries for digest in it["externalReferences"][0]["hashes"]]
    assert len(listed) == lock.count("--hash=sha256:")
    references = [it["bom-ref"] for it in found["components"]]
    assert len(references) == len(set(references))
    assert all(it["purl"] == f"pkg:pypi/{it['name']}@{it['version']}" for it in libraries)


def test_a_bill_is_the_same_for_the_same_sources_and_stands_beside_them(tmp_path: Path) -> None:
    """Serial number included; the staged folder is not touched by it."""
    assert made(stage.FUNCTIONS) == made(stage.FUNCTIONS)
    other = sbom.bill("functions", "another", [], [])
    assert other["serialNumber"] != made(stage.FUNCTIONS)["serialNumber"]
    sbom.write(tmp_path / "functions.cdx.json", other)
    assert json.loads((tmp_path / "functions.cdx.json").read_text(encoding="utf-8")) == other
    assert not [name for name, _ in stage.sources() if name.endswith(".json")]


def test_staging_writes_the_bill() -> None:
    """`./deploy.sh stage`, in build/functions.cdx.json."""
    done = subprocess.run(
        [ROOT / "deploy.sh", "stage"], capture_output=True, text=True, timeout=170, check=False
    )
    assert done.returncode == 0, done.stderr
    written = json.loads((ROOT / "build" / "functions.cdx.json").read_text(encoding="utf-8"))
    assert written == made(stage.FUNCTIONS)


def test_a_line_that_is_no_pin_is_refused(tmp_path: Path) -> None:
    """A package without a version could be any."""
    file = tmp_path / "requirements.txt"
    file.write_text("# ours\nhttpx>=1\n", encoding="utf-8")
    with pytest.raises(LockError, match=r"requirements\.txt:2: 'httpx>=1'"):
        list(locked.python(file))


def test_a_package_of_npm_is_named_as_others_name_it() -> None:
    """Scopes are escaped, and a version that is there twice is listed once."""
    found = list(locked.node(ROOT / "package-lock.json"))
    assert len({it.purl for it in found}) == len(found) > 100
    assert Package("npm", "@firebase/app", "1.0").purl == "pkg:npm/%40firebase/app@1.0"


def test_every_licence_of_what_is_deployed_may_be_deployed() -> None:
    """Each package that is installed here names one."""
    packages = [it for artefact in stage.ARTEFACTS for it in locked.python(ROOT / artefact.requirements)]
    found = audit.licences(packages)
    assert len(found) > 40
    assert [name for name, text in found.items() if not audit.allowed(text)] == []


@pytest.mark.parametrize(
    ("named", "may"),
    [
        ("MIT", True),
        ("3-Clause BSD License", True),
        ("GPL-3.0-only OR Apache-2.0", True),
        ("GPL-3.0-only", False),
        ("LGPL-3.0-only", True),
        ("EPL-2.0 OR GPL-2.0-or-later", True),
        ("MIT AND GPL-3.0-only", False),
        ("MIT AND (Apache-2.0 OR GPL-2.0-only)", True),
        ("GNU Affero General Public License v3", False),
        ("Proprietary", False),
        ("", False),
    ],
)
def test_a_licence_that_asks_for_our_source_is_found(named: str, may: bool) -> None:
    """One alternative is enough."""
    assert audit.allowed(named) is may


@contextmanager
def advisories(known: dict[str, str]) -> Iterator[str]:
    """A service that knows faults by the name of a package, as osv.dev answers."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["queries"]
            names = [it["package"]["name"] for it in asked]
            results = [{"vulns": [{"id": known[it]}]} if it in known else {} for it in names]
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps({"results": results}).encode())

        def log_message(self, *_: object) -> None:
            """Quiet."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_a_known_fault_fails_the_audit_and_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    """The package, its version and where to read of it."""
    with advisories({"httpx": "GHSA-test"}) as url:
        assert audit.main({"LIBRA_OSV": url}) == 1
    printed = capsys.readouterr().out
    assert "PyPI httpx" in printed
    assert "https://osv.dev/GHSA-test" in printed
    with advisories({}) as url:
        assert audit.main({"LIBRA_OSV": url}) == 0
    assert ", 0 known faults" in capsys.readouterr().out


def test_without_advisories_it_says_so_and_ends_well(capsys: pytest.CaptureFixture[str]) -> None:
    """A machine without a network must still build, and must not look checked."""
    assert audit.main({"LIBRA_OSV": NOWHERE}) == 0
    assert "NOT CHECKED: no advisories of" in capsys.readouterr().out

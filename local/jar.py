"""An emulator's jar: found, or fetched and checked.

Where it comes from, in this order: the variable that names it (for Firestore the Firebase tools' own), the
gcloud component, the Firebase tools' cache, Libra's cache, and else the official download, checked against
its SHA-256. Pub/Sub's emulator has no download: gcloud installs it.
"""

import hashlib
import re
import shutil
import tempfile
import urllib.error
import urllib.request
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from local.errors import StackError

CHUNK_BYTES = 1 << 20
LINE = 70  # a manifest's lines hold 72 bytes at most; a continued one begins with a space


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


@dataclass(frozen=True)
class Jar:
    """Which jar is meant.

    Attributes:
        title: what messages call the emulator.
        main: its main class.
        variable: the variable that may name the jar.
        component: the gcloud component that brings it.
        inside: where it is in the component's folder, as a pattern.
        cached: where it is in the Firebase tools' cache, as a pattern.
        download: where it is had otherwise; None: nowhere.
    """

    title: str
    main: str
    variable: str
    component: str
    inside: str
    cached: str
    download: Download | None = None

    @property
    def get(self) -> str:
        """How to get it."""
        return f"get it with: gcloud components install {self.component}"


# From downloadableEmulatorInfo.json of firebase-tools 14.12.0. Later ones are twice the size, and the
# last few releases list a SHA-256 that nobody checks (theirs of 1.20.4 has 63 digits).
OFFICIAL = Download(
    url="https://storage.googleapis.com/firebase-preview-drop/emulator/cloud-firestore-emulator-v1.19.8.jar",
    size=63634791,
    sha256="9d43599ed6151199e8d604dc87fac51218e49e5f3a48519b1ae560bbe5e3382d",
)


FIRESTORE = Jar(
    title="the Firestore emulator",
    main="com.google.cloud.datastore.emulator.firestore.CloudFirestore",
    variable="FIRESTORE_EMULATOR_BINARY_PATH",
    component="cloud-firestore-emulator",
    inside="cloud-firestore-emulator.jar",
    cached="cloud-firestore-emulator-v*.jar",
    download=OFFICIAL,
)
PUBSUB = Jar(
    title="the Pub/Sub emulator",
    main="com.google.cloud.pubsub.testing.v1.Main",
    variable="PUBSUB_EMULATOR_BINARY_PATH",
    component="pubsub-emulator",
    inside="lib/cloud-pubsub-emulator-*-all.jar",
    cached="pubsub-emulator-*/pubsub-emulator/lib/cloud-pubsub-emulator-*-all.jar",
)


def find_jar(
    environment: Mapping[str, str], wanted: Jar = FIRESTORE, *, say: Callable[[str], None] = lambda _: None
) -> Path:
    """The emulator's jar, downloaded if it is nowhere.

    Raises:
        StackError: it is missing and could not be downloaded.
    """
    named = environment.get(wanted.variable)
    if named and not Path(named).is_file():
        raise StackError(f"{wanted.variable}={named!r}: there is no such file; {wanted.get}")
    if named:
        return Path(named)
    found = next((jar for jar in _places(environment, wanted) if jar.is_file()), None)
    if found:
        return found
    if wanted.download is None:
        raise StackError(
            f"{wanted.title} is not installed; {wanted.get}, or name its jar in {wanted.variable}"
        )
    say(f"downloading {wanted.title} ({wanted.download.size // 1_000_000} MB) from {wanted.download.url}")
    return download(wanted.download, _own_cache(environment), wanted.get)


def _places(environment: Mapping[str, str], wanted: Jar) -> Iterator[Path]:
    for root in _sdk_roots(environment):
        yield from _newest(root / "platform" / wanted.component, wanted.inside)
    firebase = environment.get("FIREBASE_EMULATORS_PATH") or _home(environment) / ".cache/firebase/emulators"
    yield from _newest(Path(firebase), wanted.cached)
    if wanted.download:
        yield _own_cache(environment) / wanted.download.name


def _newest(folder: Path, pattern: str) -> list[Path]:
    return sorted(folder.glob(pattern), key=_version, reverse=True)


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


def download(wanted: Download, folder: Path, otherwise: str) -> Path:
    """Fetch a file into a folder; it appears there only once it is whole and what it must be.

    Args:
        wanted: the file.
        folder: where it is to be.
        otherwise: how else to get it, for messages.

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
                    f"expected {wanted.size} bytes with {wanted.sha256}; nothing was kept; {otherwise}"
                )
            return part.replace(folder / wanted.name)
    except OSError as error:  # urllib's errors are among them
        raise StackError(f"{wanted.url}: could not be downloaded: {error}; {otherwise}") from error


def _fetch(url: str, part: Path) -> tuple[int, str]:
    size, digest = 0, hashlib.sha256()
    with urllib.request.urlopen(url, timeout=60) as answer, part.open("wb") as file:  # noqa: S310 - a constant
        while chunk := answer.read(CHUNK_BYTES):
            size += len(chunk)
            digest.update(chunk)
            file.write(chunk)
    return size, digest.hexdigest()


def manifest_jar(wanted: Jar, found: Path, folder: Path) -> Path:
    """A jar in `folder` that runs another one, and can be started with `java -jar` where that one cannot."""
    lines = [f"Main-Class: {wanted.main}", f"Class-Path: {found.resolve().as_uri()}"]
    folded = ["\r\n ".join(line[at : at + LINE] for at in range(0, len(line), LINE)) for line in lines]
    folder.mkdir(parents=True, exist_ok=True)
    jar = folder / "firestore-emulator.jar"
    with zipfile.ZipFile(jar, "w") as archive:
        archive.writestr("META-INF/MANIFEST.MF", "\r\n".join(["Manifest-Version: 1.0", *folded, "", ""]))
    return jar

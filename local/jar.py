"""The Firestore emulator's jar: found, or fetched and checked.

Where it comes from, in this order: `FIRESTORE_EMULATOR_BINARY_PATH` (the Firebase tools' own variable), the
gcloud component, the Firebase tools' cache, Libra's cache, and else the official download, checked against
its SHA-256.
"""

import hashlib
import re
import shutil
import tempfile
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from local.errors import StackError

MAIN_CLASS = "com.google.cloud.datastore.emulator.firestore.CloudFirestore"
CHUNK_BYTES = 1 << 20
GET_EMULATOR = "get it with: gcloud components install cloud-firestore-emulator"


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

"""Where the files of an archive go: a folder, or a bucket of Google Cloud Storage."""

import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from shared.errors import ArchiveError

SCHEME = "gs://"


class Destination(Protocol):
    """Files by name. A file is complete or absent, whatever dies. Every method raises `ArchiveError` only."""

    place: str
    """How an operator names it: an absolute path, or ``gs://BUCKET/PREFIX``."""

    def write(self, name: str, data: bytes, *, replace: bool = False) -> None:
        """Store a file durably. If there is another one of that name, refuse, unless it is to be replaced."""

    def read(self, name: str) -> bytes | None:
        """The bytes of a file; None if it is not there."""

    def names(self) -> Iterator[str]:
        """The names of all files, sorted."""


def destination(place: str) -> Destination:
    """The destination that an operator names: a path, or ``gs://BUCKET`` or ``gs://BUCKET/PREFIX``.

    Raises:
        ArchiveError: it names no bucket, or there are no credentials for it.
    """
    if not place.startswith(SCHEME):
        return Folder(place)
    from shared.archive.bucket import (
        Bucket,
    )  # late: the client takes half a second to load, a folder needs none

    return Bucket.of(place)


class Folder:
    """A folder of this machine. A file is written under a temporary name, flushed to the disk and renamed."""

    def __init__(self, place: str) -> None:
        self._folder = Path(place).absolute()
        self.place = str(self._folder)

    def write(self, name: str, data: bytes, *, replace: bool = False) -> None:
        """See `Destination.write`."""
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            if not replace and (self._folder / name).exists():
                raise ArchiveError(f"{self.place}/{name}: the file is there already")
            self._write(name, data)
        except OSError as error:
            raise failed(self.place, name, error) from error

    def _write(self, name: str, data: bytes) -> None:
        part = self._folder / f".{name}.{secrets.token_hex(4)}.part"
        try:
            with part.open("xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            part.replace(self._folder / name)
        finally:
            part.unlink(missing_ok=True)
        folder = os.open(self._folder, os.O_RDONLY)
        try:
            os.fsync(folder)  # else a power cut may take the name away, after the entries are deleted
        finally:
            os.close(folder)

    def read(self, name: str) -> bytes | None:
        """See `Destination.read`."""
        try:
            return (self._folder / name).read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise failed(self.place, name, error) from error

    def names(self) -> Iterator[str]:
        """See `Destination.names`."""
        try:
            found = sorted(each.name for each in self._folder.iterdir() if each.is_file())
        except FileNotFoundError:
            return
        except OSError as error:
            raise failed(self.place, "", error) from error
        yield from found


def failed(place: str, name: str, error: Exception) -> ArchiveError:
    """An error of the platform, as one of Libra's that names the file."""
    return ArchiveError(f"{place}/{name}: {type(error).__name__}: {error}")

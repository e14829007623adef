"""Exports to a folder: files that are complete, and a manifest that is written last.

::

    PLACE/libra-totals.json                        the manifest of the last snapshot: read this
    PLACE/libra-totals-20250904T021500000000Z-…/   a snapshot: its files, and its own manifest.json
"""

import fcntl
import hashlib
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from shared.errors import ExportError
from shared.exports.formats import read, writing
from shared.exports.manifest import Held, Manifest, unpacked
from shared.exports.snapshot import Snapshot, Tally
from shared.exports.tables import Row, Table, What
from shared.log import logger

MANIFEST = "manifest.json"


class Folder:
    """A folder of this machine.

    A snapshot is written into a folder of its own, which no manifest names until all of it is on the disk.
    The process locks that folder until the manifest beside it names it. A process that was killed holds no
    lock, so the next export knows what it left, and removes it.
    """

    def __init__(self, place: str, form: str, keep: int | None = None) -> None:
        """``form``: the format of the files. ``keep``: snapshots that stay; None: all."""
        self._folder = Path(place).absolute()
        self._form = form
        self._keep = keep
        self.place = str(self._folder)

    def save(self, snapshot: Snapshot) -> Manifest:
        """See `Target.save`."""
        with _named(self.place):
            self._folder.mkdir(parents=True, exist_ok=True)
            own = self._folder / snapshot.name
            with _locked(self._folder):
                self._sweep(snapshot)
                own.mkdir()
                lock = _lock(own)
            try:
                manifest = self._write(snapshot, own)
                snapshot.step("published half")
                with _locked(self._folder):  # else another export sweeps the file away before it has its name
                    self._publish(self._folder / latest(manifest.source, manifest.what), manifest)
            finally:
                os.close(lock)
            snapshot.step("published")
        try:
            with _locked(self._folder):  # else another export publishes what is about to be removed
                self._prune(manifest)
        except (OSError, ExportError) as error:  # readers have the snapshot: the export has not failed
            logger.warning(f"{self.place}: old snapshots were not removed: {type(error).__name__}: {error}")
        return manifest

    def manifest(self, source: str, what: What) -> Manifest | None:
        """See `Target.manifest`."""
        path = self._folder / latest(source, what)
        with _named(self.place):
            try:
                return unpacked(path.read_text("utf-8"), str(path))
            except FileNotFoundError:
                return None

    def rows(self, manifest: Manifest, held: Held) -> Iterator[Row]:
        """See `Target.rows`."""
        path = self._folder / manifest.snapshot / str(held.file["name"])
        with _named(self.place):
            found = digest(path)
        if found != held.file["sha256"]:
            raise ExportError(
                f"{path}: the file is damaged: its SHA-256 is {found}, the manifest says "
                f"{held.file['sha256']}"
            )
        return read(path, held.table)

    def _write(self, snapshot: Snapshot, own: Path) -> Manifest:
        try:
            snapshot.step("begun")
            tables = tuple(self._table(snapshot, own, table) for table in snapshot.tables)
            manifest = snapshot.manifest(tables)
            _sync(own)
            snapshot.step("publish begun")
            self._publish(own / MANIFEST, manifest)
        except BaseException:
            _remove(own)
            raise
        return manifest

    def _table(self, snapshot: Snapshot, own: Path, table: Table) -> Held:
        snapshot.step("table begun")
        path, tally = own / f"{table.name}.{self._form}", Tally()
        with path.open("xb") as file:
            with writing(self._form, file, table) as out:
                for rows in snapshot.pages(table, tally):
                    out.write(rows)
            file.flush()
            os.fsync(file.fileno())
        snapshot.step("table written")
        size = path.stat().st_size
        return snapshot.held(table, tally, {"name": path.name, "bytes": size, "sha256": digest(path)})

    def _publish(self, path: Path, manifest: Manifest) -> None:
        part = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
        try:
            with part.open("xb") as file:
                file.write(f"{manifest.packed(indent=1)}\n".encode())
                file.flush()
                os.fsync(file.fileno())
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)
        _sync(path.parent)

    def _snapshots(self, source: str, what: What) -> list[Path]:
        """The folders of snapshots, the oldest first, complete or not."""
        name = re.compile(snapshot_name(source, what))
        return sorted(each for each in self._folder.iterdir() if name.fullmatch(each.name) and each.is_dir())

    def _sweep(self, snapshot: Snapshot) -> None:
        """Remove what killed exports of the same kind have left."""
        for part in self._folder.glob(f".{latest(snapshot.source, snapshot.what)}.*.part"):
            part.unlink(missing_ok=True)
        for each in self._snapshots(snapshot.source, snapshot.what):
            if not (each / MANIFEST).exists():
                _remove_unless_locked(each)

    def _prune(self, manifest: Manifest) -> None:
        if self._keep is None:
            return
        complete = [
            each for each in self._snapshots(manifest.source, manifest.what) if (each / MANIFEST).exists()
        ]
        latest = self.manifest(manifest.source, manifest.what)  # another's, if that ended meanwhile
        for each in complete[: -self._keep]:
            if latest is None or each.name != latest.snapshot:
                _remove_unless_locked(each)


def _remove(snapshot: Path) -> None:
    """Remove a snapshot, its manifest first: what is left of it at any moment is none."""
    (snapshot / MANIFEST).unlink(missing_ok=True)
    shutil.rmtree(snapshot, ignore_errors=True)


def _remove_unless_locked(snapshot: Path) -> None:
    """Remove a snapshot whose process is done with it, or dead."""
    with suppress(BlockingIOError):
        lock = _lock(snapshot)
        try:
            _remove(snapshot)
        finally:
            os.close(lock)


def latest(source: str, what: What) -> str:
    """The name of the manifest that readers read first."""
    return f"{source}-{what}.json"


def snapshot_name(source: str, what: What) -> str:
    """A regular expression for the names of snapshots (`Snapshot.name`)."""
    return rf"{re.escape(source)}-{what}-\d{{8}}T\d{{12}}Z-[0-9a-f]{{8}}"


def _lock(folder: Path) -> int:
    """Lock a folder until the descriptor is closed, or the process ends; raises BlockingIOError."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise
    return descriptor


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Alone in a folder: a snapshot without its lock yet looks like one whose process is dead."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _sync(folder: Path) -> None:
    """Flush a folder: else a power cut may take the names of its files away."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def digest(path: Path) -> str:
    """The SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def _named(place: str) -> Iterator[None]:
    """An error of the disk, as one of Libra's that names the folder."""
    try:
        yield
    except OSError as error:
        raise ExportError(f"{place}: {type(error).__name__}: {error}") from error

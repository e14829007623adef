"""Exports to a bucket of Cloud Storage: the files and manifests of a folder, as objects.

::

    gs://BUCKET/FOLDER/libra-totals.json                         the manifest of the last snapshot: read this
    gs://BUCKET/FOLDER/libra-totals-20250904T021500000000Z-…/    a snapshot: its files, and its manifest.json

An object appears whole or not at all. The pointer is replaced last, under the condition that nobody else has
replaced it meanwhile (``ifGenerationMatch``), so a request that arrives late changes nothing.
"""

import hashlib
import io
import re
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Self

from google.api_core.exceptions import GoogleAPIError, NotFound, PreconditionFailed
from google.auth.exceptions import GoogleAuthError
from google.cloud.storage import Client
from google.cloud.storage.exceptions import DataCorruption, InvalidResponse
from requests.exceptions import RequestException

from shared.errors import ExportError
from shared.exports.folder import MANIFEST, digest, latest, snapshot_name
from shared.exports.formats import read, writing
from shared.exports.manifest import Held, Manifest, unpacked
from shared.exports.places import GS
from shared.exports.snapshot import Snapshot, Tally
from shared.exports.tables import Row, Table, What
from shared.log import logger

CHUNK = 8 << 20
"""Bytes that are in memory while an object is uploaded."""
TRIES = 10
"""How often the pointer is written, where others write it at the same time."""
UNTOUCHED = timedelta(days=1)
"""Nothing younger is removed: it may be of an export that is under way, which takes hours at most. By the
clock of Cloud Storage."""


class Bucket:
    """A bucket, below a prefix. Exports may write to it at once: readers find the last one."""

    def __init__(self, client: Any, bucket: str, prefix: str, form: str, keep: int | None = None) -> None:
        """``form``: the format of the files. ``keep``: snapshots that stay; None: all."""
        self._client = client
        self._bucket = client.bucket(bucket)
        self._prefix = f"{prefix}/" if prefix else ""
        self._form = form
        self._keep = keep
        self.place = f"{GS}{bucket}/{prefix}".rstrip("/")

    @classmethod
    def connect(cls, place: str, project: str | None, form: str, keep: int | None) -> Self:
        """The bucket that an operator names: gs://BUCKET, or gs://BUCKET/FOLDER.

        Raises:
            ExportError: it names no bucket, or there are no credentials for it.
        """
        bucket, _, prefix = place.removeprefix(GS).partition("/")
        if not bucket:
            raise ExportError(f"{place!r} names no bucket: expected gs://BUCKET or gs://BUCKET/FOLDER")
        try:
            return cls(Client(project=project), bucket, prefix.strip("/"), form, keep)
        except (GoogleAuthError, OSError) as error:
            raise ExportError(f"{place}: no credentials for Cloud Storage: {error}") from error

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def save(self, snapshot: Snapshot) -> Manifest:
        """See `Target.save`."""
        with _named(self.place):
            manifest = self._write(snapshot)
            snapshot.step("publish begun")
            text = f"{manifest.packed(indent=1)}\n"
            self._put(f"{snapshot.name}/{MANIFEST}", text, 0)
            snapshot.step("published half")
            now = self._publish(latest(manifest.source, manifest.what), text)
            snapshot.step("published")
        try:
            self._clear(manifest, now - UNTOUCHED)
        except (*_FAILURES, ExportError) as error:  # readers have the snapshot: the export has not failed
            logger.warning(f"{self.place}: old snapshots were not removed: {type(error).__name__}: {error}")
        return manifest

    def manifest(self, source: str, what: What) -> Manifest | None:
        """See `Target.manifest`."""
        name = latest(source, what)
        with _named(self.place):
            text = self._text(name)
        return None if text is None else unpacked(text, f"{self.place}/{name}")

    def rows(self, manifest: Manifest, held: Held) -> Iterator[Row]:
        """See `Target.rows`. The file passes through a temporary one."""
        name = f"{manifest.snapshot}/{held.file['name']}"
        with tempfile.TemporaryDirectory(prefix="libra-export-") as folder:
            path = Path(folder) / str(held.file["name"])
            with _named(f"{self.place}/{name}"):
                self._blob(name).download_to_filename(path)
            if (found := digest(path)) != held.file["sha256"]:
                raise ExportError(
                    f"{self.place}/{name}: the file is damaged: its SHA-256 is {found}, the manifest says "
                    f"{held.file['sha256']}"
                )
            yield from read(path, held.table)

    def _write(self, snapshot: Snapshot) -> Manifest:
        try:
            snapshot.step("begun")
            return snapshot.manifest(tuple(self._table(snapshot, each) for each in snapshot.tables))
        except BaseException:
            with suppress(*_FAILURES):  # what stays is no snapshot; another export removes it
                self._remove(list(self._bucket.list_blobs(prefix=f"{self._prefix}{snapshot.name}/")))
            raise

    def _table(self, snapshot: Snapshot, table: Table) -> Held:
        snapshot.step("table begun")
        name, tally = f"{table.name}.{self._form}", Tally()
        with (
            _Upload(self._blob(f"{snapshot.name}/{name}")) as file,
            writing(self._form, file, table) as out,
        ):
            for rows in snapshot.pages(table, tally):
                out.write(rows)
        snapshot.step("table written")
        return snapshot.held(table, tally, {"name": name, "bytes": file.size, "sha256": file.sha256})

    def _publish(self, name: str, text: str) -> datetime:
        """Have the pointer say this, whatever it said; when it did."""
        for _ in range(TRIES):
            there = self._bucket.get_blob(self._prefix + name)
            with suppress(PreconditionFailed):
                return self._put(name, text, there.generation if there else 0)
        raise ExportError(f"{self.place}/{name}: other exports have replaced it {TRIES} times: export again")

    def _put(self, name: str, text: str, generation: int) -> datetime:
        """Write a small object if its generation is this one, 0: if it is not there; when that was."""
        blob = self._blob(name)
        try:
            kind = "application/json"
            blob.upload_from_string(text, kind, checksum="crc32c", if_generation_match=generation)
        except PreconditionFailed:
            if self._text(name) != text:  # else it has landed, and the answer was lost
                raise
            blob.reload()
        at: datetime = blob.updated
        return at

    def _text(self, name: str) -> str | None:
        try:
            return str(self._blob(name).download_as_bytes().decode())
        except NotFound:
            return None

    def _blob(self, name: str) -> Any:
        return self._bucket.blob(self._prefix + name)

    def _clear(self, manifest: Manifest, before: datetime) -> None:
        """Remove what killed exports have left, and all complete snapshots but the newest ``keep``."""
        found = defaultdict(list)
        start = f"{self._prefix}{manifest.source}-{manifest.what}-"
        pattern = re.compile(
            re.escape(self._prefix) + f"({snapshot_name(manifest.source, manifest.what)})/.+"
        )
        for blob in self._bucket.list_blobs(prefix=start):
            if match := pattern.fullmatch(blob.name):
                found[match[1]].append(blob)
        complete = [each for each in sorted(found) if any(map(_is_manifest, found[each]))]
        kept = complete[-self._keep :] if self._keep else complete
        last = self.manifest(manifest.source, manifest.what)  # another's, if that ended meanwhile
        for name, blobs in found.items():
            pointed = last is None or name == last.snapshot
            if name not in kept and not pointed and max(each.updated for each in blobs) < before:
                self._remove(blobs)

    def _remove(self, blobs: list[Any]) -> None:
        """Remove a snapshot, its manifest first: what is left of it at any moment is none."""
        for each in sorted(blobs, key=_is_manifest, reverse=True):
            with suppress(NotFound):  # another export removes it too
                each.delete()


class _Upload(io.BufferedIOBase):
    """A file that is uploaded while it is written. The object appears when it ends well, or not at all."""

    def __init__(self, blob: Any) -> None:
        self._out = blob.open("wb", chunk_size=CHUNK, ignore_flush=True)
        self._digest = hashlib.sha256()
        self.size = 0

    def writable(self) -> bool:
        """It is."""
        return True

    def write(self, data: Any) -> int:
        """Add bytes."""
        self._digest.update(data)
        self.size += len(data)
        self._out.write(data)
        return len(data)

    @property
    def sha256(self) -> str:
        """Of everything that was written."""
        return self._digest.hexdigest()

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None:
                self._out.close()
            else:
                with suppress(*_FAILURES):  # an upload that nobody ends is forgotten after a week
                    self._out.terminate()
        finally:  # where it failed, Python would close it again when it collects it, in whatever thread: it
            self._out.close = _nothing  # would try for two minutes to upload the rest


def _nothing() -> None:
    """What is left to do."""


_FAILURES = (GoogleAPIError, GoogleAuthError, RequestException, DataCorruption, InvalidResponse)


def _is_manifest(blob: Any) -> bool:
    return bool(blob.name.endswith(f"/{MANIFEST}"))


@contextmanager
def _named(place: str) -> Iterator[None]:
    """An error of Cloud Storage, or of the disk, as one of Libra's that names the place."""
    try:
        yield
    except (*_FAILURES, OSError) as error:
        raise ExportError(f"{place}: {type(error).__name__}: {error}") from error

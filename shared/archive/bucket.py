"""A bucket of Google Cloud Storage as the destination of an archive."""

from collections.abc import Iterator
from typing import Any

from google.api_core.exceptions import GoogleAPIError, NotFound, PreconditionFailed
from google.auth.exceptions import GoogleAuthError
from google.cloud.storage import Client
from google.cloud.storage.exceptions import DataCorruption
from requests.exceptions import RequestException

from shared.archive.destinations import SCHEME, failed
from shared.errors import ArchiveError

_FAILURES = (GoogleAPIError, GoogleAuthError, RequestException, DataCorruption)


class Bucket:
    """A bucket, below a prefix. An object appears when all of it has arrived, or not at all.

    The client tries a request again where that may help. An upload is conditional on the object not being
    there, and carries a checksum that the service compares with what has arrived.
    """

    def __init__(self, client: Any, bucket: str, prefix: str = "") -> None:
        self._bucket = client.bucket(bucket)
        self._prefix = f"{prefix}/" if prefix else ""
        self.place = f"{SCHEME}{bucket}/{prefix}".rstrip("/")

    @classmethod
    def of(cls, place: str) -> "Bucket":
        """The bucket that an operator names, with the credentials of the environment.

        Raises:
            ArchiveError: it names no bucket, or there are no credentials for it.
        """
        bucket, _, prefix = place.removeprefix(SCHEME).partition("/")
        if not bucket:
            raise ArchiveError(f"{place!r} names no bucket: expected gs://BUCKET or gs://BUCKET/PREFIX")
        try:
            return cls(Client(), bucket, prefix.strip("/"))
        except (GoogleAuthError, OSError) as error:  # OSError: there is no project either
            raise ArchiveError(f"{place}: no credentials for Cloud Storage: {error}") from error

    def write(self, name: str, data: bytes, *, replace: bool = False) -> None:
        """See `Destination.write`."""
        blob = self._bucket.blob(self._prefix + name)
        kind = "application/gzip" if name.endswith(".gz") else "application/json"
        options: dict[str, Any] = {"content_type": kind, "checksum": "crc32c"}
        if not replace:
            options["if_generation_match"] = 0
        try:
            blob.upload_from_string(data, **options)
        except PreconditionFailed as error:
            if self.read(name) != data:  # else it landed, and the reply was lost
                raise ArchiveError(f"{self.place}/{name}: the file is there already") from error
        except _FAILURES as error:
            raise failed(self.place, name, error) from error

    def read(self, name: str) -> bytes | None:
        """See `Destination.read`."""
        try:
            data: bytes = self._bucket.blob(self._prefix + name).download_as_bytes(raw_download=True)
        except NotFound:
            return None
        except _FAILURES as error:
            raise failed(self.place, name, error) from error
        return data

    def names(self) -> Iterator[str]:
        """See `Destination.names`."""
        try:
            for blob in self._bucket.list_blobs(prefix=self._prefix, delimiter="/"):
                yield blob.name.removeprefix(self._prefix)
        except _FAILURES as error:
            raise failed(self.place, "", error) from error

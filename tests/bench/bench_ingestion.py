"""Ingestion: rows a second from the sources to committed, beside the common way, and the peak memory.

The common way reads the result of a query row by row, in pages of JSON as Google's client does, and writes
`INSERT … ON CONFLICT` in batches of 1,000. Emulator, server and worker share the cores of this machine: the
figures are lower bounds, and their ratio is what they are for. Each load is a process of its own, so that its
peak memory is its own.
"""

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import httpx
import psycopg

from local.bigquery import BigQuery as Emulator
from local.databases import PostgresServer
from local.ga4 import DATASET, Export, row
from local.sftp import PASSWORD, USER, SftpServer
from services.ingestion import files, ga4
from services.ingestion.bigquery import BigQuery, Events
from services.ingestion.books import Books
from services.ingestion.files import Format
from services.ingestion.jobs import Jobs
from services.ingestion.refusals import Dataset
from services.ingestion.requests import FILES, Part, Request
from services.ingestion.rows import Ceilings, Target
from services.ingestion.sftp import Files, Server
from services.ingestion.worker import Worker
from shared.postgres import Postgres
from tests.bench.bench_recompute import ROOT, STORED
from tests.support.ingesting import add_tenant

DAY = date(2026, 1, 5)
PROJECT = "demo-bench"
WRITTEN, DOUBLED = 2_000, 4
"""Rows of a day that are written, and how often its table is then doubled: 32,000 rows. The emulator sends a
table in one message of at most 11 MB, where BigQuery sends many small ones."""


class Source:
    """Both sources, as a job's worker has them."""

    ceilings = Ceilings()

    def __init__(self, places: dict[str, Any]) -> None:
        self._bigquery = BigQuery(None, address=places["bigquery"], storage=places["storage"])
        self._events = Events(self._bigquery, Dataset(PROJECT, DATASET), lambda: DAY)
        server = Server("127.0.0.1", places["port"], USER, places["host_key"], PASSWORD)
        self._files = Files(server, Format(), lambda _: None, lambda: DAY, settle_seconds=0)

    def target(self, kind: str) -> Target:
        """See `Sources`."""
        return files.target(kind) if kind in FILES else ga4.target(kind)

    def open(self, part: Part) -> Any:
        """See `Sources`."""
        return self._files.open(part) if part.kind in FILES else self._events.open(part)

    def close(self) -> None:
        """See `Sources`."""
        self._bigquery.close()


def main(*, quick: bool) -> None:
    """Measure, print, and store unless it is a quick look."""
    sizes = (1, 2) if quick else (1, 4)
    lines = ["| rows | what | rows a second | peak MB |", "|---|---|---|---|"]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for days in sizes:
            lines += _at_size(days, folder / str(days), common=days == 1)
    print("\n".join(lines))
    if not quick:
        said = [
            "# Ingestion",
            "",
            "`make bench NAME=ingestion`. " + " ".join((__doc__ or "").split()),
            "",
            *lines,
            "",
        ]
        (STORED / "ingestion.md").write_text("\n".join(said))


def _at_size(days: int, folder: Path, *, common: bool) -> Iterator[str]:
    folder.mkdir()
    size = days * WRITTEN * 2**DOUBLED
    with (
        Emulator.prepare(os.environ, folder / "bigquery.txt") as emulator,
        PostgresServer(folder) as server,
        SftpServer(folder / "files") as sftp,
        Export(emulator.url, PROJECT) as export,
    ):
        for day in (DAY + timedelta(number) for number in range(days)):
            table = f"`{PROJECT}.{DATASET}.events_{day:%Y%m%d}`"
            export.write(f"events_{day:%Y%m%d}", (row(day, number, "page_view") for number in range(WRITTEN)))
            for _ in range(DOUBLED):
                _query(emulator.url, f"INSERT INTO {table} SELECT * FROM {table}")
        with (sftp.folder / f"users_{DAY}.csv").open("w") as file:
            file.write("user_id,email,name,location_id,created_on\n")
            file.writelines(
                f"u{number},u{number}@shop.example,Name,l1,2026-01-01\n" for number in range(size)
            )
        with Postgres.connect(server.url()) as postgres:
            books = Books(postgres)
            books.migrate()
            add_tenant(books, "acme")
        where = {
            "bigquery": emulator.url,
            "storage": emulator.storage,
            "port": sftp.port,
            "host_key": sftp.host_key,
        }
        for what in ("page_view", "users", *(["common"] if common else [])):
            command = [sys.executable, "-m", __name__, what, str(days), server.url(), json.dumps(where)]
            ended = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)
            rows, seconds, peak = json.loads(ended.stdout)
            assert rows == size, (what, rows, size)
            names = {"page_view": "BigQuery", "users": "SFTP", "common": "BigQuery, the common way"}
            yield f"| {rows:,} | {names[what]} | {rows / seconds:,.0f} | {peak:.0f} |"


def _child(what: str, days: int, url: str, places: dict[str, Any]) -> None:
    begun = time.monotonic()
    rows = _common(url, places["bigquery"]) if what == "common" else _job(what, days, url, places)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1_024
    print(json.dumps([rows, time.monotonic() - begun, peak]))


def _job(kind: str, days: int, url: str, places: dict[str, Any]) -> int:
    with Postgres.connect(url, statement_seconds=900) as postgres, closing(Source(places)) as source:
        books = Books(postgres)
        last = DAY + timedelta(days - 1)
        request = Request((kind,), None, None) if kind in FILES else Request((kind,), DAY, last)
        job, _ = Jobs(books).start("acme", request)
        Worker(books, lambda _: source, name="bench").once()
        ended = Jobs(books).find("acme", job.job_id)
        assert ended.state == "completed", ended.error_message
        return ended.records[kind]["loaded"]


def _common(url: str, bigquery: str) -> int:
    columns = ga4.target("page_view").columns
    marks = ", ".join(["%s"] * (len(columns) + 3))
    statement = f"INSERT INTO common (key, tenant, day, {', '.join(columns)}) VALUES ({marks})"
    statement += " ON CONFLICT (key) DO NOTHING"
    with psycopg.connect(url) as connection:
        connection.execute(
            "CREATE TABLE common (LIKE ga4_page_view INCLUDING GENERATED, key bigint PRIMARY KEY)"
        )
        batch: list[tuple[object, ...]] = []
        number = 0
        for number, found in enumerate(_rows(bigquery), 1):
            batch.append((number, "acme", DAY, *ga4.flatten("page_view", DAY, found)))
            if len(batch) == 1_000:
                _insert(connection, statement, batch)
        _insert(connection, statement, batch)
        return number


def _insert(connection: "psycopg.Connection[Any]", statement: str, batch: list[tuple[object, ...]]) -> None:
    with connection.cursor() as cursor:
        cursor.executemany(statement, batch)
    connection.commit()
    batch.clear()


def _rows(url: str) -> Iterator[dict[str, Any]]:
    statement = f"SELECT * FROM `{PROJECT}.{DATASET}.events_{DAY:%Y%m%d}` WHERE event_name = 'page_view'"
    page = _query(url, statement)
    fields, job = page["schema"]["fields"], page["jobReference"]["jobId"]
    while True:
        for each in page.get("rows", ()):
            yield {
                field["name"]: _value(field, cell["v"]) for field, cell in zip(fields, each["f"], strict=True)
            }
        if not (token := page.get("pageToken")):
            return
        more = f"{url}/bigquery/v2/projects/{PROJECT}/queries/{job}"
        page = httpx.get(more, params={"pageToken": token, "maxResults": 10_000}, timeout=300).json()


def _value(field: dict[str, Any], value: Any) -> Any:
    if value is None:
        return None
    if field.get("mode") == "REPEATED":
        return [_value(field | {"mode": "NULLABLE"}, each["v"]) for each in value]
    if field["type"] in {"RECORD", "STRUCT"}:
        cells = zip(field["fields"], value["f"], strict=True)
        return {inner["name"]: _value(inner, cell["v"]) for inner, cell in cells}
    kinds = {"INTEGER": int, "INT64": int, "FLOAT": float, "FLOAT64": float}
    return kinds.get(field["type"], str)(value)


def _query(url: str, statement: str) -> dict[str, Any]:
    body = {"query": statement, "useLegacySql": False, "timeoutMs": 300_000, "maxResults": 10_000}
    answer = httpx.post(f"{url}/bigquery/v2/projects/{PROJECT}/queries", json=body, timeout=300)
    answer.raise_for_status()
    found: dict[str, Any] = answer.json()
    assert not found.get("errors"), found["errors"]
    return found


if __name__ == "__main__":
    _child(sys.argv[1], int(sys.argv[2]), sys.argv[3], json.loads(sys.argv[4]))

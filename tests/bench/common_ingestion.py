"""The common way to ingest, which `bench_ingestion` measures: row by row, in batches of 1,000."""

import asyncio
import csv
import io
import itertools
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import date
from typing import IO, Any, LiteralString

import asyncssh
import httpx
import psycopg

from local.ga4 import DATASET
from services.ingestion import files, ga4
from services.ingestion.sftp import Server

PROJECT = "demo-bench"
waits: list[float] = []
"""How long each answer of BigQuery's took, in seconds."""


def events(url: str, bigquery: str, day: date) -> int:
    """Load the page views of a day."""
    columns = ("tenant", "day", *ga4.target("page_view").columns)
    rows = (("acme", day, *ga4.flatten("page_view", day, each)) for each in rows_of(bigquery, day))
    with _table(url, "ga4_page_view", ", number bigint PRIMARY KEY") as connection:
        numbered = ((*each, number) for number, each in enumerate(rows))
        return _insert(connection, (*columns, "number"), numbered, "(number) DO NOTHING")


def users(url: str, server: Server, day: date, *, again: bool) -> int:
    """Load a file of users; ``again``: into the table that the last one went to."""
    columns = files.target("users").columns
    with asyncio.run(_fetched(server, day)) as file:
        named = csv.DictReader(io.TextIOWrapper(file, newline=""))
        rows = (("acme", day, *(each.get(name, "{}") for name in columns)) for each in named)
        changed = ", ".join(f"{name} = excluded.{name}" for name in columns)
        with _table(url, "ingest_user", ", PRIMARY KEY (tenant, user_id)", again=again) as connection:
            return _insert(
                connection,
                ("tenant", "file_day", *columns),
                rows,
                f"(tenant, user_id) DO UPDATE SET {changed}",
            )


def copied(url: str, server: Server, day: date) -> int:
    """Hand a file of users to PostgreSQL as it is, into a new table with a key: nobody looks at a row."""
    with (
        asyncio.run(_fetched(server, day)) as file,
        _table(url, "ingest_user", ", PRIMARY KEY (tenant, user_id)") as connection,
        connection.cursor() as cursor,
    ):
        cursor.execute(
            "ALTER TABLE common ALTER tenant SET DEFAULT 'acme', ALTER other SET DEFAULT '{}',"
            " ALTER file_day SET DEFAULT current_date"
        )
        columns = "user_id, email, name, location_id, created_on"
        with cursor.copy(f"COPY common ({columns}) FROM STDIN (FORMAT csv, HEADER)") as copy:
            while data := file.read(1 << 18):
                copy.write(data)
        return cursor.rowcount


async def _fetched(server: Server, day: date) -> IO[bytes]:
    known = asyncssh.import_known_hosts(f"[{server.host}]:{server.port} {server.host_key}")
    async with asyncssh.connect(
        server.host, server.port, username=server.user, password=server.password, known_hosts=known
    ) as connection:
        client = await connection.start_sftp_client()
        file = tempfile.NamedTemporaryFile()  # noqa: SIM115 - whoever reads it closes it
        await client.get(f"users_{day}.csv", file.name)
        return file


@contextmanager
def _table(
    url: str, like: LiteralString, key: LiteralString, *, again: bool = False
) -> Iterator["psycopg.Connection[Any]"]:
    with psycopg.connect(url) as connection:
        if not again:
            connection.execute("DROP TABLE IF EXISTS common")
            connection.execute(f"CREATE TABLE common (LIKE {like} INCLUDING GENERATED{key})")
        yield connection


def _insert(
    connection: "psycopg.Connection[Any]",
    columns: Sequence[str],
    rows: Iterable[Sequence[Any]],
    conflict: str,
) -> int:
    marks = ", ".join(["%s"] * len(columns))
    statement = f"INSERT INTO common ({', '.join(columns)}) VALUES ({marks}) ON CONFLICT {conflict}"
    number = 0
    while batch := list(itertools.islice(rows, 1_000)):
        with connection.cursor() as cursor:
            cursor.executemany(statement, batch)
        connection.commit()
        number += len(batch)
    return number


def rows_of(url: str, day: date) -> Iterator[dict[str, Any]]:
    """The rows of a day's table by a query, as Google's client hands them over."""
    statement = f"SELECT * FROM `{PROJECT}.{DATASET}.events_{day:%Y%m%d}` WHERE event_name = 'page_view'"
    page = query(url, statement)
    fields, job = page["schema"]["fields"], page["jobReference"]["jobId"]
    while True:
        for each in page.get("rows", ()):
            yield {
                field["name"]: _value(field, cell["v"]) for field, cell in zip(fields, each["f"], strict=True)
            }
        if not (token := page.get("pageToken")):
            return
        more = f"{url}/bigquery/v2/projects/{PROJECT}/queries/{job}"
        with _waited():
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


def query(url: str, statement: str) -> dict[str, Any]:
    """A query's first page."""
    body = {"query": statement, "useLegacySql": False, "timeoutMs": 300_000, "maxResults": 10_000}
    with _waited():
        answer = httpx.post(f"{url}/bigquery/v2/projects/{PROJECT}/queries", json=body, timeout=300)
    answer.raise_for_status()
    found: dict[str, Any] = answer.json()
    assert not found.get("errors"), found["errors"]
    return found


@contextmanager
def _waited() -> Iterator[None]:
    begun = time.monotonic()
    yield
    waits.append(time.monotonic() - begun)

"""The BigQuery emulator of the local stack: it starts, it does what an export needs of BigQuery, it ends."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from local.bigquery import HOME, BigQuery, installed
from local.errors import StackError
from local.stack import ROOT
from tests.support.stack_processes import of_project

LARGE = 2**62 + 1


def query(bigquery: BigQuery, project: str, sql: str) -> list[list[str]]:
    """The rows of a query."""
    url = f"{bigquery.url}/bigquery/v2/projects/{project}/queries"
    found = httpx.post(url, json={"query": sql, "useLegacySql": False}, timeout=60).json()
    assert not found.get("errors"), found
    return [[cell["v"] for cell in row["f"]] for row in found["rows"]]


def test_it_keeps_rows_exactly_and_swaps_tables_in_one_transaction(bigquery: BigQuery, project: str) -> None:
    """A key with a slash, an integer beyond 2^53, and two tables that change together or not at all."""
    tables = f"{bigquery.url}/bigquery/v2/projects/{project}/datasets"
    httpx.post(tables, json={"datasetReference": {"datasetId": "d"}}, timeout=60).raise_for_status()
    fields = [{"name": "id", "type": "STRING"}, {"name": "count", "type": "INTEGER"}]
    for name in ("one", "two", "loading"):
        table = {"tableReference": {"tableId": name}, "schema": {"fields": fields}}
        httpx.post(f"{tables}/d/tables", json=table, timeout=60).raise_for_status()
    rows = {"rows": [{"insertId": "1", "json": {"id": "Mac/Cheese", "count": str(LARGE)}}]}
    answer = httpx.post(f"{tables}/d/tables/loading/insertAll", json=rows, timeout=60)
    assert answer.json()["insertErrors"] == []
    moves = "".join(
        f"INSERT INTO `{project}.d.{name}` SELECT * FROM `{project}.d.loading`; " for name in ("one", "two")
    )
    query(bigquery, project, f"BEGIN TRANSACTION; {moves} COMMIT TRANSACTION;")
    both = f"SELECT id, `count` FROM `{project}.d.one` UNION ALL SELECT id, `count` FROM `{project}.d.two`"
    assert query(bigquery, project, both) == [["Mac/Cheese", str(LARGE)]] * 2


def test_what_is_installed_is_not_installed_again(tmp_path: Path) -> None:
    """The environment is that of the lock file. Without a network there is none, and pip's words are told."""
    assert installed(os.environ, pytest.fail) == HOME / "bin" / "python"
    offline = dict(os.environ) | {"PIP_INDEX_URL": "http://127.0.0.1:1/", "PIP_RETRIES": "0"}
    with pytest.raises(StackError, match=r"pip install .* ended with 1: "):
        installed(offline, home=tmp_path / "bigquery")


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_up_with_bigquery_says_where_it_is_and_ends_it(project: str) -> None:
    """The variable that Google's client reads, and a server that ends with the stack."""
    command = [sys.executable, "-u", "-m", "cli.main", "up", "--project", project, "--with", "bigquery"]
    own = {name: value for name, value in os.environ.items() if name != "FIRESTORE_EMULATOR_HOST"}
    printed = ""
    with subprocess.Popen(
        command, env=own, cwd=ROOT, stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        try:
            assert process.stdout
            while "Ctrl-C stops everything" not in printed:
                line = process.stdout.readline()
                assert line, printed
                printed += line
            address = printed.partition("BIGQUERY_EMULATOR_HOST=")[2].split()[0]
            assert httpx.get(f"{address}/healthz", timeout=60).is_success
        finally:
            os.kill(process.pid, signal.SIGTERM)
            process.communicate(timeout=60)
    assert process.returncode == 0
    assert of_project(project) == set()
    with pytest.raises(httpx.TransportError):
        httpx.get(f"{address}/healthz", timeout=5)

"""`libra demo ingestion`, and the part of the local stack that it shows."""

import json
import os
from pathlib import Path

import httpx
import pytest
from click.testing import CliRunner
from rich.console import Console

from cli.main import main
from cli.show_ingestion import compared, show_ingestion
from local.bigquery import BigQuery
from local.databases import PostgresServer
from local.extras import EXTRAS
from local.ingestion import TENANT, Ingestion
from tests.support.databases import fresh_url

DAYS = 6
"""The fewest with a day that has no table and late days beside it; the demo has three weeks."""


@pytest.mark.timeout(300)
def test_the_demo_ends_with_what_the_sources_hold(capsys: pytest.CaptureFixture[str]) -> None:
    """The worker is killed, events come late, a file is replaced: every type and day is counted right."""
    assert show_ingestion(Console(), as_json=True, days=DAYS)
    said = json.loads(capsys.readouterr().out)
    first, second = said["loads"]
    assert (said["exact"], first["attempts"], second["attempts"]) == (True, 2, 1)
    counts = [{each["kind"]: each for each in load["kinds"]} for load in (first, second)]
    assert [load["page_view"]["rejected"] for load in counts] == [DAYS - 1] * 2
    assert [load["users"]["table"] for load in counts] == [300, 321]
    late = [sum(each["source"] for kind, each in load.items() if kind != "users") for load in counts]
    assert late[1] - late[0] == 45
    assert "ingestion" in EXTRAS


def test_what_up_starts_is_usable_with_what_it_prints(
    postgres_server: PostgresServer, bigquery: BigQuery, project: str, tmp_path: Path
) -> None:
    """The API takes the token; verify finds what came late, by its status too; loading again mends it."""
    with fresh_url(postgres_server) as url:
        shared = bigquery.exports | {"LIBRA_POSTGRES_URL": url}
        environment = os.environ | {"GOOGLE_CLOUD_PROJECT": project}
        with Ingestion(tmp_path, environment, shared=shared, load=True, days=DAYS) as running:
            exports = running.exports
            assert exports.items() >= shared.items()
            headers = {"Authorization": f"Bearer {exports['LIBRA_INGESTION_TOKEN']}", "X-Tenant-Id": TENANT}
            where = f"{exports['LIBRA_INGESTION_URL']}/data/api/v1"
            answer = httpx.get(f"{where}/availability", headers=headers, timeout=60).json()
            assert answer["last_job"]["state"] == "completed"
            assert len(next(each for each in answer["kinds"] if each["kind"] == "page_view")["gaps"]) == 1
            verify = ["ingest", "verify", TENANT]
            told = environment | exports
            assert CliRunner().invoke(main, verify, env=told).exit_code == 1
            wrong = {each.kind for each in compared(url, running.shop) if not each.exact}
            assert {"page_view", "users"} <= wrong
            running.finish(running.begin())
            assert CliRunner().invoke(main, verify, env=told).exit_code == 0
            assert all(each.exact for each in compared(url, running.shop))
            assert running.ended() is None
            running.worker.kill()
            assert str(running.ended()).startswith("the worker of ingestion ended; its log ")


def test_json_is_of_the_demo_that_has_it() -> None:
    """Elsewhere it is refused, before anything starts."""
    found = CliRunner().invoke(main, ["demo", "usage", "--json"])
    assert (found.exit_code, "--json goes with `libra demo ingestion`" in found.output) == (2, True)

"""`libra tenant` and `libra ingest`, from an empty database to counts that equal the sources."""

import base64
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from cli.main import main
from local.bigquery import BigQuery
from local.databases import PostgresServer
from local.ga4 import DATASET, Export, row
from local.sftp import PASSWORD, USER, SftpServer
from services.ingestion import settings
from services.ingestion.sources import Places
from tests.support.databases import fresh_url

ROOT = Path(__file__).resolve().parents[2]


@dataclass
class Shell:
    """Runs commands with an environment."""

    environment: dict[str, str]

    def libra(self, *arguments: str, given: str | None = None) -> Result:
        """A command."""
        return CliRunner().invoke(main, arguments, input=given, env=self.environment)

    def json(self, *arguments: str, given: str | None = None) -> Any:
        """What a command prints as JSON."""
        found = self.libra(*arguments, "--json", given=given)
        assert found.exit_code == 0, found.output
        return json.loads(found.stdout)

    def work(self) -> None:
        """The worker, until it has nothing to do."""
        command = [sys.executable, "-m", "services.ingestion", "--until-idle"]
        ended = subprocess.run(
            command, env=self.environment, cwd=ROOT, capture_output=True, text=True, check=False, timeout=150
        )
        assert ended.returncode == 0, ended.stderr


@pytest.fixture
def shell(
    postgres_server: PostgresServer, bigquery: BigQuery, project: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Shell]:
    """With an empty database and the emulator. Commands do not wait between two looks at a file."""
    monkeypatch.setattr(settings, "Places", partial(Places, settle_seconds=0))
    with fresh_url(postgres_server) as url:
        key = base64.b64encode(bytes(32)).decode()
        own = {"LIBRA_POSTGRES_URL": url, "LIBRA_INGESTION_KEY": key, "GOOGLE_CLOUD_PROJECT": project}
        yield Shell(own | bigquery.exports | {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT)})


def test_from_an_empty_database_to_equal_counts(
    shell: Shell, bigquery: BigQuery, project: str, tmp_path: Path
) -> None:
    """Each command that an operator runs on the first day, and what they say when something is wrong."""
    today = datetime.now(UTC).date()
    days = [today - timedelta(number) for number in (3, 2, 1)]
    with SftpServer(tmp_path / "files") as sftp, Export(bigquery.url, project) as export:
        said = {"project": project, "dataset": DATASET}
        wrong = said | {"sftp": {"host": "nowhere", "user": USER, "host_key": sftp.host_key}}
        sftp_settings = {"host": "127.0.0.1", "port": sftp.port, "user": USER, "host_key": sftp.host_key}
        file = tmp_path / "acme.json"
        file.write_text(json.dumps(wrong))
        assert "Applied migrations: 1, 2" in shell.libra("ingest", "migrate").output
        assert "up to date" in shell.libra("ingest", "migrate").output
        assert shell.json("tenant", "add", "acme", "--settings", str(file))["token"].startswith("lit_")
        again = shell.libra("tenant", "add", "acme", "--settings", str(file))
        assert (again.exit_code, "there is a tenant acme already" in again.output) == (1, True)
        file.write_text(json.dumps(said | {"sftp": sftp_settings | {"port": "22"}}))
        refused = shell.libra("tenant", "set", "acme", "--settings", str(file))
        assert (refused.exit_code, "sftp.port: found '22'" in refused.output) == (1, True)
        file.write_text(json.dumps(said | {"sftp": sftp_settings}))
        assert shell.libra("tenant", "set", "acme", "--settings", str(file)).exit_code == 0
        tried = shell.libra("tenant", "test", "acme", "--json")
        codes = {each["source"].split()[0]: each["code"] for each in json.loads(tried.stdout)["sources"]}
        assert (tried.exit_code, codes) == (
            1,
            {"GA4": "missing_table", "users": "configuration", "locations": "configuration"},
        )
        shell.libra("tenant", "rotate", "acme", "--secret", "sftp", "--from-file", "-", given=PASSWORD + "\n")
        for day in days:
            export.write(f"events_{day:%Y%m%d}", [row(day, number) for number in range(60)])
        users = "user_id,email,name,location_id,created_on\nu1,,,,\n"
        (sftp.folder / f"users_{today}.csv").write_text(users)
        (sftp.folder / f"locations_{today}.csv").write_text("place,name\nl1,\n")
        tried = shell.libra("tenant", "test", "acme", "--json")
        assert [each["code"] for each in json.loads(tried.stdout)["sources"]] == ["ok", "ok", "wrong_columns"]
        places = "location_id,name,city,country,latitude,longitude\nl1,,,,,\n"
        (sftp.folder / f"locations_{today}.csv").write_text(places)
        assert [each["code"] for each in shell.json("tenant", "test", "acme")["sources"]] == ["ok"] * 3
        (job,) = shell.json("ingest", "start", "acme")["jobs"]
        held = shell.libra("ingest", "start", "acme", "--kind", "users")
        assert (held.exit_code, f"job {job['job_id']} works on users" in held.output) == (1, True)
        shell.work()
        found = shell.json("ingest", "job", "acme", job["job_id"])
        assert (found["state"], found["error_message"]) == ("completed", None)
        assert sum(each["loaded"] for each in found["records_processed"].values()) == 182
        kinds = {each["kind"]: each for each in shell.json("ingest", "availability", "acme")["kinds"]}
        assert kinds["page_view"]["latest"] == str(days[-1])
        assert shell.json("ingest", "verify", "acme") == {"tenant": "acme", "compared": 30, "differences": []}
        export.add(f"events_{days[0]:%Y%m%d}", [row(days[0], 900, "page_view")])
        differs = shell.libra("ingest", "verify", "acme")
        assert (differs.exit_code, differs.stdout.count("\n")) == (1, 1)
        assert f"page_view of {days[0]}: BigQuery has" in differs.stdout
        shell.libra("ingest", "start", "acme", "--kind", "page_view")
        shell.work()
        assert shell.libra("ingest", "verify", "acme").exit_code == 0
        assert len(shell.json("ingest", "jobs", "acme")["jobs"]) == 2
        file.write_text(json.dumps(said | {"ceilings": {"left": 2}}))
        refused = shell.libra("tenant", "set", "acme", "--settings", str(file))
        assert "ceilings.left: found 2, allowed is a share from 0 to 1" in refused.output
        file.write_text(json.dumps(said))
        assert shell.libra("tenant", "set", "acme", "--settings", str(file)).exit_code == 0
        (tenant,) = shell.json("tenant", "list")["tenants"]
        assert tenant["sftp"] is None
        assert tenant["secrets"] == ["sftp"]
        assert PASSWORD not in shell.libra("tenant", "list").output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["tenant", "rotate", "acme"], "give --token, or --secret"),
        (["tenant", "rotate", "acme", "--secret", "sftp"], "give --token, or --secret"),
        (["ingest", "start", "nobody"], "there is no tenant 'nobody'"),
        (["ingest", "cancel", "acme", "x"], "no id of a job"),
    ],
)
def test_a_wrong_command_says_so(shell: Shell, arguments: list[str], message: str) -> None:
    """In a line, with a status other than 0."""
    assert shell.libra("ingest", "migrate").exit_code == 0
    found = shell.libra(*arguments)
    assert found.exit_code in {1, 2}
    assert message in found.output

"""The programs of ingestion as they are started: the worker that ends when idle, and the service."""

import base64
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from local.sftp import PASSWORD, USER, SftpServer
from services.ingestion.books import Books
from services.ingestion.jobs import Jobs
from services.ingestion.requests import Request
from services.ingestion.secrets import Vault
from services.ingestion.tenants import Tenants
from tests.support.ingesting import rows

ROOT = Path(__file__).resolve().parents[2]
KEY = bytes(range(32))


def environment(url: str) -> dict[str, str]:
    """What the programs read."""
    own = {"LIBRA_POSTGRES_URL": url, "LIBRA_INGESTION_KEY": base64.b64encode(KEY).decode()}
    return {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "GOOGLE_CLOUD_PROJECT": "demo-x"} | own


def test_a_worker_loads_a_tenants_files_and_ends(
    tables: tuple[str, Books], books: Books, tmp_path: Path
) -> None:
    """Started as a Cloud Run job is: it opens the sealed secret, which no line of its log shows."""
    url, _ = tables
    with SftpServer(tmp_path / "files") as sftp:
        head = "location_id,name,city,country,latitude,longitude\n"
        (sftp.folder / "locations_2026-01-05.csv").write_text(f"{head}l1,Caldo Office,Zürich,CH,47.3,8.5\n")
        (sftp.folder / "users_2026-01-05.csv").write_text(
            "user_id,email,name,location_id,created_on\nu1,,,,x\nu2,,,,\n"
        )
        server = {"host": "127.0.0.1", "port": sftp.port, "user": USER, "host_key": sftp.host_key}
        Tenants(books).add("third", {"sftp": server})
        Tenants(books).set_secret("third", "sftp", Vault(KEY, str).seal("third", "sftp", PASSWORD))
        job, _ = Jobs(books).start("third", Request(("locations", "users"), None, None))
        command = [sys.executable, "-m", "services.ingestion", "--until-idle"]
        ended = subprocess.run(
            command,
            env=environment(url) | {"LIBRA_INGESTION_REJECTED_PERCENT": "50"},
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
    assert ended.returncode == 0, ended.stderr
    assert Jobs(books).find("third", job.job_id).state == "completed"
    assert rows(books, "third", "SELECT name, city FROM ingest_location") == [("Caldo Office", "Zürich")]
    assert '"message": "A job ended"' in ended.stdout
    assert PASSWORD not in ended.stdout + ended.stderr


@pytest.mark.parametrize(
    ("arguments", "changed", "message"),
    [(["--forever"], {}, "allowed is --until-idle"), ([], {"LIBRA_POSTGRES_URL": ""}, "LIBRA_POSTGRES_URL")],
)
def test_a_wrong_start_says_so_in_a_line(arguments: list[str], changed: dict[str, str], message: str) -> None:
    """Without a traceback."""
    own = environment("postgresql://u@127.0.0.1:1/d") | changed
    command = [sys.executable, "-m", "services.ingestion", *arguments]
    ended = subprocess.run(
        command, env=own, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120
    )
    assert ended.returncode in {1, 2}
    assert message in ended.stderr
    assert len(ended.stderr.splitlines()) == 1


def test_the_service_starts_and_lets_a_tenant_in(tables: tuple[str, Books], books: Books) -> None:
    """As its name says: `uvicorn services.ingestion.main:app`."""
    url, _ = tables
    token = Tenants(books).rotate_token("acme")
    with socket.create_server(("127.0.0.1", 0)) as found:
        port = found.getsockname()[1]
    command = [sys.executable, "-m", "uvicorn", "services.ingestion.main:app", "--port", str(port)]
    with subprocess.Popen(command, env=environment(url), cwd=ROOT, stdout=subprocess.DEVNULL) as process:
        try:
            deadline = time.monotonic() + 60
            while True:
                try:
                    assert httpx.get(f"http://127.0.0.1:{port}/readyz", timeout=10).json() == {"status": "ok"}
                    break
                except httpx.TransportError:
                    assert process.poll() is None
                    assert time.monotonic() < deadline
                    time.sleep(0.1)
            headers = {"X-Tenant-Id": "acme", "Authorization": f"Bearer {token}"}
            where = f"http://127.0.0.1:{port}/data/api/v1"
            started = httpx.post(f"{where}/ingest/start", headers=headers, json={}, timeout=30)
            assert started.status_code == 202
            assert started.json()["last"] >= "2026"
            assert httpx.get(f"{where}/availability", headers=headers, timeout=30).json()["kinds"] == []
        finally:
            process.terminate()

"""The programs of ingestion as they are started: the worker that ends when idle, and the service."""

import base64
import json
import os
import runpy
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from local.process import wait_until
from local.sftp import PASSWORD, USER, SftpServer
from services.ingestion import log_files
from services.ingestion.books import Books
from services.ingestion.jobs import Jobs
from services.ingestion.secrets import Vault
from services.ingestion.tenants import Tenants
from shared.log import logger
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
    """Started as a Cloud Run job is. It starts the load of the day and opens the sealed secret, which no line
    of its log shows."""
    url, _ = tables
    with SftpServer(tmp_path / "files") as sftp:
        head = "location_id,name,city,country,latitude,longitude\n"
        (sftp.folder / "locations_2026-01-05.csv").write_text(f"{head}l1,Caldo Office,Zürich,CH,47.3,8.5\n")
        (sftp.folder / "users_2026-01-05.csv").write_text(
            "user_id,email,name,location_id,created_on\nu1,,,,x\nu2,,,,\n"
        )
        server = {"host": "127.0.0.1", "port": sftp.port, "user": USER, "host_key": sftp.host_key}
        Tenants(books).add("third", {"sftp": server, "ceilings": {"rejected": 0.5}})
        Tenants(books).set_secret("third", "sftp", Vault(KEY, str).seal("third", "sftp", PASSWORD))
        command = [sys.executable, "-m", "services.ingestion", "--scheduled"]
        ended = subprocess.run(
            command,
            env=environment(url),
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
    assert ended.returncode == 0, ended.stderr
    (job,) = Jobs(books).history("third", most=2)
    assert (job.state, job.kinds) == ("completed", ("users", "locations"))
    assert rows(books, "third", "SELECT name, city FROM ingest_location") == [("Caldo Office", "Zürich")]
    said = [json.loads(line) for line in ended.stdout.splitlines()]
    assert [it["message"] for it in said if "tenant" in it] == [
        "A load of the day was started",
        "A job was claimed",
        "A job ended",
        "A tenant's data are late",
    ]
    assert said[-1]["latest"] == {"users": "2026-01-05", "locations": "2026-01-05"}
    assert PASSWORD not in ended.stdout + ended.stderr


@pytest.mark.parametrize(
    ("arguments", "changed", "message"),
    [
        (["--forever"], {}, "found --forever, allowed are --until-idle, --scheduled and --log-dir DIR"),
        (["--log-dir"], {}, "allowed are --until-idle, --scheduled and --log-dir DIR"),
        (["--log-dir", "/dev/null/x"], {}, "LIBRA_INGESTION_LOG_DIR='/dev/null/x': a folder to write to"),
        ([], {"LIBRA_POSTGRES_URL": ""}, "LIBRA_POSTGRES_URL"),
    ],
)
def test_a_wrong_start_says_so_in_a_line(
    arguments: list[str],
    changed: dict[str, str],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Without a traceback. The program is run as `python -m` runs it, but here: its imports take seconds."""
    for name, value in (environment("postgresql://u@127.0.0.1:1/d") | changed).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "argv", ["services.ingestion", *arguments])
    monkeypatch.setattr(logger, "handlers", [])
    with pytest.raises(SystemExit) as ended:
        runpy.run_module("services.ingestion", run_name="__main__")
    assert ended.value.code in {1, 2}
    said = capsys.readouterr().err
    assert message in said
    assert len(said.splitlines()) == 1


def test_two_workers_log_into_files_of_their_own(tables: tuple[str, Books], tmp_path: Path) -> None:
    """Nothing goes to standard output; a third one takes the first number that is free."""
    url, _ = tables
    folder = tmp_path / "logs"
    command = [sys.executable, "-m", "services.ingestion", "--log-dir", str(folder)]
    own: dict[str, Any] = {"env": environment(url), "cwd": ROOT, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, **own) as one, subprocess.Popen(command, **own) as two:
        files = [folder / f"worker-{number}.jsonl" for number in (1, 2)]
        try:
            wait_until(lambda: all(it.exists() and it.read_text() for it in files), seconds=60, what="logs")
        finally:
            for each in (one, two):
                each.terminate()
        assert [each.communicate()[0] for each in (one, two)] == [b"", b""]
    again = subprocess.run([*command, "--until-idle"], **own, check=True)
    assert again.stdout == b""
    lines = [[json.loads(line)["message"] for line in it.read_text().splitlines()] for it in files]
    assert lines == [["The worker looks for jobs"] * 2, ["The worker looks for jobs"]]


def test_a_full_file_is_put_aside_and_the_oldest_goes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No line is lost but those of the oldest file."""
    monkeypatch.setattr(log_files, "FULL", 1_000)
    monkeypatch.setattr(log_files, "KEPT", 2)
    monkeypatch.setattr(logger, "handlers", [])
    monkeypatch.setattr(log_files, "_held", [])
    file = log_files.into(tmp_path, "api")
    for number in range(100):
        logger.warning("x" * 50, extra={"number": number})
    logger.handlers[0].close()
    log_files._held[0].close()
    kept = [tmp_path / f"api-1.jsonl{end}" for end in (".2", ".1", "")]
    numbers = [json.loads(line)["number"] for it in kept for line in it.read_text().splitlines()]
    assert file == kept[-1]
    assert numbers == list(range(numbers[0], 100))
    assert len(list(tmp_path.iterdir())) == 4


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

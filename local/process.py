"""The processes of the local stack: started apart from the terminal, watched, stopped by their id."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from random import SystemRandom

from local.errors import StackError

POLL_SECONDS = 0.05
END_WITH_PARENT = Path(__file__).with_name("end_with_parent.py")


OURS = range(10_000, 32_768)
"""Ports that no system gives to a connection: one that is free now stays so until it is used."""


def free_port(usual: int = 0) -> int:
    """A TCP port on 127.0.0.1 that is free now: the usual one if it is.

    Raises:
        StackError: there is none.
    """
    for port in ([usual] if usual else []) + SystemRandom().sample(OURS, 100):
        with suppress(OSError), socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
            return port
    raise StackError("no TCP port on 127.0.0.1 is free")


def wait_until(condition: Callable[[], bool], *, seconds: float, what: str) -> None:
    """Wait for a condition.

    Raises:
        StackError: it did not hold within that many seconds; `what` names it in the message.
    """
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise StackError(f"{what}: not within {seconds:g} seconds")
        time.sleep(POLL_SECONDS)


class Child:
    """One process of the stack, in a session of its own.

    Ctrl-C in the terminal reaches the parent only, which stops its children in order. On Linux a
    child also ends when its parent is killed (see `local/end_with_parent.py`): start it from the main thread.

    Attributes:
        name: what it is called in messages.
        log: the file its output goes to.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        log: Path,
        environment: Mapping[str, str],
        *,
        user: int | None = None,
    ) -> None:
        """Start the command with exactly this environment; its output is appended to `log`.

        A `user` id is whose process it becomes, where ours is root's.
        """
        self.name = name
        self.log = log
        whose = "" if user is None else str(user)
        command_line = [sys.executable, "-I", "-S", str(END_WITH_PARENT), str(os.getpid()), whose, *command]
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                command_line,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=dict(environment),
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """Its process id, which is its process group too."""
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether it has not ended.

        An ended process is looked at without being reaped, so that its id stays its own until
        `kill` has dealt with its group.
        """
        if self._process.returncode is not None:
            return False
        return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None

    @property
    def ended(self) -> str | None:
        """What to say if it has ended, None while it runs."""
        return None if self.running else f"{self.name} ended{self._last_words()}"

    def wait_healthy(self, healthy: Callable[[], bool], *, seconds: float) -> None:
        """Wait until `healthy()` says so.

        Raises:
            StackError: it ended, or was not healthy in time; the message shows the end of its log.
        """
        try:
            wait_until(lambda: not self.running or healthy(), seconds=seconds, what=f"{self.name} healthy")
        except StackError as error:
            raise StackError(f"{error}{self._last_words()}") from None
        if self.ended:
            raise StackError(self.ended)

    def stop(self, *, seconds: float = 15) -> None:
        """Ask it to end, wait, and kill what is left of its group; a second call does nothing."""
        if self.running:
            os.kill(self.pid, signal.SIGTERM)
            with suppress(StackError):
                wait_until(lambda: not self.running, seconds=seconds, what=f"{self.name} stopped")
        self.kill()

    def kill(self) -> None:
        """Kill it and everything it started, at once; a second call does nothing."""
        if self._process.returncode is None:
            with suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)
            self._process.wait()

    def tail(self, lines: int = 15) -> str:
        """The last lines of its log."""
        with self.log.open(encoding="utf-8", errors="replace") as file:
            return "".join(deque(file, lines)).rstrip()

    def _last_words(self) -> str:
        return f"; its log {self.log} ends with\n{self.tail()}"

"""An emulator on this machine, whatever it emulates: found or started, stopped, killed, restarted."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Self

import httpx

from local.errors import StackError
from local.jar import Jar, find_jar
from local.java import find_java, required_java
from local.process import Child, free_port

START_SECONDS = 60


class Emulated:
    """An emulator on this machine.

    One that was found running (`attach`) is never stopped and cannot be restarted.

    Attributes:
        jar: which jar it is, where it is one.
        variable: what tells a client where it is.
        host: the address it listens on.
        port: its port; the same after a restart.
    """

    jar: Jar
    variable: str

    def __init__(self, host: str, port: int, start: Callable[[], Child] | None = None) -> None:
        """Use `attach`, or the `prepare` of an emulator, which make the parts."""
        self.host = host
        self.port = port
        self._start = start
        self._child: Child | None = None

    @classmethod
    def attach(cls, address: str) -> Self:
        """The one that already listens at `host:port`.

        Raises:
            StackError: nothing there answers as an emulator does.
        """
        host, _, port = address.rpartition(":")
        if not host or not port.isdigit():
            raise StackError(f"{cls.variable}={address!r}: write it as host:port, without a scheme")
        emulator = cls(host, int(port))
        if not emulator.healthy():
            raise StackError(
                f"{cls.variable}={address}: no emulator answers there; "
                "start it, or unset the variable to have one started"
            )
        return emulator

    @classmethod
    def started_by(
        cls,
        environment: Mapping[str, str],
        log: Path,
        options: Sequence[str],
        *,
        port: int | None = None,
        java: Sequence[str] = (),
        say: Callable[[str], None] = lambda _: None,
    ) -> Self:
        """Find what it takes to start one on 127.0.0.1; `start` starts it.

        Args:
            environment: where to look, and what the emulator's process is given.
            log: the file its output goes to.
            options: the emulator's own, besides its host and port.
            port: its port; a free one by default.
            java: options for its Java.
            say: called when a download starts.

        Raises:
            StackError: the emulator or a Java for it is missing and cannot be had.
        """
        jar = find_jar(environment, cls.jar, say=say)
        binary = find_java(environment, required_java(jar, cls.jar))
        chosen = port or free_port()
        command = [
            *(str(binary), *java, "-Duser.language=en"),  # the only language the emulators speak
            *("-cp", str(jar), cls.jar.main),
            *("--host=127.0.0.1", f"--port={chosen}", *options),
        ]
        return cls("127.0.0.1", chosen, lambda: Child(cls.jar.title, command, log, environment))

    @property
    def address(self) -> str:
        """What `variable` is to be set to."""
        return f"{self.host}:{self.port}"

    @property
    def url(self) -> str:
        """The base of its HTTP addresses."""
        return f"http://{self.address}"

    @property
    def ours(self) -> bool:
        """Whether this process starts and stops it."""
        return self._start is not None

    @property
    def pid(self) -> int | None:
        """Its process id, while one that was started here runs."""
        return self._child.pid if self._child else None

    @property
    def ended(self) -> str | None:
        """What to say if it was started here and ended by itself."""
        return self._child.ended if self._child else None

    def __enter__(self) -> Self:
        """Start it."""
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop it."""
        self.stop()

    def start(self) -> None:
        """Start it and wait until it is healthy; nothing to do for one that was found running.

        Raises:
            StackError: it did not start; the message shows the end of its log.
        """
        self._begin()

    def _begin(self) -> None:
        if self._start is None or self._child is not None:
            return
        self._child = self._start()
        try:
            self._child.wait_healthy(self.healthy, seconds=START_SECONDS)
        except StackError:
            self._end()
            raise

    def stop(self) -> None:
        """Stop it and forget its data; nothing to do for one that was found running."""
        self._end()

    def _end(self) -> None:
        if self._child is not None:
            self._child.stop()
            self._child = None

    def kill(self) -> None:
        """End it as a crash would; `start` starts it again."""
        if self._child is not None:
            self._child.kill()
            self._child = None

    def restart(self) -> None:
        """Stop it and start it on the same port. All that it held is gone.

        Raises:
            StackError: it is not ours, or did not start.
        """
        if not self.ours:
            raise StackError(
                f"the emulator at {self.address} was running before: it can't be restarted from here"
            )
        self._end()
        self._begin()

    def healthy(self) -> bool:
        """Whether it answers."""
        with suppress(httpx.TransportError):
            return httpx.get(self.url, timeout=5).text.strip() == "Ok"
        return False

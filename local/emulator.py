"""The real Firestore emulator: started, emptied, given triggers, stopped.

Its jar comes from `local.jar`, its Java from `local.java`.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Self

import httpx

from local.errors import StackError
from local.jar import MAIN_CLASS, find_jar
from local.java import find_java, required_java
from local.process import Child, free_port

QUICK = (
    "-XX:TieredStopAtLevel=1",
)  # a fast compiler instead of fast code: half again the events in a minute
START_SECONDS = 60
OWNER = {"Authorization": "Bearer owner"}  # the emulator takes this for an administrator


class Emulator:
    """A Firestore emulator on this machine.

    One that was found running (`attach`) is never stopped and cannot be restarted.

    Attributes:
        host: the address it listens on.
        port: its port; the same after a restart.
    """

    def __init__(self, host: str, port: int, start: Callable[[], Child] | None = None) -> None:
        """Use `Emulator.attach` or `Emulator.prepare`, which make the parts."""
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
            raise StackError(f"FIRESTORE_EMULATOR_HOST={address!r}: write it as host:port, without a scheme")
        emulator = cls(host, int(port))
        if not emulator.healthy():
            raise StackError(
                f"FIRESTORE_EMULATOR_HOST={address}: no emulator answers there; "
                "start it, or unset the variable to have one started"
            )
        return emulator

    @classmethod
    def prepare(
        cls,
        environment: Mapping[str, str],
        log: Path,
        *,
        port: int | None = None,
        functions: str | None = None,
        rules: Path | None = None,
        java: Sequence[str] = (),
        say: Callable[[str], None] = lambda _: None,
    ) -> Self:
        """Find what it takes to start one on 127.0.0.1; `start` starts it.

        Args:
            environment: where to look, and what the emulator's process is given.
            log: the file its output goes to.
            port: its port; a free one by default.
            functions: `host:port` of what takes its events; none by default.
            rules: a security rules file; everything is allowed by default.
            java: options for its Java; `QUICK` for a run of less than a minute.
            say: called when a download starts.

        Raises:
            StackError: the emulator or a Java for it is missing and cannot be had.
        """
        jar = find_jar(environment, say=say)
        binary = find_java(environment, required_java(jar))
        chosen = port or free_port()
        command = [
            *(str(binary), *java, "-Duser.language=en"),  # the only language it speaks
            *("-cp", str(jar), MAIN_CLASS),
            *("--host", "127.0.0.1", "--port", str(chosen)),
            *(("--functions_emulator", functions) if functions else ()),
            *(("--rules", str(rules)) if rules else ()),
        ]
        return cls("127.0.0.1", chosen, lambda: Child("the Firestore emulator", command, log, environment))

    @property
    def address(self) -> str:
        """What `FIRESTORE_EMULATOR_HOST` is to be set to."""
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
        if self._start is None or self._child is not None:
            return
        self._child = self._start()
        try:
            self._child.wait_healthy(self.healthy, seconds=START_SECONDS)
        except StackError:
            self.stop()
            raise

    def stop(self) -> None:
        """Stop it and forget its data; nothing to do for one that was found running."""
        if self._child is not None:
            self._child.stop()
            self._child = None

    def kill(self) -> None:
        """End it as a crash would; `start` starts it again."""
        if self._child is not None:
            self._child.kill()
            self._child = None

    def restart(self) -> None:
        """Stop it and start it on the same port. Its data and its triggers are gone.

        Raises:
            StackError: it is not ours, or did not start.
        """
        if not self.ours:
            raise StackError(
                f"the emulator at {self.address} was running before: it can't be restarted from here"
            )
        self.stop()
        self.start()

    def healthy(self) -> bool:
        """Whether it answers."""
        with suppress(httpx.TransportError):
            return httpx.get(self.url, timeout=5).text.strip() == "Ok"
        return False

    def reset(self, project: str, database: str = "(default)") -> None:
        """Delete every document of a project.

        Raises:
            StackError: it refused.
        """
        path = f"/emulator/v1/projects/{project}/databases/{database}/documents"
        _expect_ok(httpx.delete(self.url + path, timeout=60), f"emptying project {project}")

    def register_trigger(
        self, project: str, name: str, document: str, database: str = "(default)", happens: str = "created"
    ) -> None:
        """Have whatever happens to a document that matches the path pattern delivered as an event.

        Args:
            project: whose documents.
            name: of the trigger.
            document: the path pattern.
            database: of the documents.
            happens: `created`, `updated` or `deleted`.

        Raises:
            StackError: it refused.
        """
        body = {
            "eventType": f"google.cloud.firestore.document.v1.{happens}",
            "database": database,
            "namespace": "(default)",
            "document": {"value": document, "matchType": "PATH_PATTERN"},
        }
        path = f"/emulator/v1/projects/{project}/eventarcTrigger"
        answer = httpx.post(self.url + path, params={"eventarcTriggerId": name}, json=body, timeout=60)
        _expect_ok(answer, f"registering the trigger {name}")

    def touch(self, project: str, document: str, database: str = "(default)") -> None:
        """Create an empty document, then delete it: its triggers fire.

        Raises:
            StackError: it refused.
        """
        root = f"projects/{project}/databases/{database}/documents"
        writes = [{"update": {"name": f"{root}/{document}"}}, {"delete": f"{root}/{document}"}]
        for write in writes:
            answer = httpx.post(
                f"{self.url}/v1/{root}:commit", json={"writes": [write]}, headers=OWNER, timeout=60
            )
            _expect_ok(answer, f"writing {document}")


def _expect_ok(answer: httpx.Response, what: str) -> None:
    if answer.is_error:
        raise StackError(f"{what}: the emulator answered {answer.status_code}: {answer.text[:500]}")

"""The real Firestore emulator: started, emptied, given triggers, stopped."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Self

import httpx

from local.emulated import Emulated
from local.errors import StackError
from local.jar import FIRESTORE

QUICK = (
    "-XX:TieredStopAtLevel=1",
)  # a fast compiler instead of fast code: half again the events in a minute
OWNER = {"Authorization": "Bearer owner"}  # the emulator takes this for an administrator


class Emulator(Emulated):
    """A Firestore emulator on this machine."""

    jar = FIRESTORE
    variable = "FIRESTORE_EMULATOR_HOST"

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
        options = [
            *(("--functions_emulator", functions) if functions else ()),
            *(("--rules", str(rules)) if rules else ()),
        ]
        return cls.started_by(environment, log, options, port=port, java=java, say=say)

    def reset(self, project: str, database: str = "(default)") -> None:
        """Delete every document of a project.

        Raises:
            StackError: it refused.
        """
        path = f"/emulator/v1/projects/{project}/databases/{database}/documents"
        _expect_ok(httpx.delete(self.url + path, timeout=60), f"emptying project {project}")

    def export(self, project: str, folder: Path, database: str = "(default)") -> Path:
        """Write every document of a project to files, as of now; the file that `load` reads.

        Raises:
            StackError: it refused.
        """
        name = f"projects/{project}/databases/{database}"
        body = {"database": name, "export_directory": str(folder), "export_name": "export"}
        answer = httpx.post(f"{self.url}/emulator/v1/projects/{project}:export", json=body, timeout=600)
        _expect_ok(answer, f"exporting project {project}")
        return folder / "export" / "export.overall_export_metadata"

    def load(self, project: str, exported: Path, database: str = "(default)") -> None:
        """Write every document of an export, over what is there. They are new documents with new times.

        Raises:
            StackError: it refused.
        """
        name = f"projects/{project}/databases/{database}"
        body = {"database": name, "export_directory": str(exported)}
        answer = httpx.post(f"{self.url}/emulator/v1/projects/{project}:import", json=body, timeout=600)
        _expect_ok(answer, f"importing {exported}")

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

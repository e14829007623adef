"""BigQuery's HTTP API, as much of it as an export needs. The emulator of the local stack speaks it too."""

import os
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Self

import google.auth
import requests
from google.auth.exceptions import GoogleAuthError
from google.auth.transport.requests import AuthorizedSession

from shared.errors import ExportError, Transient
from shared.retry import Retry

EMULATOR = "BIGQUERY_EMULATOR_HOST"
"""The variable that names an emulator, with its scheme, as Google's client reads it."""
HOST = "https://bigquery.googleapis.com"
SCOPE = "https://www.googleapis.com/auth/bigquery"
PATIENCE = 300.0
"""Seconds that a request may take."""
POLL = 1.0
PAGE = 10_000
"""Rows of a page of an answer; the service cuts a page at 10 MB
(https://cloud.google.com/bigquery/docs/paging-results, 2026-11)."""
NOT_FOUND, EXISTS, TOO_MANY, SERVER_ERROR = 404, 409, 429, 500
PASSING = ("rateLimitExceeded", "jobRateLimitExceeded", "backendError")
"""Reasons that another try may mend (https://cloud.google.com/bigquery/docs/error-messages, 2026-11)."""
RETRY = Retry(attempts=6, first=0.25, longest=20.0)
"""How often a request is tried, and the pauses in seconds."""

Json = dict[str, Any]


class BigQuery:
    """A dataset of BigQuery. Who refuses raises `ExportError`; where nothing answers, it is `Transient`."""

    def __init__(
        self,
        session: requests.Session,
        host: str,
        project: str,
        dataset: str,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._session = session
        self._host = host.rstrip("/")
        self._sleep = sleep
        self.project = project
        self.dataset = dataset
        self._projects = f"{self._host}/bigquery/v2/projects/{project}"

    @classmethod
    def connect(cls, dataset: str, project: str | None, environment: Mapping[str, str] = os.environ) -> Self:
        """The dataset that an operator names: DATASET, or PROJECT.DATASET.

        Raises:
            ExportError: there is no project, or there are no credentials for it.
        """
        named, _, name = dataset.rpartition(".")
        if host := environment.get(EMULATOR):
            found: requests.Session = requests.Session()
            known = None
        else:
            host = HOST
            try:
                credentials, known = google.auth.default(scopes=[SCOPE])
            except GoogleAuthError as error:
                raise ExportError(f"bigquery:{dataset}: no credentials: {error}") from error
            found = AuthorizedSession(credentials)  # type: ignore[no-untyped-call]
        chosen = named or project or known
        if not chosen:
            raise ExportError(f"bigquery:{dataset} names no project: write bigquery:PROJECT.DATASET")
        return cls(found, host, chosen, name)

    def close(self) -> None:
        """Close the connections."""
        self._session.close()

    def path(self, table: str) -> str:
        """A table as a statement names it."""
        return f"`{self.project}.{self.dataset}.{table}`"

    def ensure_dataset(self) -> None:
        """Make the dataset if it is not there, where the project's default location is."""
        if self._call("GET", f"/datasets/{self.dataset}") is None:
            reference = {"projectId": self.project, "datasetId": self.dataset}
            self._call("POST", "/datasets", {"datasetReference": reference}, there=EXISTS)

    def table(self, name: str) -> Json | None:
        """What a table is; None if there is none."""
        return self._call("GET", f"/datasets/{self.dataset}/tables/{name}")

    def create(self, name: str, fields: list[Json], **more: object) -> None:
        """Make a table, unless it is there."""
        reference = {"projectId": self.project, "datasetId": self.dataset, "tableId": name}
        body = {"tableReference": reference, "schema": {"fields": fields}} | more
        self._call("POST", f"/datasets/{self.dataset}/tables", body, there=EXISTS)

    def widen(self, name: str, fields: list[Json]) -> None:
        """Add columns to a table; nothing happens to one that is there."""
        for each in fields:  # one by one, as the emulator takes them
            self.run(
                f"ALTER TABLE {self.path(name)} ADD COLUMN IF NOT EXISTS `{each['name']}` {each['type']}"
            )

    def drop(self, name: str) -> None:
        """Remove a table, if it is there."""
        self._call("DELETE", f"/datasets/{self.dataset}/tables/{name}")

    def load(self, name: str, fields: list[Json], file: Path) -> int:
        """Replace the rows of a table by those of a file of JSON lines; how many there are then."""
        table = {"projectId": self.project, "datasetId": self.dataset, "tableId": name}
        load = {
            "destinationTable": table,
            "schema": {"fields": fields},
            "sourceFormat": "NEWLINE_DELIMITED_JSON",
            "writeDisposition": "WRITE_TRUNCATE",
        }
        url = f"{self._host}/upload/bigquery/v2/projects/{self.project}/jobs"

        size = file.stat().st_size
        whole = {"Content-Range": f"bytes 0-{size - 1}/{size}"}

        def once() -> Json:
            body = {"configuration": {"load": load}}
            begun = self._send("POST", url, params={"uploadType": "resumable"}, json=body)
            with file.open("rb") as data:  # streamed: the file may be larger than memory
                sent = self._send("PUT", begun.headers["Location"], data=data, headers=whole)
            job: Json = sent.json()
            return self._ended(job)

        job = RETRY.call(once, self._sleep)
        return int(job["statistics"]["load"]["outputRows"])

    def run(self, sql: str) -> None:
        """Run a statement or a script. It may run twice, where an answer is lost."""
        for _ in self.query(sql):
            pass

    def query(self, sql: str) -> Iterator[list[str | None]]:
        """The rows of a query, as text, a page at a time."""
        body: Json = {
            "query": sql,
            "useLegacySql": False,
            "timeoutMs": int(PATIENCE * 500),
            "maxResults": PAGE,
        }
        found = self._call("POST", "/queries", body) or {}
        reference = found.get("jobReference", {})
        asked: Json = {"maxResults": PAGE, "timeoutMs": body["timeoutMs"]}
        if location := reference.get("location"):
            asked["location"] = location
        while True:
            if errors := found.get("errors"):
                raise ExportError(f"bigquery:{self.project}.{self.dataset}: {errors[0].get('message')}")
            if found.get("jobComplete", True):
                for row in found.get("rows", ()):
                    yield [cell["v"] for cell in row["f"]]
                if not found.get("pageToken"):
                    return
                asked["pageToken"] = found["pageToken"]
            found = self._job(f"/queries/{reference['jobId']}", asked)

    # -- requests

    def _job(self, path: str, params: Json) -> Json:
        """What a job says. One that is not there is no job that is done, nor an answer that ends here."""
        found = self._call("GET", path, params=params)
        if found is None:
            raise ExportError(
                f"bigquery:{self.project}.{self.dataset}: BigQuery no longer knows the job {path}, so nobody "
                "knows whether it was done: run the command again"
            )
        return found

    def _ended(self, job: Json) -> Json:
        reference = job["jobReference"]
        while job["status"]["state"] != "DONE":
            self._sleep(POLL)
            where = {"location": reference["location"]} if "location" in reference else {}
            job = self._job(f"/jobs/{reference['jobId']}", where)
        if error := job["status"].get("errorResult"):
            raise ExportError(f"bigquery:{self.project}.{self.dataset}: {error.get('message')}")
        return job

    def _call(
        self, method: str, path: str, body: Json | None = None, *, there: int = 0, params: Json | None = None
    ) -> Json | None:
        """One request, tried again where that may help; None for what is not there. ``there``: it exists."""

        def once() -> Json | None:
            answer = self._send(
                method, self._projects + path, json=body, params=params, fine=(NOT_FOUND, there)
            )
            if answer.status_code == NOT_FOUND:
                if method == "POST":
                    raise ExportError(f"bigquery:{self.project}.{self.dataset}: {_said(answer)[1]}")
                return None
            found: Json = answer.json() if answer.content else {}
            return found

        return RETRY.call(once, self._sleep)

    def _send(self, method: str, url: str, *, fine: tuple[int, ...] = (), **more: Any) -> requests.Response:
        where = f"bigquery:{self.project}.{self.dataset}"
        try:
            answer = self._session.request(method, url, timeout=PATIENCE, **more)
        except (requests.RequestException, GoogleAuthError) as error:
            raise Transient(f"{where}: {type(error).__name__}: {error}") from error
        if answer.ok or answer.status_code in fine:
            return answer
        reason, said = _said(answer)
        if answer.status_code == TOO_MANY or answer.status_code >= SERVER_ERROR or reason in PASSING:
            raise Transient(f"{where}: {said}")
        raise ExportError(f"{where}: {said}")


def quoted(text: str) -> str:
    """A string literal of GoogleSQL, of text on one line."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _said(answer: requests.Response) -> tuple[str, str]:
    """The reason of a refusal, and what to tell of it."""
    try:
        error = answer.json()["error"]
        return str(error["errors"][0]["reason"]), f"{answer.status_code}: {error['message']}"
    except (ValueError, LookupError, TypeError):
        return "", f"{answer.status_code}: {answer.text[:300]}"

"""Each refusal of BigQuery's becomes a code and a message that says what to do."""

from dataclasses import dataclass

import requests
from google.api_core import exceptions as api
from google.auth.exceptions import GoogleAuthError, TransportError

from services.ingestion.errors import PartError, Unavailable

BUSY = {"rateLimitExceeded", "quotaExceeded", "jobRateLimitExceeded", "jobBackendError", "jobInternalError"}
"""Reasons that BigQuery gives with 403 or 400, and which pass without anybody's doing
(https://cloud.google.com/bigquery/docs/error-messages, 2026-11)."""


@dataclass(frozen=True, slots=True)
class Dataset:
    """Where a tenant's export is."""

    project: str
    dataset: str

    def __str__(self) -> str:
        """For messages."""
        return f"{self.project}.{self.dataset}"


class translated:  # noqa: N801 - used as a function
    """Errors of Google's become ours: each with a code, and with what to do."""

    def __init__(self, where: Dataset) -> None:
        self._where = where

    def __enter__(self) -> None:
        """Begin."""

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        """Raise ours in its place."""
        if isinstance(error, api.GoogleAPICallError):
            raise _of(self._where, error.code or 0, str(error.message)) from error
        if isinstance(error, (api.RetryError, requests.RequestException)) or unanswered(error):
            raise Unavailable(
                "network", f"BigQuery does not answer for {self._where}: look at the network, and start again"
            ) from error
        if isinstance(error, GoogleAuthError):
            raise PartError(
                "credentials",
                f"the credentials for BigQuery {self._where} are not taken: rotate the tenant's secret",
            ) from error


def unanswered(error: BaseException | None) -> bool:
    """Whether nobody answered who gives out access tokens: that says nothing of the credentials."""
    return isinstance(error, GoogleAuthError) and (
        error.retryable or any(isinstance(it, TransportError) for it in (error, *error.args))
    )


def check(where: Dataset, answer: requests.Response) -> None:
    """Raises PartError where BigQuery refuses."""
    if not answer.ok:
        try:
            error = answer.json()["error"]
            message, reasons = str(error["message"]), {it.get("reason") for it in error.get("errors", ())}
        except (ValueError, KeyError, TypeError, AttributeError):
            message, reasons = answer.reason, set()
        raise _of(where, 429 if reasons & BUSY else answer.status_code, message)


def _of(where: Dataset, status: int, message: str) -> PartError:
    said = f"BigQuery says of {where}: {message[:300]}"
    if status == 401:
        return PartError("credentials", f"{said}: rotate the tenant's secret")
    if status == 403:
        roles = (
            "roles/bigquery.dataViewer on the dataset, and roles/bigquery.readSessionUser and"
            " roles/bigquery.jobUser on the project"
        )
        return PartError("permission", f"{said}: grant {roles}")
    if "project" in message.replace(where.project, "").lower() and status in {400, 404}:
        return PartError("wrong_project", f"{said}: mend the tenant's project")
    if status == 404:
        return Unavailable("missing_table", f"{said}: the table went while it was read; start again")
    if status == 429 or status >= 500:
        return Unavailable("unavailable", f"{said}: start again later")
    return PartError("refused", said)

"""The books of usage, where `LIBRA_POSTGRES_URL` says that there are some.

What reads them, and the driver of PostgreSQL, are imported by name, by the first question. So an API without
usage is deployed without them, and starts as fast as ever.
"""

from datetime import date, timedelta
from importlib import import_module
from importlib.util import find_spec
from typing import Annotated, Any

from fastapi import Depends, Request

from shared.errors import SettingError, StoreError
from shared.http.once import Once
from shared.http.problems import Problem
from shared.log import logger
from shared.retry import Retry

VARIABLE = "LIBRA_POSTGRES_URL"
FLAG = "--api-usage-secret=SECRET:VERSION"
NEEDED = ("shared.usage", "psycopg", "psycopg_pool")
RETRY = Retry(attempts=2, first=0.05, longest=1.0)
"""A caller waits; it asks again sooner than a job would."""


class Usage:
    """Reads what merchants have used. Threads may use it at once."""

    def __init__(self, url: str | None, *, patience: timedelta) -> None:
        """Connect nothing yet.

        Args:
            url: where PostgreSQL is; None: nowhere.
            patience: how long a connection or a statement may take.

        Raises:
            SettingError: there is an address, and nothing here could use it.
        """
        self._url = url
        self._patience = patience.total_seconds()
        self._opened = Once(self._open)
        if url is not None and (lacking := [name for name in NEEDED if not find_spec(name)]):
            allowed = f"no value in an image without {', '.join(lacking)}"
            raise SettingError(VARIABLE, "an address", allowed)

    def windows(self, merchant: str, by: str, first: date | None, last: date | None) -> Any:
        """A merchant's windows: see `shared.usage.windows`.

        Raises:
            Problem: 404, no PostgreSQL is named; 503, it does not answer.
        """
        if self._url is None:
            raise Problem(
                404, f"this API reads no usage: {VARIABLE} is not set; ./deploy.sh up {FLAG} sets it"
            )
        try:
            reading, postgres = self._opened()
            return reading.windows(postgres, merchant, by, first=first, last=last)
        except StoreError as error:
            logger.error("A request failed", extra={"error": type(error).__name__, "reason": str(error)})
            raise Problem(503, "PostgreSQL did not answer as it should: try again") from error

    def _open(self) -> tuple[Any, Any]:
        connect = import_module("shared.postgres").Postgres.connect
        seconds = {"connect_seconds": self._patience, "statement_seconds": self._patience}
        return import_module("shared.usage"), connect(self._url, retry=RETRY, **seconds)


def _usage(request: Request) -> Usage:
    usage: Usage = request.app.state.usage
    return usage


Used = Annotated[Usage, Depends(_usage)]
"""What a route that reads usage takes."""

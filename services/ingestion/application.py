"""The application: the routes, who may ask, and what errors become."""

from collections.abc import Callable
from datetime import UTC, datetime

from fastapi import FastAPI
from pydantic import Field
from starlette.requests import Request
from starlette.responses import JSONResponse

from services.ingestion import routes
from services.ingestion.books import Books
from services.ingestion.errors import IngestError, JobOpen, KeyTaken, NoJob
from services.ingestion.requests import RequestError
from services.ingestion.settings import IngestionSettings
from shared.http import application as http
from shared.http import documentation, health, problems
from shared.http.identity import Verifier
from shared.http.once import Once
from shared.postgres import Postgres

DESCRIPTION = """\
Loads a tenant's GA4 events from BigQuery, and its users and locations from SFTP files, into PostgreSQL. A job
is started here, a worker does it, and its state is asked here.

Send `Authorization: Bearer TOKEN` and `X-Tenant-Id: TENANT`. Errors are
`application/problem+json` (RFC 9457).
"""
MAX_BODY = 10_000
CONNECTIONS = 8


class ProblemBody(problems.ProblemBody):
    """What went wrong (RFC 9457)."""

    job_id: str | None = Field(
        default=None, description="The job that is under way, where that is the problem."
    )


def application(
    settings: IngestionSettings,
    *,
    books: Callable[[], Books] | None = None,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> FastAPI:
    """An application. Nothing is connected yet.

    Args:
        settings: what the environment says.
        books: the tables; None: those of the settings' database.
        now: the time, with a zone.
    """
    app = http.application(
        "Libra ingestion",
        DESCRIPTION,
        (routes.router, health.router, documentation.router),
        deadline=settings.deadline,
        project=settings.books.project,
        max_body=MAX_BODY,
        origins=settings.origins,
        sent=("Authorization", "Content-Type", "Idempotency-Key", "X-Tenant-Id"),
        problem=ProblemBody,
    )
    app.include_router(health.router, prefix=routes.PREFIX)
    app.add_exception_handler(IngestError, _refused)
    app.state.books = books or Once(lambda: Books(Postgres.connect(settings.postgres, most=CONNECTIONS)))
    app.state.verifier = Verifier(settings.tokens)
    app.state.now = now
    app.state.ready = health.Readiness(
        lambda: app.state.books().of(
            "", lambda it: it.execute("SELECT asked FROM ingest_job LIMIT 1")
        )  # of the last migration
    )
    return app


_STATUS: dict[type[IngestError], int] = {JobOpen: 409, KeyTaken: 409, NoJob: 404, RequestError: 422}


async def _refused(_: Request, error: Exception) -> JSONResponse:
    """What is the request's fault."""
    assert isinstance(error, IngestError)  # noqa: S101 - registered for it
    status = next((code for kind, code in _STATUS.items() if isinstance(error, kind)), None)
    if status is None:
        return await problems.libra(_, error)
    if isinstance(error, JobOpen):
        return problems.respond(problems.Problem(status, str(error), job_id=error.job_id))
    return problems.respond(problems.Problem(status, str(error)))

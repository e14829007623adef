"""The application: the routes of the API and what they work with."""

from fastapi import FastAPI
from pydantic import Field

from services.api.books import Books
from services.api.routes import aggregations, entries, runs, totals
from services.api.routes import usage as usage_routes
from services.api.settings import ApiSettings
from services.api.starting import Starter
from services.api.usage import Usage
from shared.http import application as http
from shared.http import documentation, health, problems
from shared.http.identity import Verifier

DESCRIPTION = """\
Exact, real-time totals of events. Every total says up to when it is proven (`exact_through`) and what it
holds of later changes (`pending`).

Send a Firebase ID token as `Authorization: Bearer TOKEN`. Anyone signed in reads the totals. The claim
`libra` with the value `operator` reads everything and starts recomputes. Errors are
`application/problem+json` (RFC 9457).
"""
ROUTERS = tuple(
    each.router for each in (aggregations, totals, entries, runs, usage_routes, health, documentation)
)
MAX_BODY = 10_000
"""Bytes of a body; options take a few dozen."""


class ProblemBody(problems.ProblemBody):
    """What went wrong (RFC 9457)."""

    run_id: str | None = Field(
        default=None, description="The run that is under way, where that is the problem."
    )


def application(
    settings: ApiSettings,
    *,
    books: Books | None = None,
    starter: Starter | None = None,
    usage: Usage | None = None,
) -> FastAPI:
    """An application. Nothing is connected yet.

    Args:
        settings: what the environment says.
        books: what the routes read.
        starter: what starts a run.
        usage: what reads usage.
    """
    app = http.application(
        "Libra API",
        DESCRIPTION,
        ROUTERS,
        deadline=settings.deadline,
        project=settings.books.project,
        max_body=MAX_BODY,
        origins=settings.origins,
        problem=ProblemBody,
    )
    app.state.books = books or Books(settings)
    app.state.ready = health.Readiness(app.state.books.ready)
    app.state.verifier = Verifier(settings.tokens)
    app.state.usage = usage or Usage(settings.postgres_url, patience=settings.deadline)
    patience = 0.8 * settings.deadline.total_seconds()
    app.state.starter = starter or Starter(settings.recompute_url, patience=patience)
    return app

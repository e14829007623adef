"""The application: the routes behind the edge, every error a problem, and the schema."""

from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.openapi.utils import get_openapi
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware

from services.api import documentation, problems
from services.api.books import Books
from services.api.edge import Edge
from services.api.identity import Verifier
from services.api.routes import aggregations, entries, health, runs, totals
from services.api.settings import ApiSettings
from services.api.starting import Starter
from shared.errors import LibraError

DESCRIPTION = """\
Exact, real-time totals of events. Every total says up to when it is proven (`exact_through`) and what it
holds of later changes (`pending`).

Send a Firebase ID token as `Authorization: Bearer TOKEN`. Anyone signed in reads the totals. The claim
`libra` with the value `operator` reads everything and starts recomputes. Errors are
`application/problem+json` (RFC 9457).
"""
ROUTERS = tuple(each.router for each in (aggregations, totals, entries, runs, health, documentation))


def application(
    settings: ApiSettings, *, books: Books | None = None, starter: Starter | None = None
) -> FastAPI:
    """An application. Nothing is connected yet.

    Args:
        settings: what the environment says.
        books: what the routes read.
        starter: what starts a run.
    """
    project, deadline = settings.books.project, settings.deadline
    allowed = Middleware(
        CORSMiddleware,
        allow_origins=sorted(settings.origins),
        allow_methods=["GET", "POST"],
        allow_headers=["Authorization", "Content-Type"],
        max_age=3_600,
    )
    outside = [allowed] if settings.origins else []
    app = FastAPI(
        title="Libra API",
        version="1",
        description=DESCRIPTION,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        middleware=[*outside, Middleware(Edge, deadline=deadline, project=project)],
        exception_handlers={
            HTTPException: problems.http,
            RequestValidationError: problems.invalid,
            LibraError: problems.libra,
        },
    )
    app.state.books = books or Books(settings)
    app.state.verifier = Verifier(settings)
    app.state.starter = starter or Starter(settings.recompute_url, patience=0.8 * deadline.total_seconds())
    for router in ROUTERS:
        app.include_router(router)
    app.openapi = lambda: _schema(app)  # type: ignore[method-assign]  # FastAPI's way to change the schema
    return app


def _schema(app: FastAPI) -> dict[str, Any]:
    """OpenAPI 3.1: what FastAPI writes, with problems in place of its own validation errors."""
    if app.openapi_schema is None:
        schema = get_openapi(
            title=app.title, version=app.version, description=app.description, routes=app.routes
        )
        models = schema["components"]["schemas"]
        for own in ("HTTPValidationError", "ValidationError"):
            models.pop(own, None)
        problem = problems.ProblemBody
        models[problem.__name__] = problem.model_json_schema(ref_template="#/components/schemas/{model}")
        app.openapi_schema = schema
    return app.openapi_schema

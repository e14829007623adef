"""The application of a service: its routes behind the edge, every error a problem, and the schema."""

import logging
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Any

from fastapi import APIRouter, FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.openapi.utils import get_openapi
from fastapi.telemetry import TelemetryConfig
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware

from shared import log
from shared.errors import LibraError
from shared.http import problems
from shared.http.edge import Edge

_NO_TELEMETRY: TelemetryConfig = {"tracing": False, "metrics": False, "logs": False}
"""Libra's log lines say what there is to say. FastAPI would look up variables of the environment for each
request, to learn whether somebody collects its own: a fifteenth of what the collector spends on a request."""


def application(
    title: str,
    description: str,
    routers: Iterable[APIRouter],
    *,
    deadline: timedelta,
    project: str | None,
    max_body: int,
    origins: Collection[str] = (),
    sent: Sequence[str] = ("Authorization", "Content-Type"),
    problem: type[problems.ProblemBody] = problems.ProblemBody,
    described: Mapping[str, Mapping[str, Any]] | None = None,
    quiet: bool = False,
) -> FastAPI:
    """An application. Nothing is connected yet.

    Args:
        title: the service's name, for the schema.
        description: what it does and who gets in, for the schema.
        routers: its routes.
        deadline: how long a request may take before it is answered with 504.
        project: whose traces the log lines belong to.
        max_body: bytes of a body.
        origins: whose web pages may ask from a browser.
        sent: the headers that such a page may send.
        problem: its errors, for the schema.
        described: paths, and components by their kind, that the schema has besides: of routes that are
            Starlette's, which cost a busy service half as much.
        quiet: log a request that went well at DEBUG only.
    """
    edge = Middleware(Edge, deadline=deadline, project=project, max_body=max_body, quiet=quiet)
    browsers = Middleware(
        CORSMiddleware,
        allow_origins=sorted(origins),
        allow_methods=["GET", "POST"],
        allow_headers=sent,
        expose_headers=["Retry-After"],
        max_age=3_600,
    )
    app = FastAPI(
        title=title,
        version="1",
        description=description,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        middleware=[browsers, edge] if origins else [edge],  # what the edge refuses, a page is to read too
        telemetry=_NO_TELEMETRY,
        exception_handlers={
            HTTPException: problems.http,
            RequestValidationError: problems.invalid,
            LibraError: problems.libra,
        },
    )
    for router in routers:
        app.include_router(router)
    app.openapi = lambda: _schema(app, problem, described or {})  # type: ignore[method-assign]  # FastAPI's way to change the schema
    return app


def begin_logging(level: str) -> None:
    """Log as the edge does, and let uvicorn write no line of its own for a request: it would hold the path,
    and a path may hold a key."""
    log.configure(level)
    logging.getLogger("uvicorn.access").disabled = True


def _schema(
    app: FastAPI, problem: type[problems.ProblemBody], described: Mapping[str, Mapping[str, Any]]
) -> dict[str, Any]:
    """OpenAPI 3.1: what FastAPI writes, with problems in place of its own validation errors."""
    if app.openapi_schema is None:
        schema = get_openapi(
            title=app.title, version=app.version, description=app.description, routes=app.routes
        )
        models = schema["components"]["schemas"]
        for own in ("HTTPValidationError", "ValidationError"):
            models.pop(own, None)
        name = problems.ProblemBody.__name__
        body = problem.model_json_schema(ref_template="#/components/schemas/{model}")
        models |= {**body.pop("$defs", {}), name: body}
        for kind, more in described.items():
            (schema if kind == "paths" else schema["components"]).setdefault(kind, {}).update(more)
        app.openapi_schema = schema
    return app.openapi_schema

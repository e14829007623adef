"""The entry points, and nothing else: decode, call, answer."""

import asyncio
import os

import functions_framework.aio
from cloudevents.http import CloudEvent
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse

from answers import answer
from events import CREATED, DELETED, UPDATED, decode_entry
from shared.errors import MalformedEventError, StateError, StoreError
from shared.log import logger, traced
from shared.runtime import Process, Runtime
from shared.settings import Settings

process = Process(Settings.from_environment(os.environ))


@functions_framework.aio.cloud_event
async def on_libra_created(event: CloudEvent) -> None:
    """Count a created entry. Returning acknowledges the event; a 503 has the platform redeliver it."""
    await _take(event, CREATED)


@functions_framework.aio.cloud_event
async def on_libra_updated(event: CloudEvent) -> None:
    """Count an entry as it was edited instead of as it was before."""
    await _take(event, UPDATED)


@functions_framework.aio.cloud_event
async def on_libra_deleted(event: CloudEvent) -> None:
    """Take back what a deleted entry had added."""
    await _take(event, DELETED)


async def _take(event: CloudEvent, kind: str) -> None:
    runtime = process.runtime()
    with traced(runtime.settings.project, event.get("traceparent")):
        try:
            await _count(runtime, event, kind)
        except (StoreError, StateError) as error:
            logger.error("An entry is not counted yet: to be redelivered", extra=_about(event, error))
            raise HTTPException(503, str(error)) from error


async def _count(runtime: Runtime, event: CloudEvent, kind: str) -> None:
    try:
        await runtime.ledger.apply_async(decode_entry(event, runtime.source, runtime.home, kind))
    except MalformedEventError as error:
        logger.error("A malformed event is set aside", extra=_about(event, error))
        await asyncio.to_thread(runtime.ledger.refuse, event["id"], str(error))


def _about(event: CloudEvent, error: Exception) -> dict[str, str]:
    return {"event": event["id"], "error": type(error).__name__, "reason": str(error)}


@functions_framework.aio.http
async def recompute(request: Request) -> JSONResponse:
    """Recompute the totals of every source, or of one, as the options in the body say; answer the report."""
    if request.method != "POST":
        return JSONResponse({"error": "MethodNotAllowed"}, 405, {"Allow": "POST"})
    body = await request.body()
    with traced(process.settings.project, request.headers.get("traceparent")):
        return JSONResponse(*await asyncio.to_thread(answer, body, lambda: process.runtime().recomputes))

"""The application: one route that takes events, and health."""

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any

from fastapi import FastAPI
from pydantic_core import to_json
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from services.collector import body
from services.collector.access import Access
from services.collector.doors import Direct, Door, Queue, Verdict
from services.collector.keyring import Keyring
from services.collector.models import ProblemBody, described
from services.collector.settings import CollectorSettings
from services.collector.throttle import Throttle
from shared import api_keys
from shared.aggregation import Home
from shared.errors import NotFound
from shared.events import EventSource
from shared.http import application as http
from shared.http import health
from shared.http.identity import Verifier
from shared.http.once import Once
from shared.http.problems import Problem, shown
from shared.intake import Intake
from shared.log import logger
from shared.publishing import Publisher
from shared.schemas import self_written
from shared.settings import Settings
from shared.store import Store
from shared.store.client import FirestoreStore

DESCRIPTION = """\
Takes events. Each one has its own verdict in the answer: the valid ones of a body go through beside others.
202: Pub/Sub has every valid event. 200: every valid event is in the totals. 503: send the events that are
`unavailable` again, or all of them. An event is known by its id, so sending it twice changes nothing.

Send an API key as `X-Api-Key: KEY` or `Authorization: Bearer KEY`, or a Firebase or Google ID token as
`Authorization: Bearer TOKEN`. Errors are `application/problem+json` (RFC 9457).
"""
RETRY_SECONDS = 5
SENT = ("Authorization", "Content-Encoding", "Content-Type", "X-Api-Key")
"""What a page of an allowed origin may send."""

PATH = "/v1/events/{source}"


def application(
    settings: CollectorSettings,
    *,
    clock: Callable[[], float] = time.monotonic,
    doors: Mapping[str, Door] | None = None,
) -> FastAPI:
    """An application. Nothing is connected yet.

    Args:
        settings: what the environment says.
        clock: seconds, monotonic, for keys and rates.
        doors: where the events of each source go; None: as the settings say.
    """
    app = http.application(
        "Libra collector",
        DESCRIPTION,
        (health.router,),
        deadline=settings.deadline,
        project=settings.books.project,
        max_body=body.MAX_BYTES,
        origins=settings.origins,
        sent=SENT,
        problem=ProblemBody,
        described=described(PATH),
        quiet=True,  # the platform has a line for each request anyhow
    )
    app.router.routes.insert(0, ROUTE)
    store = Once[Store](lambda: FirestoreStore.connect(settings.books))
    app.state.store = store
    app.state.ready = health.Readiness(lambda: store().get([f"{api_keys.COLLECTION}/ready"], bare=True))
    app.state.doors = _doors(settings, store) if doors is None else doors
    app.state.access = Access(
        Keyring(lambda found_id: _key(store(), found_id), clock),
        Verifier(settings.tokens),
        Throttle(clock, burst=body.MAX_EVENTS),
        signed_in=settings.signed_in,
        rate=settings.rate,
    )
    return app


async def send(request: Request) -> Response:
    """Take the events of a body, and give each its verdict."""
    request.scope["route"] = ROUTE
    source = request.path_params["source"]
    state, headers = request.app.state, request.headers
    access: Access = state.access
    caller = await access.caller(headers)
    door: Door | None = state.doors.get(source)
    if door is None:
        raise Problem(404, f"there is no source {shown(source)}: expected one of {', '.join(state.doors)}")
    access.allow(caller, source)
    access.charge(caller, 1)  # also for a body that cannot be read
    content = await request.body()
    events = body.read(content, headers.get("content-type", ""), headers.get("content-encoding", ""))
    access.charge(caller, len(events) - 1)
    return _answer(source, door.status, await door.take(events))


ROUTE = Route(PATH, send, methods=["POST"])
"""Starlette's and not FastAPI's: it has nothing to inject and nothing to parse."""


def _answer(source: str, status: int, verdicts: Sequence[Verdict]) -> Response:
    outcomes = Counter(verdict.became for verdict in verdicts)
    said: dict[str, Any] = {
        "source": source,
        "outcomes": outcomes,
        "events": [_said(index, verdict) for index, verdict in enumerate(verdicts)],
    }
    if invalid := outcomes["invalid"]:
        logger.warning("Some events are invalid", extra={"source": source, "events": invalid})
    if lost := outcomes["unavailable"]:
        detail = f"{lost} of {len(verdicts)} events were not taken: send those again, or all of them"
        raise Problem(503, detail, headers={"Retry-After": str(RETRY_SECONDS)}, **said)
    if invalid == len(verdicts):
        why = str(verdicts[0].violations[0])
        raise Problem(422, f"none of {len(verdicts)} events can be taken; event 0: {why}", **said)
    return Response(to_json(said), status, media_type="application/json")


def _said(index: int, verdict: Verdict) -> dict[str, Any]:
    said: dict[str, Any] = {"index": index, "id": verdict.id, "outcome": verdict.became}
    if verdict.violations:
        said["violations"] = [
            {"field": each.field, "found": each.found, "allowed": each.allowed} for each in verdict.violations
        ]
    return said


def _key(store: Store, found_id: str) -> api_keys.ApiKey | None:
    try:
        return api_keys.find(store, found_id)
    except NotFound:
        return None


def _doors(settings: CollectorSettings, store: Callable[[], Store]) -> dict[str, Door]:
    publisher = Once(lambda: Publisher.connect(settings.books.project, settings.pubsub_host))
    doors: dict[str, Door] = {}
    for name, (source, home) in self_written(settings.books).items():
        if settings.mode == "queue":
            doors[name] = Queue(source, publisher, lambda: datetime.now(UTC))
        else:
            make = partial(_intake, store, source, home, settings.books)
            doors[name] = Direct(source.schema, Once(make))
    return doors


def _intake(store: Callable[[], Store], source: EventSource, home: Home, books: Settings) -> Intake:
    return Intake(store(), source, home, books)

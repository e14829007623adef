"""The routes under /data/api/v1: jobs are started, watched and cancelled, and what is loaded is told."""

import base64
import binascii
from collections.abc import Callable
from dataclasses import asdict
from datetime import date, datetime
from typing import Annotated, Any, Literal, TypeAlias, get_args
from uuid import UUID

from fastapi import APIRouter, Header, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from services.ingestion import availability
from services.ingestion.access import OfTenant
from services.ingestion.books import Books
from services.ingestion.jobs import Job, Jobs
from services.ingestion.requests import EVENTS, asked
from shared.http.problems import Problem
from shared.http.responses import SIGNED_IN, problems

PREFIX = "/data/api/v1"
MOST = 100
"""Jobs of a page."""
State = Literal["queued", "processing", "completed", "failed", "cancelled"]
Kind: TypeAlias = Literal[
    "purchase",
    "add_to_cart",
    "page_view",
    "view_item",
    "view_search_results",
    "no_search_results",
    "users",
    "locations",
]

router = APIRouter(prefix=PREFIX, tags=["ingestion"])


class Start(BaseModel):
    """What is to be loaded."""

    model_config = ConfigDict(extra="forbid")

    kinds: list[Kind] = Field(default=list(get_args(Kind)), description="All of them by default.")
    first: date | None = Field(
        default=None, description="The first day of events; four days before the last by default."
    )
    last: date | None = Field(default=None, description="The last day of events; today by default.")


class Counts(BaseModel):
    """Rows of the source = loaded + rejected."""

    rows: int
    loaded: int
    rejected: int
    parts: int = Field(description="Parts that are done.")


class JobBody(BaseModel):
    """A job."""

    job_id: UUID
    kinds: list[Kind]
    first: date | None
    last: date | None
    state: State
    attempt: int = Field(description="How often a worker has claimed it.")
    cancel_requested: bool
    records_processed: dict[Kind, Counts]
    error_code: str | None
    error_message: str | None
    requested_at: datetime
    started_at: datetime | None
    heartbeat_at: datetime | None
    ended_at: datetime | None


class PartBody(BaseModel):
    """What became of a part of a job."""

    kind: Kind
    day: date | None
    state: Literal["waiting", "loaded", "same", "absent", "failed"]
    source_rows: int | None
    loaded: int | None
    rejected: int | None
    error_code: str | None
    error_message: str | None


class WholeJob(JobBody):
    """A job and its parts."""

    parts: list[PartBody]


class JobPage(BaseModel):
    """Jobs, the latest first."""

    jobs: list[JobBody]
    next: str | None = Field(description="`after` of the next page; null: there is none.")


class Gap(BaseModel):
    """Days that nothing was loaded of, both ends included."""

    first: date
    last: date


class KindAvailable(BaseModel):
    """What is loaded of a kind."""

    kind: Kind
    earliest: date
    latest: date
    days: int
    loaded: int
    rejected: int
    gaps: list[Gap]
    provisional: list[date] = Field(description="Days that the source may still change.")
    loaded_at: datetime
    job_id: UUID = Field(description="The job that loaded last.")


class Available(BaseModel):
    """What is loaded, and the latest job."""

    kinds: list[KindAvailable]
    last_job: JobBody | None


class BookedBody(BaseModel):
    """A part that is loaded: source_rows = loaded + rejected."""

    kind: Kind
    day: date
    source: str
    source_rows: int
    loaded: int
    rejected: int
    provisional: bool
    loaded_at: datetime
    job_id: UUID


class Breakdown(BaseModel):
    """Parts that are loaded, by kind and day."""

    parts: list[BookedBody]


@router.post("/ingest/start", status_code=202, responses=problems(*SIGNED_IN, 404, 409))
def start(
    body: Start,
    tenant: OfTenant,
    request: Request,
    response: Response,
    idempotency_key: Annotated[
        str | None, Header(max_length=200, description="The same key and body are always the same job.")
    ] = None,
) -> JobBody:
    """Start a job. 202: it waits for a worker. 409: another job, `job_id`, works on one of its parts."""
    today: Callable[[], datetime] = request.app.state.now
    wanted = asked(body.kinds, body.first, body.last, today().astimezone(tenant.zone).date())
    job, new = _jobs(request).start(tenant.tenant, wanted, key=idempotency_key)
    response.headers["Location"] = f"{PREFIX}/ingest/{job.job_id}"
    if not new:
        response.headers["Idempotency-Replayed"] = "true"
    return _body(job)


@router.get("/ingest/jobs", responses=problems(*SIGNED_IN, 404))
def history(
    tenant: OfTenant,
    request: Request,
    state: State | None = None,
    limit: Annotated[int, Query(ge=1, le=MOST)] = 20,
    after: Annotated[str | None, Query(max_length=200, description="`next` of the page before.")] = None,
) -> JobPage:
    """The jobs of the tenant, the latest first."""
    found = _jobs(request).history(tenant.tenant, most=limit + 1, state=state, before=_after(after))
    page = found[:limit]
    cursor = f"{page[-1].requested_at.isoformat()} {page[-1].job_id}" if len(found) > limit else None
    return JobPage(
        jobs=[_body(each) for each in page],
        next=base64.urlsafe_b64encode(cursor.encode()).decode() if cursor else None,
    )


@router.get("/ingest/{job_id}", responses=problems(*SIGNED_IN, 404))
def find(job_id: str, tenant: OfTenant, request: Request) -> WholeJob:
    """A job, and what became of each of its parts."""
    jobs = _jobs(request)
    job, parts = jobs.find(tenant.tenant, job_id), jobs.parts(tenant.tenant, job_id)
    return WholeJob(**_body(job).model_dump(), parts=[PartBody(**each) for each in parts])


@router.post("/ingest/{job_id}/cancel", responses=problems(*SIGNED_IN, 404))
def cancel(job_id: str, tenant: OfTenant, request: Request) -> JobBody:
    """Cancel a job: at once where no worker has it, else at its next batch. A job that has ended stays."""
    return _body(_jobs(request).cancel(tenant.tenant, job_id))


@router.get("/availability", responses=problems(*SIGNED_IN, 404))
def available(tenant: OfTenant, request: Request) -> Available:
    """What is loaded of each kind: from when to when, what is missing between, what may still change."""
    found = availability.available(availability.booked(_books(request), tenant.tenant), frozenset(EVENTS))
    last = _jobs(request).history(tenant.tenant, most=1)
    kinds = [
        KindAvailable.model_validate(
            asdict(each) | {"gaps": [Gap(first=it[0], last=it[1]) for it in each.gaps]}
        )
        for each in found
    ]
    return Available(kinds=kinds, last_job=_body(last[0]) if last else None)


@router.get("/availability/breakdown", responses=problems(*SIGNED_IN, 404))
def breakdown(
    tenant: OfTenant,
    request: Request,
    kind: Kind | None = None,
    first: date | None = None,
    last: date | None = None,
) -> Breakdown:
    """Each part that is loaded, from the books."""
    found = availability.booked(_books(request), tenant.tenant, kind=kind, first=first, last=last)
    return Breakdown(parts=[BookedBody.model_validate(asdict(each)) for each in found])


def _books(request: Request) -> Books:
    books: Callable[[], Books] = request.app.state.books
    return books()


def _jobs(request: Request) -> Jobs:
    return Jobs(_books(request))


def _body(job: Job) -> JobBody:
    said: dict[str, Any] = asdict(job)
    return JobBody.model_validate(said | {"records_processed": said.pop("records")})


def _after(text: str | None) -> tuple[datetime, str] | None:
    if text is None:
        return None
    try:
        when, _, job_id = base64.urlsafe_b64decode(text.encode("ascii")).decode().partition(" ")
        return datetime.fromisoformat(when), str(UUID(job_id))
    except (ValueError, binascii.Error, UnicodeError):
        raise Problem(422, "after: it is no `next` of a page: leave it out for the first page") from None

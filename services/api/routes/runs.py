"""How fresh the totals are, and the recomputes that prove them. For operators."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request
from pydantic import BaseModel, ConfigDict, Field

from services.api.books import Read
from services.api.identity import operator
from services.api.models import (
    AggregationFreshness,
    Freshness,
    Run,
    RunDetail,
    Runs,
    SourceFreshness,
    Started,
)
from services.api.parameters import After, Limit, RunId
from services.api.starting import Starter
from services.api.values import fields_as_json
from shared import windows
from shared.counting import Strategy
from shared.http.responses import SIGNED_IN, problems

router = APIRouter(
    prefix="/v1", tags=["runs"], dependencies=[Depends(operator)], responses=problems(*SIGNED_IN)
)


class Options(BaseModel):
    """How to recompute; all optional."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{}]})

    strategy: Strategy = Field(default="auto", description="How to count.")
    accept_loss: bool = Field(
        default=False,
        strict=True,
        description="Correct even where it takes away more than LIBRA_MAX_LOSS.",
    )


@router.get("/freshness")
def freshness(books: Read) -> Freshness:
    """Watermark, lag and what is pending. It costs a document read for each total: do not poll it."""
    found = windows.freshness(books.store, books.source, books.home)
    proof = found.proof
    return Freshness(
        sources=[
            SourceFreshness(
                source=books.source.name,
                at=proof.at,
                watermark=proof.watermark,
                lag_seconds=found.lag.total_seconds() if found.lag is not None else None,
                sealed=proof.sealed,
                run_id=proof.lease.run_id if proof.lease else None,
                aggregations=[
                    AggregationFreshness(
                        name=each.name,
                        state=each.state,
                        exact_through=proof.exact_through(each.name),
                        pending=found.pending[each.name],
                    )
                    for each in proof.aggregations.declared
                ],
            )
        ]
    )


@router.get("/runs")
def runs(books: Read, after: After = None, limit: Limit = 20) -> Runs:
    """A page of the recomputes, the newest first. It costs a document read for each, and two more."""
    page = windows.runs(books.store, books.home, after=after, limit=limit)
    return Runs(runs=[Run.model_validate(each) for each in page.items], next=page.after)


@router.get("/runs/{run_id}", responses=problems(404))
def run(books: Read, run_id: RunId) -> RunDetail:
    """One recompute, with all that its record holds. It costs two document reads."""
    found = windows.run(books.store, books.home, run_id)
    return RunDetail(run=Run.model_validate(found.status), record=fields_as_json(found.record))


def _starter(request: Request) -> Starter:
    starter: Starter = request.app.state.starter
    return starter


@router.post("/recompute", status_code=202, responses=problems(409, 501, 502))
def recompute(
    books: Read, starter: Annotated[Starter, Depends(_starter)], options: Options | None = None
) -> Started:
    """Start a recompute; the answer comes as soon as it holds the lease. 409 where one is under way."""

    def held() -> str | None:
        lease = windows.proof(books.store, books.source, books.home).lease
        return lease.run_id if lease else None

    return Started(run_id=starter.start((options or Options()).model_dump(), held))

"""What merchants have used. For operators."""

from datetime import date
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Query

from services.api.identity import operator
from services.api.models import Usage, UsageWindow
from services.api.parameters import Merchant
from services.api.usage import Used
from shared.http.responses import SIGNED_IN, problems

router = APIRouter(
    prefix="/v1", tags=["usage"], dependencies=[Depends(operator)], responses=problems(*SIGNED_IN, 404)
)

First = Annotated[date | None, Query(alias="from", description="The first date.", examples=["2026-11-01"])]
Last = Annotated[date | None, Query(alias="to", description="The last date.", examples=["2026-11-30"])]


@router.get("/usage/{merchant}")
def usage(
    used: Used,
    merchant: Merchant,
    by: Annotated[Literal["hour", "day", "week", "month"], Query(description="The windows.")] = "day",
    first: First = None,
    last: Last = None,
) -> Usage:
    """What a merchant has used, by window and metric: the newest first, 10,000 rows at most. A merchant that
    has used nothing has no row. Write bills from sealed windows. For operators."""
    found = used.windows(merchant, by, first, last)
    return Usage(
        exact_through=found.exact_through,
        windows=[
            UsageWindow(
                begin=each.begin.isoformat().replace("+00:00", "Z"),
                metric=each.metric,
                value=each.value,
                sealed=each.sealed,
            )
            for each in found.windows
        ],
    )

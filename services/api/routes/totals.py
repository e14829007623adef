"""Totals: a page of them, one of them. Anyone signed in reads them."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query

from services.api.books import Books, Read
from services.api.identity import operator, signed_in
from services.api.models import Explanation, Piece, Series, Total, Totals
from services.api.parameters import After, AggregationName, Key, KeyInQuery, Limit
from shared import windows
from shared.http.responses import SIGNED_IN, problems

router = APIRouter(
    prefix="/v1", tags=["totals"], dependencies=[Depends(signed_in)], responses=problems(*SIGNED_IN, 404)
)

Order = Annotated[
    str,
    Query(
        description="`key` or a measure; `-` in front turns it around.",
        examples=["-count"],
        max_length=200,
    ),
]


@router.get("/totals/{aggregation}")
def totals(
    books: Read,
    aggregation: AggregationName,
    order: Order = "key",
    after: After = None,
    limit: Limit = 100,
) -> Totals:
    """A page of an aggregation's totals. It costs a document read for each total, and two more."""
    where = books.store, books.source, books.home
    proven = windows.proof(*where)
    page = windows.totals(*where, aggregation, proven=proven, order=order, after=after, limit=limit)
    return Totals(
        exact_through=proven.exact_through(aggregation),
        totals=[Total.model_validate(each) for each in page.items],
        next=page.after,
    )


@router.get("/totals/{aggregation}/{key:path}/explain", dependencies=[Depends(operator)])
def explain(
    books: Read, aggregation: AggregationName, key: Key, after: After = None, limit: Limit = 100
) -> Explanation:
    """The living entries that make a total, a page at a time, with their running sum. For operators."""
    return _explain(books, aggregation, key, after, limit)


@router.get("/explain/{aggregation}", dependencies=[Depends(operator)])
def explain_by_query(
    books: Read, aggregation: AggregationName, key: KeyInQuery, after: After = None, limit: Limit = 100
) -> Explanation:
    """The same, by a key in the query: the form that takes every key. For operators."""
    return _explain(books, aggregation, key, after, limit)


def _explain(books: Books, aggregation: str, key: str, after: str | None, limit: int) -> Explanation:
    where = books.store, books.source, books.home
    found = windows.explain(*where, aggregation, key, after=after, limit=limit)
    return Explanation(
        total=Total.model_validate(found.total),
        at=found.at,
        entries=[Piece.model_validate(each) for each in found.entries],
        next=found.after,
        reads=found.reads,
        waiting=dict(found.waiting),
        unexplained=None if found.unexplained is None else dict(found.unexplained),
        reasons=list(found.reasons),
    )


@router.get("/series/{aggregation}")
def series(
    books: Read,
    aggregation: AggregationName,
    start: Annotated[
        str, Query(alias="from", description="The first key.", examples=["2025-09-01"], max_length=20)
    ],
    end: Annotated[
        str, Query(alias="to", description="The last key.", examples=["2025-09-30"], max_length=20)
    ],
) -> Series:
    """The totals of every hour or date of a range, without holes. It costs a read for each, and one."""
    where = books.store, books.source, books.home
    proven = windows.proof(*where)
    found = windows.series(*where, aggregation, start=start, end=end, proven=proven)
    return Series(
        exact_through=proven.exact_through(aggregation),
        totals=[Total.model_validate(each) for each in found],
    )


@router.get("/totals/{aggregation}/{key:path}")
def total(books: Read, aggregation: AggregationName, key: Key) -> Total:
    """One total. A key that nothing was counted under is 0. It costs two document reads."""
    return _total(books, aggregation, key)


@router.get("/total/{aggregation}")
def total_by_query(books: Read, aggregation: AggregationName, key: KeyInQuery) -> Total:
    """One total, by a key in the query: the form that takes every key, also `..` and the empty one."""
    return _total(books, aggregation, key)


def _total(books: Books, aggregation: str, key: str) -> Total:
    where = books.store, books.source, books.home
    return Total.model_validate(windows.total(*where, aggregation, key, proven=windows.proof(*where)))

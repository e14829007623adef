"""Entries: what became of one, which there are, and what could not be counted. For operators."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query

from services.api.books import Read
from services.api.identity import operator
from services.api.models import (
    Entries,
    Entry,
    EntryStatus,
    Locations,
    Rejected,
    RejectedPage,
    Rejection,
    Retried,
)
from services.api.parameters import After, EntryId, Instant, Limit, RecordId
from services.api.values import fields_as_json
from shared import windows
from shared.errors import Denied
from shared.http.problems import Problem
from shared.http.responses import SIGNED_IN, problems

router = APIRouter(
    prefix="/v1", tags=["entries"], dependencies=[Depends(operator)], responses=problems(*SIGNED_IN)
)

LOCATION = "location"

Text = Annotated[str | None, Query(max_length=1_500)]


@router.get("/entries/{entry_id}/status")
def entry_status(
    books: Read,
    entry_id: EntryId,
    version: Annotated[
        Instant,
        Query(description="The update time of a version known from before: it finds one that is gone."),
    ] = None,
) -> EntryStatus:
    """What became of an entry. It costs four document reads."""
    found = windows.entry_status(books.store, books.source, books.home, entry_id, version=version)
    return EntryStatus(
        id=found.id,
        state=found.state,
        created=found.created,
        updated=found.updated,
        rejections=[Rejection.model_validate(each) for each in found.rejections],
        recorded=[Rejection.model_validate(each) for each in found.recorded],
        exact_through=found.proof.watermark,
    )


@router.get("/data")
def data(
    books: Read,
    *,
    location: Text = None,
    ingredient: Text = None,
    action: Text = None,
    device: Annotated[str | None, Query(max_length=1_500, description="A serial number.")] = None,
    start: Annotated[Instant, Query(alias="from", description="The first event time.")] = None,
    end: Annotated[Instant, Query(alias="to", description="Before this event time the range ends.")] = None,
    newest_first: bool = False,
    after: After = None,
    limit: Limit = 100,
) -> Entries:
    """A page of entries, by their fields and their event time. It costs a document read for each, and one.

    A value together with a time, or with `newest_first`, needs a composite index.
    `firestore.indexes.json` has it. Where it is missing or not built yet, the answer names it.
    """
    given = {LOCATION: location, "ingredient": ingredient, "dataAction": action}
    given["device.serialNumber"] = device
    page = windows.entries(
        books.store,
        books.source,
        books.home,
        equals={field: value for field, value in given.items() if value is not None},
        start=start,
        end=end,
        newest_first=newest_first,
        after=after,
        limit=limit,
    )
    return Entries(
        entries=[
            Entry(id=each.id, fields=fields_as_json(each.fields), created=each.created, updated=each.updated)
            for each in page.items
        ],
        next=page.after,
    )


@router.get("/locations")
def locations(books: Read, after: After = None, limit: Limit = 100) -> Locations:
    """A page of the locations that entries name, sorted. It costs a document read for each, and one more."""
    page = windows.distinct(books.store, books.home, LOCATION, after=after, limit=limit)
    return Locations(locations=list(page.items), next=page.after)


@router.get("/rejected")
def rejected(books: Read, after: After = None, limit: Limit = 100) -> RejectedPage:
    """A page of what could not be counted, the latest first. It costs a document read for each, and one."""
    page = windows.rejected(books.store, books.home, after=after, limit=limit)
    return RejectedPage(rejected=[Rejected.model_validate(each) for each in page.items], next=page.after)


@router.post("/rejected/{record_id}/retry", responses=problems(404))
def retry(books: Read, record_id: RecordId) -> Retried:
    """Look again at what could not be counted. A record that is out of date is removed.

    Nothing is counted here: the next recompute counts what can be counted now.
    """
    try:
        return Retried.model_validate(windows.retry(books.store, books.source, books.home, record_id))
    except Denied as error:
        detail = "this API may only read: deploy it with --api=writer, or run libra rejected retry"
        raise Problem(403, detail) from error

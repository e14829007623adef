"""Records of what could not be counted whose version has been replaced or deleted since."""

from collections.abc import Callable, Iterator
from datetime import datetime

from shared.aggregation import Home
from shared.recompute.fence import Fence, Run
from shared.store import DOCUMENT_ID, Delete, Document, Filter, Query, Store

LISTED = 200
"""Records that one query lists, and that one commit may remove."""


def clean(store: Store, home: Home, fence: Fence, run: Run) -> None:
    """Remove records that are out of date: before the seal, so that the next run does it for one that dies.

    The edit or deletion that replaces a version removes its record. If its event comes first, the record is
    written afterwards and stays. So only records that were written since the watermark before this run need
    a look. One look is enough, whenever it is taken: a version that was replaced never comes back. What an
    intake rejects has no version: of a self-written source no record is ever out of date.
    """
    if home.self_written:
        return
    for paths, reads in _outdated(store, home, run.stored_watermark, fence.read):
        run.reads += reads
        if paths:
            fence.commit(run, "clean", [Delete(path) for path in paths])


def _outdated(
    store: Store,
    home: Home,
    since: datetime | None,
    read: Callable[[Callable[[], list[Document]]], list[Document]],
) -> Iterator[tuple[list[str], int]]:
    """The records that are out of date, a page at a time, and how many documents that page took to read."""
    where = (Filter("rejected_at", ">", since),) if since else ()
    ours = f"{store.name(home.entries)}/"  # a restored database holds records of the one that was backed up
    after: tuple[object, ...] = ()
    while True:
        query = Query(home.rejected, where, ("rejected_at", DOCUMENT_ID), after, limit=LISTED)
        page = read(lambda query=query: list(store.query(query)))  # type: ignore[misc]  # binds the loop's query
        told = [record for record in page if (version := _version(record)) and version[0].startswith(ours)]
        found = _found(store, told, read)
        yield [record.path for record in told if _version(record) not in found], max(1, len(page)) + len(told)
        if len(page) < LISTED:
            return
        after = (page[-1].fields["rejected_at"], page[-1].path)


def _found(
    store: Store,
    records: list[Document],
    read: Callable[[Callable[[], list[Document]]], list[Document]],
) -> set[tuple[str, datetime]]:
    """The versions that are there now, of the entries that the records name."""
    paths = sorted({store.path(str(record.fields["entry"])) for record in records})
    if not paths:
        return set()
    there = read(lambda: [document for document in store.get(paths, bare=True) if document])
    return {(store.name(document.path), document.update_time) for document in there}


def _version(record: Document) -> tuple[str, datetime] | None:
    """The version that a record is about; None for an event that describes no entry."""
    entry, time = record.fields.get("entry"), record.fields.get("create_time")
    return (entry, time) if isinstance(entry, str) and isinstance(time, datetime) else None

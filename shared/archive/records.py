"""The records of archived pages, in the order of their numbers."""

from collections.abc import Callable, Iterator
from dataclasses import replace

from shared.aggregation import Home
from shared.store import DOCUMENT_ID, Document, Query

LISTED = 50
"""Records that one query lists: each is at most some hundred kilobytes."""

MANIFESTED = ("page", "archive", "to", "by", "first", "last", "file", "entries", "bytes", "sha256")
"""The fields of a record that a manifest holds."""


def page_records(
    home: Home, query: Callable[[Query], list[Document]], *, select: tuple[str, ...] | None = None
) -> Iterator[Document]:
    """Every record, with the fields wanted; None: all.

    Args:
        home: where the records are.
        query: answers a query, and tries again while it may help.
        select: the fields.
    """
    wanted = Query(home.archives, (), (DOCUMENT_ID,), limit=LISTED, select=select)
    while True:
        found = query(wanted)
        yield from found
        if len(found) < LISTED:
            return
        wanted = replace(wanted, start_after=(found[-1].path,))

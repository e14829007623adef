"""Which entries an archive moves: those that are old enough, and sealed."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime

from shared.aggregation import Home, Source, look_up
from shared.errors import ArchiveError
from shared.store import DOCUMENT_ID, Document, Filter, Query, Store

FIRST_READ = 500
MOST_READ = 5_000
READ_BYTES = 16 * 1024 * 1024
"""Entries that one query reads: as many as fit into so many bytes, each taken for as large as the largest."""

COMMIT_TIME = "commit time"


def event_time(source: Source) -> str:
    """The field of a source's event time.

    Raises:
        ArchiveError: it declares none.
    """
    if source.event_time:
        return source.event_time
    raise ArchiveError(
        f"source {source.name}: no aggregation has a TimeKey, so it has no event time: use --by-commit-time, "
        "which reads every entry"
    )


@dataclass(slots=True)
class Old:
    """Reads the entries of a source that are older than ``before`` and sealed.

    An entry is *sealed* if its update time is not after the watermark: no late event can count it again.
    The query costs reads only for entries that are old.
    """

    store: Store
    home: Home
    before: datetime
    watermark: datetime
    field: str | None
    """Of the event time; None: go by the commit time, and read the whole collection."""
    read: Callable[[Callable[[], list[Document]]], list[Document]]
    beat: Callable[[], None] = lambda: None
    """Called after each query."""
    reads: int = 0
    unsealed: int = 0
    """Entries that are old enough and were left, because they were written after the watermark."""

    @property
    def by(self) -> str:
        """By what an entry's age is told: the event time's field, or the commit time."""
        return self.field or COMMIT_TIME

    def __iter__(self) -> Iterator[tuple[Document, datetime]]:
        """The entries, each with the time that its age was told by."""
        for document in self._documents():
            time = look_up(document.fields, self.field) if self.field else document.create_time
            if not isinstance(time, datetime) or time >= self.before:
                continue
            if document.update_time > self.watermark:
                self.unsealed += 1
                continue
            yield document, time

    def _documents(self) -> Iterator[Document]:
        order = (self.field, DOCUMENT_ID) if self.field else (DOCUMENT_ID,)
        where = (Filter(self.field, "<", self.before),) if self.field else ()
        query = Query(self.home.entries, where, order, limit=FIRST_READ)
        largest = 1
        while True:
            found = self.read(lambda query=query: list(self.store.query(query)))  # type: ignore[misc]  # binds it
            self.reads += max(1, len(found))
            yield from found
            self.beat()
            if len(found) < (query.limit or 0):
                return
            largest = max(largest, *(len(repr(document.fields)) for document in found))
            last = found[-1]
            cursor = tuple(
                last.path if name == DOCUMENT_ID else look_up(last.fields, name) for name in query.order_by
            )
            limit = max(1, min(MOST_READ, READ_BYTES // largest))
            query = replace(query, start_after=cursor, limit=limit)

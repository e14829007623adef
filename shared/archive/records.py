"""What the books say of archived entries: the records of pages, and the totals."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TypeAlias

from shared.aggregation import Home, Source
from shared.recompute.comparison import LAST, page_of
from shared.recompute.comparison import LISTED as TOTALS
from shared.store import DOCUMENT_ID, Document, Query

LISTED = 50
"""Records that one query lists: each is at most some hundred kilobytes."""

MANIFESTED = ("page", "archive", "to", "by", "first", "last", "file", "entries", "bytes", "sha256")
"""The fields of a record that a manifest holds."""

Ask: TypeAlias = Callable[[Query], list[Document]]
"""Answers a query, and tries again while it may help."""

Amounts: TypeAlias = dict[str, dict[str, int]]
"""What is archived, by the path of a total and by measure."""


@dataclass(frozen=True, slots=True)
class Held:
    """What a total holds of archived entries, and the last page that added to it."""

    archived: object
    page: int


def held_totals(source: Source, home: Home, query: Ask) -> Iterator[tuple[str, Held]]:
    """Every total that holds archived entries, by path."""
    for aggregation in source.aggregations:
        wanted = Query(home.collection(aggregation.name), (), (DOCUMENT_ID,), limit=TOTALS)
        for total in _all(wanted, query):
            if "archived" in total.fields or "archived_page" in total.fields:
                yield total.path, Held(total.fields.get("archived"), page_of(total.fields))


def last_page(home: Home, query: Ask) -> Mapping[str, object]:
    """The number and the sums of the last page of any archive; empty if there is none."""
    wanted = Query(home.archives, (), ("-page",), limit=1, select=LAST)
    return next((record.fields for record in query(wanted)), {})


def page_records(home: Home, query: Ask, *, select: tuple[str, ...] | None = None) -> Iterator[Document]:
    """Every record in the order of the pages, with the fields of ``select``; None: all."""
    return _all(Query(home.archives, (), (DOCUMENT_ID,), limit=LISTED, select=select), query)


def _all(wanted: Query, query: Ask) -> Iterator[Document]:
    """What a query in the order of the names finds, ``limit`` documents at a time."""
    while True:
        found = query(wanted)
        yield from found
        if len(found) < (wanted.limit or 0):
            return
        wanted = replace(wanted, start_after=(found[-1].path,))


def add(into: Amounts, path: str, amounts: Mapping[str, int]) -> None:
    """Add amounts to those of a total."""
    total = into.setdefault(path, {})
    for name, amount in amounts.items():
        total[name] = total.get(name, 0) + amount


def without_zeros(amounts: Mapping[str, Mapping[str, int]]) -> Amounts:
    """Amounts by which two books can be compared: an amount of 0 says the same as none."""
    found = {path: {name: n for name, n in each.items() if n} for path, each in amounts.items()}
    return {path: each for path, each in found.items() if each}

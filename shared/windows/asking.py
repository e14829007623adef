"""Queries for entries: a missing index is named, with what to add to firestore.indexes.json."""

import json
from collections.abc import Iterable
from datetime import datetime

from shared.counting.index import INDEXED_BYTES
from shared.errors import IndexMissing, Invalid, Unanswerable
from shared.store import DOCUMENT_ID, Document, Query, Store


def ask(store: Store, query: Query, *, read_time: datetime | None = None) -> list[Document]:
    """What a query finds.

    Raises:
        IndexMissing: naming the index that the query needs.
        StoreError: Firestore cannot be read.
    """
    try:
        return list(store.query(query, read_time=read_time))
    except Invalid as error:
        if "index" not in str(error).lower():
            raise
        raise IndexMissing(
            f"a query of {query.collection} needs an index. Add it to firestore.indexes.json, deploy it and "
            f"wait until it is built: {_index_of(query)} ({error})"
        ) from error


def _index_of(query: Query) -> str:
    ascending = ((each.field, "ASCENDING") for each in query.where if each.operator == "==")
    orders = (
        (name.removeprefix("-"), "DESCENDING" if name.startswith("-") else "ASCENDING")
        for name in query.order_by
    )
    fields = [
        {"fieldPath": name, "order": order}
        for name, order in dict([*ascending, *orders]).items()
        if name != DOCUMENT_ID
    ]
    index = {"collectionGroup": query.collection, "queryScope": "COLLECTION", "fields": fields}
    return json.dumps(index)


def indexed(value: object) -> bool:
    """Whether an index holds ``value`` whole: Firestore cuts longer strings off in it."""
    return not isinstance(value, str) or len(value.encode()) < INDEXED_BYTES


def check_indexed(equals: Iterable[tuple[str, object]]) -> None:
    """Refuse values that an index does not hold whole.

    Raises:
        Unanswerable: naming the field.
    """
    for field, value in equals:
        try:
            fits = indexed(value)
        except UnicodeEncodeError:
            fits = False
        if not fits:
            raise Unanswerable(
                f"{field}={value!r:.40}: expected valid Unicode of less than {INDEXED_BYTES:,} bytes: "
                "Firestore cuts longer strings off in its indexes"
            )

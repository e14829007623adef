"""Short ways to commit to a store and read from it, for the tests of its contract."""

from collections.abc import Callable
from datetime import datetime

from shared.errors import StoreError
from shared.store import Document, Store, Write


def commit(store: Store, *writes: Write, transaction: bytes | None = None) -> datetime:
    return store.commit(writes, transaction=transaction, timeout=20)


def document(store: Store, path: str, read_time: datetime | None = None) -> Document:
    (found,) = store.get([path], read_time=read_time)
    assert found is not None
    return found


def fields(store: Store, path: str) -> dict[str, object]:
    return dict(document(store, path).fields)


def outcome(act: Callable[[], object]) -> type[StoreError] | None:
    """The kind of error an act ends with, None if it goes well."""
    try:
        act()
    except StoreError as error:
        return type(error)
    return None

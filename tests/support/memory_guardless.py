"""The control: a store that leaves the guard out of every commit, as the naive trigger does."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from shared.store import Create, Store, Write


class Guardless:
    """Any store, but creations are left out of commits: increments stand alone, and nothing holds them."""

    def __init__(self, inner: Store) -> None:
        self._inner = inner

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def commit(
        self, writes: Sequence[Write], *, transaction: bytes | None = None, timeout: float
    ) -> datetime:
        """See `Store.commit`."""
        unguarded = [write for write in writes if not isinstance(write, Create)]
        return self._inner.commit(unguarded, transaction=transaction, timeout=timeout)

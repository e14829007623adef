"""What the routes read: the store, opened on first use, and what is declared."""

import threading
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated

from fastapi import Depends, Request

from services.api.edge import left
from services.api.settings import ApiSettings
from shared.aggregation import Home, Source
from shared.catalog import LIBRA_HOME, libra
from shared.store import Store
from shared.store.client import READ_TIMEOUT, FirestoreStore


class Books:
    """The source, its home and the store of one process. Threads may use it at once."""

    def __init__(
        self, settings: ApiSettings, *, clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self.source: Source = libra(settings.books)
        self.home: Home = LIBRA_HOME
        self.now = clock
        self._settings = settings.books
        self._lock = threading.Lock()
        self._store: Store | None = None

    @property
    def store(self) -> Store:
        """The store; its channel is opened by the first caller, so that an import opens none.

        Raises:
            SettingError: the credentials cannot be used.
        """
        with self._lock:
            if self._store is None:
                self._store = FirestoreStore.connect(
                    self._settings, patience=lambda: min(READ_TIMEOUT, left())
                )
            return self._store

    def ready(self) -> None:
        """Read the state document, which is there or not.

        Raises:
            StoreError: Firestore does not answer.
        """
        self.store.get([self.home.state], bare=True)


def _books(request: Request) -> Books:
    books: Books = request.app.state.books
    return books


Read = Annotated[Books, Depends(_books)]
"""What a route that reads takes."""

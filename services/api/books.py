"""What the routes read: the store, opened on first use, and what is declared."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated

from fastapi import Depends, Request

from services.api.settings import ApiSettings
from shared.aggregation import Home, Source
from shared.catalog import LIBRA_HOME, libra
from shared.http.edge import left
from shared.http.once import Once
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
        self._store = Once[Store](lambda: FirestoreStore.connect(settings.books, patience=_patience))

    @property
    def store(self) -> Store:
        """The store; its channel is opened by the first caller, so that an import opens none.

        Raises:
            SettingError: the credentials cannot be used.
        """
        return self._store()

    def ready(self) -> None:
        """Read the state document, which is there or not.

        Raises:
            StoreError: Firestore does not answer.
        """
        self.store.get([self.home.state], bare=True)


def _patience() -> float:
    return min(READ_TIMEOUT, left())


def _books(request: Request) -> Books:
    books: Books = request.app.state.books
    return books


Read = Annotated[Books, Depends(_books)]
"""What a route that reads takes."""

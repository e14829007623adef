"""A trigger in a process of its own that kills itself at a call to Firestore (`run`).

It applies a fixed list of events, one after the other, and says on its output which it acknowledged.
"""

import os
import signal
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from shared.aggregation import Cell, Entry, Version, change
from shared.catalog import LIBRA_HOME, libra
from shared.ledger import Ledger
from shared.settings import Settings
from shared.store import Create, Document, Query, Store
from shared.store.client import FirestoreStore
from shared.watermark import MICROSECOND

SETTINGS = Settings(lag=timedelta(minutes=10))
RICE = Cell("aggregates_categories", "Rice")
WATERMARK_AGE = timedelta(minutes=30)
PASSED, LATE, FRESH = timedelta(hours=1), timedelta(minutes=20), timedelta(0)
AGES = (FRESH, LATE, PASSED, FRESH)
"""How old each creation is when it is applied: on the fresh path, on the late path, behind the watermark."""


def events(root: str, now: datetime) -> list[Entry]:
    """The events, whatever the database says: an emulator has no entries as old as some of these.

    Of the three creations that are counted, the first is edited to what could not be counted by its
    ingredient and back again, and the last two are deleted: one at once, where no boundary of a bucket lies
    in between, and one later, which has to be searched for.
    """
    fields: dict[str, object] = {"ingredient": "Rice", "dataAction": "Served", "timestamp": now}
    made = [Entry(f"{root}/libra/e{number}", now - age, fields) for number, age in enumerate(AGES)]
    first, late, _, last = made
    bad = Version(now + MICROSECOND, fields | {"ingredient": None})
    return [
        *made,
        Entry(first.path, bad.time, bad.fields, Version(first.time, fields)),
        Entry(first.path, now + 2 * MICROSECOND, fields, bad),
        Entry.deleted(last.path, Version(last.time, fields)),
        Entry.deleted(late.path, Version(late.time, fields)),
    ]


def deliveries(root: str, now: datetime) -> list[Entry]:
    """What is delivered, in order: each event, and the last one once more."""
    changes = events(root, now)
    return [*changes, changes[-1]]


def rice(entry: Entry, now: datetime) -> int:
    """What an event adds to the total of rice: nothing where a run has counted it."""
    deltas = change(libra(SETTINGS), entry).deltas
    return 0 if entry.time == now - PASSED else deltas.get(RICE, {"count": 0})["count"]


class At:
    """A store whose clock stands at a time, as the ledger's does."""

    def __init__(self, inner: Any, now: datetime) -> None:
        self._inner = inner
        self._now = now

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def now(self, paths: Sequence[str]) -> tuple[datetime, list[Document | None]]:
        return self._now, self._inner.now(paths)[1]


def prepare(store: Store, now: datetime) -> None:
    """A watermark that the oldest event is behind."""
    store.commit([Create("aggregates/last_processed", {"timestamp": now - WATERMARK_AGE})], timeout=10)


def apply_all(store: Any, root: str, now: datetime, stated: Callable[[Entry], None]) -> None:
    """Apply each event in turn: what is called in here is what the matrix is made of."""
    at: Any = At(store, now)
    ledger = Ledger(at, libra(SETTINGS), LIBRA_HOME, SETTINGS, clock=lambda: now, sleep=lambda _: None)
    for entry in deliveries(root, now):
        ledger.apply(entry)
        stated(entry)


class Watched:
    """A store that tells of each call before it is sent and after its answer came."""

    def __init__(self, inner: Store, tell: Callable[[str], None]) -> None:
        self._inner = inner
        self._tell = tell
        self._calls = 0

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._inner, name)

        def call(*arguments: Any, **options: Any) -> Any:
            self._calls += 1
            number = self._calls
            self._tell(f"{number} before {name}")
            answer = method(*arguments, **options)
            self._tell(f"{number} after {name}")
            return answer

        return call if callable(method) else method


def counted(store: Store) -> dict[str, object]:
    """Every total's count, by path."""
    return {
        document.path: document.fields["count"]
        for aggregation in libra(SETTINGS).aggregations
        for document in store.query(Query(aggregation.name))
    }


def run(project: str, host: str, now: datetime, deadly: str) -> None:
    """Apply the events until the deadly point."""
    store = FirestoreStore.connect(replace(SETTINGS, project=project, emulator_host=host))

    def tell(point: str) -> None:
        if point == deadly:
            os.kill(os.getpid(), signal.SIGKILL)

    def stated(entry: Entry) -> None:
        print(entry.path, flush=True)

    apply_all(Watched(store, tell), store.root, now, stated)

"""Which values of a bounded key have totals of their own: decided once, by whoever meets a value first.

**Why everybody agrees.** The list of an aggregation is one document. It only grows, up to its bound, and each
growth is a commit that depends on the document as it was read. So two who race for the last place do not both
get it: the second reads again, and finds the list full. A value on the list stays on it. A full list stays
full. Either fact may be kept by an instance for ever, and nothing else is kept. A trigger decides before it
commits a group, a run before it adds up: from then on the value's place is the same for everybody.

**Where they do not.** If the bound is lowered, an instance of the old code may still admit values to a list
that one of the new code has taken for full. Each run moves what the second one counts of them, as drift.

A value that is admitted by somebody who dies before the commit has a place and no total: nothing is wrong.
"""

import threading
from collections.abc import Callable, Iterable, Mapping

from shared.aggregation import Cell, Home, Source, type_name
from shared.aggregation.bounded import Admitted, Bounds
from shared.errors import AlreadyExists, Contention, Invalid, StateError
from shared.retry import Retry
from shared.store import Create, Document, FieldPath, Merge, Store, Write

FIELD = "admitted"
"""The field of the document that holds the lists, by the name of the key's part."""

COMMIT_TIMEOUT = 10.0
"""Seconds that one attempt to admit values may be in flight."""

RETRY = Retry(attempts=10, first=0.05, longest=2.0)
"""How often a decision is tried, and the pauses in seconds."""


class Registry:
    """The lists of one source. Threads may use it at once. A source without bounded keys costs no call."""

    def __init__(
        self,
        store: Store,
        source: Source,
        home: Home,
        *,
        sleep: Callable[[float], None],
        retry: Retry = RETRY,
        writes: bool = True,
    ) -> None:
        self._store = store
        self._home = home
        self._bounds = Bounds(source)
        self._sleep = sleep
        self._retry = retry
        self._writes = writes
        """If not, as in a dry run, what would be admitted is only remembered."""
        self._known: dict[str, Admitted] = {}
        self._lock = threading.Lock()

    def __bool__(self) -> bool:
        return bool(self._bounds)

    def settle(self, cells: Iterable[Cell]) -> Callable[[Cell], Cell]:
        """Decide where each of these raw cells belongs; returns what says it.

        Raises:
            StateError: the document holds what Libra never wrote.
            StoreError: it cannot be read or written.
        """
        if self._bounds:
            with self._lock:
                for aggregation, wanted in self._undecided(cells).items():
                    self._decide(aggregation, wanted)
        return self._place

    def _place(self, cell: Cell) -> Cell:
        return self._bounds.place(cell, self._known.get(cell.aggregation, {}))

    def _undecided(self, cells: Iterable[Cell]) -> dict[str, dict[str, set[str]]]:
        found: dict[str, dict[str, set[str]]] = {}
        for cell in cells:
            known = self._known.get(cell.aggregation, {})
            for part, name in self._bounds.undecided(cell, known).items():
                found.setdefault(cell.aggregation, {}).setdefault(part, set()).add(name)
        return found

    def _decide(self, aggregation: str, wanted: Mapping[str, set[str]]) -> None:
        path = self._home.registry(aggregation)
        for attempt in self._retry.each(self._sleep):
            with attempt:
                (found,) = self._store.get([path])
                lists = self._lists(aggregation, found)
                grown = self._grown(aggregation, lists, wanted)
                if grown and self._writes:
                    self._commit(_write(path, found, grown))
                self._known[aggregation] = lists | grown
                return

    def _commit(self, write: Write) -> None:
        try:
            self._store.commit([write], timeout=COMMIT_TIMEOUT)
        except AlreadyExists as error:  # somebody else has made the document meanwhile
            raise Contention(str(error)) from error
        except Invalid as error:  # no fault of an event: the names are short
            raise StateError(
                f"{write.path}: Firestore refuses the list of values that have totals of their own: {error}"
            ) from error

    def _lists(self, aggregation: str, found: Document | None) -> dict[str, frozenset[str]]:
        """What is admitted, as it is written down."""
        stored = found.fields.get(FIELD, {}) if found else {}
        if not isinstance(stored, Mapping):
            raise self._damaged(aggregation, FIELD, stored)
        lists: dict[str, frozenset[str]] = {}
        for part in filter(None, self._bounds.parts[aggregation]):
            names = stored.get(part.name, [])
            if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
                raise self._damaged(aggregation, f"{FIELD}.{part.name}", names)
            remembered = () if self._writes else self._known.get(aggregation, {}).get(part.name, ())
            lists[part.name] = frozenset((*names, *remembered))
        return lists

    def _damaged(self, aggregation: str, field: str, value: object) -> StateError:
        return StateError(
            f"{self._home.registry(aggregation)} holds {type_name(value)} in {field}: expected a map of "
            "lists of strings, the values that have totals of their own; put it back, or delete the document"
        )

    def _grown(
        self, aggregation: str, lists: Mapping[str, frozenset[str]], wanted: Mapping[str, set[str]]
    ) -> dict[str, frozenset[str]]:
        """The lists that have room for some of what is wanted, with that."""
        grown = {}
        for part in filter(None, self._bounds.parts[aggregation]):
            admitted = lists[part.name]
            room = max(0, part.most - len(admitted))
            if new := sorted(wanted.get(part.name, set()) - admitted)[:room]:
                grown[part.name] = admitted | frozenset(new)
        return grown


def _write(path: str, found: Document | None, grown: Mapping[str, frozenset[str]]) -> Write:
    if found is None:
        return Create(path, {FIELD: {part: sorted(names) for part, names in grown.items()}})
    fields: dict[FieldPath, object] = {(FIELD, part): sorted(names) for part, names in grown.items()}
    return Merge(path, fields, if_updated=found.update_time)

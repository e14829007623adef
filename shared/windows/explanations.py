"""Why a total says what it says: the entries that make it, what is archived, and what nothing explains."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from types import NoneType
from typing import Any

from shared.aggregation import Aggregation, Cell, Contribution, Home, Key, Source, contribution
from shared.errors import Unanswerable
from shared.ledger import marker_of
from shared.store import Document, Store
from shared.windows.entry_status import State, state_of
from shared.windows.finding import Place, Search
from shared.windows.paging import check_limit, cursor, position
from shared.windows.proof import Proof, proof
from shared.windows.questions import check_id, named, parse_key
from shared.windows.totals import Total, total_of, zero

MOST_READS = 1_000
"""After so many reads a page of an explanation ends, however few entries it has."""

MOST_CHUNK = 100
"""The most entries that are looked at together where few of them count."""

EARLIEST = datetime(2017, 10, 3, tzinfo=UTC)
"""Firestore's first day: no snapshot is of a time before it."""

Amounts = dict[str, int]


@dataclass(frozen=True, slots=True)
class Piece:
    """One entry that lives, and what it adds to the total."""

    id: str
    adds: Mapping[str, int]
    """By column."""
    running: Mapping[str, int]
    """The sum of what this entry and those before it add, of all pages."""
    committed: datetime
    """When its current version was committed."""
    state: State
    """Whether it is counted: see `EntryStatus`."""


@dataclass(frozen=True, slots=True)
class Explanation:
    """A page of what makes a total."""

    total: Total
    entries: tuple[Piece, ...]
    after: str | None
    """Ask with it for the next page. None: this is the last one."""
    reads: int
    """What this page cost."""
    at: datetime
    """All pages of one explanation are as of this instant, by Firestore's clock."""
    waiting: Mapping[str, int]
    """What the entries so far add that no trigger has counted yet, by column."""
    unexplained: Mapping[str, int] | None
    """What the total says, less what its living entries add and what is archived, by column. None: only the
    last page can say."""
    reasons: tuple[str, ...]
    """Why that is not zero, as far as it is known."""


def explain(
    store: Store,
    source: Source,
    home: Home,
    aggregation: str,
    key: str | Mapping[str, str],
    *,
    after: str | None = None,
    limit: int = 100,
) -> Explanation:
    """A page of the living entries that make a total, with the running sum; and what they do not explain.

    They are found by the fields of the key and by its times. So a page costs a read for each entry that is
    looked at, one for each of them that no run has proven, two for each stretch of time in which there is
    none, and two. A page ends after 1,000 reads, also with fewer entries than asked for: an aggregation
    with a filter, or a key that no index finds (``other``, a string of 1,500 bytes), looks at entries that
    do not count.

    Every page is as of the instant of the first one. So entries that are written or deleted meanwhile change
    nothing; but Firestore keeps that instant for an hour only.

    Args:
        store: where entries and totals are.
        source: what is counted.
        home: where the books are.
        aggregation: its name.
        key: as text; see `parse_key`.
        after: the cursor of the page before.
        limit: how many entries a page holds.

    Raises:
        NotFound: there is no such aggregation.
        Unanswerable: ``key`` is no key of it, or the cursor or the limit is not allowed.
        IndexMissing: naming the index.
        SnapshotTooOld: the first page was too long ago.
        StateError: the state document is damaged.
        StoreError: Firestore cannot be read.
    """
    declared = named(source, aggregation)
    check_limit(limit)
    parsed = parse_key(declared, key)
    cell = Cell(aggregation, parsed)
    scope = "explain " + hashlib.sha256(home.total(cell).encode()).hexdigest()[:16]
    at, place, running, waiting = _begin(scope, after)
    now = proof(store, source, home, at=at)
    (document,) = store.get([home.total(cell)], read_time=now.at)
    total = total_of(declared, document, now) if document else zero(declared, parsed, now)
    work = _Page(Search.of(store, home, declared, parsed, now.at), source, declared, parsed, now)
    work.fill(place, limit)
    pieces = work.pieces(running, waiting)
    sums = pieces[-1].running if pieces else running
    going_on = work.place
    unexplained = None if going_on else _less(total, sums)
    return Explanation(
        total,
        tuple(pieces),
        cursor(scope, now.at, *going_on, dict(sums), waiting) if going_on else None,
        work.reads + 2,
        now.at,
        {column: waiting.get(column, 0) for column in declared.columns},
        unexplained,
        tuple(_reasons(now, total, unexplained, waiting)) if unexplained is not None else (),
    )


def _begin(scope: str, after: str | None) -> tuple[datetime | None, Place | None, Amounts, Amounts]:
    """Where a page begins, and the sums of the pages before it."""
    if after is None:
        return None, None, {}, {}
    optional = (datetime, NoneType), (str, NoneType)
    found: tuple[Any, ...] = tuple(position(scope, after, datetime, *optional, dict, dict))
    at, time, entry, running, waiting = found
    if at < EARLIEST:
        raise Unanswerable(
            f"after={after[:40]!r} is no cursor: it is of {at.isoformat()}, before there was Firestore"
        )
    if entry is not None:
        check_id("the cursor's entry", entry)
    return at, Place(time, entry), running, waiting


class _Page:
    """Collects the entries of a page."""

    def __init__(
        self, search: Search, source: Source, aggregation: Aggregation, key: Key, now: Proof
    ) -> None:
        self._search = search
        self._source = source
        self._cell = Cell(aggregation.name, key)
        self._now = now
        self._found: list[tuple[Document, Contribution]] = []
        self.place: Place | None = None
        """Where the next page begins."""
        self.reads = 0

    def fill(self, place: Place | None, limit: int) -> None:
        """Look at entries until ``limit`` of them count, or enough was read."""
        self.place = place or self._search.begin()
        chunk = 0
        while self.place and len(self._found) < limit and self.reads < MOST_READS:
            step = self._search.step(self.place, max(chunk, limit - len(self._found)))
            self.reads += step.reads
            self.place = step.next
            before = len(self._found)
            for number, document in enumerate(step.documents, 1):
                added = contribution(self._source, document.fields)
                if self._cell in added.deltas:
                    self._found.append((document, added))
                if len(self._found) == limit:
                    if number < len(step.documents):
                        self.place = self._search.behind(document)
                    return
            if len(self._found) - before < len(step.documents):  # few of them count: look at more at a time
                chunk = min(2 * len(step.documents), MOST_CHUNK)

    def pieces(self, running: Mapping[str, int], waiting: Amounts) -> list[Piece]:
        """The entries with their sums; what waits is added to ``waiting``."""
        marked = self._marked([document for document, _ in self._found])
        pieces: list[Piece] = []
        for document, added in self._found:
            adds = added.deltas[self._cell]
            state = state_of(document, added, self._now, marked=document.path in marked)
            running = _plus(running, adds)
            if state == "received":
                waiting.update(_plus(waiting, adds))
            entry_id = document.path.rpartition("/")[2]
            pieces.append(Piece(entry_id, adds, running, document.update_time, state))
        return pieces

    def _marked(self, documents: Sequence[Document]) -> set[str]:
        """The entries that no run has proven, and a trigger has counted: the paths."""
        store, home, proven = self._search.store, self._search.home, self._now.watermark
        late = [each for each in documents if proven is None or each.update_time > proven]
        if not late:
            return set()
        markers = [home.marker(marker_of(store.name(each.path), each.update_time)) for each in late]
        self.reads += len(late)
        found = store.get(markers, read_time=self._now.at, bare=True)
        return {each.path for each, marker in zip(late, found, strict=True) if marker}


def _plus(one: Mapping[str, int], other: Mapping[str, int]) -> Amounts:
    return {column: one.get(column, 0) + other.get(column, 0) for column in {**one, **other}}


def _less(total: Total, sums: Mapping[str, int]) -> Amounts:
    return {
        column: value - total.archived[column] - sums.get(column, 0) for column, value in total.values.items()
    }


def _reasons(
    now: Proof, total: Total, unexplained: Mapping[str, int], waiting: Mapping[str, int]
) -> list[str]:
    reasons = []
    if any(waiting.values()):
        number = waiting.get("count", 0)
        what = "1 entry is" if number == 1 else f"{number:,} entries are"
        reasons.append(
            f"{what} not counted yet: no event came, or it is on its way. The next run whose watermark is "
            "later counts that"
        )
    if now.sealed and not now.settled:
        reasons.append(
            f"a run sealed {now.sealed.isoformat()} and has not completed: the triggers leave late entries "
            "up to then to it, and it may have corrected this total already"
        )
    if now.exact_through(total.aggregation) is None:
        reasons.append("no run has proven the totals of this aggregation yet: run libra recompute")
    if any(value + waiting.get(column, 0) for column, value in unexplained.items()):
        reasons.append(
            "the rest: edits or deletions whose events are on the way, late or lost, a total that something "
            "else wrote to, or entries that were archived before the aggregation was declared. The next run "
            "corrects it"
        )
    return reasons

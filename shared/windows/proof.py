"""How far the totals are proven at one instant; every answer about totals is read as of that instant."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from shared.aggregation import Home, Source
from shared.drift import FAR
from shared.recompute import Lease
from shared.recompute.standing import Standing, Standings, standings
from shared.status import RUNS, newest, pending_counts, proven, run_of
from shared.store import Document, Store
from shared.watermark import open_amounts, stored_watermark


@dataclass(frozen=True, slots=True)
class Proof:
    """How far the totals are proven, as of one instant."""

    at: datetime
    """When that was so, by Firestore's clock. Totals that are read as of this instant agree with it."""
    watermark: datetime | None
    """That of the last completed run; None before the first one."""
    sealed: datetime | None
    """The stored one. It is later than `watermark` while a run is under way, and after one that failed."""
    lease: Lease | None
    """The run that is under way."""
    aggregations: Standings
    """Which of them are exact, filling or orphaned."""

    def exact_through(self, aggregation: str) -> datetime | None:
        """Every entry that was committed at or before this is exactly counted in an aggregation's totals.

        None: nothing is proven yet, or no run has completed since the aggregation was declared as it is now.
        """
        unseen = any(each.name == aggregation and each.declared_at is None for each in self.filling)
        return None if unseen else self.watermark

    @property
    def filling(self) -> tuple[Standing, ...]:
        """The aggregations that are declared and not exact yet."""
        return tuple(each for each in self.aggregations.declared if each.filling)

    def pending(self, total: Mapping[str, object]) -> dict[str, int]:
        """What a total's open buckets hold since the watermark, by column."""
        return open_amounts(total.get("recent"), self.watermark, self.at + FAR)

    @property
    def settled(self) -> bool:
        """Whether no run is behind its seal. What a total says up to the watermark was true at the watermark.

        Else a run has sealed a later watermark and has not completed. It may have corrected a total already,
        or not, and so may a run before it that failed: the total then says what was true at a watermark that
        was sealed since. Nothing in a total tells which.
        """
        return self.sealed == self.watermark


@dataclass(frozen=True, slots=True)
class Freshness:
    """How fresh and how certain the totals of a source are."""

    proof: Proof
    pending: Mapping[str, int]
    """How many entries the triggers counted since the watermark, by aggregation; no run has proven these."""

    @property
    def lag(self) -> timedelta | None:
        """How far the watermark trails the clock; None before the first run."""
        return self.proof.at - self.proof.watermark if self.proof.watermark else None


def proof(store: Store, source: Source, home: Home, *, at: datetime | None = None) -> Proof:
    """Read how far the totals are proven now, or were ``at`` a time. It costs one read.

    Where the state document does not note what is proven, it costs a read for each of the last ten runs too.

    Raises:
        StateError: the state document is damaged.
        StoreError: Firestore cannot be read.
    """
    if at is None:
        at, (found,) = store.now([home.state])
    else:
        (found,) = store.get([home.state], read_time=at)
    now = proof_of(source, home, at, found)
    if now.watermark is None and now.sealed and found:
        records = store.query(newest(home, RUNS), read_time=at)
        runs = [run_of(record, now.lease) for record in records]
        return replace(now, watermark=proven(found.fields, runs))
    return now


def proof_of(source: Source, home: Home, at: datetime, state: Document | None) -> Proof:
    """How far the totals are proven, by the state document as it is ``at`` a time; None: it is not there.

    Raises:
        StateError: the state document is damaged.
    """
    fields = state.fields if state else {}
    lease = Lease.of(fields)
    held = lease if lease and lease.left(at) > timedelta(0) else None
    return Proof(at, proven(fields), stored_watermark(fields), held, standings(source, home, fields))


def freshness(store: Store, source: Source, home: Home) -> Freshness:
    """Read how fresh the totals are. It costs a read, and one for each total: use `proof` where that will do.

    Raises:
        StateError: the state document is damaged.
        StoreError: Firestore cannot be read.
    """
    now = proof(store, source, home)
    return Freshness(now, pending_counts(store, source, home, now.watermark, now.at, read_time=now.at))

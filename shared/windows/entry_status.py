"""What became of one entry: received, applied, verified, rejected, gone."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, TypeAlias

from shared.aggregation import Contribution, Home, Rejection, Source, contribution
from shared.ledger import MARKER_LIFE, marker_of
from shared.store import Document, Filter, Query, Store
from shared.windows.proof import Proof, proof
from shared.windows.questions import check_id, in_utc

State: TypeAlias = Literal["verified", "applied", "received", "unsure", "uncounted", "gone", "unknown"]


@dataclass(frozen=True, slots=True)
class EntryStatus:
    """What became of one entry."""

    id: str
    state: State
    """- ``verified``: a completed run has counted its current version;
    - ``applied``: the trigger has counted it, and no run has proven that yet;
    - ``received``: it is there and not counted yet: its event is on its way, left to the next run, or lost;
    - ``unsure``: it was edited, and has no marker: the edit changed no total, or is not counted yet;
    - ``uncounted``: it is there, and no aggregation counts anything of it;
    - ``gone``: it was deleted or archived, and the totals know it;
    - ``unknown``: it is not there: it was never written, or it was deleted or archived."""
    created: datetime | None
    updated: datetime | None
    """When its current version was committed; of a `gone` one, its last version."""
    contribution: Contribution
    """What its current version adds to which totals, and what of it cannot be counted, by the declarations
    of today."""
    recorded: tuple[Mapping[str, str], ...]
    """The reasons in its record among the rejected."""
    proof: Proof

    @property
    def rejections(self) -> tuple[Rejection, ...]:
        """What of it cannot be counted, by the declarations of today."""
        return self.contribution.rejections


def entry_status(
    store: Store, source: Source, home: Home, entry_id: str, *, version: datetime | None = None
) -> EntryStatus:
    """What became of an entry. It costs four reads; for one that is not there, up to three and its records.

    Nothing in Firestore says by its id alone that an entry was archived. ``version`` helps there: with the
    update time of its last version, the marker of its deletion is found, for seven days.

    Args:
        store: where the entries are.
        source: what is counted of them.
        home: where the books are.
        entry_id: the entry's id.
        version: the update time of a version that is known from before.

    Raises:
        Unanswerable: ``entry_id`` is no id, or ``version`` has no zone.
        StateError: the state document is damaged.
        StoreError: Firestore cannot be read.
    """
    check_id("entry", entry_id)
    version = version and in_utc("the version", version)
    now = proof(store, source, home)
    path = f"{home.entries}/{entry_id}"
    (document,) = store.get([path], read_time=now.at)
    if document is None:
        return _absent(store, home, entry_id, now, version)
    marker = marker_of(store.name(path), document.update_time)
    found, record = store.get([home.marker(marker), home.rejection(marker)], read_time=now.at)
    added = contribution(source, document.fields)
    state = state_of(document, added, now, marked=found is not None)
    recorded = reasons_of(record.fields) if record else ()
    return EntryStatus(entry_id, state, document.create_time, document.update_time, added, recorded, now)


def state_of(document: Document, added: Contribution, now: Proof, *, marked: bool) -> State:
    """How an entry that is there stands.

    Args:
        document: the entry.
        added: what it adds.
        now: how far the totals are proven.
        marked: whether the marker of its current version is there.
    """
    if not added:
        return "uncounted"
    if now.watermark and document.update_time <= now.watermark:
        return "verified"
    if marked:
        return "applied"
    edited = document.update_time != document.create_time
    expired = document.update_time < now.at - MARKER_LIFE
    return "unsure" if edited or expired else "received"


def reasons_of(record: Mapping[str, object]) -> tuple[Mapping[str, str], ...]:
    """The reasons in a record of what could not be counted."""
    reasons = record.get("reasons")
    return tuple(
        {str(name): str(text) for name, text in each.items()}
        for each in (reasons if isinstance(reasons, list | tuple) else ())
        if isinstance(each, Mapping)
    )


def _absent(store: Store, home: Home, entry_id: str, now: Proof, version: datetime | None) -> EntryStatus:
    name = store.name(f"{home.entries}/{entry_id}")
    query = Query(home.rejected, (Filter("entry", "==", name),), limit=10)
    records = list(store.query(query, read_time=now.at))
    versions = [each.fields.get("create_time") for each in records]
    known = {each for each in (version, *versions) if isinstance(each, datetime)}
    markers = {each: home.marker(marker_of(name, each, gone=True)) for each in sorted(known)}
    found = store.get(list(markers.values()), read_time=now.at) if markers else []
    last = next((each for each, marker in zip(markers, found, strict=True) if marker), None)
    recorded = tuple(reason for record in records for reason in reasons_of(record.fields))
    state: State = "gone" if last else "unknown"
    return EntryStatus(entry_id, state, None, last, Contribution({}), recorded, now)

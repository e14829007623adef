"""What could not be counted, with the reasons; and looking at it again."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, TypeAlias

from shared.aggregation import Contribution, Home, Source, contribution
from shared.errors import NotFound
from shared.store import DOCUMENT_ID, Delete, Document, Filter, Query, Store
from shared.windows.entry_status import reasons_of
from shared.windows.paging import FIRST, Page, check_limit, cursor, position
from shared.windows.proof import Proof, proof
from shared.windows.questions import check_id

_LIST = "rejected"
COMMIT_TIMEOUT = 10.0
"""Seconds that the removal of a record may take."""

Verdict: TypeAlias = Literal["counted", "waiting", "rejected", "replaced", "malformed"]


@dataclass(frozen=True, slots=True)
class Rejected:
    """A version of an entry that could not be counted, or not everywhere; or an event that describes none."""

    id: str
    """Of the record."""
    entry: str | None
    """The entry's id; None for an event that describes none."""
    event: str | None
    """The event's id, if it describes no entry."""
    version: datetime | None
    """The update time of the version."""
    reasons: tuple[Mapping[str, str], ...]
    """``reason``, and mostly ``aggregation`` and ``field``."""
    rejected_at: datetime | None


@dataclass(frozen=True, slots=True)
class Retried:
    """What a second look at a record found."""

    record: Rejected
    verdict: Verdict
    """- ``counted``: it can be counted now, and a run has done so;
    - ``waiting``: it can be counted now, and the next run will do so that proves its commit time;
    - ``rejected``: it still cannot be counted;
    - ``replaced``: its version was edited or deleted since;
    - ``malformed``: the event describes no entry, and never will."""
    removed: bool
    """Whether the record is gone now: it was out of date."""
    reasons: tuple[Mapping[str, str], ...]
    """Why it cannot be counted, by the declarations of today."""
    proof: Proof


def rejected(store: Store, home: Home, *, after: str | None = None, limit: int = 100) -> Page[Rejected]:
    """A page of what could not be counted, the latest first.

    It costs a read for each record shown, and one more.

    None comes twice, and none is left out that was there all the time.

    Raises:
        Unanswerable: the cursor or the limit is not allowed.
        StoreError: Firestore cannot be read.
    """
    check_limit(limit)
    start: tuple[object, ...] = ()
    if after is not None:
        time, record_id = position(_LIST, after, datetime, str)
        check_id("the cursor's record", str(record_id))
        start = (time, f"{home.rejected}/{record_id}")
    dated = (Filter("rejected_at", ">=", FIRST),)
    query = Query(home.rejected, dated, ("-rejected_at", f"-{DOCUMENT_ID}"), start, limit + 1)
    found = list(store.query(query))
    shown = tuple(_told(store, home, record) for record in found[:limit])
    more = len(found) > limit
    return Page(shown, cursor(_LIST, shown[-1].rejected_at, shown[-1].id) if more else None)


def retry(store: Store, source: Source, home: Home, record_id: str) -> Retried:
    """Look again at what could not be counted, by the declarations of today.

    Nothing is counted here. What the triggers have not counted, a run counts: no other way could be sure to
    count it once. So a record whose version a run has counted meanwhile is out of date, and is removed. So is
    one whose version was edited or deleted. It costs three reads, and a delete.

    Args:
        store: where the records and the entries are.
        source: what is counted.
        home: where the books are.
        record_id: the record's id.

    Raises:
        NotFound: there is no such record.
        Unanswerable: ``record_id`` is no id.
        StateError: the state document is damaged.
        StoreError: Firestore cannot be read or written.
    """
    check_id("record", record_id)
    now = proof(store, source, home)
    (document,) = store.get([home.rejection(record_id)], read_time=now.at)
    if document is None:
        raise NotFound(f"there is no record {record_id}: {home.rejection(record_id)} is not there")
    record = _told(store, home, document)
    if record.entry is None or record.version is None:
        return Retried(record, "malformed", False, record.reasons, now)
    (entry,) = store.get([f"{home.entries}/{record.entry}"], read_time=now.at)
    current = entry if entry and entry.update_time == record.version else None
    added = contribution(source, current.fields) if current else Contribution({})
    verdict = _verdict(record, added, now) if current else "replaced"
    removed = verdict in ("counted", "replaced")
    if removed:
        store.commit([Delete(document.path)], timeout=COMMIT_TIMEOUT)
    reasons = tuple(
        {"aggregation": each.aggregation, "field": each.field, "reason": each.reason}
        for each in added.rejections
    )
    return Retried(record, verdict, removed, reasons, now)


def _verdict(record: Rejected, added: Contribution, now: Proof) -> Verdict:
    if added.rejections:
        return "rejected"
    named = {each["aggregation"] for each in record.reasons if "aggregation" in each}
    unseen = named & {each.name for each in now.filling if each.declared_at is None}
    proven = now.watermark and record.version and record.version <= now.watermark
    return "counted" if proven and not unseen else "waiting"


def _told(store: Store, home: Home, document: Document) -> Rejected:
    fields = document.fields
    name, event = fields.get("entry"), fields.get("event")
    path = store.path(name) if isinstance(name, str) else ""
    version, time = fields.get("create_time"), fields.get("rejected_at")
    return Rejected(
        document.path.rpartition("/")[2],
        path.rpartition("/")[2] if path.startswith(f"{home.entries}/") else None,
        event if isinstance(event, str) else None,
        version if isinstance(version, datetime) else None,
        reasons_of(fields),
        time if isinstance(time, datetime) else None,
    )

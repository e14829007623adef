"""API keys of the collector: made once, stored as a hash, scoped to sources, revocable.

A key is ``lk_ID_SECRET``. The id names its document in `COLLECTION` and may be shown. The secret is 256
random bits. What is stored is one SHA-256 of the whole key. A slow hash with a salt would defend a secret
that people choose, of which lists can be tried. Nobody can try 2^256 secrets, so the fast hash is enough, and
each request computes it. Who reads the collection cannot send with what is there.
"""

import hmac
import re
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256

from shared.errors import Contention, NotFound, StateError, Unanswerable
from shared.store import Create, Document, Merge, Query, Store

COLLECTION = "collector_keys"
PREFIX = "lk_"
_FORM = re.compile(r"lk_([0-9a-f]{12})_[0-9a-f]{64}")
_ID = re.compile(r"[0-9a-f]{12}")
COMMIT_TIMEOUT = 10.0
LONGEST_NAME = 200
HIGHEST_RATE = 100_000


@dataclass(frozen=True, slots=True)
class ApiKey:
    """What is stored of a key."""

    id: str
    name: str
    """Whose it is, in the operator's words."""
    sources: tuple[str, ...]
    """What it may send to."""
    sha256: str
    """Of the whole key, in hexadecimal digits."""
    rate: int | None
    """Events a second that one instance takes with it; None: as the collector is set."""
    created_at: datetime
    revoked_at: datetime | None

    def is_of(self, key: str) -> bool:
        """Whether this is the document of that key. It takes as long for each."""
        return hmac.compare_digest(_digest(key), self.sha256)


def key_id(key: str) -> str | None:
    """The id in a key; None: no key looks like this."""
    found = _FORM.fullmatch(key)
    return found[1] if found else None


def create(
    store: Store, name: str, sources: Iterable[str], known: Iterable[str], *, rate: int | None = None
) -> tuple[ApiKey, str]:
    """Make a key: what is stored of it, and the key itself, which is nowhere after this.

    Args:
        store: where it is kept.
        name: whose it is.
        sources: what it may send to.
        known: the sources that there are.
        rate: events a second that one instance takes with it; None: as the collector is set.

    Raises:
        Unanswerable: the name, a source or the rate cannot be used.
        StoreError: it could not be stored. Without an answer it may be there: its key is known to nobody.
    """
    wanted, there = tuple(dict.fromkeys(sources)), tuple(known)
    if not 1 <= len(name) <= LONGEST_NAME or not name.isprintable():
        raise Unanswerable(f"name {name[:LONGEST_NAME]!r}: expected 1 to {LONGEST_NAME} printable characters")
    if not wanted or not set(wanted) <= set(there):
        raise Unanswerable(
            f"sources {', '.join(wanted) or 'none'}: expected one or more of {', '.join(there)}"
        )
    if rate is not None and not 1 <= rate <= HIGHEST_RATE:
        raise Unanswerable(f"rate {rate}: expected 1 to {HIGHEST_RATE} events a second")
    made = secrets.token_hex(6)
    key = f"{PREFIX}{made}_{secrets.token_hex(32)}"
    fields = {"name": name, "sources": list(wanted), "sha256": _digest(key), "rate": rate}
    store.commit([Create(f"{COLLECTION}/{made}", fields)], timeout=COMMIT_TIMEOUT)
    return find(store, made), key


def find(store: Store, found_id: str) -> ApiKey:
    """The key of that id.

    Raises:
        NotFound: there is none.
        StateError: its document holds what Libra never wrote.
    """
    document = store.get([f"{COLLECTION}/{found_id}"])[0] if _ID.fullmatch(found_id) else None
    if document is None:
        raise NotFound(f"there is no API key {found_id!r:.80}: libra keys list shows those that there are")
    return _read(document)


def listed(store: Store) -> list[ApiKey]:
    """Every key, the oldest first. It costs a document read for each.

    Raises:
        StateError: a document holds what Libra never wrote.
    """
    return sorted(map(_read, store.query(Query(COLLECTION))), key=lambda each: (each.created_at, each.id))


def revoke(store: Store, revoked_id: str) -> ApiKey:
    """Take a key back; one that was taken back before stays so. Its document stays, to be listed.

    Raises:
        NotFound: there is no such key.
        StateError: its document holds what Libra never wrote.
    """
    key = find(store, revoked_id)
    if key.revoked_at is None:
        (document,) = store.get([f"{COLLECTION}/{revoked_id}"])
        if document is None:
            raise Contention(f"{COLLECTION}/{revoked_id} was deleted meanwhile: nothing is left to revoke")
        taken = Merge(document.path, server_times=[("revoked_at",)], if_updated=document.update_time)
        store.commit([taken], timeout=COMMIT_TIMEOUT)
    return find(store, revoked_id)


def _digest(key: str) -> str:
    return sha256(key.encode()).hexdigest()


def _read(document: Document) -> ApiKey:
    fields = document.fields
    sources, rate, revoked = fields.get("sources"), fields.get("rate"), fields.get("revoked_at")
    texts = _texts(fields, "name", "sha256")
    if (
        texts is None
        or not isinstance(sources, list)
        or not all(isinstance(each, str) for each in sources)
        or not (rate is None or (isinstance(rate, int) and rate > 0))
        or not (revoked is None or isinstance(revoked, datetime))
    ):
        raise StateError(
            f"{document.path} is no API key: expected name and sha256 as strings, sources as a list of "
            "strings, rate as a number above 0 or null; delete it, and make a key with libra keys create"
        )
    name, digest = texts
    made = document.path.rpartition("/")[2]
    return ApiKey(made, name, tuple(sources), digest, rate, document.create_time, revoked)


def _texts(fields: Mapping[str, object], *names: str) -> tuple[str, ...] | None:
    found = tuple(each for each in map(fields.get, names) if isinstance(each, str))
    return found if len(found) == len(names) else None

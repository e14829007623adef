"""API keys: made once, stored as a hash, listed without their secret, taken back."""

from datetime import UTC, datetime
from hashlib import sha256

import pytest

from shared import api_keys
from shared.errors import Contention, NotFound, StateError, Unanswerable
from shared.store import Create, Delete, Query
from tests.support.memory_seams import Call, Seams
from tests.support.memory_store import MemoryStore

KNOWN = ("user_events", "signals")


@pytest.fixture
def store() -> MemoryStore:
    """An empty store."""
    return MemoryStore(lambda: datetime.now(UTC))


def test_a_key_is_its_own_and_nobody_elses(store: MemoryStore) -> None:
    """The document says whose it is and what it may; another key of the same id is not it."""
    made, key = api_keys.create(store, "web shop", ["signals"], KNOWN, rate=50)
    assert api_keys.key_id(key) == made.id
    found = api_keys.find(store, made.id)
    assert found == made
    assert (found.name, found.sources, found.rate, found.revoked_at) == ("web shop", ("signals",), 50, None)
    assert found.is_of(key)
    assert not found.is_of(key[:-1] + ("0" if key[-1] != "0" else "1"))


def test_the_key_is_stored_nowhere(store: MemoryStore) -> None:
    """Only its hash is: who reads the collection cannot send."""
    made, key = api_keys.create(store, "web shop", ["signals"], KNOWN)
    secret = key.rpartition("_")[2]
    (document,) = store.query(Query(api_keys.COLLECTION))
    assert secret not in repr(document)
    assert document.fields["sha256"] == sha256(key.encode()).hexdigest()
    assert secret not in repr(made)


def test_keys_are_random(store: MemoryStore) -> None:
    """256 bits each, in a form that a header takes as it is."""
    keys = {api_keys.create(store, "x", ["signals"], KNOWN)[1] for _ in range(50)}
    assert len(keys) == 50
    for key in keys:
        assert len(key.rpartition("_")[2]) == 64
        assert key.isascii()
        assert key.startswith("lk_")


def test_keys_are_listed_the_oldest_first(store: MemoryStore) -> None:
    """The revoked among them."""
    made = [api_keys.create(store, name, ["signals"], KNOWN)[0].id for name in "abc"]
    api_keys.revoke(store, made[1])
    found = api_keys.listed(store)
    assert [each.id for each in found] == made
    assert [each.revoked_at is None for each in found] == [True, False, True]


def test_a_revoked_key_stays_revoked(store: MemoryStore) -> None:
    """A second time changes nothing, and says when the first was."""
    made, _ = api_keys.create(store, "a", ["signals"], KNOWN)
    first = api_keys.revoke(store, made.id)
    assert first.revoked_at is not None
    assert api_keys.revoke(store, made.id) == first


def test_a_key_that_is_deleted_as_it_is_revoked_leaves_nothing(store: MemoryStore) -> None:
    """Half a document would be no key, and hide all the others from who lists them."""
    made, _ = api_keys.create(store, "a", ["signals"], KNOWN)

    def delete(call: Call) -> None:
        if call.method == "commit":
            store.commit([Delete(f"{api_keys.COLLECTION}/{made.id}")], timeout=10)

    with pytest.raises(Contention):
        api_keys.revoke(Seams(store, delete), made.id)
    assert api_keys.listed(store) == []


@pytest.mark.parametrize("found_id", ["", "0123456789ab", "../libra", "0123456789AB", "a/b"])
def test_a_key_that_is_not_there_is_named(store: MemoryStore, found_id: str) -> None:
    """And nothing is read outside of the collection."""
    with pytest.raises(NotFound, match="there is no API key"):
        api_keys.revoke(store, found_id)


@pytest.mark.parametrize(
    ("name", "sources", "rate", "message"),
    [
        ("", ["signals"], None, "1 to 200 printable"),
        ("x" * 201, ["signals"], None, "1 to 200 printable"),
        ("a\nb", ["signals"], None, "1 to 200 printable"),
        ("a", [], None, "user_events, signals"),
        ("a", ["libra"], None, "sources libra: expected one or more of user_events, signals"),
        ("a", ["signals"], 0, "1 to 100000"),
        ("a", ["signals"], 100_001, "1 to 100000"),
    ],
)
def test_what_cannot_be_a_key_is_refused(
    store: MemoryStore, name: str, sources: list[str], rate: int | None, message: str
) -> None:
    """With what was found and what is allowed; nothing is stored."""
    with pytest.raises(Unanswerable, match=message):
        api_keys.create(store, name, sources, KNOWN, rate=rate)
    assert list(store.query(Query(api_keys.COLLECTION))) == []


@pytest.mark.parametrize(
    "key",
    ["", "lk_", "lk_0123456789ab_", "lk_0123456789ab_" + "f" * 63, "lk_0123456789ab_" + "F" * 64,
     "lk_0123456789ab_" + "f" * 65, "lk_../aggregates_" + "f" * 64, "xk_0123456789ab_" + "f" * 64],
)  # fmt: skip
def test_what_looks_like_no_key_has_no_id(key: str) -> None:
    """So nothing is read for it."""
    assert api_keys.key_id(key) is None


@pytest.mark.parametrize(
    "changed",
    [{"sha256": None}, {"sources": "signals"}, {"sources": [1]}, {"rate": "fast"}, {"rate": 0},
     {"revoked_at": "yesterday"}, {"name": 1}],
)  # fmt: skip
def test_a_document_that_is_damaged_lets_nobody_in(store: MemoryStore, changed: dict[str, object]) -> None:
    """Above all a revocation that cannot be read: the message names the document."""
    fields = {"name": "a", "sources": ["signals"], "sha256": "f" * 64, "rate": None} | changed
    store.commit([Create("collector_keys/0123456789ab", fields)], timeout=10)
    with pytest.raises(StateError, match="collector_keys/0123456789ab is no API key"):
        api_keys.find(store, "0123456789ab")

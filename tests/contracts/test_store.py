"""What `shared.store.Store` promises, held against the real emulator and against its in-memory twin alike.

Over 300 lines because it is one contract: reads, commits, time and transactions. Queries stand apart.
"""

import math
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest

from shared.errors import AlreadyExists, Contention, Invalid, SnapshotTooOld
from shared.store import (
    Create,
    Delete,
    GeoPoint,
    Merge,
    Query,
    Reference,
    Store,
    Write,
)
from tests.support.stores import commit, document, fields, outcome

TICK = timedelta(microseconds=1)
NOON = datetime(2025, 9, 4, 12, tzinfo=UTC)


# --- names and reads ----------------------------------------------------------------------------


def test_a_name_and_its_path_are_each_other_s_inverse(store: Store) -> None:
    """`path` undoes `name`, and names begin with the root."""
    assert store.name("libra/a") == f"{store.root}/libra/a"
    assert store.path(store.name("libra/a")) == "libra/a"


def test_documents_come_in_the_order_asked(store: Store) -> None:
    """A read answers in the order asked, None for a document that is not there, one asked twice twice."""
    commit(store, Create("a/1", {"n": 1}), Create("a/2", {"n": 2}))
    found = store.get(["a/2", "a/none", "a/1", "a/2"])
    assert [each and each.fields for each in found] == [{"n": 2}, None, {"n": 1}, {"n": 2}]


def test_a_read_may_leave_the_fields_out(store: Store) -> None:
    """Whether a document is there, and its times, are all that is wanted; also of a snapshot."""
    made = commit(store, Create("a/1", {"n": 1, "m": {"deep": [1]}}))
    for read_time in (None, made):
        bare, none = store.get(["a/1", "a/none"], read_time=read_time, bare=True)
        assert none is None
        assert bare is not None
        assert (bare.fields, bare.create_time, bare.update_time) == ({}, made, made)


def test_documents_as_they_are_come_with_the_databases_time(store: Store) -> None:
    """It is not before any commit that was answered, and not after one that follows."""
    before = commit(store, Create("a/1", {"n": 1}))
    now, (found, none) = store.now(["a/1", "a/none"])
    after = commit(store, Merge("a/1", {("n",): 2}))
    assert before <= now <= after
    assert found is not None
    assert (found.fields, none) == ({"n": 1}, None)


VALUES: list[object] = [
    *(None, True, False, 0, 1, -(2**63), 2**63 - 1, 0.5, -0.0, 1e300, math.inf),
    *("", "é", "😀", "a/b", b"", b"\x00\xff", GeoPoint(1.5, -2.5)),
    *([], [1, "a", {"deep": [True]}], {}, {"a": {"b": {"c": None}}}),
    datetime(1, 1, 1, tzinfo=UTC),
    datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC),
    Reference("projects/p/databases/(default)/documents/a/b"),
]


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_a_value_comes_back_as_it_was_written(store: Store, value: object) -> None:
    """Every type of value survives a write and a read, in value and in type."""
    commit(store, Create("a/1", {"value": value}))
    found = fields(store, "a/1")["value"]
    assert found == value
    assert type(found) is type(value)


def test_times_are_told_in_utc(store: Store) -> None:
    """A time written in another zone is the same instant when read, in UTC."""
    commit(store, Create("a/1", {"at": NOON.astimezone(tz=None)}))
    found = fields(store, "a/1")["at"]
    assert found == NOON
    assert isinstance(found, datetime)
    assert found.utcoffset() == timedelta(0)


# --- commits ------------------------------------------------------------------------------------


def test_creating_what_exists_fails_the_whole_commit(store: Store) -> None:
    """AlreadyExists, and nothing else of the commit is applied: that is the guard."""
    commit(store, Create("seen/x", {}))
    with pytest.raises(AlreadyExists):
        commit(store, Merge("total/a", increments={("count",): 1}), Create("seen/x", {}))
    assert store.get(["total/a"]) == [None]


def test_an_invalid_write_fails_the_whole_commit(store: Store) -> None:
    """Invalid, and nothing else of the commit is applied: a poison entry cannot half-count."""
    with pytest.raises(Invalid):
        commit(store, Create("a/1", {}), Create("a/2", {"big": "x" * 1_048_576}))
    assert store.get(["a/1", "a/2"]) == [None, None]


@pytest.mark.parametrize(
    "write",
    [
        Create("a", {}),
        Create("a/b/c", {}),
        Create("a/", {}),
        Create("a/.", {}),
        Create("a/..", {}),
        Create("a/__x__", {}),
        Create("a/" + "x" * 1_501, {}),
        Create("a/1", {"": 1}),
        Create("a/1", {"__x__": 1}),
        Create("a/1", {"nested": [[1]]}),
        Merge("a/1", {("__x__",): 1}),
        Merge("a/1", increments={("",): 1}),
    ],
    ids=lambda write: repr(write)[:60],
)
def test_what_firestore_refuses_is_invalid(store: Store, write: Write) -> None:
    """Wrong paths, field names and values are permanent errors."""
    with pytest.raises(Invalid):
        commit(store, write)


def test_an_id_may_be_1500_bytes_long(store: Store) -> None:
    """The longest id that the aggregation module makes is taken."""
    commit(store, Create("a/" + "é" * 750, {"n": 1}))
    assert fields(store, "a/" + "é" * 750) == {"n": 1}


def test_a_merge_leaves_the_other_fields(store: Store) -> None:
    """A merge changes what it names, at any depth, and makes the document where there is none."""
    commit(store, Merge("a/1", {("x",): 1, ("m", "p"): 1, ("m", "q"): 2, ("a.b", "`", "\\"): 3}))
    commit(store, Merge("a/1", {("m", "p"): 9}, deletes=[("m", "q"), ("x",), ("none",), ("no", "ne")]))
    assert fields(store, "a/1") == {"m": {"p": 9}, "a.b": {"`": {"\\": 3}}}


def test_what_stands_in_the_way_of_a_nested_field_gives_way(store: Store) -> None:
    """Setting or incrementing below a field that is no map makes it one; deleting below it does nothing."""
    commit(store, Create("a/1", {"x": 1, "y": "text", "z": 5}))
    commit(store, Merge("a/1", {("x", "p"): 1}, {("y", "q"): 2}, deletes=[("z", "r")]))
    assert fields(store, "a/1") == {"x": {"p": 1}, "y": {"q": 2}, "z": 5}


def test_an_empty_merge_makes_an_empty_document(store: Store) -> None:
    """A merge that changes nothing still makes a document that is not there, one that only deletes too."""
    commit(store, Merge("a/1"), Merge("a/2", deletes=[("x", "y")]))
    assert fields(store, "a/1") == fields(store, "a/2") == {}


@pytest.mark.parametrize(
    ("before", "amount", "after"),
    [
        (0, 5, 5),
        (-3, 5, 2),
        (1.5, 2, 3.5),
        ("text", 5, 5),
        (None, 5, 5),
        (True, 5, 5),
        ({"m": 1}, 5, 5),
        ([1], 5, 5),
        (2**63 - 3, 5, 2**63 - 1),
        (-(2**63) + 3, -5, -(2**63)),
        (math.inf, 5, math.inf),
    ],
    ids=repr,
)
def test_an_increment_adds_to_what_is_there(
    store: Store, before: object, amount: int, after: int | float
) -> None:
    """What is no number counts as 0, and integers stop at the ends of 64 bits."""
    commit(store, Create("a/1", {"n": before}))
    commit(store, Merge("a/1", increments={("n",): amount, ("fresh", "n"): amount}))
    assert fields(store, "a/1") == {"n": after, "fresh": {"n": amount}}


def test_a_merge_deletes_before_it_increments(store: Store) -> None:
    """In one merge an old bucket goes and a live one grows, whichever is named first."""
    commit(store, Create("a/1", {"recent": {"old": 1, "live": 2}}))
    commit(store, Merge("a/1", increments={("recent", "live"): 1}, deletes=[("recent", "old")]))
    assert fields(store, "a/1") == {"recent": {"live": 3}}


def test_two_merges_of_a_commit_add_up(store: Store) -> None:
    """Writes to one document take effect one after the other, also behind its creation."""
    plus_one = Merge("a/1", increments={("n",): 1})
    commit(store, Create("a/1", {"n": 1}), plus_one, plus_one)
    assert fields(store, "a/1") == {"n": 3}


def test_a_document_is_created_once_in_a_commit(store: Store) -> None:
    """Two creations of one document in a commit are invalid, not silently one."""
    with pytest.raises(Invalid):
        commit(store, Create("a/1", {}), Create("a/1", {}))


def test_deleting_removes_and_forgives(store: Store) -> None:
    """A deleted document is gone; deleting one that is not there is fine."""
    commit(store, Create("a/1", {}))
    commit(store, Delete("a/1"), Delete("a/none"))
    assert store.get(["a/1", "a/none"]) == [None, None]


def test_a_server_time_is_the_commit_s(store: Store) -> None:
    """A server time is the time of the request: whole milliseconds, within a second of the commit."""
    at = commit(store, Merge("a/1", server_times=[("updated_at",), ("m", "at")]))
    found = fields(store, "a/1")
    assert isinstance(found["updated_at"], datetime)
    assert abs(found["updated_at"] - at) < timedelta(seconds=1)
    assert found["updated_at"].microsecond % 1000 == 0
    assert found["m"] == {"at": found["updated_at"]}


# --- time ---------------------------------------------------------------------------------------


def test_commit_times_strictly_increase(store: Store) -> None:
    """Each commit has a time of its own, later than the one before, in microseconds."""
    times = [commit(store, Create(f"a/{n}", {})) for n in range(20)]
    assert all(earlier < later for earlier, later in pairwise(times))


def test_a_document_tells_when_it_was_made_and_changed(store: Store) -> None:
    """create_time is the commit that made it, update_time the last that changed something."""
    made = commit(store, Create("a/1", {"n": 1}))
    changed = commit(store, Merge("a/1", {("n",): 2}))
    commit(store, Merge("a/1", {("n",): 2}))
    found = document(store, "a/1")
    assert (found.create_time, found.update_time) == (made, changed)


def test_an_id_created_anew_has_a_new_create_time(store: Store) -> None:
    """A document deleted and created again is another one, in two commits or in one."""
    commit(store, Create("a/1", {"n": 1}), Create("a/2", {}))
    commit(store, Delete("a/2"))
    anew = commit(store, Delete("a/1"), Create("a/1", {"n": 1}), Create("a/2", {}))
    assert document(store, "a/1").create_time == document(store, "a/2").create_time == anew


def test_a_snapshot_holds_what_was_committed_at_or_before_it(store: Store) -> None:
    """Reads, queries and counts at a commit's time see that commit; a microsecond before, they don't."""
    history: list[tuple[datetime, dict[str, object] | None]] = [
        (commit(store, Create("a/1", {"n": 1})), {"n": 1}),
        (commit(store, Merge("a/1", {("n",): 2})), {"n": 2}),
        (commit(store, Delete("a/1")), None),
        (commit(store, Create("a/1", {"n": 3})), {"n": 3}),
    ]
    before: dict[str, object] | None = None
    for at, after in history:
        for instant, expected in ((at - TICK, before), (at, after)):
            (found,) = store.get(["a/1"], read_time=instant)
            assert (found and found.fields) == expected
            listed = [each.fields for each in store.query(Query("a"), read_time=instant)]
            assert listed == ([expected] if expected else [])
            assert store.count(Query("a"), read_time=instant) == len(listed)
        before = after


@pytest.mark.parametrize("distance", [timedelta(hours=1), -timedelta(days=8)], ids=["future", "past"])
def test_a_snapshot_that_is_not_kept_is_told(store: Store, distance: timedelta) -> None:
    """A read time in the future or long gone is an error, never an empty answer."""
    at = commit(store, Create("a/1", {})) + distance
    with pytest.raises(SnapshotTooOld):
        store.get(["a/1"], read_time=at)
    with pytest.raises(SnapshotTooOld):
        list(store.query(Query("a"), read_time=at))
    with pytest.raises(SnapshotTooOld):
        store.count(Query("a"), read_time=at)


# --- transactions -------------------------------------------------------------------------------


def test_a_transaction_reads_and_commits(store: Store) -> None:
    """begin reads as get does, and the commit applies."""
    commit(store, Create("a/1", {"n": 1}))
    transaction, (found, missing) = store.begin(["a/1", "a/none"])
    assert found is not None
    assert (found.fields, missing) == ({"n": 1}, None)
    commit(store, Merge("a/1", {("n",): 2}), transaction=transaction)
    assert fields(store, "a/1") == {"n": 2}


def test_a_transaction_ends_with_its_commit(store: Store) -> None:
    """A second commit of one transaction is Contention: whoever asks begins anew."""
    transaction, _ = store.begin(["a/1"])
    commit(store, Merge("a/1", {("n",): 1}), transaction=transaction)
    with pytest.raises(Contention):
        commit(store, Merge("a/1", {("n",): 2}), transaction=transaction)
    assert fields(store, "a/1") == {"n": 1}


def test_a_transaction_ends_with_a_failed_commit_too(store: Store) -> None:
    """After AlreadyExists the transaction is closed."""
    commit(store, Create("a/1", {}))
    transaction, _ = store.begin(["a/1"])
    with pytest.raises(AlreadyExists):
        commit(store, Create("a/1", {}), transaction=transaction)
    with pytest.raises(Contention):
        commit(store, Merge("a/1", {("n",): 1}), transaction=transaction)


def test_a_transaction_nobody_began_is_contention(store: Store) -> None:
    """An unknown transaction, as after the server's restart, is treated as one that has expired."""
    transaction, _ = store.begin(["a/1"])
    store.rollback(transaction)
    unknown = transaction[:1] + b"\xff\xff\xff" + transaction[4:]
    with pytest.raises(Contention):
        commit(store, Merge("a/1", {("n",): 1}), transaction=unknown)


def test_a_rolled_back_transaction_holds_nothing(store: Store) -> None:
    """After a rollback others write, and the transaction itself cannot; rolling back nonsense is silent."""
    transaction, _ = store.begin(["a/1"])
    store.rollback(transaction)
    store.rollback(b"never begun")
    commit(store, Merge("a/1", {("n",): 1}))
    with pytest.raises(Contention):
        commit(store, Merge("a/1", {("n",): 2}), transaction=transaction)


@pytest.mark.parametrize("exists", [True, False], ids=["a document", "a missing document"])
def test_what_a_transaction_read_does_not_move_beneath_it(store: Store, exists: bool) -> None:
    """Between a transaction and a writer from outside at least one is aborted, and only what landed shows."""
    if exists:
        commit(store, Create("a/1", {"n": 0}))
    transaction, _ = store.begin(["a/1"])
    outside = outcome(lambda: commit(store, Merge("a/1", increments={("n",): 1})))
    inside = outcome(lambda: commit(store, Create("b/1", {}), transaction=transaction))
    assert Contention in (outside, inside)
    assert {outside, inside} <= {Contention, None}
    (total, other) = store.get(["a/1", "b/1"])
    assert (total.fields["n"] if total and total.fields else 0) == (outside is None)
    assert (other is not None) == (inside is None)


def test_of_two_transactions_on_one_document_one_lands(store: Store) -> None:
    """Read, add one, write: of two that overlap one is aborted, and the sum is right."""
    commit(store, Create("a/1", {"n": 10}))
    transactions = [store.begin(["a/1"])[0] for _ in range(2)]
    results = [
        outcome(lambda each=each: commit(store, Merge("a/1", {("n",): 11}), transaction=each))  # type: ignore[misc]  # binds the loop's variable
        for each in transactions
    ]
    assert sorted(results, key=str) == [Contention, None]
    assert fields(store, "a/1") == {"n": 11}


def test_two_transactions_that_only_read_the_same_both_land(store: Store) -> None:
    """Readers of the watermark don't keep each other from committing."""
    commit(store, Create("state/w", {"timestamp": NOON}))
    transactions = [store.begin(["state/w"])[0] for _ in range(2)]
    for n, each in enumerate(transactions):
        commit(store, Create(f"a/{n}", {}), transaction=each)
    assert store.count(Query("a")) == 2


# --- preconditions ------------------------------------------------------------------------------


def test_a_merge_may_depend_on_the_document_as_it_was_read(store: Store) -> None:
    """With the update time that was read it lands once; then, and after a deletion, it is Contention."""
    commit(store, Create("state/w", {"n": 1}))
    read = document(store, "state/w").update_time
    conditional = Merge("state/w", {("n",): 2}, if_updated=read)
    commit(store, conditional)
    with pytest.raises(Contention):
        commit(store, Merge("total/a", increments={("count",): 1}), conditional)
    commit(store, Delete("state/w"))
    with pytest.raises(Contention):
        commit(store, conditional, Merge("total/a", increments={("count",): 1}))
    assert store.get(["state/w", "total/a"]) == [None, None]


def test_a_deletion_may_depend_on_the_document_as_it_was_read(store: Store) -> None:
    """A document that has changed since it was read is not deleted, nor is one that is gone."""
    commit(store, Create("a/1", {"n": 1}))
    read = document(store, "a/1").update_time
    commit(store, Merge("a/1", {("n",): 2}))
    with pytest.raises(Contention):
        commit(store, Create("b/1", {}), Delete("a/1", if_updated=read))
    now = document(store, "a/1").update_time
    commit(store, Delete("a/1", if_updated=now))
    with pytest.raises(Contention):
        commit(store, Create("b/1", {}), Delete("a/1", if_updated=now))
    assert store.get(["a/1", "b/1"]) == [None, None]


def test_a_write_that_changes_nothing_leaves_what_others_read_valid(store: Store) -> None:
    """The update time is that of the last change: who depends on it is not disturbed."""
    commit(store, Create("state/w", {"n": 1}))
    read = document(store, "state/w").update_time
    commit(store, Merge("state/w", {("n",): 1}))
    commit(store, Merge("state/w", {("n",): 2}, if_updated=read))
    assert fields(store, "state/w") == {"n": 2}

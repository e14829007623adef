"""What `Store` promises of queries, counts and scans: the emulator and the in-memory double alike."""

import math
from datetime import UTC, datetime, timedelta

import pytest

from shared.store import (
    DOCUMENT_ID,
    Create,
    Delete,
    Filter,
    GeoPoint,
    Query,
    Store,
)
from tests.support.stores import commit

TICK = timedelta(microseconds=1)
NOON = datetime(2025, 9, 4, 12, tzinfo=UTC)


# --- queries ------------------------------------------------------------------------------------

ASCENDING: list[object] = [
    *(None, False, True, -math.inf, -5, 1, 1.5, 2**53, 2**53 + 1, math.inf),
    *(datetime(1970, 1, 1, tzinfo=UTC), NOON, NOON + TICK),
    *("", "A", "a", "a ", "b", "é", "\uffff", "😀"),
    *(b"", b"a", GeoPoint(1, 1), GeoPoint(1, 2), GeoPoint(2, 0)),
    *([], [1], [1, 2], ["a"]),
    *({}, {"a": 1}, {"a": 1, "b": 0}, {"b": 0}),
]


@pytest.fixture
def shelf(store: Store) -> Store:
    """A collection with a value of every type, ids against the order of the values, and one without."""
    writes = [Create(f"q/{99 - n}", {"v": value, "n": n}) for n, value in enumerate(ASCENDING)]
    commit(store, *writes, Create("q/00", {"other": 1}), Create("elsewhere/1", {"v": 1}))
    return store


def found(store: Store, query: Query) -> list[object]:
    return [each.fields.get("v") for each in store.query(query)]


def test_an_order_runs_through_the_types(shelf: Store) -> None:
    """Values are ordered by type and then by value; a document without the field is left out."""
    assert found(shelf, Query("q", order_by=("v",))) == ASCENDING
    assert found(shelf, Query("q", order_by=("-v",))) == ASCENDING[::-1]


def test_without_an_order_the_name_orders(shelf: Store) -> None:
    """A plain query lists every document of its collection, and no other's, by name."""
    paths = [each.path for each in shelf.query(Query("q"))]
    assert paths == sorted(paths)
    assert len(paths) == len(ASCENDING) + 1


@pytest.mark.parametrize("value", [1, 1.5, "a", True, NOON, b"a", [1], {"a": 1}], ids=repr)
def test_a_filter_compares_within_a_type(shelf: Store, value: object) -> None:
    """Each comparison finds the values of its own type that satisfy it, ordered."""
    kinds = (int, float) if type(value) in (int, float) else (type(value),)
    same = [each for each in ASCENDING if type(each) in kinds]
    at = same.index(value)
    for operator, expected in (("<", same[:at]), ("<=", same[: at + 1]), (">", same[at + 1 :])):
        assert found(shelf, Query("q", where=(Filter("v", operator, value),))) == expected  # type: ignore[arg-type]  # the three are operators
    assert found(shelf, Query("q", where=(Filter("v", "==", value),))) == [value]
    assert found(shelf, Query("q", where=(Filter("v", ">=", value),), order_by=("-v",))) == same[at:][::-1]


def test_filters_all_have_to_pass(shelf: Store) -> None:
    """Several filters are a conjunction, a range is two."""
    between = (Filter("n", ">", 3), Filter("n", "<=", 6))
    assert found(shelf, Query("q", where=between)) == ASCENDING[4:7]
    assert found(shelf, Query("q", where=(*between, Filter("v", "==", 1)))) == [1]


@pytest.mark.parametrize("at", range(0, len(ASCENDING), 4))
def test_a_cursor_begins_behind_its_value(shelf: Store, at: int) -> None:
    """start_after skips the value itself, across types, in either direction: the loose index scan."""
    up = Query("q", order_by=("v",), start_after=(ASCENDING[at],), limit=2)
    down = Query("q", order_by=("-v",), start_after=(ASCENDING[at],))
    assert found(shelf, up) == ASCENDING[at + 1 : at + 3]
    assert found(shelf, down) == ASCENDING[:at][::-1]


def test_a_cursor_may_hold_the_name_as_well(store: Store) -> None:
    """A value and a name continue inside a run of equal values."""
    commit(store, *(Create(f"q/{n}", {"v": n // 3}) for n in range(9)))
    query = Query("q", order_by=("v", DOCUMENT_ID), start_after=(1, "q/4"))
    assert [each.path for each in store.query(query)] == ["q/5", "q/6", "q/7", "q/8"]


def test_names_can_be_compared(store: Store) -> None:
    """A range of names is a range of documents: how the scan is split."""
    commit(store, *(Create(f"q/{n}", {}) for n in range(9)))
    where = (Filter(DOCUMENT_ID, ">", "q/2"), Filter(DOCUMENT_ID, "<=", "q/5"))
    assert [each.path for each in store.query(Query("q", where=where))] == ["q/3", "q/4", "q/5"]


def test_equal_values_are_ordered_by_name_in_the_last_direction(store: Store) -> None:
    """The name breaks ties, descending where the last order descends."""
    commit(store, *(Create(f"q/{n}", {"v": 1}) for n in range(3)))
    assert [each.path[-1] for each in store.query(Query("q", order_by=("-v",)))] == ["2", "1", "0"]


def test_two_orders_nest(store: Store) -> None:
    """The second order counts where the first is equal; a document lacking either is left out."""
    pairs = [(1, 2), (0, 1), (1, 1), (0, 2)]
    commit(store, *(Create(f"q/{n}", {"a": a, "b": b}) for n, (a, b) in enumerate(pairs)))
    commit(store, Create("q/9", {"a": 1}))
    query = Query("q", order_by=("a", "-b"))
    assert [(each.fields["a"], each.fields["b"]) for each in store.query(query)] == [
        (0, 2),
        (0, 1),
        (1, 2),
        (1, 1),
    ]


def test_a_projection_gives_the_fields_asked_for(store: Store) -> None:
    """Dotted paths reach into maps, what is missing is left out, () is the name alone."""
    commit(store, Create("q/1", {"device": {"model": "V0", "serial": "x"}, "n": 1}))

    def projected(*select: str) -> object:
        (only,) = store.query(Query("q", select=select))
        assert only.path == "q/1"
        return only.fields

    assert projected("n", "device.model") == {"n": 1, "device": {"model": "V0"}}
    assert projected("device.none", "none") == {}
    assert projected() == {}


def test_fields_inside_maps_can_be_filtered_and_ordered(store: Store) -> None:
    """A dotted path serves in a filter and in an order."""
    commit(store, *(Create(f"q/{n}", {"device": {"n": n}}) for n in (2, 0, 1)))
    query = Query("q", where=(Filter("device.n", ">", 0),), order_by=("device.n",))
    assert [each.path for each in store.query(query)] == ["q/1", "q/2"]


def test_a_count_is_the_length_of_the_query(shelf: Store) -> None:
    """count honours filters, orders and limits as query does."""
    for query in (
        Query("q"),
        Query("q", order_by=("v",)),
        Query("q", where=(Filter("n", ">=", 30),)),
        Query("q", limit=7),
        Query("none"),
    ):
        assert shelf.count(query) == len(list(shelf.query(query)))


def test_a_scan_streams_ids_and_fields_of_a_range(store: Store) -> None:
    """Behind `after`, up to and with `until`, by id, no more than the limit, as of the snapshot."""
    writes = [Create(f"libra/e{n}", {"n": n, "device": {"model": "V0", "x": 1}, "y": 2}) for n in range(6)]
    at = commit(store, *writes, Create("libra/f", {}))
    commit(store, Delete("libra/e2"))

    def scanned(after: str | None, until: str | None, limit: int) -> list[tuple[str, object]]:
        fields = ("n", "device.model")
        return list(store.scan("libra", fields, after=after, until=until, limit=limit, read_time=at))

    whole = [(f"e{n}", {"n": n, "device": {"model": "V0"}}) for n in range(6)]
    assert scanned(None, None, 100) == [*whole, ("f", {})]
    assert scanned("e1", "e4", 100) == whole[2:5]
    assert scanned("e1", None, 2) == whole[2:4]


def test_cuts_are_ascending_ids(store: Store) -> None:
    """However many there are, cuts ascend and divide the collection without a rest."""
    at = commit(store, *(Create(f"libra/{n:02}", {}) for n in range(20)))
    cuts = store.cuts("libra", 4, read_time=at)
    assert cuts == sorted(set(cuts))
    assert len(cuts) < 4

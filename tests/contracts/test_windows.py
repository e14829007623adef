"""What the windows need of Firestore's orders, cursors and snapshots: the emulator and its double alike."""

from datetime import UTC, datetime, timedelta

import pytest

from shared.aggregation import Aggregation, Cell, Count, FieldKey, Home, OneOf, Source, Sum, TimeKey
from shared.settings import UTC as UTC_ZONE
from shared.store import Create, Delete, Merge, Store
from shared.windows import Total, distinct, entries, explain, proof, rejected, runs, series, total, totals
from tests.support.stores import commit

ODD = ["", "%2F", "..", "A", "Mac/Cheese", "__x__", "a|b", "x" * 1_400, "é", "🧂"]
HOME = Home(entries="libra")
SOURCE = Source(
    "libra",
    (
        Aggregation("foods", FieldKey("ingredient"), measures=(Count(), Sum("amount", "grams"))),
        Aggregation("floors", FieldKey("floor", kind=int)),
        Aggregation("novelty", FieldKey("is_new", kind=bool)),
        Aggregation("dates", TimeKey("timestamp", "date", UTC_ZONE)),
        Aggregation("hours", TimeKey("timestamp", "hour", UTC_ZONE)),
        Aggregation("mixed", (FieldKey("location"), TimeKey("timestamp", "date", UTC_ZONE))),
        Aggregation("staples", OneOf(FieldKey("ingredient"), ("A",), "other")),
    ),
)
NOON = datetime(2025, 9, 4, 12, tzinfo=UTC)


def store_totals(store: Store) -> None:
    """Totals of each kind of key, with equal counts; some without a sum, and one that is damaged."""
    writes = []
    for aggregation, keys in (
        ("foods", ODD),
        ("floors", [-5, 0, 7, 10, 100]),
        ("novelty", [False, True]),
        ("dates", ["2025-01-31", "2025-02-01", "2025-02-03"]),
    ):
        for number, key in enumerate(keys):
            cell = Cell(aggregation, key)  # type: ignore[arg-type]  # each of them is a key
            fields = {"key": key, "count": number // 3, **({"grams": number} if number % 2 else {})}
            writes.append(Create(HOME.total(cell), fields))
    commit(store, *writes, Create("foods/damaged", {"count": "many"}))


def listed(store: Store, aggregation: str, order: str, limit: int) -> list[Total]:
    """Every page."""
    found: list[Total] = []
    after = None
    while True:
        now = proof(store, SOURCE, HOME)
        page = totals(store, SOURCE, HOME, aggregation, proven=now, order=order, after=after, limit=limit)
        found += page.items
        after = page.after
        if after is None:
            return found


@pytest.mark.parametrize("limit", [1, 3, 20])
def test_pages_hold_every_total_once_in_their_order(store: Store, limit: int) -> None:
    """By id, by value and by column, in both directions, with equal values at the ends of pages."""
    store_totals(store)
    by_id = [each.id for each in listed(store, "foods", "key", limit)]
    assert by_id == sorted({*by_id}, key=str.encode)
    assert len(by_id) == len(ODD) + 1
    up, down = (listed(store, "foods", order, limit) for order in ("count", "-count"))
    assert [each.id for each in up] == [each.id for each in down][::-1]
    assert [each.values["count"] for each in up] == [0, 0, 0, 1, 1, 1, 2, 2, 2, 3]
    assert [each.values["grams"] for each in listed(store, "foods", "-grams", limit)] == [9, 7, 5, 3, 1]
    assert [each.key for each in listed(store, "floors", "key", limit)] == [-5, 0, 7, 10, 100]
    assert [each.key for each in listed(store, "floors", "-key", limit)] == [100, 10, 7, 0, -5]
    assert [each.key for each in listed(store, "novelty", "-key", limit)] == [True, False]
    assert [each.key for each in listed(store, "dates", "-key", limit)] == [
        "2025-02-03",
        "2025-02-01",
        "2025-01-31",
    ]


def test_a_page_begins_behind_a_total_that_is_deleted(store: Store) -> None:
    """The cursor holds the place, not the document."""
    store_totals(store)
    for order in ("key", "-count"):
        now = proof(store, SOURCE, HOME)
        first = totals(store, SOURCE, HOME, "foods", proven=now, order=order, limit=4)
        whole = [each.id for each in listed(store, "foods", order, 20)]
        last = first.items[-1]
        commit(store, Delete(f"foods/{last.id}"))
        now = proof(store, SOURCE, HOME)
        rest = totals(store, SOURCE, HOME, "foods", proven=now, order=order, after=first.after, limit=20)
        assert [each.id for each in rest.items] == whole[4:]


@pytest.mark.parametrize("key", ODD)
def test_a_total_is_read_as_of_the_instant_of_its_proof(store: Store, key: str) -> None:
    """Whatever its key: what is written later does not show, and an unknown key is zero."""
    now = proof(store, SOURCE, HOME)
    store_totals(store)
    assert total(store, SOURCE, HOME, "foods", key, proven=now).values == {"count": 0, "grams": 0}
    now = proof(store, SOURCE, HOME)
    assert total(store, SOURCE, HOME, "foods", key, proven=now).values["count"] == ODD.index(key) // 3


def test_a_series_reads_a_range_of_ids(store: Store) -> None:
    """No total outside of it."""
    store_totals(store)
    now = proof(store, SOURCE, HOME)
    found = series(store, SOURCE, HOME, "dates", start="2025-01-31", end="2025-02-02", proven=now)
    assert [each.id for each in found] == ["2025-01-31", "2025-02-01", "2025-02-02"]
    assert found[2].updated_at is None


@pytest.fixture
def filled(store: Store) -> Store:
    """Entries of three days, three each, at noon and in the evening; one without a time."""
    writes = [
        Create(
            f"libra/{8 - number}",
            {
                "ingredient": ODD[number],
                "location": f"l{number % 2}",
                "amount": number,
                "timestamp": NOON + timedelta(days=number // 3, hours=number % 3 * 4),
                "floor": 1,
                "is_new": number % 2 == 0,
            },
        )
        for number in range(9)
    ]
    commit(store, *writes, Create("libra/9", {"location": "l0", "ingredient": "A", "floor": 1.0}))
    return store


@pytest.mark.parametrize("limit", [1, 2, 50])
@pytest.mark.parametrize(
    ("aggregation", "key", "expected"),
    [
        ("foods", "Mac/Cheese", ["4"]),
        ("foods", "", ["8"]),
        ("foods", "x" * 1_400, ["1"]),
        ("floors", "1", list("012345678")),
        ("novelty", "true", list("02468")),
        ("dates", "2025-09-05", ["5", "4", "3"]),
        ("hours", "20", ["6", "3", "0"]),
        ("hours", "3", []),
        ("mixed", "l1|2025-09-05", ["5", "3"]),
        ("staples", "other", list("01234678")),
    ],
)
def test_an_explanation_finds_the_entries(
    filled: Store, aggregation: str, key: str, expected: list[str], limit: int
) -> None:
    """By a value, by a range of times, by times that recur, by both, and by looking at all of them."""
    found: list[str] = []
    after = None
    while True:
        page = explain(filled, SOURCE, HOME, aggregation, key, after=after, limit=limit)
        found += [each.id for each in page.entries]
        after = page.after
        if after is None:
            break
    assert found == expected
    assert page.unexplained
    assert page.unexplained["count"] == -len(expected)


def test_entries_and_values_are_found(filled: Store) -> None:
    """By filters and ranges, in both directions; a field's values one after another."""

    def ids(**options: object) -> list[str]:
        found: list[str] = []
        after = None
        while True:
            page = entries(filled, SOURCE, HOME, after=after, limit=2, **options)  # type: ignore[arg-type]  # as named
            found += [each.id for each in page.items]
            after = page.after
            if after is None:
                return found

    assert ids() == list("876543210")
    assert ids(newest_first=True) == list("012345678")
    assert ids(equals={"location": "l0"}) == ["0", "2", "4", "6", "8", "9"]
    assert ids(equals={"location": "l0"}, start=NOON + timedelta(hours=1)) == ["6", "4", "2", "0"]
    assert ids(end=NOON + timedelta(hours=1)) == ["8"]
    assert distinct(filled, HOME, "location").items == ("l0", "l1")
    assert distinct(filled, HOME, "ingredient").items == tuple(sorted(ODD[:9], key=str.encode))


def test_runs_and_the_rejected_come_newest_first(store: Store) -> None:
    """With equal times at the ends of pages."""
    commit(
        store, *(Create(f"aggregates_runs/r{n}", {"queued_at": NOON, "state": "completed"}) for n in range(5))
    )
    commit(
        store, *(Merge(f"aggregates_rejected/{n}", {}, server_times=(("rejected_at",),)) for n in range(5))
    )
    shown: list[str] = []
    after = None
    for _ in range(3):
        page = runs(store, HOME, after=after, limit=2)
        shown += [each.run_id for each in page.items]
        after = page.after
    assert (shown, after) == (["r4", "r3", "r2", "r1", "r0"], None)
    first = rejected(store, HOME, limit=3)
    second = rejected(store, HOME, after=first.after, limit=3)
    assert [each.id for each in (*first.items, *second.items)] == ["4", "3", "2", "1", "0"]

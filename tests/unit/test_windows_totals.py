"""A page of totals: every total once, in the order that was asked for, for as many reads."""

import pytest

from shared.errors import Unanswerable
from shared.store import Delete
from shared.windows import proof, total, totals
from tests.support.reading import ODD, SOURCE, Counting, listed, odd_world, page


@pytest.mark.parametrize("limit", [1, 2, 3, 10, 11])
@pytest.mark.parametrize("order", ["key", "count", "-count"])
def test_the_pages_hold_every_total_once(order: str, limit: int) -> None:
    """Odd keys, equal counts, any size of page; the order is the one that was asked for."""
    found = listed(odd_world(), "foods", order, limit)
    assert sorted(str(each.key) for each in found) == sorted(ODD)
    counts = [each.values["count"] for each in found]
    if order != "key":
        assert counts == sorted(counts, reverse=order == "-count")
    else:
        assert [each.id for each in found] == sorted((each.id for each in found), key=str.encode)


def test_keys_that_are_times_or_numbers_are_sorted_by_their_values() -> None:
    """Hours as a clock has them, integers below zero, booleans; in both directions."""
    one = odd_world()
    assert [each.key for each in listed(one, "hours")] == list(range(7, 17))
    assert [each.key for each in listed(one, "floors")] == list(range(-4, 6))
    assert [each.key for each in listed(one, "novelty", limit=1)] == [False, True]
    dates = [f"2025-09-{day:02}" for day in range(1, 11)]
    assert [each.key for each in listed(one, "dates", "-key")] == dates[::-1]
    assert [each.key for each in listed(one, "hours", "-key")] == list(range(16, 6, -1))
    assert [each.key for each in listed(one, "novelty", "-key", 1)] == [True, False]


def test_a_page_costs_a_read_for_each_total_and_one_more() -> None:
    """Whatever the order; the last page costs what it shows; an empty list costs one."""
    one = odd_world()
    now = proof(one.store, SOURCE, one.home)
    counting = Counting(one.memory)

    def reads(aggregation: str, limit: int, order: str = "key") -> int:
        counting.reads = 0
        totals(counting, SOURCE, one.home, aggregation, proven=now, order=order, limit=limit)
        return counting.reads

    assert [reads("foods", 4), reads("foods", 9), reads("foods", 10), reads("foods", 100)] == [5, 10, 10, 10]
    assert [reads("foods", 4, "-count"), reads("hours", 4, "-key"), reads("spread", 4, "grams_1")] == [
        5,
        5,
        5,
    ]
    one.memory.commit([Delete(f"floors/{floor}") for floor in range(-4, 6)], timeout=10)
    now = proof(one.store, SOURCE, one.home)
    assert reads("floors", 4) == 1
    counting.reads = 0
    total(counting, SOURCE, one.home, "foods", "Rice", proven=now)
    proof(counting, SOURCE, one.home)
    assert counting.reads == 2


def test_what_is_written_between_two_pages_moves_no_other_total() -> None:
    """In an order by key: new totals, deleted ones and moving counts leave the rest once each."""
    one = odd_world()
    first = page(one, "foods", limit=4)
    seen = [each.id for each in first.items]
    one.serve(9, "more", ingredient="Rice")
    one.serve(1, "new", ingredient="!first")
    one.memory.commit([Delete(f"foods/{seen[-1]}"), Delete(f"foods/{seen[0]}")], timeout=10)
    second = page(one, "foods", after=first.after, limit=100)
    assert second.after is None
    there = {each.id for each in listed(one, "foods")} - {"!first"}
    assert seen + [each.id for each in second.items] == [*seen, *sorted(there - set(seen), key=str.encode)]


def test_a_total_that_does_not_move_comes_once_in_an_order_by_a_column() -> None:
    """Others move past it, among them equals of the cursor's."""
    one = odd_world()
    first = page(one, "foods", "-count", limit=4)
    moved = first.items[3]
    one.serve(7, "more", ingredient=str(moved.key))
    one.serve(5, "others", ingredient="Rice")
    rest = page(one, "foods", "-count", after=first.after, limit=100).items
    seen = [each.key for each in (*first.items, *rest)]
    assert all(seen.count(key) == 1 for key in ODD if key not in {moved.key, "Rice"})


def test_an_order_by_a_column_leaves_out_what_holds_no_number() -> None:
    """A histogram's empty cell, and damage that Libra never writes; an order by key has them all."""
    one = odd_world()
    one.merge("spread/Rice|false", grams_0="none")
    filled = [each.values["grams_0"] for each in listed(one, "spread", "-grams_0")]
    assert filled == [3, 2, 2, 1, 1]
    assert len(listed(one, "spread")) == len(ODD)
    one.merge("spread/Rice|false", grams_0=7.5)
    assert [each.values["grams_0"] for each in listed(one, "spread", "-grams_0", 1)] == [8, 3, 2, 2, 1, 1]


@pytest.mark.parametrize(
    ("order", "said"),
    [
        ("size", r"order='size': expected one of key, count, with - in front"),
        ("-key", r"order=-key: Firestore lists ids in the ascending order only"),
        ("--count", r"order='--count'"),
        ("most", r"order='most'"),
        ("", r"order=''"),
    ],
)
def test_an_order_that_there_is_not_is_refused(order: str, said: str) -> None:
    """With those that there are."""
    with pytest.raises(Unanswerable, match=said):
        page(odd_world(), "foods", order)


def test_a_cursor_of_another_list_is_refused() -> None:
    """Of another order, of another aggregation, forged, cut off, or no cursor at all."""
    one = odd_world()
    by_count = page(one, "foods", "-count").after
    by_key = page(one, "foods").after
    assert by_count
    assert by_key
    for order, after in (("key", by_count), ("count", by_count), ("-count", by_key)):
        with pytest.raises(Unanswerable, match="cursor of another list, or of another order"):
            page(one, "foods", order, after)
    with pytest.raises(Unanswerable, match="cursor of another list"):
        page(one, "staples", "key", by_key)
    for after in ("", "x", by_key[:-3], "é", "bnVsbA", f"{by_key}!", "8J-mhA"):
        with pytest.raises(Unanswerable, match="after="):
            page(one, "foods", "key", after)


@pytest.mark.parametrize("limit", [0, -1, 1_001])
def test_a_limit_that_no_page_has_is_refused(limit: int) -> None:
    """Saying what is allowed."""
    with pytest.raises(Unanswerable, match=f"limit={limit}: expected a whole number from 1 to 1,000"):
        page(odd_world(), "foods", limit=limit)

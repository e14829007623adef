"""One total of any key, and how far it is proven."""

from datetime import timedelta

import pytest

from shared.aggregation import Aggregation, FieldKey, Source
from shared.errors import NotFound, Unanswerable
from shared.store import Create, Merge
from shared.windows import freshness, parse_key, proof, total, totals
from tests.support.reading import ODD, SOURCE, listed, odd_world, one, page
from tests.support.recomputing import BEGIN, Died, dying_at


@pytest.mark.parametrize("ingredient", ODD)
def test_a_total_of_any_key_is_found(ingredient: str) -> None:
    """By the raw value, also within a composite key."""
    one_world = odd_world()
    number = ODD.index(ingredient)
    found = one(one_world, "foods", ingredient)
    assert (found.key, found.values) == (ingredient, {"count": number // 2 + 1})
    new = str(number % 2 == 0).lower()
    composite = one(one_world, "spread", {"ingredient": ingredient, "is_new": new})
    assert composite.key == (ingredient, number % 2 == 0)
    assert composite.values["milligrams"] == (number // 2 + 1) * number * 2_000
    if "%sha256" not in composite.id:
        assert one(one_world, "spread", composite.id) == composite


def test_an_unknown_key_is_zero() -> None:
    """With everything that a total has."""
    found = one(odd_world(), "spread", "nothing|true")
    assert (found.key, found.id) == (("nothing", True), "nothing|true")
    assert (
        found.values
        == found.pending
        == found.archived
        == {
            "count": 0,
            "milligrams": 0,
            "grams_0": 0,
            "grams_1": 0,
        }
    )
    assert (found.extremes, found.updated_at) == ({}, None)


@pytest.mark.parametrize(
    ("aggregation", "key", "said"),
    [
        ("hours", "24", "hours: hour: '24' is not an hour from 0 to 23"),
        ("dates", "2025-02-30", "dates: date: day is out of range"),
        ("novelty", "1", "novelty: is_new: '1' is neither true nor false"),
        ("floors", "07", "floors: floor: '07' is not an integer"),
        ("staples", "Peas", "staples: ingredient: 'Peas' is neither one of the values nor 'other'"),
        ("foods", "\udcff", "foods: the key .* is not valid Unicode"),
        ("foods", {"location": "a"}, r"foods: found \['location'\]; expected a text for its ingredient"),
        ("spread", "a", "expected a text for each of ingredient and is_new, or the id of a total's document"),
        ("spread", {"ingredient": "a"}, r"spread: found \['ingredient'\]; expected a text for each of"),
        ("spread", "a%|true", "'a%|true' is not the id of a key"),
    ],
)
def test_what_is_no_key_is_refused(aggregation: str, key: str | dict[str, str], said: str) -> None:
    """Naming the aggregation, the part, what was found and what is allowed."""
    with pytest.raises(Unanswerable, match=said):
        parse_key(SOURCE.aggregation(aggregation), key)


def test_an_unknown_aggregation_lists_those_that_there_are() -> None:
    """For a page and for a total."""
    with pytest.raises(NotFound, match="'food': expected one of foods, floors, novelty"):
        page(odd_world(), "food")
    with pytest.raises(NotFound, match="'food': expected one of foods"):
        one(odd_world(), "food", "Rice")


def test_what_came_since_the_watermark_is_pending() -> None:
    """By column; a total that a run has proven has nothing pending."""
    a = odd_world()
    assert (one(a, "foods", "Rice").exact_through, one(a, "foods", "Rice").pending) == (None, {"count": 5})
    a.later(minutes=30)
    a.run("scan")
    a.serve(2, "since", ingredient="Rice", is_new=False, amount=1)
    found = one(a, "spread", "Rice|false")
    assert found.exact_through == a.state()["proven"] == BEGIN + timedelta(minutes=20)
    assert found.pending == {"count": 2, "milligrams": 2_000, "grams_0": 2, "grams_1": 0}
    assert (found.values["count"], found.extremes, found.settled) == (7, {"most": 18}, True)
    assert found.updated_at == a.clock.now
    assert one(a, "spread", "..|false").pending["count"] == 0


def test_damaged_totals_are_shown_as_well_as_they_can_be() -> None:
    """A document that is no total, and numbers that are none."""
    a = odd_world()
    a.memory.commit([Create("spread/junk", {"count": "many", "archived": 5, "recent": "none"})], timeout=10)
    a.merge("spread/Rice|false", key="wrong", count=True, updated_at="never", recent={"t": 1, "junk": 2})
    junk, rice = (next(t for t in listed(a, "spread") if t.id == each) for each in ("junk", "Rice|false"))
    assert (junk.key, junk.values["count"], junk.archived["count"]) == (None, 0, 0)
    assert (rice.key, rice.values["count"], rice.updated_at) == (("Rice", False), 0, None)


def test_a_page_is_as_of_the_instant_of_its_proof() -> None:
    """A run that completes between the two readings changes nothing in the answer."""
    a = odd_world()
    a.write("lost", ingredient="Rice")
    a.later(minutes=30)
    now = proof(a.store, SOURCE, a.home)
    a.run("scan")
    found = total(a.store, SOURCE, a.home, "foods", "Rice", proven=now)
    assert (found.values["count"], found.exact_through, found.pending["count"]) == (5, None, 5)
    assert totals(a.store, SOURCE, a.home, "foods", proven=now, order="-count").items[0].values["count"] == 5


def test_behind_a_seal_nothing_is_settled() -> None:
    """A run died after its seal: it may have corrected a total, or not, until a run completes."""
    a = odd_world()
    a.later(minutes=30)
    a.run("scan")
    a.serve(1, "before", ingredient="Rice")
    assert one(a, "foods", "Rice").settled
    a.later(minutes=30)
    with pytest.raises(Died):
        a.recompute(step=dying_at(a, "seal committed")).run("scan")
    a.store = a.memory
    rice = one(a, "foods", "Rice")
    assert (rice.exact_through, rice.pending["count"]) == (BEGIN + timedelta(minutes=20), 1)
    assert (rice.settled, one(a, "foods", "nothing").settled) == (False, False)
    found = freshness(a.store, SOURCE, a.home).proof
    assert found.lease
    assert (found.watermark, found.sealed) == (BEGIN + timedelta(minutes=20), BEGIN + timedelta(minutes=50))
    a.later(minutes=3)
    assert freshness(a.store, SOURCE, a.home).proof.lease is None
    a.run("scan")
    assert one(a, "foods", "Rice").settled


def test_freshness_tells_the_lag_and_what_is_pending() -> None:
    """By Firestore's clock; new aggregations are filling until a run half an hour later."""
    a = odd_world()
    empty = freshness(a.store, SOURCE, a.home)
    assert (empty.lag, empty.proof.exact_through("foods"), len(empty.proof.filling)) == (None, None, 7)
    a.later(minutes=30)
    a.run("scan")
    a.serve(3, "since", ingredient="Rice")
    found = freshness(a.store, SOURCE, a.home)
    assert found.lag == found.proof.at - found.proof.watermark >= timedelta(minutes=10)  # type: ignore[operator]  # there is one
    assert (found.pending["foods"], len(found.proof.filling)) == (3, 7)
    assert found.proof.exact_through("foods") == found.proof.watermark
    a.later(minutes=60)
    a.run("scan")
    assert proof(a.store, SOURCE, a.home).filling == ()


def test_an_aggregation_that_no_run_has_seen_is_exact_through_nothing() -> None:
    """Also where another declaration had its name: the others keep their watermark."""
    a = odd_world()
    a.later(minutes=30)
    a.run("scan")
    changed = Source("libra", (Aggregation("foods", FieldKey("location")), *SOURCE.aggregations[1:]))
    now = proof(a.store, changed, a.home)
    assert (now.exact_through("foods"), now.exact_through("floors")) == (None, now.watermark)
    assert total(a.store, changed, a.home, "foods", "Rice", proven=now).exact_through is None


def test_where_no_run_has_noted_what_is_proven_the_records_say_it() -> None:
    """A state document of an older version of Libra."""
    a = odd_world()
    a.later(minutes=30)
    a.run("scan")
    a.memory.commit([Merge(a.home.state, deletes=[("proven",)])], timeout=10)
    assert proof(a.store, SOURCE, a.home).watermark == BEGIN + timedelta(minutes=20)

"""What a stored total says, against what was counted."""

from datetime import UTC, datetime, timedelta

import pytest

from shared.aggregation import Aggregation, Count, FieldKey, Histogram, Part, Sum, TimeKey
from shared.drift import Correction, compare, with_archived
from shared.errors import BucketsStraddle
from shared.settings import UTC as UTC_ZONE
from shared.watermark import Bucket

W = datetime(2025, 9, 4, 19, 10, tzinfo=UTC)
TEN = timedelta(minutes=10)
CATEGORIES = Aggregation("aggregates_categories", FieldKey("ingredient"))
GRAMS = Aggregation("aggregates_grams", FieldKey("ingredient"), measures=(Count(), Sum("amount", "grams")))
HOURS = Aggregation("aggregates_time_hours", TimeKey("timestamp", "hour", UTC_ZONE))
LAST, CLOSED, OPEN = (Bucket(W + shift * TEN, TEN) for shift in (-1, 0, 1))


def total(count: object, **recent: object) -> dict[str, object]:
    """A stored total of `Basil`."""
    return {"key": "Basil", "count": count, "recent": recent}


def compared(stored: dict[str, object], exact: int, aggregation: Aggregation = CATEGORIES) -> Correction:
    """The comparison of `Basil` at W."""
    path = f"{aggregation.name}/Basil"
    return compare(aggregation, path, stored, {"count": exact}, key="Basil", watermark=W, now=W + 2 * TEN)


def test_open_buckets_are_not_yet_to_be_proven() -> None:
    """What was added for entries behind the watermark is taken off before the comparison."""
    assert not compared(total(7, **{OPEN.label(): 3}), exact=4)


@pytest.mark.parametrize(("stored", "exact", "drift"), [(4, 6, 2), (6, 4, -2)])
def test_drift_is_what_to_add(stored: int, exact: int, drift: int) -> None:
    """A lost entry is added, one that was deleted is taken off."""
    assert compared(total(stored + 3, **{OPEN.label(): 3}), exact).drift == {"count": drift}


def test_a_bucket_that_ends_at_the_watermark_is_closed() -> None:
    """Closed buckets are counted in `exact` and removed; open ones stay."""
    found = compared(total(9, **{LAST.label(): 2, CLOSED.label(): 3, OPEN.label(): 4}), exact=5)
    assert (found.closed, found.drift, bool(found)) == ((LAST.label(), CLOSED.label()), {}, True)


def test_a_total_that_is_not_stored_is_added_with_its_key() -> None:
    """A key whose every event was lost gets its document."""
    found = compared({}, exact=3)
    assert (found.drift, found.key) == ({"count": 3}, "Basil")


def test_a_total_written_by_something_else_has_no_recent_and_no_key() -> None:
    """Its count is taken as it is, and its key is put there."""
    found = compared({"count": 5}, exact=7)
    assert (found.drift, found.key, found.rebuild, found.notes) == ({"count": 2}, "Basil", False, ())


def test_a_key_that_no_entry_has_goes_to_zero() -> None:
    """The document stays, and shows what is true."""
    found = compare(
        CATEGORIES, "aggregates_categories/Basil", total(2), {}, key=None, watermark=W, now=W + TEN
    )
    assert (found.drift, found.key) == ({"count": -2}, None)


@pytest.mark.parametrize("stored", [{}, {"title": "About these totals"}])
def test_a_stray_document_without_numbers_is_named_and_left(stored: dict[str, object]) -> None:
    """An id that is no key of the aggregation is noted; nothing is written."""
    found = compare(HOURS, "aggregates_time_hours/about", stored, {}, key=None, watermark=W, now=W)
    assert not found
    assert found.notes == ("aggregates_time_hours/about: its id is no key of aggregates_time_hours",)


def test_a_stray_count_goes_to_zero() -> None:
    """Whoever adds up the collection must get what is true."""
    found = compare(HOURS, "aggregates_time_hours/99", {"count": 5}, {}, key=None, watermark=W, now=W)
    assert found.drift == {"count": -5}


@pytest.mark.parametrize(("count", "notes"), [(0, 0), (1, 1), (None, 1)])
def test_a_stray_that_is_at_zero_is_not_noted_again(count: object, notes: int) -> None:
    """A total under the key of an earlier declaration: it was noted when it still counted something."""
    stored = {"count": count, "key": {"location": "A", "hour": 7}, "recent": {}}
    found = compare(HOURS, "aggregates_time_hours/Served", stored, {}, key=None, watermark=W, now=W)
    named = [each for each in found.notes if "its id is no key" in each]
    assert len(named) == notes


def test_a_hashed_id_is_known_by_its_stored_key() -> None:
    """It is no stray, although its id cannot be read."""
    path = "aggregates_categories/%sha256-" + 64 * "0"
    assert not compare(CATEGORIES, path, {"key": "x" * 2000}, {}, key=None, watermark=W, now=W).notes


@pytest.mark.parametrize("junk", ["7", None, True, [1], {"n": 1}])
def test_what_is_no_number_counts_as_zero_because_an_increment_starts_there(junk: object) -> None:
    """The same increment puts it right, whether a trigger came first or not; the report names it."""
    found = compared(total(junk, **{OPEN.label(): 3}), exact=4)
    assert (found.drift, found.rebuild, len(found.notes)) == ({"count": 7}, False, 1)


@pytest.mark.parametrize(("stored", "applied"), [(7.0, 4), (7.6, 5), (float("nan"), -3), (float("inf"), -3)])
def test_a_float_must_be_set_because_an_increment_leaves_it_one(stored: float, applied: int) -> None:
    """The total is rebuilt from what was counted and what is still open."""
    found = compared(total(stored, **{OPEN.label(): 3}), exact=4)
    assert found.rebuild
    assert found.applied == {"count": applied}
    assert found.rebuilt() == {"count": 7, "recent": {OPEN.label(): 3}}


def test_recent_that_is_no_map_is_rebuilt() -> None:
    """Nothing in it can be kept."""
    found = compared({"key": "Basil", "count": 4, "recent": "none"}, exact=4)
    assert found.rebuilt() == {"count": 4, "recent": {}}
    assert found.notes == (
        "aggregates_categories/Basil: recent holds a string, which Libra never writes there",
    )


def test_a_float_in_an_open_bucket_is_dropped() -> None:
    """What was in it is drift for the next run."""
    later = Bucket(OPEN.end + TEN, TEN)
    found = compared(total(7, **{OPEN.label(): 3.0, later.label(): 2}), exact=4)
    assert found.rebuilt() == {"count": 6, "recent": {later.label(): 2}}


@pytest.mark.parametrize(
    "label", ["yesterday", "t20251304T191000Z_600", Bucket(W + timedelta(days=2), TEN).label()]
)
def test_what_is_no_bucket_is_removed(label: str) -> None:
    """A label that cannot be, or that ends where no commit can be yet, counts nothing and is named."""
    found = compared(total(4, **{label: 3}), exact=4)
    assert (found.closed, found.drift, len(found.notes)) == ((label,), {}, 1)


def test_a_bucket_a_day_ahead_is_the_last_that_may_be() -> None:
    """Clocks may be off by that much before a bucket is taken for damage."""
    last = Bucket(W + 2 * TEN + timedelta(days=1), TEN)
    assert compared(total(7, **{last.label(): 3}), exact=4) == compared(
        total(7, **{OPEN.label(): 3}), exact=4
    )


def test_damage_is_named_by_field_and_type() -> None:
    """An operator looks at the field, not through the document."""
    found = compared(total(4, junk=1.5, **{OPEN.label(): "3"}), exact=4)
    assert found.notes == (
        "aggregates_categories/Basil: recent.junk holds a number, which Libra never writes there",
        f"aggregates_categories/Basil: recent.{OPEN.label()} holds a string, which Libra never writes there",
    )


def test_a_key_of_another_total_is_put_right() -> None:
    """It is a string like the right one, and wrong."""
    assert compared(total(4) | {"key": "Rice"}, exact=4).key == "Basil"


def test_a_total_that_is_to_be_rebuilt_is_to_be_written() -> None:
    """Also where its number is right, its key too, and no bucket is closed."""
    found = compared(total(4.0), exact=4)
    assert (found.drift, found.closed, found.key) == ({}, (), None)
    assert found


def test_every_measure_drifts_by_itself() -> None:
    """A sum is proven like a count, and buckets are filed by measure."""
    stored = {"key": "Basil", "count": 5, "grams": 70} | {
        "recent": {OPEN.label(): 2, OPEN.label("grams"): 20, OPEN.label("retired"): 1}
    }
    found = compare(
        GRAMS,
        "aggregates_grams/Basil",
        stored,
        {"count": 3, "grams": 60},
        key="Basil",
        watermark=W,
        now=W,
    )
    assert found.drift == {"grams": 10}


def test_every_column_of_a_histogram_drifts_by_itself() -> None:
    """An entry that was lost is missing in one cell; labels name the column."""
    cells = Aggregation(
        "cells", FieldKey("ingredient"), measures=(Count(), Histogram("amount", "grams", (10, 100)))
    )
    stored = {"key": "Basil", "count": 5, "grams_0": 2, "grams_2": 1} | {
        "recent": {OPEN.label(): 1, OPEN.label("grams_2"): 1, LAST.label("grams_0"): 1}
    }
    exact = {"count": 4, "grams_0": 2, "grams_1": 2}
    found = compare(cells, "cells/Basil", stored, exact, key="Basil", watermark=W, now=W)
    assert found.drift == {"grams_1": 2}
    assert found.closed == (LAST.label("grams_0"),)


def test_a_part_of_a_key_that_has_another_type_is_put_right() -> None:
    """Python takes 1 and True for equal, in a map too."""
    pair = Aggregation("pair", (FieldKey("name"), FieldKey("is_new", kind=bool)))
    right: dict[str, Part] = {"name": "a", "is_new": True}
    for stored, key in (({"name": "a", "is_new": 1}, right), ({"name": "a"}, right), (right, None)):
        found = compare(
            pair, "pair/a|true", {"key": stored, "count": 1}, {"count": 1}, key=right, watermark=W, now=W
        )
        assert found.key == key


def test_a_bucket_cut_in_two_stops_the_run_and_says_when_to_come_back() -> None:
    """After a change of the bucket length, part of an old bucket is closed and part is open."""
    cut = Bucket(W + timedelta(minutes=5), timedelta(minutes=15))
    with pytest.raises(BucketsStraddle, match=r"t20250904T191500Z_900.*run again .* 2025-09-04T19:15"):
        compared(total(4, **{cut.label(): 3}), exact=4)


def test_the_size_of_a_write_grows_with_what_it_removes() -> None:
    """A commit is cut by bytes: months of buckets do not fit with their neighbours."""
    few = compared(total(1, **{LAST.label(): 1}), exact=1)
    labels = {Bucket(W - number * TEN, TEN).label(): 1 for number in range(1000)}
    assert compared(total(1, **labels), exact=1).size > few.size + 30_000


# --- what was archived ----------------------------------------------------------------------------

NAME = "aggregates_categories/Basil"


@pytest.mark.parametrize(
    ("archived", "later", "exact"),
    [
        (None, {}, {"count": 4}),
        ({"count": 5}, {}, {"count": 9}),
        ({"count": 5}, {"count": 2}, {"count": 7}),
        ({"count": 5, "grams": 70}, {"count": 1, "grams": 10}, {"count": 8, "grams": 60}),
        ({}, {}, {"count": 4}),
    ],
)
def test_what_was_archived_up_to_the_watermark_is_true_of_a_total(
    archived: object, later: dict[str, int], exact: dict[str, int]
) -> None:
    """What later pages added is not: those entries still lived at the watermark, and were counted there."""
    stored = {} if archived is None else {"archived": archived}
    assert with_archived(NAME, stored, {"count": 4}, later) == (exact, ())


@pytest.mark.parametrize(
    ("archived", "count", "note"),
    [
        ("5", 4, "archived holds a string"),
        ({"count": "5"}, 4, "archived.count holds a string"),
        ({"count": None}, 4, "archived.count holds null"),
        ({"count": True}, 4, "archived.count holds a boolean"),
        ({"count": 5.4}, 9, "archived.count holds a number"),
        ({"count": float("nan")}, 4, "archived.count holds a number"),
    ],
)
def test_what_libra_never_writes_into_archived_is_noted(archived: object, count: int, note: str) -> None:
    """It stops no run: it is taken for what an increment would take it for."""
    exact, notes = with_archived(NAME, {"archived": archived}, {"count": 4}, {})
    assert (exact, notes) == ({"count": count}, (f"{NAME}: {note}, which Libra never writes there",))


def test_a_total_without_living_entries_is_what_was_archived() -> None:
    """It keeps its count."""
    stored = total(5) | {"archived": {"count": 5}, "archived_page": 1}
    exact, _ = with_archived(NAME, stored, {}, {})
    assert not compared(stored, exact["count"])

"""What an entry adds in which column, and what is worked out from the totals when they are read."""

import math
import statistics
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.aggregation import (
    Aggregation,
    Cell,
    Count,
    FieldKey,
    Histogram,
    Measure,
    Source,
    Sum,
    SumOfSquares,
    Unusable,
    contribution,
    fold,
)
from shared.aggregation.derived import Within, average, counted, percentile, variance
from shared.errors import DeclarationError

GRAMS = Histogram("amount", "grams", (10, 100.5))
SQUARES = SumOfSquares("amount", "squares", units=10)


@pytest.mark.parametrize(
    ("amount", "column"),
    [(-1e300, 0), (9.99, 0), (10, 1), (10.0, 1), (100, 1), (100.5, 2), (10**400, 2), (-(10**400), 0)],
)
def test_a_histogram_counts_an_entry_in_one_cell(amount: float, column: int) -> None:
    """A bound belongs to the cell that it begins."""
    assert GRAMS.of({"amount": amount}) == {GRAMS.columns[column]: 1}
    assert GRAMS.columns == ("grams_0", "grams_1", "grams_2")


def test_a_square_is_of_the_rounded_units() -> None:
    """So that with the sum of the same units it gives the variance."""
    assert [SQUARES.of({"amount": amount})["squares"] for amount in (-1.26, 0, 0.25)] == [169, 0, 4]


@pytest.mark.parametrize(
    ("measure", "amount", "reason"),
    [
        (GRAMS, True, "expected a number, found a boolean"),
        (GRAMS, math.nan, "expected a finite number"),
        (GRAMS, math.inf, "expected a finite number"),
        (SQUARES, "1", "expected a number, found a string"),
        (SQUARES, 100_000.1, "expected at most 1000000 units an entry, found more"),
        (SQUARES, 10**400, "expected at most 1000000 units an entry, found more"),
        (Sum("amount", "grams"), 10**400, "expected at most 1000000000000 grams an entry, found more"),
    ],
)
def test_what_can_not_be_added_is_rejected(measure: Measure, amount: object, reason: str) -> None:
    """With its reason, however large the number; and the entry still counts."""
    with pytest.raises(Unusable, match=reason):
        measure.of({"amount": amount})
    source = Source("libra", (Aggregation("a", FieldKey("f"), measures=(Count(), measure)),))
    assert contribution(source, {"f": "x", "amount": amount}).deltas == {Cell("a", "x"): {"count": 1}}


def test_nine_million_entries_at_the_limit_fit_a_total() -> None:
    """Of a sum and of a sum of squares; Firestore's integers end at 2^63."""
    most = [Sum("f", "s").of({"f": 10**12})["s"], SumOfSquares("f", "s").of({"f": -(10**6)})["s"]]
    assert most == [10**12, 10**12]
    assert 9_000_000 * 10**12 < 2**63


@pytest.mark.parametrize(
    ("declare", "why"),
    [
        (lambda: Sum("f", "grams", units=0), "measure grams: units=0"),
        (lambda: Sum("f", "grams", limit=10**12 + 1), "a limit from 1 to 1000000000000"),
        (lambda: SumOfSquares("f", "squares", limit=10**6 + 1), "a limit from 1 to 1000000,"),
        (lambda: SumOfSquares("f", "squares", limit=0), "limit=0: expected"),
        (lambda: Histogram("f", "grams", ()), r"histogram grams: bounds \(\): expected 1 to 31 ascending"),
        (lambda: Histogram("f", "grams", tuple(range(32))), "expected 1 to 31 ascending"),
        (lambda: Histogram("f", "grams", (2, 1)), "expected 1 to 31 ascending"),
        (lambda: Histogram("f", "grams", (1, 1.0)), "expected 1 to 31 ascending"),
        (lambda: Histogram("f", "grams", (0, math.nan)), "none beyond"),
        (lambda: Histogram("f", "grams", (math.inf,)), "none beyond"),
        (lambda: Histogram("f", "grams", (False, True)), "ascending numbers"),
    ],
)
def test_a_measure_that_could_not_add_up_is_refused(declare: Any, why: str) -> None:
    """Where it is declared, with what was found and what is allowed."""
    with pytest.raises(DeclarationError, match=why):
        declare()


def test_a_histogram_of_31_bounds_is_the_largest() -> None:
    """A total holds a number for each of its cells in each open bucket."""
    assert len(Histogram("f", "grams", tuple(range(31))).columns) == 32


@pytest.mark.parametrize(
    "measures",
    [
        (Count(), Sum("x", "grams_1"), Histogram("x", "grams", (1,))),
        (Count(), Histogram("x", "not a name", (1,))),
        (Count(), Sum("x", "__grams__")),
        (Sum("x", "count"), Count()),
        (Sum("x", "count"),),
        (Count(name="number"),),
    ],
)
def test_columns_are_fields_of_their_own(measures: tuple[Measure, ...]) -> None:
    """No two measures write one field, and Firestore takes the name of each."""
    with pytest.raises(DeclarationError, match="`count` comes first, names differ"):
        Aggregation("a", FieldKey("f"), measures=measures)


amounts = st.lists(st.integers(-1000, 1000) | st.floats(-1000, 1000), max_size=30)
MEASURED = Source(
    "libra",
    (
        Aggregation(
            "a",
            FieldKey("f"),
            measures=(
                Count(),
                Sum("x", "milli", units=1000),
                SumOfSquares("x", "squares", units=1000),
                Histogram("x", "cells", (-10, 0, 2.5, 100)),
            ),
        ),
    ),
)


@given(amounts, st.floats(0, 1))
def test_what_is_derived_is_what_the_values_say(amounts: list[float], share: float) -> None:
    """Mean and variance of the rounded values; the cell of a percentile, of the least and of the greatest."""
    entries: list[dict[str, object]] = [{"f": "k", "x": amount} for amount in amounts]
    total = fold(MEASURED, [*entries, {"f": "k", "x": "no number"}])[Cell("a", "k")]
    histogram = MEASURED.aggregations[0].measures[3]
    assert isinstance(histogram, Histogram)
    number, summed, squares = counted(histogram, total), total.get("milli", 0), total.get("squares", 0)
    assert number == len(amounts) == total["count"] - 1
    if not amounts:
        assert average(summed, number) is variance(summed, squares, number) is None
        assert percentile(histogram, total, share) is None
        return
    whole = [round(amount * 1000) for amount in map(_exact, amounts)]
    assert average(summed, number) == pytest.approx(statistics.fmean(whole))
    assert variance(summed, squares, number) == pytest.approx(statistics.pvariance(whole))
    ordered = sorted(amounts)
    for wanted, at in ((share, max(0, math.ceil(_exact(share) * number) - 1)), (0, 0), (1, number - 1)):
        cell = percentile(histogram, total, wanted)
        assert cell is not None
        assert cell.at_least is None or cell.at_least <= ordered[at]
        assert cell.below is None or ordered[at] < cell.below


def _exact(number: float) -> Any:
    return Fraction(number)


def test_a_percentile_names_its_cell() -> None:
    """Half of four values is the second; shares outside 0 to 1 are refused."""
    total = {"grams_0": 1, "grams_1": 1, "grams_2": 2}
    assert [percentile(GRAMS, total, share) for share in (0, 0.5, 0.51)] == [
        Within(None, 10),
        Within(10, 100.5),
        Within(100.5, None),
    ]
    with pytest.raises(ValueError, match=r"share=1\.1: expected a number from 0 to 1"):
        percentile(GRAMS, total, 1.1)

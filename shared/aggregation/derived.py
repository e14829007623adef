"""What is worked out when totals are read: averages, variances, percentiles. Pure.

A total holds whole numbers only. What follows from them is never stored, because it does not add up.

``number`` is how many entries a sum was added up from. That is ``count`` only if every entry that counts has
a usable number in the field: an entry without one counts, and adds nothing. The cells of a `Histogram` of the
same field, or a ``where`` that admits numbers only, give the number in any case.
"""

from collections.abc import Mapping
from fractions import Fraction
from typing import NamedTuple

from shared.aggregation.measures import Histogram


class Within(NamedTuple):
    """What is known of a value: ``at_least <= value < below``; None: no bound on that side."""

    at_least: int | float | None
    below: int | float | None


def average(total: int, number: int) -> float | None:
    """The mean of ``number`` values that add up to ``total``; None if there are none."""
    return total / number if number > 0 else None


def variance(total: int, squares: int, number: int) -> float | None:
    """The population variance, in units squared, from a `Sum` and a `SumOfSquares` of the same units."""
    if number <= 0:
        return None
    return float(Fraction(squares, number) - Fraction(total, number) ** 2)


def counted(histogram: Histogram, total: Mapping[str, int]) -> int:
    """How many entries a stored histogram counts."""
    return sum(total.get(column, 0) for column in histogram.columns)


def percentile(histogram: Histogram, total: Mapping[str, int], share: float) -> Within | None:
    """The cell of the value that ``share`` (0 to 1) of all values do not exceed; None if there is no value.

    ``share`` 0 gives the cell of the least value, 1 that of the greatest.

    Raises:
        ValueError: ``share`` is not between 0 and 1.
    """
    if not 0 <= share <= 1:
        raise ValueError(f"share={share!r}: expected a number from 0 to 1")
    wanted = max(Fraction(1), Fraction(share) * counted(histogram, total))
    below = (None, *histogram.bounds)
    above = (*histogram.bounds, None)
    reached = 0
    for column, cell in zip(histogram.columns, zip(below, above, strict=True), strict=True):
        reached += total.get(column, 0)
        if reached >= wanted:
            return Within(*cell)
    return None

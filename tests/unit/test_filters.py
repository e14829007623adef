"""Which entries a filter admits. A filter never raises."""

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from shared.aggregation import And, Equals, Exists, In, Not, Or, Range, Where
from shared.errors import DeclarationError

NOON = datetime(2025, 9, 4, 12, tzinfo=UTC)
NAN, INFINITY = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("where", "admitted", "not_admitted"),
    [
        (Equals("f", "1"), ["1"], [1, True, 1.0, None, ["1"], "", ...]),
        (Equals("f", 1), [1], ["1", True, 1.0, 2, ...]),
        (Equals("f", True), [True], [1, "true", False, None, ...]),
        (In("f", ("a", 1, False)), ["a", 1, False], ["b", True, 0, 1.0, [], {}, None, ...]),
        (Exists("f"), [None, "", 0, [], {}, NAN], [...]),
        (
            Range("f", at_least=1, below=3),
            [1, 1.0, 2, 2.999],
            [0.999, 3, True, "2", NAN, INFINITY, None, ...],
        ),
        (Range("f", at_least=1.5), [1.5, 2, INFINITY, 10**400], [1, -INFINITY, NAN, False, NOON, ...]),
        (Range("f", below=0), [-1, -0.5, -INFINITY], [0, -0.0, NAN, "", ...]),
        (Range("f", "b", "c"), ["b", "bz", "b\U0010ffff"], ["a", "c", "B", "", 1, None, ...]),
        (
            Range("f", NOON, NOON + timedelta(hours=1)),
            [
                NOON,
                NOON + timedelta(minutes=59),
                datetime(2025, 9, 4, 14, tzinfo=timezone(timedelta(hours=2))),
            ],
            [NOON - timedelta(microseconds=1), NOON + timedelta(hours=1), NOON.replace(tzinfo=None), 1, ...],
        ),
        (Not(Equals("f", "a")), ["b", None, 1, ...], ["a"]),
        (And(Range("f", at_least=1), Not(In("f", (2, 3)))), [1, 4, 2.0], [2, 3, 0, ...]),
        (Or(Equals("f", "a"), Not(Exists("f"))), ["a", ...], ["b", None]),
    ],
)
def test_a_filter_admits_this_and_not_that(
    where: Where, admitted: list[Any], not_admitted: list[Any]
) -> None:
    """Types are exact, ranges are half-open, and a field that is not there (`...`) is none of them."""
    for expected, values in ((True, admitted), (False, not_admitted)):
        for value in values:
            fields = {} if value is ... else {"f": value}
            assert where.admits(fields) is expected, value


def test_a_filter_reads_inside_maps() -> None:
    """By dotted path; something else in the way is as good as missing."""
    where = Equals("device.model", "LibraV0")
    assert [where.admits(fields) for fields in ({"device": {"model": "LibraV0"}}, {"device": "LibraV0"})] == [
        True,
        False,
    ]


def test_a_filter_knows_the_fields_that_it_reads() -> None:
    """The scan fetches them, and nothing else."""
    where = Or(And(Equals("a", 1), Not(Exists("b.c"))), Range("d", below=5), In("a", ("x",)))
    assert where.fields == {"a", "b.c", "d"}


def test_and_or_are_told_apart() -> None:
    """Equal declarations are equal, others are not."""
    one, other = Equals("a", 1), Exists("b")
    joined: list[Where] = [And(one, other), And(other, one), Or(one, other)]
    assert len(set(joined) | {And(one, other)}) == 3
    assert repr(Or(one, other)) == f"Or(conditions=({one!r}, {other!r}))"


@pytest.mark.parametrize(
    ("declare", "why"),
    [
        (lambda: Equals("f", 1.5), "a filter on f: the value 1.5: expected a string of at most 65536 bytes"),  # type: ignore[arg-type]
        (lambda: Equals("f", None), "the value None: expected"),  # type: ignore[arg-type]
        (lambda: Equals("f", "x" * 65_537), r"the value 'x{49}: expected"),
        (lambda: Equals("f", "\ud800"), "expected a string of at most"),
        (lambda: In("f", ()), "a filter on f: In has no value: expected one or more"),
        (lambda: In("f", (1, NOON)), "a filter on f: the value datetime"),  # type: ignore[arg-type]
        (lambda: Range("f"), "a filter on f: Range from None to None: expected one bound or two ascending"),
        (lambda: Range("f", 3, 3), "Range from 3 to 3"),
        (lambda: Range("f", 3, 1), "Range from 3 to 1"),
        (lambda: Range("f", 1, "2"), "Range from 1 to '2'"),
        (lambda: Range("f", at_least=NAN), "Range from nan"),
        (lambda: Range("f", below=INFINITY), "to inf"),
        (lambda: Range("f", below=True), "to True"),
        (lambda: Range("f", below=NOON.replace(tzinfo=None)), "or aware datetimes"),
        (lambda: Range("f", below="x" * 65_537), "strings of at most 65536 bytes"),
        (lambda: And(Exists("f")), r"a filter: And of \(Exists\(field='f'\),\): expected two conditions"),
        (Or, r"a filter: Or of \(\): expected two conditions"),
    ],
)
def test_a_filter_that_could_admit_nothing_or_not_be_compared_is_refused(declare: Any, why: str) -> None:
    """Where it is declared, with what was found and what is allowed."""
    with pytest.raises(DeclarationError, match=why):
        declare()

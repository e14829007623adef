"""The digest of a declaration: the same for the same declaration, for ever, and another for any other."""

import subprocess
import sys
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal
from fractions import Fraction
from zoneinfo import ZoneInfo

import pytest

from shared.aggregation import Aggregation, Count, Equals, FieldKey, Source, Sum, TimeKey
from shared.aggregation.digest import canonical, digest
from shared.catalog import libra
from shared.errors import DeclarationError
from shared.settings import UTC, Settings

ZURICH = ZoneInfo("Europe/Zurich")
DAYS = Aggregation(
    "days",
    (FieldKey("location"), TimeKey("timestamp", "date", ZURICH)),
    where=Equals("dataAction", "Served"),
    measures=(Count(), Sum("amount", "milligrams", units=1000)),
)


def test_the_digests_of_what_is_deployed_are_these() -> None:
    """If one changes by accident, a run takes the aggregation for changed, and its drift for expected."""
    assert {each.name: digest(each) for each in libra(Settings()).aggregations} == {
        "aggregates_categories": "a4c863528ddf32be099601b38a330715",
        "aggregates_actions": "a6b65548fc0a6cf689892970a72bce1a",
        "aggregates_time_hours": "bfd4b687f406ae5c4e9d83db1fc73121",
        "aggregates_time_dates": "167a691794a34b1be8ab89338469aa44",
    }
    assert digest(DAYS) == "ca065674024fae231c61fc83bb4f383f"
    assert canonical(DAYS) == (
        '["Aggregation",{"key":["list",["FieldKey",{"field":"location"}],["TimeKey",{"field":"timestamp",'
        '"grain":"date","zone":["ZoneInfo","Europe/Zurich"]}]],"measures":["list",["Count",{}],["Sum",'
        '{"field":"amount","name":"milligrams","units":1000}]],"name":"days",'
        '"where":["Equals",{"field":"dataAction","value":"Served"}]}]'
    )


@pytest.mark.parametrize(
    "other",
    [
        replace(DAYS, name="nights"),
        replace(DAYS, key=DAYS.parts[::-1]),
        replace(DAYS, key=DAYS.parts[0]),
        replace(DAYS, key=(FieldKey("location", allow_empty=False), DAYS.parts[1])),
        replace(DAYS, key=(DAYS.parts[0], TimeKey("timestamp", "hour", ZURICH))),
        replace(DAYS, key=(DAYS.parts[0], TimeKey("timestamp", "date", UTC))),
        replace(DAYS, where=None),
        replace(DAYS, where=Equals("dataAction", "Refilled")),
        replace(DAYS, measures=(Count(),)),
        replace(DAYS, measures=(Count(), Sum("amount", "milligrams"))),
        replace(DAYS, measures=(Count(), Sum("amount", "milligrams", units=1000, limit=10))),
    ],
)
def test_another_declaration_has_another_digest(other: Aggregation) -> None:
    """Whatever of it changes: name, key and its order, zone, filter, measures and their parameters."""
    assert digest(other) != digest(DAYS)


def test_a_digest_does_not_depend_on_the_process() -> None:
    """Another process hashes strings otherwise; a declaration built anew is the same."""
    code = "from tests.unit.test_digest import DAYS, digest; print(digest(DAYS))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == digest(replace(DAYS, where=Equals("dataAction", "Served")))


@dataclass(frozen=True)
class Later(FieldKey):
    """A key part of a later version: one more field, of every kind that a declaration may hold."""

    more: object = None
    some: tuple[str, ...] = field(default_factory=tuple)


def with_more(value: object) -> Aggregation:
    """A declaration whose key says more."""
    return Aggregation("a", Later("location", more=value))


def test_a_field_that_a_later_version_adds_changes_no_digest_until_it_is_used() -> None:
    """Upgrading Libra is no change of what is declared; a value that is no default is."""
    assert (
        canonical(Aggregation("a", Later("location")))
        == '["Aggregation",{"key":["Later",{"field":"location"}],"name":"a"}]'
    )
    assert digest(with_more(1)) != digest(Aggregation("a", Later("location")))
    assert digest(Aggregation("a", Later("location", some=("x",)))) != digest(
        Aggregation("a", Later("location"))
    )


def test_no_two_values_look_alike() -> None:
    """1 and True, "1" and 1.0, a list and a set, a map and its pairs."""
    values: list[object] = [
        1,
        2,
        True,
        False,
        "1",
        "True",
        1.5,
        Decimal("1.5"),
        Fraction(3, 2),
        ("a",),
        {"a"},
        {"a": 1},
    ]
    values += [
        ("a", 1),
        (("a", 1),),
        ["b"],
        UTC,
        "UTC",
        datetime(2025, 9, 4, tzinfo=UTC),
        datetime(2025, 9, 4, tzinfo=ZURICH),
        "2025-09-04T00:00:00+00:00",
        int,
        bool,
        "int",
        ("ZoneInfo", "UTC"),
        frozenset({"a", "b"}),
        FieldKey("a"),
    ]
    assert len({digest(with_more(value)) for value in values}) == len(values)


def test_an_instant_is_the_same_in_every_zone() -> None:
    """A bound of a Range says when, not where."""
    noon = datetime(2025, 9, 4, 12, tzinfo=UTC)
    assert digest(with_more(noon)) == digest(with_more(noon.astimezone(ZURICH)))


def test_order_matters_in_a_list_and_in_nothing_else() -> None:
    """Sets and maps have none."""
    assert digest(with_more({"a": 1, "b": {"x", "y"}})) == digest(with_more({"b": {"y", "x"}, "a": 1}))
    assert digest(with_more(("a", "b"))) != digest(with_more(("b", "a")))


def test_what_has_no_digest_is_refused() -> None:
    """A function, say: it has no value that a later process could compare."""
    with pytest.raises(DeclarationError, match=r"^a: <.*> has no digest: expected text, numbers"):
        digest(with_more(print))
    with pytest.raises(DeclarationError, match="no digest"):
        digest(with_more(Source))

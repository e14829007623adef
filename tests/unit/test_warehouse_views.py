"""The views of the warehouse: how declarations read in SQL, and which of them are refused."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from shared.aggregation import (
    Aggregation,
    And,
    Bounded,
    Count,
    Equals,
    Exists,
    FieldKey,
    Histogram,
    In,
    Maximum,
    Minimum,
    Not,
    OneOf,
    Or,
    Range,
    Sum,
    SumOfSquares,
    TimeKey,
)
from shared.aggregation.filters import Where
from shared.errors import DeclarationError
from shared.events import Boolean, EventSource, Field, Integer, Map, Number, Schema, Text, Timestamp
from shared.schemas import self_written
from shared.settings import Settings
from shared.warehouse import Dataset, admitted, rows_table, views
from shared.warehouse.expressions import condition, key, literal, measures
from shared.warehouse.views import key_columns

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
YEAR = timedelta(days=366)
ZONE = ZoneInfo("Europe/Zurich")
SOURCES = {name: books.source for name, books in self_written(Settings()).items()}
DATASET = Dataset("kitchen-1", "libra")
SCHEMA = Schema(
    (
        Field("name", Text()),
        Field("floor", Integer(), required=False),
        Field("amount", Number(-1e6, 1e6), required=False),
        Field("open", Boolean(), required=False),
        Field("at", Timestamp(YEAR, YEAR)),
        Field("about", Map(), required=False),
    )
)
FIELDS = {field.name: field for field in SCHEMA.fields}


def source(*aggregations: Aggregation, schema: Schema = SCHEMA) -> EventSource:
    return EventSource("things", aggregations or (Aggregation("names", FieldKey("name")),), schema)


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ("it's", r"'it\'s'"),
        ("a\\b\n\x01", r"'a\\b\n\x01'"),
        ("é${x}", "'é${x}'"),
        (True, "TRUE"),
        (7, "7"),
        (1.5, "1.5"),
        (datetime(2026, 1, 1, 1, tzinfo=ZONE), "TIMESTAMP '2026-01-01 00:00:00.000000+00:00'"),
    ],
)
def test_a_literal_says_its_value(value: object, told: str) -> None:
    """And ends where it should."""
    assert literal(value) == told


@pytest.mark.parametrize(
    ("where", "told"),
    [
        (Equals("name", "x"), "(`name` IS NOT NULL AND `name` IN ('x'))"),
        (Equals("floor", True), "FALSE"),
        (In("floor", (1, "1", True)), "(`floor` IS NOT NULL AND `floor` IN (1))"),
        (Equals("open", True), "(`open` IS NOT NULL AND `open` IN (TRUE))"),
        (Equals("amount", "x"), "FALSE"),
        (Exists("floor"), "(`floor` IS NOT NULL)"),
        (Not(Exists("about")), "NOT (`about` IS NOT NULL)"),
        (Range("floor", 1.5, 2.5), "(`floor` IS NOT NULL AND `floor` >= 2 AND `floor` < 3)"),
        (Range("amount", at_least=1), "(`amount` IS NOT NULL AND `amount` >= 1.0)"),
        (Range("name", below="b"), "(`name` IS NOT NULL AND `name` < 'b')"),
        (Range("name", below=1), "FALSE"),
        (
            Range("at", below=NOW),
            "(`at` IS NOT NULL AND `at` < TIMESTAMP '2026-11-25 12:00:00.000000+00:00')",
        ),
        (
            And(Exists("floor"), Or(Exists("open"), Exists("amount"))),
            "((`floor` IS NOT NULL) AND ((`open` IS NOT NULL) OR (`amount` IS NOT NULL)))",
        ),
    ],
    ids=str,
)
def test_a_filter_is_true_or_false_and_never_null(where: Where, told: str) -> None:
    """Otherwise `Not` would leave out what it should count."""
    assert condition(where, FIELDS) == told


class _Odd:
    """A part, a filter and a measure that no view knows."""

    field, name = "floor", "odd"


ODD: Any = _Odd()


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (
            lambda: key(FieldKey("floor"), FIELDS),
            "a FieldKey of str of the field floor, whose kind is Integer",
        ),
        (
            lambda: key(TimeKey("name", "hour", ZONE), FIELDS),
            "a TimeKey of the field name, whose kind is Text",
        ),
        (lambda: key(FieldKey("nothing"), FIELDS), "the field nothing is not in the schema"),
        (lambda: key(FieldKey("about.kind"), FIELDS), "about.kind lies in a JSON column"),
        (lambda: key(ODD, FIELDS), "no view can be made of _Odd"),
        (lambda: condition(Exists("about.kind"), FIELDS), "about.kind lies in a JSON column"),
        (lambda: condition(Equals("amount", 1), FIELDS), "amount: it asks for an integer of a Number"),
        (lambda: condition(Range("amount", 2**53 + 2), FIELDS), "bound 9007199254740994 of a Number"),
        (lambda: condition(Range("floor", 1e30), FIELDS), "of an Integer: expected 64 bits"),
        (lambda: condition(ODD, FIELDS), "no view can be made of _Odd"),
        (lambda: measures(Sum("name", "x"), FIELDS), "x of the field name, whose kind is Text"),
        (lambda: measures(Sum("amount", "x"), FIELDS), "x of the field amount, whose kind is Number: totals"),
        (lambda: measures(ODD, FIELDS), "no view can be made of _Odd"),
    ],
)
def test_what_sql_cannot_say_exactly_is_refused(made: Callable[[], object], said: str) -> None:
    """A view that is nearly right is worse than none."""
    with pytest.raises(DeclarationError, match=said):
        made()


def test_a_refusal_names_the_aggregation() -> None:
    """Which of many declarations it was."""
    odd = source(Aggregation("kinds", FieldKey("about.kind")))
    with pytest.raises(DeclarationError, match="kinds: no view equals it: the field about"):
        views({"things": odd}, DATASET)


@pytest.mark.parametrize(
    ("aggregation", "columns"),
    [
        (Aggregation("a", FieldKey("name")), ("key",)),
        (Aggregation("a", (FieldKey("device.model"), TimeKey("at", "date", ZONE))), ("device_model", "date")),
    ],
    ids=["simple", "composite"],
)
def test_the_key_of_a_view(aggregation: Aggregation, columns: tuple[str, ...]) -> None:
    """One column, or one for each part."""
    assert key_columns(aggregation) == columns


def test_two_columns_of_one_name_are_refused() -> None:
    """A part that is called as a measure is; a view that is called as a table is."""
    parts = (FieldKey("name"), TimeKey("at", "date", ZONE, called="Count"))
    with pytest.raises(DeclarationError, match="a: the columns of its view need different names"):
        key_columns(Aggregation("a", parts))
    with pytest.raises(DeclarationError, match="each needs its own name"):
        views({"things": source(Aggregation("Things_rows", FieldKey("name")))}, DATASET)


def test_every_declaration_of_the_catalog_has_its_view() -> None:
    """And each view comes after those that it reads."""
    found = views(SOURCES, DATASET)
    names = [view.name for view in found]
    for name, books in SOURCES.items():
        assert [name, f"{name}_conflicts", *(it.name for it in books.aggregations)] == names[
            (at := names.index(name)) : at + 2 + len(books.aggregations)
        ]
    assert names[0] == "dead_letters"
    assert rows_table("dead_letters") == "dead_letters_rows"


def test_the_statement_for_bounded_keys_quotes_what_it_is_given() -> None:
    """A value may be called anything."""
    statement = admitted({"a": {"p": ["it's", "b"]}}, DATASET)
    assert r"('a', 'p', 'b')," in statement
    assert r"('a', 'p', 'it\'s')" in statement
    assert statement.startswith("MERGE `kitchen-1.libra.bounded_values`")


def test_every_measure_and_bounded_key_is_expressed() -> None:
    """What the emulator compares with the fold (tests/warehouse) is made here."""
    everything = Aggregation(
        "everything",
        (Bounded(FieldKey("floor", kind=int), most=3, other=-1), OneOf(FieldKey("name"), ("a",), "other")),
        measures=(
            Count(),
            Sum("floor", "total", units=100),
            SumOfSquares("floor", "squares"),
            Histogram("amount", "cells", (0, 10)),
            Minimum("floor", "least"),
            Maximum("floor", "most"),
        ),
    )
    query = views({"things": source(everything)}, DATASET)[-1].query
    for text in ("CAST(`floor` AS STRING)", "'other'", "list_0) < 3", "SUM(", "MIN(", "MAX(", "`cells_2`"):
        assert text in query
    assert "WHERE `floor` IS NOT NULL" in query

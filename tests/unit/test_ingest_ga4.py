"""A row of GA4's export becomes a row of its table, or a reason that names the field."""

import json
from datetime import date
from decimal import Decimal
from typing import Any

import pytest

from services.ingestion import ga4
from services.ingestion.requests import EVENTS

DAY = date(2026, 1, 5)
ROW = {"event_date": "20260105", "event_timestamp": 1_767_571_200_000_000}


def param(key: str, **value: Any) -> dict[str, Any]:
    """A named value, as the export has it."""
    return {"key": key, "value": value}


def flat(kind: str, **fields: Any) -> dict[str, Any]:
    """The row of a type's table, by column."""
    return dict(zip(ga4.target(kind).columns, ga4.flatten(kind, DAY, ROW | fields), strict=True))


@pytest.mark.parametrize("kind", EVENTS)
def test_an_event_with_nothing_but_its_time_has_every_column(kind: str) -> None:
    """Each type has as many values as its table has columns; a visitor who did not consent has no name."""
    bought = {"ecommerce": {"transaction_id": "T1"}} if kind == "purchase" else {}
    found = flat(kind, **bought)
    assert found["event_timestamp"] == ROW["event_timestamp"]
    assert found["user_pseudo_id"] is None
    assert (found["params"], found["user_properties"], found["items"]) == ("{}", "{}", "[]")
    assert set(ga4.fields(kind)) >= {"event_date", "event_timestamp", "event_params", "items"}


def test_params_of_four_types_become_columns_and_a_document() -> None:
    """A declared one is typed; each is in the document with its own type."""
    params = [
        param("ga_session_id", int_value=7),
        param("page_location", string_value="https://x/Mac%2FCheese"),
        param("engagement_time_msec", string_value="1200"),
        param("entrances", double_value=1.0),
        param("share", float_value=0.5),
        param("none"),
    ]
    found = flat("page_view", event_params=params, user_properties=[param("plan", string_value="free")])
    assert (found["session_id"], found["engagement_time_msec"], found["entrances"]) == (7, 1200, 1)
    assert found["page_location"] == "https://x/Mac%2FCheese"
    assert json.loads(found["params"])["share"] == 0.5
    assert json.loads(found["params"])["none"] is None
    assert json.loads(found["user_properties"]) == {"plan": "free"}


def test_a_purchase_has_its_pieces_and_its_amounts() -> None:
    """Amounts are exact decimals of what GA4 says; an item without a quantity is one piece."""
    items = [
        {"item_id": "a", "quantity": 3, "item_params": [param("size", string_value="L")], "price": None},
        {"item_id": "b"},
    ]
    bought = {"transaction_id": "T1", "purchase_revenue": 0.1, "tax_value": None}
    found = flat("purchase", items=items, ecommerce=bought, event_params=[param("tax", double_value=2.5)])
    assert (found["quantity"], found["value"], found["tax"]) == (4, Decimal("0.1"), Decimal("2.5"))
    assert json.loads(found["items"]) == [
        {"item_id": "a", "quantity": 3, "item_params": {"size": "L"}},
        {"item_id": "b"},
    ]


@pytest.mark.parametrize(
    ("kind", "fields", "reason"),
    [
        ("page_view", {"event_date": None}, "event_date: found None, allowed is 20260105"),
        ("page_view", {"event_timestamp": None}, "event_timestamp: found None"),
        ("page_view", {"event_timestamp": -1}, "event_timestamp: found -1"),
        ("page_view", {"event_params": [param("a", int_value=1)] * 2}, "event_params.a: it is there twice"),
        ("page_view", {"event_params": [param("a", int_value=1, string_value="x")]}, "one value of one type"),
        ("page_view", {"event_params": [param("", int_value=1)]}, "event_params.key: found ''"),
        ("page_view", {"event_params": [{"key": "a", "value": None}], "user_id": "a\0b"}, "user_id: a NUL"),
        ("page_view", {"event_params": [param("a", string_value="\0")]}, "event_params: a NUL character"),
        ("page_view", {"user_properties": [param("\0", int_value=1)]}, "user_properties: a NUL character"),
        ("page_view", {"event_params": [param("a", string_value=["\0"])]}, "event_params: a NUL character"),
        (
            "page_view",
            {"event_params": [param("a", double_value=float("nan"))]},
            "event_params: a number that",
        ),
        (
            "page_view",
            {"event_params": [param("ga_session_id", string_value="x" * 99)]},
            "ga_session_id: found 'xxx",
        ),
        ("page_view", {"event_params": [param("entrances", int_value=2**63)]}, "allowed is a whole number"),
        ("page_view", {"event_params": [param("a", string_value=b"x")]}, "a value that JSON cannot hold"),
        ("purchase", {}, "transaction_id: there is none"),
        ("purchase", {"ecommerce": {"transaction_id": ""}}, "transaction_id: there is none"),
        ("view_item", {"event_params": [param("value", string_value="free")]}, "value: found 'free'"),
        ("view_item", {"event_params": [param("value", string_value="1e99")]}, "allowed is a number"),
        ("add_to_cart", {"items": [{"quantity": -1}]}, "items[0].quantity: found -1"),
        (
            "purchase",
            {"ecommerce": {"transaction_id": "T", "purchase_revenue": float("inf")}},
            "ecommerce.purchase_revenue: a number that is none",
        ),
    ],
)
def test_what_cannot_be_loaded_says_why(kind: str, fields: dict[str, Any], reason: str) -> None:
    """The reason names the field, what was found and what is allowed."""
    with pytest.raises(ga4.RowError) as found:
        ga4.flatten(kind, DAY, ROW | fields)
    assert reason in str(found.value)
    assert len(str(found.value)) < 300


def test_a_backslash_before_u0000_is_no_nul() -> None:
    """JSON writes both in the same way but for one backslash."""
    text = "\\u0000"
    assert json.loads(flat("page_view", event_params=[param("a", string_value=text)])["params"]) == {
        "a": text
    }

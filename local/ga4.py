"""A generated GA4 export: what a shop's visitors do, in the schema of Google's export, defects included.

The rows of a day are the same whenever they are made.
"""

import random
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any, Self

import httpx

TYPES = ("purchase", "add_to_cart", "page_view", "view_item", "view_search_results", "no_search_results")
WEIGHTS = (2, 5, 60, 20, 10, 3)
DATASET = "analytics_123456"
_VALUE = {
    "string_value": "STRING",
    "int_value": "INTEGER",
    "float_value": "FLOAT",
    "double_value": "FLOAT",
}


def _record(name: str, fields: Mapping[str, str], mode: str = "NULLABLE") -> dict[str, Any]:
    listed = [{"name": each, "type": kind} for each, kind in fields.items()]
    return {"name": name, "type": "RECORD", "mode": mode, "fields": listed}


def _named(name: str) -> dict[str, Any]:
    found = _record(name, {"key": "STRING"}, "REPEATED")
    return found | {"fields": [*found["fields"], _record("value", _VALUE)]}


SCHEMA: Sequence[Mapping[str, Any]] = (
    {"name": "event_date", "type": "STRING"},
    {"name": "event_timestamp", "type": "INTEGER"},
    {"name": "event_name", "type": "STRING"},
    _named("event_params"),
    {"name": "user_id", "type": "STRING"},
    {"name": "user_pseudo_id", "type": "STRING"},
    _named("user_properties"),
    _record("device", {"category": "STRING", "operating_system": "STRING"}),
    _record("geo", {"country": "STRING", "city": "STRING"}),
    _record("traffic_source", {"source": "STRING", "medium": "STRING"}),
    {"name": "platform", "type": "STRING"},
    _record(
        "ecommerce",
        {
            "transaction_id": "STRING",
            "purchase_revenue": "FLOAT",
            "tax_value": "FLOAT",
            "shipping_value": "FLOAT",
        },
    ),
    _record(
        "items",
        {
            "item_id": "STRING",
            "item_name": "STRING",
            "item_category": "STRING",
            "price": "FLOAT",
            "quantity": "INTEGER",
        },
        "REPEATED",
    ),
)
"""The fields of Google's schema that ingestion reads."""


def row(day: date, number: int, kind: str | None = None) -> dict[str, Any]:
    """One event of a day, as the export has it."""
    chance = random.Random(f"{day} {number}")
    kind = kind or chance.choices(TYPES, WEIGHTS)[0]
    at = datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(seconds=number * 60 % 86_400)
    user = chance.randrange(400)
    params = [
        _param("ga_session_id", int_value=1_700_000_000 + user),
        _param("page_location", string_value=f"https://shop.example/{chance.choice('abc')}?q=Mac/Cheese"),
        _param("page_title", string_value=chance.choice(("Käse & Brot", "“Sale”\t50 %", "名前", ""))),
    ]
    if kind in {"view_search_results", "no_search_results"}:
        params.append(_param("search_term", string_value=chance.choice(("brot", "NULL", "\\N", "a\nb"))))
    if kind in {"add_to_cart", "view_item", "purchase"}:
        params += [
            _param("currency", string_value="CHF"),
            _param("value", double_value=chance.randrange(999) / 8),
        ]
    items = [
        {
            "item_id": f"SKU_{chance.randrange(50)}",
            "item_name": "Kettle Chips",
            "price": 2.5,
            "quantity": it + 1,
        }
        for it in range(chance.randrange(4) if kind != "page_view" else 0)
    ]
    bought = {"transaction_id": f"T{day:%Y%m%d}-{number}", "purchase_revenue": 12.25, "tax_value": 0.75}
    return {
        "event_date": f"{day:%Y%m%d}",
        "event_timestamp": int(at.timestamp()) * 1_000_000 + number,
        "event_name": kind,
        "event_params": params,
        "user_id": f"u{user}" if user % 3 else None,
        "user_pseudo_id": f"{user}.1" if user % 7 else None,
        "user_properties": [_param("plan", string_value="free")] if user % 2 else [],
        "device": {"category": chance.choice(("mobile", "desktop")), "operating_system": "Android"},
        "geo": {"country": "Switzerland", "city": chance.choice(("Zürich", "Genève"))},
        "traffic_source": {"source": "google", "medium": "organic"} if user % 5 else None,
        "platform": "WEB",
        "ecommerce": bought if kind == "purchase" else None,
        "items": items,
    }


def _param(key: str, **value: Any) -> dict[str, Any]:
    return {"key": key, "value": value}


class Export:
    """Writes a generated export into a BigQuery emulator. A context manager."""

    def __init__(self, url: str, project: str, dataset: str = DATASET) -> None:
        """Makes the dataset if it is not there."""
        self._tables = f"{url}/bigquery/v2/projects/{project}/datasets"
        self._http = httpx.Client(timeout=120)
        self._dataset = dataset
        self._http.post(self._tables, json={"datasetReference": {"datasetId": dataset}})

    def __enter__(self) -> Self:
        """Itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the connection."""
        self._http.close()

    def write(self, table: str, rows: Iterable[Mapping[str, Any]]) -> None:
        """Make a table anew with these rows."""
        tables = f"{self._tables}/{self._dataset}/tables"
        self.drop(table)
        made = {"tableReference": {"tableId": table}, "schema": {"fields": SCHEMA}}
        self._http.post(tables, json=made).raise_for_status()
        self.add(table, rows)

    def add(self, table: str, rows: Iterable[Mapping[str, Any]]) -> None:
        """Add rows to a table, as GA4 does with late events."""
        listed = [{"json": each} for each in rows]
        url = f"{self._tables}/{self._dataset}/tables/{table}/insertAll"
        for begin in range(0, len(listed), 5_000):
            answer = self._http.post(url, json={"rows": listed[begin : begin + 5_000]})
            answer.raise_for_status()
            if errors := answer.json().get("insertErrors"):
                raise ValueError(f"{table}: {errors[:2]}")

    def drop(self, table: str) -> None:
        """Delete a table; one that is not there is deleted."""
        self._http.delete(f"{self._tables}/{self._dataset}/tables/{table}")

"""A row of GA4's export becomes a row of its type's table, or the reason why not. Pure.

The export's schema: https://support.google.com/analytics/answer/7029846 (2026-11). What an event carries as
named parameters becomes a column where its type declares one, and is in ``params`` in any case.
"""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal, InvalidOperation
from typing import Any, LiteralString, TypeAlias

from services.ingestion.rows import Target

Row: TypeAlias = Mapping[str, Any]
Params: TypeAlias = Mapping[str, object]

LARGEST = 2**63 - 1
LONGEST_VALUE = 60
"""Characters of a value that a reason repeats."""
_VALUES = ("string_value", "int_value", "float_value", "double_value")


class RowError(ValueError):
    """The row cannot be loaded; the message names the field, what was found and what is allowed."""


def _text(name: str, value: object) -> str | None:
    if value is None:
        return None
    found = value if isinstance(value, str) else str(value)
    if "\0" in found:
        raise RowError(f"{name}: a NUL character, which PostgreSQL cannot hold")
    return found


def _whole(name: str, value: object) -> int | None:
    if value is None:
        return None
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, str):
        digits = value.strip().removeprefix("-")
        value = int(value) if digits.isascii() and digits.isdigit() and len(digits) < 20 else value
    if not isinstance(value, int) or abs(value) > LARGEST:
        raise _wrong(name, value, f"a whole number up to {LARGEST}")
    return value


def _number(name: str, value: object) -> Decimal | None:
    if value is None:
        return None
    try:
        found = Decimal(str(value).strip())
    except InvalidOperation:
        found = Decimal("NaN")
    if not found.is_finite() or abs(found.adjusted()) > 30:
        raise _wrong(name, value, "a number")
    return found


def _wrong(name: str, value: object, allowed: str) -> RowError:
    shown = repr(value)
    shown = shown if len(shown) <= LONGEST_VALUE else f"{shown[:LONGEST_VALUE]}…"
    return RowError(f"{name}: found {shown}, allowed is {allowed}")


@dataclass(frozen=True, slots=True)
class Column:
    """A column and where it comes from.

    Attributes:
        name: in the table.
        path: a field of the export's row, dotted; tried first. Empty: none.
        param: the event's parameter; tried second. Empty: none.
        read: checks a value and gives it its type.
        required: whether a row without it is rejected.
    """

    name: LiteralString
    path: str = ""
    param: str = ""
    read: Callable[[str, object], object] = _text
    required: bool = False

    def of(self, row: Row, params: Params) -> object:
        """The value. Raises RowError."""
        found = _at(row, self.path) if self.path else None
        name = self.path
        if found is None and self.param:
            found, name = params.get(self.param), f"event_params.{self.param}"
        value = self.read(name, found)
        if self.required and value in (None, ""):
            raise RowError(f"{self.param or self.path}: there is none, and every row of this type needs one")
        return value


COMMON = (
    Column("user_pseudo_id", "user_pseudo_id"),
    Column("user_id", "user_id"),
    Column("session_id", param="ga_session_id", read=_whole),
    Column("page_location", param="page_location"),
    Column("page_title", param="page_title"),
    Column("page_referrer", param="page_referrer"),
    Column("device_category", "device.category"),
    Column("device_os", "device.operating_system"),
    Column("country", "geo.country"),
    Column("city", "geo.city"),
    Column("source", "traffic_source.source"),
    Column("medium", "traffic_source.medium"),
    Column("platform", "platform"),
)
"""Of every type. ``user_pseudo_id`` is absent where a visitor did not consent."""

_CURRENCY = Column("currency", param="currency")
_VALUE = Column("value", param="value", read=_number)

OWN: Mapping[str, tuple[Column, ...]] = {
    "purchase": (
        Column("transaction_id", "ecommerce.transaction_id", "transaction_id", required=True),
        _CURRENCY,
        Column("value", "ecommerce.purchase_revenue", "value", _number),
        Column("tax", "ecommerce.tax_value", "tax", _number),
        Column("shipping", "ecommerce.shipping_value", "shipping", _number),
        Column("coupon", param="coupon"),
    ),
    "add_to_cart": (_CURRENCY, _VALUE),
    "page_view": (
        Column("entrances", param="entrances", read=_whole),
        Column("engagement_time_msec", param="engagement_time_msec", read=_whole),
    ),
    "view_item": (_CURRENCY, _VALUE),
    "view_search_results": (Column("search_term", param="search_term"),),
    "no_search_results": (Column("search_term", param="search_term"),),
}
"""What each type has besides."""

QUANTITY = frozenset({"purchase", "add_to_cart"})
"""The types that say how many pieces their items are."""


def target(kind: str) -> Target:
    """Where a type's rows go, in the order of `flatten`."""
    tables: Mapping[str, LiteralString] = {
        "purchase": "ga4_purchase",
        "add_to_cart": "ga4_add_to_cart",
        "page_view": "ga4_page_view",
        "view_item": "ga4_view_item",
        "view_search_results": "ga4_view_search_results",
        "no_search_results": "ga4_no_search_results",
    }
    own = tuple(each.name for each in (*COMMON, *OWN[kind]))
    pieces: tuple[LiteralString, ...] = ("quantity",) if kind in QUANTITY else ()
    columns = ("event_timestamp", *own, "params", "user_properties", "items", *pieces)
    return Target(tables[kind], columns, sums=("event_timestamp", *pieces))


def fields(kind: str) -> tuple[str, ...]:
    """The export's columns that `flatten` reads: nothing else is asked of BigQuery."""
    paths = {each.path.partition(".")[0] for each in (*COMMON, *OWN[kind]) if each.path}
    return (
        "event_date",
        "event_timestamp",
        "event_name",
        "event_params",
        "user_properties",
        "items",
        *sorted(paths),
    )


def flatten(kind: str, day: date, row: Row) -> tuple[object, ...]:
    """The row of the type's table.

    Args:
        kind: the type.
        day: whose table the row is in; ``event_date`` has to be the same.
        row: as the export has it: records as mappings, repeated fields as lists.

    Raises:
        RowError: it cannot be loaded.
    """
    if row.get("event_date") != f"{day:%Y%m%d}":
        raise _wrong("event_date", row.get("event_date"), f"{day:%Y%m%d}, the day of its table")
    timestamp = _whole("event_timestamp", row.get("event_timestamp"))
    if timestamp is None or not 0 < timestamp < 4_102_444_800_000_000:
        raise _wrong("event_timestamp", timestamp, "microseconds since 1970, before 2100")
    params = _params("event_params", row.get("event_params") or ())
    columns = [each.of(row, params) for each in (*COMMON, *OWN[kind])]
    items = [_item(number, each) for number, each in enumerate(row.get("items") or ())]
    properties = _params("user_properties", row.get("user_properties") or ())
    pieces = [sum(each.get("quantity", 1) for each in items)] if kind in QUANTITY else []
    documents = (_json("event_params", params), _json("user_properties", properties), _json("items", items))
    return (timestamp, *columns, *documents, *pieces)


def _params(name: str, listed: Sequence[Row]) -> dict[str, object]:
    """Named values of four types, one of which is set."""
    found: dict[str, object] = {}
    for each in listed:
        key, value = each.get("key"), each.get("value") or {}
        if not isinstance(key, str) or not key:
            raise _wrong(f"{name}.key", key, "a name")
        if key in found:
            raise RowError(f"{name}.{key}: it is there twice")
        given = [value[kind] for kind in _VALUES if value.get(kind) is not None]
        if len(given) > 1:
            raise _wrong(f"{name}.{key}", given, "one value of one type")
        found[key] = given[0] if given else None
    return found


def _item(number: int, item: Row) -> dict[str, Any]:
    """What is set of an item. Where it says no quantity it is one piece, as GA4 counts."""
    found = {name: value for name, value in item.items() if value is not None and name != "item_params"}
    if "quantity" in found:
        found["quantity"] = quantity = _whole(f"items[{number}].quantity", found["quantity"])
        assert quantity is not None  # noqa: S101 - what is None was left out
        if not 0 <= quantity < 10**9:
            raise _wrong(f"items[{number}].quantity", quantity, "from 0 to 999,999,999")
    if listed := item.get("item_params"):
        found["item_params"] = _params(f"items[{number}].item_params", listed)
    return found


def _json(name: str, document: object) -> str:
    try:
        text = json.dumps(document, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    except ValueError:
        raise RowError(f"{name}: a number that is none (NaN or infinite), which JSON cannot hold") from None
    except TypeError:
        raise RowError(f"{name}: a value that JSON cannot hold") from None
    if "\\u0000" in text and _has_nul(document):
        raise RowError(f"{name}: a NUL character, which PostgreSQL cannot hold")
    return text


def _has_nul(document: object) -> bool:
    if isinstance(document, str):
        return "\0" in document
    if isinstance(document, Mapping):
        return any(map(_has_nul, (*document, *document.values())))
    return isinstance(document, list) and any(map(_has_nul, document))


def _at(row: Row, path: str) -> object:
    found: Any = row
    for name in path.split("."):
        found = found.get(name) if found is not None else None
    if isinstance(found, float) and not math.isfinite(found):
        raise RowError(f"{path}: a number that is none (NaN or infinite)")
    return found

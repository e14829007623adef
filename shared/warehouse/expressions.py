"""How a declaration reads in GoogleSQL: keys, filters and measures of one row. Pure.

Each gives for a row exactly what the declaration gives for the event that the row is of. What SQL cannot tell
as exactly is refused with a `DeclarationError` when the view is generated: a view that is nearly right is
worse than none.
"""

import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime

from shared.aggregation import (
    And,
    Bounded,
    Equals,
    Exists,
    Extreme,
    FieldKey,
    Histogram,
    In,
    KeyPart,
    Minimum,
    Not,
    OneOf,
    Or,
    Part,
    Range,
    Sum,
    SumOfSquares,
    TimeKey,
    Where,
)
from shared.aggregation.measures import Measure
from shared.errors import DeclarationError
from shared.events import Boolean, Field, Integer, Number, Text, Timestamp

Fields = Mapping[str, Field]

_KINDS = {str: Text, int: Integer, bool: Boolean}
_GRAINS = {
    "hour": "EXTRACT(HOUR FROM {} AT TIME ZONE {})",
    "weekday": "MOD(EXTRACT(DAYOFWEEK FROM {} AT TIME ZONE {}) + 5, 7) + 1",
    "date": "FORMAT_TIMESTAMP('%F', {}, {})",
    "date_hour": "FORMAT_TIMESTAMP('%FT%H', {}, {})",
    "week": "FORMAT_TIMESTAMP('%G-W%V', {}, {})",
    "month": "FORMAT_TIMESTAMP('%Y-%m', {}, {})",
    "year": "FORMAT_TIMESTAMP('%Y', {}, {})",
}
_ESCAPES = {"\\": "\\\\", "'": "\\'", "\n": "\\n", "\r": "\\r", "\t": "\\t"}


def quoted(text: str) -> str:
    """A string literal."""
    escaped = re.sub(r"[\\'\n\r\t]", lambda found: _ESCAPES[found[0]], text)
    return "'" + re.sub(r"[\x00-\x1f\x7f]", lambda found: f"\\x{ord(found[0]):02x}", escaped) + "'"


def literal(value: object) -> str:
    """A literal of a string, a number, a boolean or an aware time."""
    if isinstance(value, bool):
        return str(value).upper()
    if isinstance(value, datetime):
        return f"TIMESTAMP '{value.astimezone(UTC).isoformat(' ', 'microseconds')}'"
    if isinstance(value, str):
        return quoted(value)
    return repr(value)


def key(part: KeyPart, fields: Fields) -> str:
    """What a row is counted under. NULL: the event has no such value. Of a bounded key, the raw value."""
    if isinstance(part, TimeKey):
        _check_kind(part.field, fields, (Timestamp,), "a TimeKey")
        return _GRAINS[part.grain].format(name(part.field), quoted(part.zone.key))
    raw = part.key if isinstance(part, OneOf | Bounded) else part
    if not isinstance(raw, FieldKey):
        raise DeclarationError(f"a key by {part.field}: no view can be made of {type(part).__name__}")
    _check_kind(part.field, fields, (_KINDS[raw.kind],), f"a FieldKey of {raw.kind.__name__}")
    found = name(part.field)
    if isinstance(part, OneOf):
        listed = ", ".join(map(literal, part.values))
        found = f"IF({found} IS NULL OR {found} IN ({listed}), {found}, {literal(part.other)})"
    return found


def named(column: str, kind: type[Part]) -> tuple[str, str]:
    """What a value of a bounded key is written down as: the steps of `shared.aggregation.bounded.name_of`.

    Returns:
        Two expressions. The second one reads what the first one gives, as ``{}``.
    """
    text = column if kind is str else f"CAST({column} AS STRING)"
    escaped = f"REPLACE(REPLACE({text}, '%', '%25'), '/', '%2F')"
    allowed = (
        "CASE WHEN {0} = '' THEN '%empty'"
        " WHEN {0} IN ('.', '..') THEN CONCAT('%2E', SUBSTR({0}, 2))"
        " WHEN STARTS_WITH({0}, '__') AND ENDS_WITH({0}, '__') AND LENGTH({0}) >= 4"
        " THEN CONCAT('%5F', SUBSTR({0}, 2)) ELSE {0} END"
    )
    return escaped, allowed


def condition(where: Where, fields: Fields) -> str:
    """Whether a row is counted: TRUE or FALSE, never NULL."""
    match where:
        case And() | Or():
            word = " AND " if isinstance(where, And) else " OR "
            return "(" + word.join(condition(each, fields) for each in where.conditions) + ")"
        case Not():
            return f"NOT {condition(where.condition, fields)}"
        case Exists():
            _declared(where.field, fields)
            return f"({name(where.field)} IS NOT NULL)"
        case Equals() | In():
            values = where.values if isinstance(where, In) else (where.value,)
            return _among(where.field, values, fields)
        case Range():
            return _range(where, fields)
    raise DeclarationError(f"a filter: no view can be made of {type(where).__name__}")


def measures(measure: Measure, fields: Fields) -> dict[str, str]:
    """What a total adds up over its rows, by the total's field."""
    if measure.field is None:
        return {measure.name: "COUNT(*)"}
    kind = _check_kind(measure.field, fields, (Integer, Number), f"the measure {measure.name}")
    column = name(measure.field)
    if isinstance(measure, Histogram):
        below, above = (None, *measure.bounds), (*measure.bounds, None)
        cells = zip(measure.columns, below, above, strict=True)
        return {it: f"COUNTIF({_between(column, kind, low, high)})" for it, low, high in cells}
    if not isinstance(measure, Sum | SumOfSquares | Extreme):
        raise DeclarationError(f"the measure {measure.name}: no view can be made of {type(measure).__name__}")
    if kind is Number:
        raise DeclarationError(
            f"the measure {measure.name} of the field {measure.field}, whose kind is Number: totals round "
            "each value, and SQL is not known to round alike; declare an Integer of small units, as cents are"
        )
    most = measure.limit // measure.units
    usable = f"IF({column} BETWEEN {-most} AND {most}, {column} * {measure.units}, NULL)"
    if isinstance(measure, Extreme):
        return {measure.name: f"{'MIN' if isinstance(measure, Minimum) else 'MAX'}({usable})"}
    added = f"{usable} * {usable}" if isinstance(measure, SumOfSquares) else usable
    return {measure.name: f"COALESCE(SUM({added}), 0)"}


def name(column: str) -> str:
    """A column, quoted: it may be called as a word of SQL is."""
    return f"`{column}`"


def _among(field: str, values: tuple[object, ...], fields: Fields) -> str:
    kind = type(_declared(field, fields).kind)
    if kind is Number and any(type(value) is int for value in values):
        raise DeclarationError(
            f"a filter on {field}: it asks for an integer of a Number, which holds 1 and 1.0: a column "
            "cannot tell them apart; use a Range"
        )
    alike = [literal(value) for value in values if _KINDS.get(type(value)) is kind]
    return f"({name(field)} IS NOT NULL AND {name(field)} IN ({', '.join(alike)}))" if alike else "FALSE"


def _range(where: Range, fields: Fields) -> str:
    kind = type(_declared(where.field, fields).kind)
    bound = where.bounds[0]
    orders: tuple[tuple[type | tuple[type, ...], tuple[type, ...]], ...] = (
        (str, (Text,)),
        (datetime, (Timestamp,)),
        ((int, float), (Integer, Number)),
    )
    alike = any(isinstance(bound, types) and kind in kinds for types, kinds in orders)
    return _between(name(where.field), kind, where.at_least, where.below) if alike else "FALSE"


def _between(column: str, kind: type, at_least: object, below: object) -> str:
    """Half-open, and FALSE where the column is NULL."""
    found = [f"{column} IS NOT NULL"]
    if at_least is not None:
        found.append(f"{column} >= {_bound(kind, at_least)}")
    if below is not None:
        found.append(f"{column} < {_bound(kind, below)}")
    return "(" + " AND ".join(found) + ")"


def _bound(kind: type, bound: object) -> str:
    """A bound such that SQL compares as Python does: an integer with integers, a float with floats."""
    if kind is Integer and isinstance(bound, float):
        bound = math.ceil(bound)  # an integer is at least 1.5, or below it, exactly if it is so with 2
    if kind is Number and isinstance(bound, int):
        if abs(bound) > 2**53:
            raise DeclarationError(
                f"the bound {bound} of a Number: expected 2^53 at most, beyond which no column is exact"
            )
        bound = float(bound)
    if kind is Integer and isinstance(bound, int) and not -(2**63) <= bound < 2**63:
        raise DeclarationError(f"the bound {bound} of an Integer: expected 64 bits")
    return literal(bound)


def _declared(field: str, fields: Fields) -> Field:
    if field not in fields:
        inside = field.partition(".")[0] in fields
        reason = "lies in a JSON column, in which 1 and 1.0 are one" if inside else "is not in the schema"
        raise DeclarationError(f"the field {field} {reason}: no view can read it as the totals do")
    return fields[field]


def _check_kind(field: str, fields: Fields, kinds: tuple[type, ...], what: str) -> type:
    kind = type(_declared(field, fields).kind)
    if kind not in kinds:
        allowed = " or ".join(each.__name__ for each in kinds)
        raise DeclarationError(
            f"{what} of the field {field}, whose kind is {kind.__name__}: expected {allowed}"
        )
    return kind

"""What is counted, declared once; how an entry becomes increments. Pure: entries in, deltas out.

A `Source` is a kind of entry with its `Aggregation`s. Each aggregation says under which key an entry is
counted, which entries it counts, and which measures each of them adds. The trigger and every strategy of the
recompute read the same declarations, so they cannot disagree. A `Home` says where the books are kept.

Deltas are integers by cell. They add up in any order and grouping (a commutative monoid). That is why a `Sum`
counts in whole units: floating-point numbers added in another order give another total, and a recompute
could never prove it.

Nothing in here does I/O, reads a clock or the environment, or imports Google's packages.
"""

from shared.aggregation.declarations import RESERVED_FIELDS, Aggregation, Source
from shared.aggregation.deltas import (
    Cell,
    Contribution,
    Deltas,
    Extremes,
    Totals,
    accumulate,
    add,
    change,
    contribution,
    extremes,
    fold,
    widen,
)
from shared.aggregation.entries import Entry, Rejection, Unusable, Version, look_up, type_name
from shared.aggregation.filters import And, Equals, Exists, In, Leaf, Not, Or, Range, Where
from shared.aggregation.home import Home
from shared.aggregation.ids import MAX_ID_BYTES, decode_id, document_id
from shared.aggregation.keys import MAX_KEY_BYTES, FieldKey, Grain, Key, KeyPart, Part, TimeKey
from shared.aggregation.lists import Bounded, OneOf
from shared.aggregation.measures import (
    Count,
    Extreme,
    Histogram,
    Maximum,
    Measure,
    Minimum,
    Sum,
    SumOfSquares,
)

__all__ = [
    "MAX_ID_BYTES",
    "MAX_KEY_BYTES",
    "RESERVED_FIELDS",
    "Aggregation",
    "And",
    "Bounded",
    "Cell",
    "Contribution",
    "Count",
    "Deltas",
    "Entry",
    "Equals",
    "Exists",
    "Extreme",
    "Extremes",
    "FieldKey",
    "Grain",
    "Histogram",
    "Home",
    "In",
    "Key",
    "KeyPart",
    "Leaf",
    "Maximum",
    "Measure",
    "Minimum",
    "Not",
    "OneOf",
    "Or",
    "Part",
    "Range",
    "Rejection",
    "Source",
    "Sum",
    "SumOfSquares",
    "TimeKey",
    "Totals",
    "Unusable",
    "Version",
    "Where",
    "accumulate",
    "add",
    "change",
    "contribution",
    "decode_id",
    "document_id",
    "extremes",
    "fold",
    "look_up",
    "type_name",
    "widen",
]

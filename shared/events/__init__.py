"""What an event must hold to become an entry that Libra writes itself. Pure: now is an argument.

A `Schema` has a `Field` for each thing that an event says, of a `Kind`: text, numbers, times, maps, within
bounds. A `QuickSchema` says the same in less time. An `EventSource` is a source with its schema. Only the
doors need this: the functions count entries that are there, and know no schemas.
"""

from shared.events.kinds import Boolean, Integer, Kind, Map, Number, Text, Timestamp
from shared.events.quick import QuickSchema
from shared.events.schema import Admitted, EventSource, Field, Schema, Violation

__all__ = [
    "Admitted",
    "Boolean",
    "EventSource",
    "Field",
    "Integer",
    "Kind",
    "Map",
    "Number",
    "QuickSchema",
    "Schema",
    "Text",
    "Timestamp",
    "Violation",
]

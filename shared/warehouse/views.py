"""The views of the warehouse: one row for each event, and the totals of each aggregation. Pure.

A total in a view and the same total in Firestore are two answers to one question: both come from one
declaration. docs/warehouse.md says when they agree.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from shared.aggregation import Aggregation, Bounded
from shared.errors import DeclarationError
from shared.events import EventSource
from shared.warehouse.expressions import Fields, condition, key, literal, measures, name, named, quoted
from shared.warehouse.tables import (
    ACCEPTED,
    BOUNDED,
    DEAD,
    DIGEST,
    ID,
    MESSAGE,
    declared,
    rows_table,
    tables,
)

LONGEST_NAME = 100
"""Bytes of a value's name that is written down as it is (`shared.aggregation.bounded`)."""


@dataclass(frozen=True, slots=True)
class Dataset:
    """Where tables and views are."""

    project: str
    name: str

    def path(self, table: str) -> str:
        """A table or a view, as a query names it."""
        return f"`{self.project}.{self.name}.{table}`"


@dataclass(frozen=True, slots=True)
class View:
    """A view and its query."""

    name: str
    description: str
    query: str
    of_rows: bool
    """Whether it reads tables alone. Otherwise it reads views, which have to be there first."""


def views(sources: Mapping[str, EventSource], dataset: Dataset) -> list[View]:
    """Every view, each after those that it reads.

    Raises:
        DeclarationError: an aggregation cannot be expressed exactly; the message names it.
    """
    found = [_once(DEAD, "The messages that hold no event", ("source", MESSAGE), dataset, sources)]
    for source in sources.values():
        found.append(
            _once(source.name, f"The events of {source.name}, one row each", (ID,), dataset, sources)
        )
        found.append(_conflicts(source, dataset))
        found += [_totals(source, each, dataset) for each in source.aggregations]
    names = [*(view.name for view in found), *(table.name for table in tables(sources))]
    if len({each.lower() for each in names}) < len(names):
        raise DeclarationError(f"tables and views of the warehouse: each needs its own name: {sorted(names)}")
    return found


def _once(
    view: str, description: str, names: Iterable[str], dataset: Dataset, sources: Mapping[str, EventSource]
) -> View:
    """One row for each event: of those that were delivered again, the first accepted one."""
    (table,) = (each for each in tables(sources) if each.name == rows_table(view))
    columns = ",\n  ".join(name(str(each["name"])) for each in table.columns)
    return View(
        view,
        description,
        f"SELECT\n  {columns}\nFROM {dataset.path(table.name)}\nWHERE TRUE\nQUALIFY ROW_NUMBER() OVER (\n"
        f"  PARTITION BY {', '.join(map(name, names))} ORDER BY {name(ACCEPTED)}, {name(MESSAGE)}\n) = 1\n",
        of_rows=True,
    )


def _conflicts(source: EventSource, dataset: Dataset) -> View:
    return View(
        f"{source.name}_conflicts",
        f"The ids of {source.name} that came with different events: {source.name} keeps the first one",
        f"SELECT\n  {name(ID)},\n  COUNT(DISTINCT {name(DIGEST)}) AS `events`,\n  COUNT(*) AS `deliveries`\n"
        f"FROM {dataset.path(rows_table(source.name))}\nGROUP BY {name(ID)}\n"
        f"HAVING COUNT(DISTINCT {name(DIGEST)}) > 1\n",
        of_rows=True,
    )


def key_columns(aggregation: Aggregation) -> tuple[str, ...]:
    """The columns of a view that hold the key: `key`, or one for each part of a composite key.

    Raises:
        DeclarationError: two columns of the view would have one name.
    """
    parts = [part.name for part in aggregation.parts]
    columns = tuple(each.replace(".", "_") for each in parts) if len(parts) > 1 else ("key",)
    used = [
        each.lower() for each in (*columns, *aggregation.columns, *(it.name for it in aggregation.extremes))
    ]
    if len(set(used)) < len(used):
        raise DeclarationError(f"{aggregation.name}: the columns of its view need different names: {used}")
    return columns


def _totals(source: EventSource, aggregation: Aggregation, dataset: Dataset) -> View:
    try:
        query = _query(source, aggregation, dataset)
    except DeclarationError as error:
        raise DeclarationError(f"{aggregation.name}: no view equals it: {error}") from None
    return View(
        aggregation.name,
        f"The totals of {aggregation.name} in Firestore, from the events",
        query,
        of_rows=False,
    )


def _query(source: EventSource, aggregation: Aggregation, dataset: Dataset) -> str:
    fields = declared(source)
    columns = key_columns(aggregation)
    keys = [key(part, fields) for part in aggregation.parts]
    rows, read = _counted(source, aggregation, fields, dataset)
    selected = [
        f"{_placed(part, found, number)} AS {name(column)}"
        for number, (part, found, column) in enumerate(zip(aggregation.parts, keys, columns, strict=True))
    ]
    for measure in aggregation.measures:
        selected += [f"{each} AS {name(column)}" for column, each in measures(measure, fields).items()]
    grouped = ", ".join(str(number) for number in range(1, len(columns) + 1))
    return f"{rows}SELECT\n  " + ",\n  ".join(selected) + f"\nFROM {read}\nGROUP BY {grouped}\n"


def _counted(
    source: EventSource, aggregation: Aggregation, fields: Fields, dataset: Dataset
) -> tuple[str, str]:
    """What defines the rows that an aggregation counts, and what they are called."""
    conditions = [condition(aggregation.where, fields)] if aggregation.where else []
    parts = {part.field for part in aggregation.parts}
    conditions += [f"{name(each)} IS NOT NULL" for each in sorted(parts) if not fields[each].required]
    filtered = "\nWHERE " + "\n  AND ".join(conditions) if conditions else ""
    events = dataset.path(source.name) + filtered
    bounded = [(number, it) for number, it in enumerate(aggregation.parts) if isinstance(it, Bounded)]
    if not bounded:
        return "", events
    steps = [(number, *named(name(part.field), part.kind)) for number, part in bounded]
    escaped = ", ".join(f"{first} AS `libra_{number}`" for number, first, _ in steps)
    allowed = ", ".join(
        f"{then.format(f'`libra_{number}`')} AS `libra_{number}`" for number, _, then in steps
    )
    lists = "".join(
        f"  list_{number} AS (\n    SELECT DISTINCT `name` FROM {dataset.path(BOUNDED)}\n"
        f"    WHERE `aggregation` = {quoted(aggregation.name)} AND `part` = {quoted(part.name)}\n  ),\n"
        for number, part in bounded
    )
    return (
        f"WITH\n{lists}  escaped AS (SELECT *, {escaped} FROM {events}),\n"
        f"  counted AS (SELECT * REPLACE ({allowed}) FROM escaped)\n"
    ), "counted"


def _placed(part: object, found: str, number: int) -> str:
    """Where a row's value belongs: a bounded key that is full counts together what is not on its list."""
    if not isinstance(part, Bounded):
        return found
    value = f"`libra_{number}`"
    written = (
        f"IF(BYTE_LENGTH({value}) <= {LONGEST_NAME}, {value}, CONCAT('%sha256-', TO_HEX(SHA256({value}))))"
    )
    return (
        f"IF((SELECT COUNT(*) FROM list_{number}) < {part.most}\n"
        f"    OR {written} IN (SELECT `name` FROM list_{number}),\n    {found}, {literal(part.other)})"
    )


def admitted(written: Mapping[str, Mapping[str, Iterable[str]]], dataset: Dataset) -> str:
    """The statement that puts what Firestore has written down into the table of bounded keys.

    It may be repeated. A list only grows, so nothing is taken away.

    Args:
        written: the names of values, by the name of the aggregation and of the part.
        dataset: where the table is.
    """
    rows = [
        (aggregation, part, each)
        for aggregation, parts in sorted(written.items())
        for part, names in sorted(parts.items())
        for each in sorted(names)
    ]
    structs = ",\n  ".join("(" + ", ".join(map(quoted, row)) + ")" for row in rows)
    return (
        f"MERGE {dataset.path(BOUNDED)} AS known\nUSING (\n"
        f"  SELECT * FROM UNNEST(ARRAY<STRUCT<`aggregation` STRING, `part` STRING, `name` STRING>>[\n  "
        f"{structs}\n  ]) AS found\n) AS written\n"
        "ON known.`aggregation` = written.`aggregation` AND known.`part` = written.`part`\n"
        "  AND known.`name` = written.`name`\n"
        "WHEN NOT MATCHED THEN INSERT (`aggregation`, `part`, `name`)\n"
        "  VALUES (written.`aggregation`, written.`part`, written.`name`);\n"
    )

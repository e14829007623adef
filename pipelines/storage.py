"""Rows into BigQuery by the Storage Write API, exactly once: for a streaming runner.

Beam writes it in Java: the job is started where there are a Java and Beam's expansion service. Within one job
a row is written once. A job that was started anew may write it again, and the views fold the two.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import apache_beam as beam
from apache_beam.io.gcp.bigquery import BigQueryDisposition, WriteToBigQuery
from apache_beam.utils.timestamp import Timestamp

from pipelines.inserting import InsertError, refused_row
from shared.warehouse import DEAD, Dataset, Row, Table, rows_table

EVERY_SECONDS = 5
"""How often a stream is committed: so old is a row when a query first sees it."""


class Store(beam.PTransform):
    """Writes each row to its table. What BigQuery refuses goes to the dead letters with its reason."""

    def __init__(self, tables: Sequence[Table], where: Dataset) -> None:
        super().__init__()
        self._tables = tables
        self._where = where

    def expand(self, rows: Any) -> Any:
        """The dead letters come last: what is refused becomes one of them."""
        dead = rows_table(DEAD)
        letters = [rows | "Dead letters" >> beam.Filter(goes_to, dead)]
        for table in self._tables:
            if table.name != dead:
                own = rows | f"Rows of {table.name}" >> beam.Filter(goes_to, table.name)
                refused = own | table.name >> _Append(table, self._where)
                letters.append(refused | f"Refused by {table.name}" >> beam.Map(set_aside, table.name))
        (table,) = (it for it in self._tables if it.name == dead)
        refused = letters | "Letters" >> beam.Flatten() | dead >> _Append(table, self._where)
        return refused | "Never refused" >> beam.Map(fail)


class _Append(beam.PTransform):
    """Appends rows to a table; gives what BigQuery refuses."""

    def __init__(self, table: Table, where: Dataset) -> None:
        super().__init__()
        self._table = table
        self._where = where

    def expand(self, rows: Any) -> Any:
        schema = {"fields": [dict(column) for column in self._table.columns]}
        written = (
            rows
            | "Values" >> beam.Map(beam_values, self._table)
            | "Write"
            >> WriteToBigQuery(
                f"{self._where.project}:{self._where.name}.{self._table.name}",
                schema=schema,
                method=WriteToBigQuery.Method.STORAGE_WRITE_API,
                use_at_least_once=False,
                triggering_frequency=EVERY_SECONDS,
                with_auto_sharding=True,
                create_disposition=BigQueryDisposition.CREATE_NEVER,
                write_disposition=BigQueryDisposition.WRITE_APPEND,
                type_overrides={"JSON": str},
            )
        )
        return written.failed_rows_with_errors


def goes_to(row: Row, table: str) -> bool:
    """Whether a row is of a table."""
    return row.table == table


def beam_values(row: Row, table: Table) -> dict[str, Any]:
    """A row with each column of its table, in the types that Beam has for them: JSON is text."""
    return {
        str(column["name"]): _value(row.columns.get(str(column["name"])), str(column["type"]))
        for column in table.columns
    }


def _value(value: object, kind: str) -> Any:
    if isinstance(value, datetime):
        return Timestamp.from_utc_datetime(value)
    return float(value) if kind == "FLOAT" and isinstance(value, int) else value


def set_aside(refused: Mapping[str, Any], table: str) -> Row:
    """The dead letter of a row that BigQuery refuses."""
    columns = {
        name: value.to_utc_datetime(has_tz=True) if isinstance(value, Timestamp) else value
        for name, value in refused["failed_row"].items()
    }
    return refused_row(Row(table, "", columns), str(refused["error_message"]))


def fail(refused: Mapping[str, Any]) -> None:
    """Raises InsertError: a dead letter that cannot be kept must not vanish."""
    raise InsertError(f"{rows_table(DEAD)}: BigQuery refuses a dead letter: {refused['error_message']}")

"""What goes to the Storage Write API, as far as it can be had without Java: types, tables, refusals."""

import json
from datetime import UTC, datetime
from typing import Any

import apache_beam as beam
import pytest
from apache_beam.coders import RowCoder
from apache_beam.io.gcp import bigquery_tools
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.pvalue import TaggedOutput
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.testing.util import assert_that, equal_to
from apache_beam.typehints.row_type import RowTypeConstraint

from pipelines import storage
from pipelines.storage import Store, beam_values
from shared.schemas import self_written
from shared.settings import Settings
from shared.warehouse import Dataset, Message, Row, row_of, tables

NOW = datetime(2026, 11, 25, 12, 0, 0, 123456, tzinfo=UTC)
SOURCES = {name: books.source for name, books in self_written(Settings()).items()}
TABLES = {table.name: table for table in tables(SOURCES) if table.partition}
EVENT = {"event_id": "e1", "user_id": "ann", "event_type": "view", "timestamp": "2026-11-25T11:00:00.5Z"}
SIGNAL = {"user_id": "ann", "timestamp": "2026-11-25T11:00:00Z", "signal_type": "flag"}


def row(source: str, event: object, identity: str = "m1") -> Row:
    data = event if isinstance(event, bytes) else json.dumps(event).encode()
    return row_of(SOURCES[source], Message(identity, data, {}, NOW))


@pytest.mark.parametrize(
    "made",
    [
        row("user_events", EVENT),
        row("user_events", EVENT | {"value": 1, "page": "/é"}),
        row("signals", SIGNAL | {"confidence": 1, "event_details": {"a": [1.0, None]}}),
        row("user_events", b"\xff"),
        row("user_events", {"event_id": 7}),
    ],
    ids=lambda made: made.table,
)
def test_a_row_is_of_the_types_that_beam_gives_its_table(made: Row) -> None:
    """Beam encodes it for Java and reads the same again: text, times, bytes, JSON and repeated records."""
    table = TABLES[made.table]
    schema = {"fields": [dict(column) for column in table.columns]}
    hints = bigquery_tools.get_beam_typehints_from_tableschema(schema, {"JSON": str})
    constraint = RowTypeConstraint.from_fields(hints)
    values = beam_values(made, table)
    coder = RowCoder.from_type_hint(constraint, None)
    read = coder.decode(coder.encode(bigquery_tools.beam_row_from_dict(dict(values), schema)))
    for name, value in values.items():
        found = getattr(read, name)
        if name == "reasons":
            found = [it._asdict() for it in found]
        assert found == value, name


class Append(beam.PTransform):
    """A table that refuses what it is told to refuse, and keeps the rest."""

    refuses: frozenset[str] = frozenset()

    def __init__(self, table: Any, where: Dataset) -> None:
        super().__init__()
        self._table, self._where, self._refuses = table, where, self.refuses

    def expand(self, rows: Any) -> Any:
        done = rows | beam.ParDo(Appending(self._table, self._refuses)).with_outputs("kept", main="refused")
        KEPT.append(done.kept)
        return done.refused


KEPT: list[Any] = []


class Appending(beam.DoFn):
    """Refuses by the message's name."""

    def __init__(self, table: Any, refuses: frozenset[str]) -> None:
        self._table, self._refuses = table, refuses

    def process(self, row: Row) -> Any:
        values = beam_values(row, self._table)
        if f"{self._table.name}/{values['libra_message']}" in self._refuses:
            yield {"failed_row": values, "error_message": "too odd"}
        else:
            source = values.get("source")
            yield TaggedOutput("kept", (self._table.name, values["libra_message"], source))


def stored(monkeypatch: pytest.MonkeyPatch, rows: list[Row], *refused: str) -> None:
    """Run the writer of rows over such tables, and compare what they keep."""
    monkeypatch.setattr(storage, "_Append", Append)
    monkeypatch.setattr(Append, "refuses", frozenset(refused))
    KEPT.clear()
    with beam.Pipeline(runner=FnApiRunner(), options=PipelineOptions(flags=[])) as pipeline:
        _ = pipeline | beam.Create(rows) | Store(list(TABLES.values()), Dataset("p", "libra"))
        found = KEPT | beam.Flatten()
        expected = [
            ("user_events_rows", "m1", None),
            ("signals_rows", "m2", None),
            ("dead_letters_rows", "m3", "user_events"),
            ("dead_letters_rows", "m4", "user_events"),
        ]
        assert_that(found, equal_to(expected))


ROWS = [
    row("user_events", EVENT),
    row("signals", SIGNAL, "m2"),
    row("user_events", b"\xff", "m3"),
    row("user_events", EVENT | {"event_id": "e4"}, "m4"),
]


def test_each_row_goes_to_its_table_and_a_refused_one_to_the_dead_letters(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With the source that it came from."""
    stored(monkeypatch, ROWS, "user_events_rows/m4")


def test_a_refused_dead_letter_fails_the_bundle(monkeypatch: pytest.MonkeyPatch) -> None:
    """It must not vanish."""
    with pytest.raises(Exception, match="BigQuery refuses a dead letter: too odd"):
        stored(monkeypatch, ROWS, "user_events_rows/m4", "dead_letters_rows/m3")

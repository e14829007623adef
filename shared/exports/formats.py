"""The formats of an export's files: CSV, JSON lines and Parquet. A file is written, and read, in pages."""

import io
import json
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol, TypeAlias

from shared.errors import ExportError
from shared.exports.tables import Kind, Row, Table, Value, iso

BUFFERED = 4 << 20
"""Characters of text in a row group of Parquet, about: it is in memory until it is written."""
BUFFERED_ROWS = 50_000
READ_ROWS = 1_000


class Sink(Protocol):
    """What takes the bytes of a file."""

    def write(self, data: bytes, /) -> object:
        """Add bytes."""


class Writer(Protocol):
    """Writes the rows of one table into an open file, which it leaves open."""

    def write(self, rows: Sequence[Row]) -> None:
        """Add rows."""

    def close(self) -> None:
        """Write what is left."""


class CsvWriter:
    """RFC 4180: every text is in quotes, so that an empty one is not a missing one, which is nothing."""

    def __init__(self, file: Sink, table: Table) -> None:
        self._file = file
        self._file.write((",".join(map(_quoted, table.names)) + "\n").encode())

    def write(self, rows: Sequence[Row]) -> None:
        """See `Writer.write`."""
        self._file.write("".join(",".join(map(_csv, row)) + "\n" for row in rows).encode())

    def close(self) -> None:
        """See `Writer.close`."""


class JsonWriter:
    """One JSON object a line. Integers are integers, of up to 64 bits; JSON is JSON.

    ``as_text``: JSON is text, and so is an integer, as BigQuery's loader needs both: it may round a number
    beyond 2^53 (https://cloud.google.com/bigquery/docs/loading-data-cloud-storage-json, 2026-11).
    """

    def __init__(self, file: Sink, table: Table, *, as_text: bool = False) -> None:
        self._file = file
        self._names = [json.dumps(name) for name in table.names]
        self._as_text = as_text
        self._raw = [column.kind == "json" and not as_text for column in table.columns]

    def write(self, rows: Sequence[Row]) -> None:
        """See `Writer.write`."""
        for row in rows:
            cells = zip(self._names, row, self._raw, strict=True)
            said = (f"{name}:{self._said(value, raw=raw)}" for name, value, raw in cells)
            self._file.write(("{" + ",".join(said) + "}\n").encode())

    def close(self) -> None:
        """See `Writer.close`."""

    def _said(self, value: Value, *, raw: bool) -> Value:
        if raw and value is not None:
            return value
        return _json(str(value) if self._as_text and type(value) is int else value)


class ParquetWriter:
    """Parquet, zstd: INT64, STRING, BOOLEAN, TIMESTAMP(us, UTC). JSON is a STRING."""

    def __init__(self, file: Sink, table: Table) -> None:
        import pyarrow
        import pyarrow.parquet  # late: both take a second to load, and other formats need neither

        self._arrow: Any = pyarrow
        kinds = _arrow_kinds(pyarrow)
        fields = [pyarrow.field(each.name, kinds[each.kind]) for each in table.columns]
        self._schema = pyarrow.schema(fields)
        self._writer: Any = pyarrow.parquet.ParquetWriter(file, self._schema, compression="zstd")
        self._rows: list[Row] = []
        self._size = 0

    def write(self, rows: Sequence[Row]) -> None:
        """See `Writer.write`."""
        self._rows += rows
        self._size += sum(len(value) for row in rows for value in row if isinstance(value, str))
        if self._size >= BUFFERED or len(self._rows) >= BUFFERED_ROWS:
            self._flush()

    def close(self) -> None:
        """See `Writer.close`."""
        self._flush()
        self._writer.close()

    def _flush(self) -> None:
        if self._rows:
            columns = zip(*self._rows, strict=True)
            arrays = [
                self._arrow.array(values, type=field.type)
                for values, field in zip(columns, self._schema, strict=True)
            ]
            self._writer.write_table(self._arrow.Table.from_arrays(arrays, schema=self._schema))
        self._rows, self._size = [], 0


def read_csv(path: Path, table: Table) -> Iterator[Row]:
    """The rows of a file that `CsvWriter` wrote."""
    kinds = [each.kind for each in table.columns]
    with path.open(encoding="utf-8", newline="\n") as file:
        rows = _cells(file)
        next(rows, None)
        for cells in rows:
            yield tuple(_parsed(cell, kind) for cell, kind in zip(cells, kinds, strict=True))


def read_json(path: Path, table: Table) -> Iterator[Row]:
    """The rows of a file that `JsonWriter` wrote."""
    with path.open("rb") as file:
        for line in file:
            found = json.loads(line)
            yield tuple(_from_json(found[each.name], each.kind) for each in table.columns)


def read_parquet(path: Path, table: Table) -> Iterator[Row]:
    """The rows of a file that `ParquetWriter` wrote."""
    import pyarrow.parquet  # late, as above

    with pyarrow.parquet.ParquetFile(path) as file:
        for batch in file.iter_batches(READ_ROWS, columns=list(table.names)):
            yield from zip(*(column.to_pylist() for column in batch.columns), strict=True)


_Writers: TypeAlias = dict[str, tuple[Any, Any]]
_FORMATS: _Writers = {
    "parquet": (ParquetWriter, read_parquet),
    "csv": (CsvWriter, read_csv),
    "jsonl": (JsonWriter, read_json),
}
FORMATS = tuple(_FORMATS)
"""The names of the formats, which are the endings of their files too."""


@contextmanager
def writing(name: str, file: Sink, table: Table) -> Iterator[Writer]:
    """What writes a table in a format. After an error it writes nothing more, not even what is left.

    Raises:
        ExportError: Parquet needs a package that is not installed.
    """
    sink = _Until(file)
    try:
        made: Writer = _FORMATS[name][0](sink, table)
    except ImportError as error:
        raise ExportError(
            f"Parquet needs the package pyarrow (make .venv/.all brings it): {error}"
        ) from error
    try:
        yield made
        made.close()
    finally:
        sink.over = True


class _Until(io.BufferedIOBase):
    """A file, until it is over: Parquet's writer still writes its end when Python collects it."""

    def __init__(self, file: Sink) -> None:
        self._file = file
        self.over = False

    def writable(self) -> bool:
        """It is."""
        return True

    def write(self, data: Any) -> int:
        """Add bytes."""
        if not self.over:
            self._file.write(data)
        return len(data)


def read(path: Path, table: Table) -> Iterator[Row]:
    """The rows of a file, by its ending.

    Raises:
        ExportError: it does not hold the table's columns.
    """
    try:
        yield from _FORMATS[path.suffix.removeprefix(".")][1](path, table)
    except (OSError, ValueError, KeyError) as error:
        raise ExportError(f"{path}: {type(error).__name__}: {error}") from error


def _arrow_kinds(arrow: Any) -> dict[Kind, Any]:
    return {
        "text": arrow.string(),
        "json": arrow.string(),
        "integer": arrow.int64(),
        "boolean": arrow.bool_(),
        "time": arrow.timestamp("us", tz="UTC"),
    }


def _quoted(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'


def _csv(value: Value) -> str:
    match value:
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case int():
            return str(value)
        case datetime():
            return iso(value)
    return _quoted(value)


def _json(value: Value) -> str:
    return json.dumps(iso(value) if isinstance(value, datetime) else value, ensure_ascii=False)


def _cells(file: io.TextIOBase) -> Iterator[list[str | None]]:
    """The cells of each row, None for nothing: the csv module does not tell it from an empty text."""
    row = ""
    for line in file:
        row += line
        if row.count('"') % 2 == 0:  # else the line ends inside a text
            found = _CELL.findall(row)
            yield [text.replace('""', '"') if quote else bare or None for quote, text, bare in found]
            row = ""


_CELL = re.compile(r'(?:(")((?:[^"]|"")*)"|([^",\n]*))(?:,|\n)')


def _parsed(cell: str | None, kind: Kind) -> Value:
    if cell is None or kind in ("text", "json"):
        return cell
    if kind == "boolean":
        return cell == "true"
    return int(cell) if kind == "integer" else datetime.fromisoformat(cell)


def _from_json(value: Any, kind: Kind) -> Value:
    if value is None:
        return None
    if kind == "time":
        return datetime.fromisoformat(value)
    if kind == "json":
        return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    found: Value = value
    return found

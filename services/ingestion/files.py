"""CSV files of users and locations: which one is taken, and its rows, each loadable or with a reason. Pure.

A record that cannot be read is rejected alone (`records`).
"""

import json
import re
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal, InvalidOperation
from typing import LiteralString

from services.ingestion.errors import PartError
from services.ingestion.records import LONGEST_LINE, Record, Records
from services.ingestion.rows import LONGEST_RAW, Batch, Rejected, Target

ENCODINGS = ("utf-8", "latin-1", "cp1252", "utf-16")
DELIMITERS = (",", ";", "\t", "|")
LONGEST_KEY = 500
"""Characters of a key: PostgreSQL's index takes 2,704 bytes."""
BATCH = 5_000
LARGEST_BATCH = 4 * LONGEST_LINE
"""Characters after which a batch is full, however few rows it has."""


@dataclass(frozen=True, slots=True)
class Format:
    """How a tenant writes its files.

    Attributes:
        encoding: one of `ENCODINGS`.
        delimiter: one of `DELIMITERS`.
        names: what the file calls a column, by what the table calls it; the same where it is not here.
    """

    encoding: str = "utf-8"
    delimiter: str = ","
    names: Mapping[str, str] = field(default_factory=dict)


def _text(value: str) -> object:
    return value


def _day(value: str) -> object:
    try:
        return date.fromisoformat(value)
    except ValueError:
        raise ValueError("a date such as 2026-01-31") from None


def _degrees(most: int) -> Callable[[str], object]:
    def read(value: str) -> object:
        try:
            found = Decimal(value)
        except InvalidOperation:
            found = Decimal("NaN")
        if not found.is_finite() or abs(found) > most:
            raise ValueError(f"degrees from -{most} to {most}")
        return found

    return read


COLUMNS: Mapping[str, Mapping[LiteralString, Callable[[str], object]]] = {
    "users": {"user_id": _text, "email": _text, "name": _text, "location_id": _text, "created_on": _day},
    "locations": {
        "location_id": _text,
        "name": _text,
        "city": _text,
        "country": _text,
        "latitude": _degrees(90),
        "longitude": _degrees(180),
    },
}
"""The columns that a file has to have, the key first. It may have others: they are kept in ``other``."""
_TABLES: Mapping[str, LiteralString] = {"users": "ingest_user", "locations": "ingest_location"}


def target(kind: str) -> Target:
    """Where a kind's rows go."""
    names = tuple(COLUMNS[kind])
    return Target(_TABLES[kind], (*names, "other"), key=names[0])


def newest(kind: str, names: Iterable[str]) -> tuple[str, date] | None:
    """The file with the latest date in its name: ``users_2026-01-31.csv``, or ``users_20260131.csv``."""
    found = []
    for name in names:
        if match := re.fullmatch(rf"{kind}_(\d{{4}})-?(\d\d)-?(\d\d)\.csv", name, re.ASCII):
            try:
                found.append((date(*map(int, match.groups())), name))
            except ValueError:
                continue  # 31 February
    if not found:
        return None
    day, name = max(found)
    return name, day


def batches(kind: str, source: str, lines: Iterable[str], form: Format) -> Generator[Batch, None, int]:
    """The rows of a file; returns how many of its lines are no row: the first one, blank ones, and those that
    continue a row.

    Args:
        kind: of rows.
        source: the file, for messages.
        lines: with their line breaks, decoded with ``surrogateescape``. One that is longer than
            `LONGEST_LINE` may be cut anywhere after that.
        form: how the file is written.

    Raises:
        PartError: it is no file of this kind, or it ends before its end.
    """
    records = Records(lines, form.delimiter)
    each = iter(records)
    first = next(each, None)
    if first is None:
        raise PartError(
            "empty", f"{source} is empty: it needs a line with the names of its columns, and rows"
        )
    header = _Header(kind, source, first, form)
    rows: list[tuple[object, ...]] = []
    rejected: list[Rejected] = []
    record, others, size = first, first.lines, 0
    for record in each:
        others += record.lines - 1
        size += len(record.raw)
        reason, raw = record.reason, record.raw[:LONGEST_RAW]
        if not reason:
            try:
                rows.append((*header.row(record), record.line, raw))
            except ValueError as error:
                reason = str(error)
        if reason:
            rejected.append(Rejected(record.line, reason, _shown(raw), header.key(record)))
        if len(rows) + len(rejected) == BATCH or size > LARGEST_BATCH:
            yield Batch(rows, rejected)
            rows, rejected, size = [], [], 0
    if not record.raw.endswith(("\n", "\r")):
        raise PartError(
            "truncated", f"{source} ends within line {record.line}, without a line break: have it sent again"
        )
    if record is first:
        raise PartError("empty", f"{source} has no row: have it sent again")
    yield Batch(rows, rejected)
    return others + records.blank


class _Header:
    """Which field is which column."""

    def __init__(self, kind: str, source: str, record: Record, form: Format) -> None:
        names = [each.strip() for each in record.fields]
        if not all(map(_is_text, names)):
            raise PartError(
                "encoding", f"{source}: its first line is not {form.encoding}: declare the file's encoding"
            )
        wanted = {column: form.names.get(column, column) for column in COLUMNS[kind]}
        missing = [name for name in wanted.values() if name not in names]
        if record.reason or missing or len(set(names)) < len(names):
            what = record.reason or (
                f"has no column {', '.join(missing)}" if missing else "has a column twice"
            )
            raise PartError(
                "wrong_columns", f"{source}: its first line {what}; expected are {', '.join(wanted.values())}"
            )
        self._width = len(names)
        self._encoding = form.encoding
        self._delimiter = form.delimiter
        self._columns = [
            (names.index(name), name, read)
            for name, read in zip(wanted.values(), COLUMNS[kind].values(), strict=True)
        ]
        known = {place for place, *_ in self._columns}
        self._others = [(place, name) for place, name in enumerate(names) if place not in known]

    def row(self, record: Record) -> tuple[object, ...]:
        """The table's row. Raises ValueError with a reason."""
        fields = record.fields
        if len(fields) != self._width:
            raise ValueError(f"it has {len(fields)} fields, allowed are {self._width}")
        if "\0" in record.raw:
            raise ValueError("a NUL character, which PostgreSQL cannot hold")
        if not _is_text(record.raw):
            raise ValueError(f"bytes that are not {self._encoding}: declare the file's encoding")
        values = []
        for place, name, read in self._columns:
            value = fields[place].strip()
            try:
                values.append(read(value) if value else None)
            except ValueError as error:
                raise ValueError(f"{name}: found {value[:60]!r}, allowed is {error}") from None
        if values[0] is None:
            raise ValueError(f"{self._columns[0][1]}: there is none, and every row needs one")
        if len(str(values[0])) > LONGEST_KEY:
            raise ValueError(f"{self._columns[0][1]}: it has more than {LONGEST_KEY} characters")
        values.append(self._other(fields) if self._others else "{}")
        return tuple(values)

    def _other(self, fields: Sequence[str]) -> str:
        return json.dumps({name: fields[place] for place, name in self._others}, ensure_ascii=False)

    def key(self, record: Record) -> str | None:
        """The key of a row that is rejected; empty: it has none; None: nobody can tell whose it is."""
        place = self._columns[0][0]
        if len(record.fields) == self._width:
            key = record.fields[place].strip()
        elif place == 0:
            head, ended, _ = record.raw.partition(self._delimiter)
            match = re.fullmatch('"([^"]*)"|([^"]*)', head)
            if not ended or not match:
                return None
            key = (match[1] or match[2] or "").strip()
        else:
            return None
        return key if _is_text(key) and "\0" not in key else None


def _is_text(value: str) -> bool:
    """Whether every byte was a character of the file's encoding."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _shown(raw: str) -> str:
    """Raw text as PostgreSQL can hold it: bytes that are no characters are shown by their numbers."""
    return raw.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")

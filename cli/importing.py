"""Entries from files: each line checked on its own, so that one wrong line costs one line."""

import csv
import json
import math
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from local.errors import StackError

if TYPE_CHECKING:
    from _csv import Reader

STRINGS = ("location", "ingredient", "dataAction")
DEVICE = ("model", "serialNumber")
REQUIRED = ("ingredient", "dataAction", "timestamp")
ALLOWED = ("id", "device", *STRINGS, "amount", "timestamp")
COLUMNS = ("id", *(f"device.{name}" for name in DEVICE), *STRINGS, "amount", "timestamp")
RFC_3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)?")
RESERVED_ID = re.compile(r"\.|\.\.|__.*__", re.DOTALL)
MAX_ID_BYTES = 1500  # https://firebase.google.com/docs/firestore/quotas, as are the reserved ids
MAX_INTEGER = 2**63
SHOWN = 60

Raw = dict[str, Any]


@dataclass(frozen=True)
class Line:
    """A good line.

    Attributes:
        number: where it stands in its file, from 1.
        id: the document's id: the line's own, or one made of what it says.
        fields: the document.
    """

    number: int
    id: str
    fields: Mapping[str, object]


class WrongLineError(Exception):
    """A line that is no entry; the message says why."""


def read(file: Path, complain: Callable[[str], None]) -> Iterator[Line]:
    """The good lines of a .jsonl or .csv file, one after the other.

    Args:
        file: the file; it is not held in memory.
        complain: called with `LINE: reason` for each wrong line.

    Raises:
        StackError: it is of another kind, cannot be read, or has a wrong header.
    """
    kind = file.suffix.lower()
    if kind not in READERS:
        raise StackError(f"{file}: expected a file whose name ends with {' or '.join(READERS)}")
    ids = _Ids()
    try:
        for number, found in READERS[kind](file):
            try:
                yield ids.give(number, _entry(found))
            except WrongLineError as wrong:
                complain(f"{number}: {wrong}")
    except OSError as error:
        raise StackError(f"{file}: {error.strerror or error}") from error


def objects(file: Path) -> Iterator[tuple[int, Raw | str]]:
    """Each line's number and object, or what is wrong with it, of a .jsonl file."""
    with file.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                found = json.loads(
                    line.decode("utf-8-sig" if number == 1 else "utf-8"), parse_constant=_no_number
                )
            except (ValueError, RecursionError) as error:
                yield number, f"not JSON in UTF-8: {error}"
                continue
            yield number, found if isinstance(found, dict) else f"expected an object, found {_shown(found)}"


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number in JSON")


def _csv(file: Path) -> Iterator[tuple[int, Raw | str]]:
    """Each row as an object, or what is wrong with it. A row is named by the line it begins on."""
    with file.open(newline="", encoding="utf-8-sig", errors="surrogateescape") as text:
        rows = csv.reader(text, strict=True)
        columns = _header(file, rows)
        for number, row in cells(rows, columns):
            yield number, row if isinstance(row, str) else _nested(row)


def cells(rows: "Reader", columns: Sequence[str]) -> Iterator[tuple[int, dict[str, str] | str]]:
    """Each row's number and cells by column, or what is wrong with it. Empty rows are left out."""
    while True:
        number = rows.line_num + 1
        try:
            row = next(rows, None)
        except csv.Error as error:
            yield number, f"not CSV: {error}"
            continue
        if row is None:
            return
        if len(row) not in (0, len(columns)):
            yield number, f"expected {len(columns)} columns, found {len(row)}"
        elif row:
            yield number, dict(zip(columns, row, strict=True))


def _header(file: Path, rows: Iterator[list[str]]) -> list[str]:
    try:
        columns = next(rows, [])
    except csv.Error as error:
        raise StackError(f"{file}:1: not CSV: {error}") from error
    missing = [name for name in REQUIRED if name not in columns]
    unknown = [name for name in columns if name not in COLUMNS]
    if missing or unknown or len(set(columns)) < len(columns):
        raise StackError(
            f"{file}:1: the header names {', '.join(columns) or 'nothing'}: it needs {', '.join(REQUIRED)}, "
            f"and may have, once each, {', '.join(name for name in COLUMNS if name not in REQUIRED)}"
        )
    return columns


def _nested(row: dict[str, str]) -> Raw:
    """A row as JSON would have it: an empty cell is a field that is not there."""
    found: Raw = {name: cell for name, cell in row.items() if cell and "." not in name}
    if device := {name: row[f"device.{name}"] for name in DEVICE if row.get(f"device.{name}")}:
        found["device"] = device
    if "amount" in found:
        found["amount"] = number_in(found["amount"])
    return found


def number_in(cell: str) -> object:
    """The number in a cell, or the cell if there is none in it: then the check says so."""
    for kind in (int, float):
        try:
            return kind(cell)
        except ValueError:
            continue
    return cell


READERS = {".jsonl": objects, ".csv": _csv}


def _entry(found: Raw | str) -> Raw:
    """The entry with its timestamp parsed; raises WrongLineError."""
    if isinstance(found, str):
        raise WrongLineError(found)
    if unknown := found.keys() - set(ALLOWED):
        raise WrongLineError(f"unknown field {_shown(min(unknown))}: allowed are {', '.join(ALLOWED)}")
    if missing := [name for name in REQUIRED if name not in found]:
        raise WrongLineError(f"{missing[0]} is missing")
    for name in STRINGS:
        if name in found:
            _check_string(name, found[name])
    if not found["dataAction"]:
        raise WrongLineError("dataAction is empty")
    if "device" in found:
        _check_device(found["device"])
    if "amount" in found:
        _check_amount(found["amount"])
    if "id" in found:
        _check_id(found["id"])
    return {**found, "timestamp": _instant(found["timestamp"])}


def _check_string(name: str, value: object) -> None:
    if not isinstance(value, str):
        raise WrongLineError(f"{name}={_shown(value)}: expected a string")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise WrongLineError(f"{name}={_shown(value)}: not valid UTF-8") from None


def _check_device(value: object) -> None:
    if not isinstance(value, dict) or value.keys() - set(DEVICE):
        raise WrongLineError(f"device={_shown(value)}: expected an object of {' and '.join(DEVICE)}")
    for name in value:
        _check_string(f"device.{name}", value[name])


def _check_amount(value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise WrongLineError(f"amount={_shown(value)}: expected a number of grams")
    if not math.isfinite(value) or (isinstance(value, int) and abs(value) >= MAX_INTEGER):
        raise WrongLineError(f"amount={_shown(value)}: more than Firestore can hold")


def _check_id(value: object) -> None:
    _check_string("id", value)
    text = str(value)
    if not text or "/" in text or RESERVED_ID.fullmatch(text) or len(text.encode()) > MAX_ID_BYTES:
        raise WrongLineError(
            f"id={_shown(value)}: expected 1 to {MAX_ID_BYTES} bytes without '/', not '.', '..' or '__…__'"
        )


def _instant(value: object) -> datetime:
    match = RFC_3339.fullmatch(value) if isinstance(value, str) else None
    if not match:
        raise WrongLineError(f"timestamp={_shown(value)}: expected RFC 3339, such as 2025-09-04T18:57:29Z")
    if not match[2]:
        raise WrongLineError(f"timestamp={_shown(value)}: no time zone; end it with Z or such as +02:00")
    try:
        return datetime.fromisoformat(match[0].upper()).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise WrongLineError(f"timestamp={_shown(value)}: {error}") from None


def _shown(value: object) -> str:
    text = ascii(value)
    return text if len(text) <= SHOWN else f"{text[: SHOWN - 1]}…"


class _Ids:
    """Gives each line the id of its document.

    One that names none gets a digest of what it says and of how many lines before it said the same: the
    same file gives the same ids, and two equal servings stay two.
    """

    def __init__(self) -> None:
        self._said: Counter[bytes] = Counter()
        self._named: dict[str, int] = {}

    def give(self, number: int, entry: Raw) -> Line:
        """The line with its id; raises WrongLineError if an earlier line names the same."""
        fields = {name: value for name, value in entry.items() if name != "id"}
        if "id" not in entry:
            return Line(number, self._derived(fields), fields)
        first = self._named.setdefault(entry["id"], number)
        if first != number:
            raise WrongLineError(f"id={_shown(entry['id'])}: line {first} has it already")
        return Line(number, entry["id"], fields)

    def _derived(self, fields: Raw) -> str:
        content = json.dumps(fields, sort_keys=True, default=datetime.isoformat).encode()
        digest = blake2b(content, digest_size=16).digest()
        self._said[digest] += 1
        return blake2b(digest + self._said[digest].to_bytes(8, "big"), digest_size=15).hexdigest()

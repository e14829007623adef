"""The records of a CSV file, one by one: a quote that is never closed takes no other record with it. Pure."""

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

MOST_LINES = 20
"""Lines that a record may have, with line breaks inside quotes."""
LONGEST_LINE = 2**20
"""Characters of a line; of a record, where it has several."""


class Record(NamedTuple):
    """A record of a file.

    Attributes:
        line: the number of its first line, from 1.
        raw: its text, with line breaks.
        fields: none where it cannot be read.
        reason: why it cannot be read.
        lines: how many it has.
    """

    line: int
    raw: str
    fields: Sequence[str] = ()
    reason: str = ""
    lines: int = 1


class Records:
    """The records of a file. ``blank``: how many lines were blank so far; those are no records."""

    def __init__(self, lines: Iterable[str], delimiter: str) -> None:
        """``lines``: with their line breaks."""
        self._lines = lines
        self._delimiter = delimiter
        self.blank = 0

    def __iter__(self) -> Iterator[Record]:
        """One after another."""
        delimiter = self._delimiter
        waiting: list[tuple[int, str]] = []
        source = (
            (number, raw.removeprefix("\ufeff") if number == 1 else raw)
            for number, raw in enumerate(self._lines, 1)
        )

        def line() -> tuple[int, str] | None:
            return waiting.pop(0) if waiting else next(source, None)

        while found := line():
            number, raw = found
            if plain := plain_fields(raw, delimiter):
                yield Record(number, raw, plain)
                continue
            if not raw.strip("\r\n"):
                self.blank += 1
                continue
            taken = [found]
            fields, reason = csv_fields(raw, delimiter)
            while fields is None and not reason and len(taken) < MOST_LINES and (more := line()):
                taken.append(more)
                fields, reason = csv_fields("".join(each for _, each in taken), delimiter)
            if fields is None:
                waiting[:0] = taken[1:]
                yield Record(number, raw, reason=reason or "a quote is opened and never closed")
            else:
                yield Record(number, "".join(each for _, each in taken), fields, lines=len(taken))


def plain_fields(raw: str, delimiter: str) -> list[str] | None:
    """The fields of one line without quotes, at a tenth of the time; None: `csv_fields` has to tell."""
    line = raw[: -2 if raw.endswith("\r\n") else -1]
    if not line or raw[-1] != "\n" or len(line) > csv.field_size_limit():
        return None
    if '"' in line or "\r" in line or "\n" in line:
        return None
    return line.split(delimiter)


def csv_fields(raw: str, delimiter: str) -> tuple[list[str] | None, str]:
    """The fields; None and no reason where a quote is still open."""
    if len(raw) > LONGEST_LINE:
        return None, f"it has more than {LONGEST_LINE:,} characters"
    try:
        (fields,) = csv.reader(io.StringIO(raw, newline=""), delimiter=delimiter, strict=True)
    except csv.Error as error:
        if "field limit" in str(error):
            return None, f"a field has more than {csv.field_size_limit()} characters"
        opened = "unexpected end of data" in str(error)
        return None, "" if opened else "a quote inside a field has to be written twice"
    except ValueError:
        return None, "a line break stands outside quotes"
    return fields, ""

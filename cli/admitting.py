"""Events from files, through the intake's own door: for sources that Libra writes itself."""

import asyncio
import csv
import json
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

from cli.importing import Raw, cells, number_in, objects
from local.errors import StackError
from shared.events import Map, Number, Schema
from shared.intake import Intake, Outcome, Verdict

AT_ONCE = 1_000

Outcomes = Counter[str]
Numbered = tuple[int, Raw | str]
"""A line's number and its event, or what is wrong with it."""


def admit(
    file: Path,
    schema: Schema,
    intake: Intake,
    complain: Callable[[str], None],
    progress: Callable[[int], None] = lambda _: None,
) -> Outcomes:
    """Store and count the events of a .jsonl or .csv file: each once, however often it is imported.

    Args:
        file: the file; it is not held in memory.
        schema: the source's.
        intake: of the source.
        complain: called with `LINE: reason` for each wrong line.
        progress: called with the number of lines after each batch.

    Returns:
        How many lines became what, without the wrong ones.

    Raises:
        StackError: the file is of another kind, cannot be read, or has a wrong header.
        StoreError: Firestore refused, or did not answer. What is counted is counted: import it again.
    """
    tally: Outcomes = Counter()
    try:
        with asyncio.Runner() as loop:  # one for all: the intake's leader goes on from batch to batch
            lines = _lines(file, schema)
            while batch := list(islice(lines, AT_ONCE)):
                for (number, _), verdict in zip(batch, loop.run(_admitted(batch, intake)), strict=True):
                    if wrong := _wrong(verdict):
                        complain(f"{number}: {wrong}")
                    elif isinstance(verdict, Verdict):
                        tally[verdict.outcome.value] += 1
                progress(len(batch))
    except OSError as error:
        raise StackError(f"{file}: {error.strerror or error}") from error
    return tally


async def _admitted(batch: list[Numbered], intake: Intake) -> list[Verdict | str]:
    async def one(event: Raw | str) -> Verdict | str:
        return event if isinstance(event, str) else await intake.admit_async(event)

    found = await asyncio.gather(*(one(event) for _, event in batch), return_exceptions=True)
    kept = [each for each in found if not isinstance(each, BaseException)]
    if len(kept) < len(found):
        raise next(each for each in found if isinstance(each, BaseException))
    return kept


def _wrong(verdict: Verdict | str) -> str:
    if isinstance(verdict, str):
        return verdict
    if verdict.outcome is Outcome.REJECTED:
        return "; ".join(map(str, verdict.reasons))
    return f"another event has the id {verdict.id!a}" if verdict.differs else ""


def _lines(file: Path, schema: Schema) -> Iterator[Numbered]:
    match file.suffix.lower():
        case ".jsonl":
            return objects(file)
        case ".csv":
            return _rows(file, schema)
    raise StackError(f"{file}: expected a file whose name ends with .jsonl or .csv")


def _rows(file: Path, schema: Schema) -> Iterator[Numbered]:
    """Each row as JSON has it: an empty cell is a field that is not there."""
    kinds = {field.name: field.kind for field in schema.fields}
    with file.open(newline="", encoding="utf-8-sig", errors="surrogateescape") as text:
        rows = csv.reader(text, strict=True)
        try:
            columns = next(rows, [])
        except csv.Error as error:
            raise StackError(f"{file}:1: not CSV: {error}") from error
        if not columns or set(columns) - kinds.keys() or len(set(columns)) < len(columns):
            raise StackError(
                f"{file}:1: the header names {', '.join(columns) or 'nothing'}: "
                f"it may name, once each, {', '.join(kinds)}"
            )
        for number, row in cells(rows, columns):
            if isinstance(row, str):
                yield number, row
            else:
                yield number, {name: _value(kinds[name], cell) for name, cell in row.items() if cell}


def _value(kind: object, cell: str) -> object:
    """What a cell says, or the cell itself if it says nothing of its kind: then the schema refuses it."""
    if isinstance(kind, Number):
        return number_in(cell)
    if isinstance(kind, Map):
        try:
            return json.loads(cell)
        except ValueError:
            return cell
    return cell

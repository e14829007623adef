"""Rows into BigQuery by `insertAll`, which needs no Java: the same on every runner, and on the emulator.

An insert that was repeated may leave a row twice. Its insert id makes BigQuery fold the two where it still
remembers the first, and the views fold the rest.
"""

import hashlib
import json
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from typing import Any

import apache_beam as beam

from shared.errors import LibraError
from shared.log import logger
from shared.warehouse import DEAD, Row, encoded, rows_table

MOST_ROWS, MOST_BYTES = 500, 5_000_000
"""Rows and bytes of one call: BigQuery takes 50,000 and 10 MB, and advises 500
(https://cloud.google.com/bigquery/quotas#streaming_inserts, 2026-11)."""
LONGEST_ID = 128
"""Characters of an insert id (the same page). With a longer one BigQuery refuses the call, each time."""
TIMEOUT = 60.0
"""Seconds that one call may take."""

Refused = Mapping[int, str]
"""What BigQuery says of the rows that it refuses, by their number in the call."""
InsertAll = Callable[[str, list[dict[str, Any]], list[str]], Refused]
"""Inserts into a table rows that have these insert ids; those that are not refused are in."""


class InsertError(LibraError):
    """BigQuery refuses a dead letter, or a table; the message says which."""


class Insert(beam.DoFn):
    """Inserts the rows of a bundle. The bundle is done only once they are in.

    A row that BigQuery refuses is set aside as a dead letter with BigQuery's reason, so that it does not hold
    up the others for ever. What else fails, fails the bundle, and the runner repeats it.
    """

    def __init__(self, connect: Callable[[], AbstractContextManager[InsertAll]]) -> None:
        """``connect`` is called where the rows are written, and closed with the worker."""
        self._connect = connect

    def setup(self) -> None:
        """Open what lives as long as the worker."""
        self._open = ExitStack()
        self._insert_all = self._open.enter_context(self._connect())

    def teardown(self) -> None:
        """Close it."""
        self._open.close()

    def start_bundle(self) -> None:
        """Nothing waits from another bundle: a bundle that failed left some."""
        self._waiting: dict[str, list[tuple[Row, dict[str, Any]]]] = defaultdict(list)
        self._rows = self._bytes = 0

    def process(self, row: Row) -> None:
        """Take a row; write what waits once that is enough for a call."""
        body = encoded(row)
        self._waiting[row.table].append((row, body))
        self._rows, self._bytes = self._rows + 1, self._bytes + len(json.dumps(body))
        if self._rows >= MOST_ROWS or self._bytes >= MOST_BYTES:
            self._flush()

    def finish_bundle(self) -> None:
        """Write what waits."""
        self._flush()

    def _flush(self) -> None:
        waiting = self._waiting
        self.start_bundle()
        for table, rows in waiting.items():
            refused = self._insert_all(table, [it for _, it in rows], [insert_id(row) for row, _ in rows])
            for number, reason in refused.items():
                self._set_aside(rows[number][0], reason)

    def _set_aside(self, row: Row, reason: str) -> None:
        if row.table == rows_table(DEAD):
            raise InsertError(f"{row.table}: BigQuery refuses the dead letter {row.name}: {reason}")
        about = {"table": row.table, "event": row.columns["libra_message"], "reason": reason}
        logger.error("A row is refused by BigQuery: see the dead letters", extra=about)
        letter = refused_row(row, reason)
        body = encoded(letter)
        if said := self._insert_all(letter.table, [body], [insert_id(letter)]):
            raise InsertError(f"{letter.table}: BigQuery refuses the dead letter {letter.name}: {said[0]}")


def insert_id(row: Row) -> str:
    """What BigQuery knows a row by: its name, or a digest of one that is too long."""
    name = row.name
    return name if len(name) <= LONGEST_ID else hashlib.sha256(name.encode()).hexdigest()


def refused_row(row: Row, reason: str) -> Row:
    """The dead letter of a row that BigQuery refuses: it holds the row in place of the message."""
    content = json.dumps(encoded(row)).encode()
    columns = {
        "source": row.table.removesuffix(rows_table("")),
        "libra_message": row.columns["libra_message"],
        "libra_accepted": row.columns["libra_accepted"],
        "reasons": [{"field": "", "reason": f"expected a row that BigQuery takes, found {reason}"}],
        "content": content,
        "content_bytes": len(content),
    }
    return Row(rows_table(DEAD), str(row.columns["libra_message"]), columns)


class Connect:
    """Opens BigQuery's own client, on the worker that writes; `BIGQUERY_EMULATOR_HOST` names an emulator."""

    def __init__(self, project: str, dataset: str, *, emulator: bool = False) -> None:
        self._project, self._dataset, self._emulator = project, dataset, emulator

    @contextmanager
    def __call__(self) -> Iterator[InsertAll]:
        """A client, and what inserts with it."""
        # Late: the worker that writes opens them, and this module is read where neither is installed.
        from google.auth.credentials import AnonymousCredentials
        from google.cloud import bigquery  # type: ignore[attr-defined]

        credentials = AnonymousCredentials() if self._emulator else None  # type: ignore[no-untyped-call]
        client = bigquery.Client(project=self._project, credentials=credentials)

        def insert_all(table: str, rows: list[dict[str, Any]], names: list[str]) -> Refused:
            name = f"{self._project}.{self._dataset}.{table}"
            answer = client.insert_rows_json(
                name, rows, row_ids=names, skip_invalid_rows=True, timeout=TIMEOUT
            )
            return {it["index"]: "; ".join(str(each) for each in it["errors"]) for it in answer}

        with closing(client):
            yield insert_all

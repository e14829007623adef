"""One part, from its source into its table, in one transaction.

The rows go by COPY into a temporary table, which no other session sees and which ends with the transaction.
Then the day is replaced (or the file merged), the sums are compared, the book's row and the rejected rows are
written, and the job's attempt is checked last (`Lease.fence`). A reader sees the part as it was or as it is.
A worker that is killed leaves nothing behind.
"""

import json
from collections.abc import Sequence
from contextlib import closing
from decimal import Decimal
from typing import LiteralString

from services.ingestion.errors import PartError
from services.ingestion.leases import Lease
from services.ingestion.placing import merge_file, note_present, reject_twice, replace_day
from services.ingestion.requests import Part
from services.ingestion.rows import (
    LONGEST_RAW,
    Batch,
    Ceilings,
    Reading,
    Rejected,
    Sources,
    Tally,
    Target,
    above,
)
from shared.errors import Invalid
from shared.postgres import Cursor, reason

KEPT = 1_000
"""Rejected rows that are kept of a part that failed for having too many."""


class TooManyRejected(PartError):  # noqa: N818 - says what it is
    """More rows were rejected than the ceiling allows.

    Attributes:
        reading: what was read.
        first: the first of them.
    """

    def __init__(self, reading: Reading, tally: Tally, first: list[Rejected], ceiling: Decimal) -> None:
        super().__init__(
            "too_many_rejected",
            f"{reading.source}: {tally.rejected} of {tally.rows} rows were rejected, {ceiling:.2%} may be; "
            f"line {first[0].line}: {first[0].reason}",
        )
        self.reading = reading
        self.first = first


def load(lease: Lease, part: Part, sources: Sources) -> None:
    """Load a part, or note that there is nothing to load.

    Args:
        lease: of the job.
        part: which.
        sources: of the job's tenant. The part is opened again if the transaction is tried again.

    Raises:
        PartError: it cannot be loaded; what was there before is as it was.
        Stopped: the job is to be put down.
        StoreError: the database does not take it now.
    """
    target = sources.target(part.kind)

    def work(cursor: Cursor) -> None:
        if not _waits(cursor, lease, part):
            lease.fence(cursor, {})
            return
        reading = sources.open(part)
        if isinstance(reading, str):
            _note(cursor, lease, part, (reading, None, None))
            return
        with closing(reading):
            _place(cursor, lease, part, target, reading=reading, ceilings=sources.ceilings)

    try:
        lease.books.of(lease.tenant, work)
    except TooManyRejected as error:
        keep(lease, part, error.reading, error.first)
        raise
    except Invalid as error:
        raise PartError("not_taken", f"{part}: PostgreSQL says: {reason(error)}") from error


def _place(
    cursor: Cursor, lease: Lease, part: Part, target: Target, *, reading: Reading, ceilings: Ceilings
) -> None:
    """Stage what is read, put it into the table, and write the books; the check of the attempt comes last."""
    cursor.execute(_staging(target))
    tally, first = Tally(target), list[Rejected]()
    for batch in reading.batches():
        lease.beat()
        _stage(cursor, batch)
        _reject(cursor, lease, part, reading, batch.rejected)
        if target.key:
            note_present(cursor, batch.rejected)
        tally.add(batch)
        first += batch.rejected[: KEPT - len(first)]
    reading.check(tally.rows)
    if target.key:
        twice = reject_twice(cursor, target, tally)
        _reject(cursor, lease, part, reading, twice)
        first += twice[: KEPT - len(first)]
    if above(tally, ceilings.rejected):
        raise TooManyRejected(reading, tally, first, ceilings.rejected)
    if target.key:
        merge_file(cursor, lease.tenant, target, reading, tally, most=ceilings.left)
    else:
        replace_day(cursor, lease.tenant, target, reading, tally)
    _book(cursor, lease, part, reading, tally)
    lease.fence(cursor, {part.kind: tally.counts})


def _waits(cursor: Cursor, lease: Lease, part: Part) -> bool:
    """Whether the part is still to be loaded: no longer after a COMMIT whose answer did not arrive."""
    cursor.execute(
        "SELECT 1 FROM ingest_part"
        " WHERE job_id = %s AND kind = %s AND day IS NOT DISTINCT FROM %s AND state = 'waiting'",
        (lease.job_id, part.kind, part.day),
    )
    return cursor.fetchone() is not None


def fail(lease: Lease, part: Part, error: PartError) -> None:
    """Note why a part was not loaded. Raises Fenced."""
    lease.books.of(lease.tenant, lambda it: _note(it, lease, part, ("failed", error.code, str(error))))


def keep(lease: Lease, part: Part, reading: Reading, rejected: list[Rejected]) -> None:
    """Keep rejected rows of a part that was not loaded. Raises Fenced."""

    def write(cursor: Cursor) -> None:
        cursor.execute(
            "DELETE FROM ingest_rejected WHERE tenant = %s AND job_id = %s AND kind = %s AND day = %s",
            (lease.tenant, lease.job_id, part.kind, reading.day),
        )
        _reject(cursor, lease, part, reading, rejected)
        lease.fence(cursor, {})

    lease.books.of(lease.tenant, write)


def _note(cursor: Cursor, lease: Lease, part: Part, became: tuple[str, str | None, str | None]) -> None:
    """Note what became of a part that was not loaded: state, code and message."""
    cursor.execute(
        "UPDATE ingest_part SET state = %s, error_code = %s, error_message = %s"
        " WHERE job_id = %s AND kind = %s AND day IS NOT DISTINCT FROM %s AND state = 'waiting'",
        (*became, lease.job_id, part.kind, part.day),
    )
    lease.fence(cursor, {part.kind: {"parts": cursor.rowcount}})


def _staging(target: Target) -> LiteralString:
    """Temporary tables: the rows, and the keys of a file's rejected ones."""
    columns: LiteralString = ", ".join(target.columns)
    made: LiteralString = "CREATE TEMPORARY TABLE staged ON COMMIT DROP AS SELECT"
    if not target.key:
        return f"{made} {columns} FROM {target.table} WITH NO DATA"
    return (
        "CREATE TEMPORARY TABLE present (key text NOT NULL) ON COMMIT DROP;"
        f" {made} {columns}, 0::bigint AS line, ''::text AS raw FROM {target.table} WITH NO DATA"
    )


def _stage(cursor: Cursor, batch: Batch) -> None:
    with cursor.copy("COPY staged FROM STDIN") as copy:
        for row in batch.rows:
            copy.write_row(row)


def _reject(cursor: Cursor, lease: Lease, part: Part, reading: Reading, rows: Sequence[Rejected]) -> None:
    if rows:
        cursor.execute(
            "INSERT INTO ingest_rejected (tenant, job_id, kind, day, source, line, reason, raw)"
            " SELECT %s, %s, %s, %s, %s, line, reason, raw"
            " FROM unnest(%s::bigint[], %s::text[], %s::text[]) AS it(line, reason, raw)",
            (
                *(lease.tenant, lease.job_id, part.kind, reading.day, reading.source),
                [it.line for it in rows],
                [it.reason for it in rows],
                [it.raw.replace("\0", "\\0")[:LONGEST_RAW] for it in rows],
            ),
        )


def _book(cursor: Cursor, lease: Lease, part: Part, reading: Reading, tally: Tally) -> None:
    counts = (tally.rows, tally.loaded, tally.rejected)
    cursor.execute(
        "INSERT INTO ingest_book (tenant, kind, day, job_id, attempt, source, source_rows, loaded, rejected,"
        " sums, modified_at, sha256, provisional) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)"
        " ON CONFLICT (tenant, kind, day) DO UPDATE"
        " SET"
        " (job_id, attempt, source, source_rows, loaded, rejected, sums, modified_at, sha256, provisional,"
        " loaded_at) = (excluded.job_id, excluded.attempt,"
        " excluded.source, excluded.source_rows, excluded.loaded, excluded.rejected, excluded.sums,"
        " excluded.modified_at, excluded.sha256, excluded.provisional, excluded.loaded_at)",
        (
            *(lease.tenant, part.kind, reading.day, lease.job_id, lease.attempt, reading.source, *counts),
            *(json.dumps(tally.sums), reading.modified_at, reading.sha256, reading.provisional),
        ),
    )
    cursor.execute(
        "UPDATE ingest_part SET (state, source_rows, loaded, rejected) = ('loaded', %s, %s, %s)"
        " WHERE job_id = %s AND kind = %s AND day IS NOT DISTINCT FROM %s",
        (*counts, lease.job_id, part.kind, part.day),
    )

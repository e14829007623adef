"""Jobs as a worker sees them: claim one, keep it, end it.

**Who may write.** A claim raises the job's attempt. Everything that a worker writes is in a transaction whose
last statement changes the job's row on the condition that its attempt is still the worker's (`Lease.fence`).
A claim changes the same row, so one of the two waits for the other: a worker that has lost its job finds
another attempt and everything it wrote is taken back. Clocks decide when a job may be claimed again, and
never who may write. All times are the server's.
"""

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import cast
from uuid import UUID

from services.ingestion.books import Books
from services.ingestion.errors import Cancelled, Fenced, TimedOut
from services.ingestion.requests import Part
from shared.log import logger
from shared.postgres import Cursor

LEASE = timedelta(seconds=60)
"""How long a job is a worker's without a sign of life."""
MOST_ATTEMPTS = 5
"""How many workers a job may lose: one that kills its worker is not to kill every worker for ever. A worker
that was told to stop is not lost."""


@dataclass(frozen=True, slots=True)
class Lease:
    """A job that a worker has, as long as its attempt is the job's."""

    books: Books
    tenant: str
    job_id: UUID
    attempt: int
    length: timedelta

    def beat(self, *, leaving: bool = False) -> None:
        """Say that the worker lives, and learn whether it is to go on.

        Args:
            leaving: whether the worker was told to stop: then its end uses up no attempt.

        Raises:
            Fenced: somebody else has the job.
            Cancelled: somebody asked for that.
            TimedOut: it takes too long.
        """

        def beat(cursor: Cursor) -> None:
            cursor.execute(
                "UPDATE ingest_job SET heartbeat_at = clock_timestamp(),"
                " lease_until = clock_timestamp() + %s, leaving = leaving OR %s"
                " WHERE job_id = %s AND attempt = %s AND state = 'processing'"
                " RETURNING cancel_requested, clock_timestamp() > started_at + timeout, timeout",
                (self.length, leaving, self.job_id, self.attempt),
            )
            row = cast("tuple[bool, bool, timedelta] | None", cursor.fetchone())
            if row is None:
                raise self._fenced
            if row[0]:
                raise Cancelled(f"job {self.job_id} was cancelled")
            if row[1]:
                raise TimedOut(_late(row[2]))

        self.books.of(self.tenant, beat)

    def waiting(self) -> list[Part]:
        """The parts that the books do not have yet."""

        def read(cursor: Cursor) -> list[Part]:
            cursor.execute(
                "SELECT kind, day FROM ingest_part WHERE job_id = %s AND state = 'waiting'"
                " ORDER BY day NULLS FIRST, kind",
                (self.job_id,),
            )
            return [Part(*row) for row in cast("list[tuple[str, date | None]]", cursor.fetchall())]

        return self.books.of(self.tenant, read)

    def fence(self, cursor: Cursor, records: Mapping[str, Mapping[str, int]]) -> None:
        """The last statement of a transaction that writes: it counts what was done, or takes all of it back.

        Args:
            cursor: of the transaction.
            records: by kind, what is to be added to the job's counts.

        Raises:
            Fenced: somebody else has the job.
        """
        cursor.execute(
            "UPDATE ingest_job SET records = (SELECT jsonb_object_agg(kind, (SELECT jsonb_object_agg(name,"
            " value::bigint + coalesce((%(more)s::jsonb -> kind ->> name)::bigint, 0)) FROM"
            " jsonb_each_text(counts) AS one(name, value))) FROM jsonb_each(records) AS each(kind, counts))"
            " WHERE job_id = %(job)s AND attempt = %(attempt)s AND state = 'processing'",
            {"more": json.dumps(records), "job": self.job_id, "attempt": self.attempt},
        )
        if cursor.rowcount != 1:
            raise self._fenced

    def outcome(self) -> tuple[str, str | None, str | None]:
        """How the job ends, by what became of its parts: state, code and message."""

        def read(cursor: Cursor) -> tuple[str, str | None, str | None]:
            cursor.execute(
                "SELECT count(*), count(*) FILTER (WHERE state = 'failed'),"
                " count(*) FILTER (WHERE state = 'absent'),"
                " (array_agg(error_code ORDER BY day NULLS FIRST, kind)"
                " FILTER (WHERE state = 'failed'))[1],"
                " (array_agg(error_message ORDER BY day NULLS FIRST, kind)"
                " FILTER (WHERE state = 'failed'))[1]"
                " FROM ingest_part WHERE job_id = %s",
                (self.job_id,),
            )
            row = cast("tuple[int, int, int, str | None, str | None]", cursor.fetchone())
            every, failed, absent, code, message = row
            if failed:
                return "failed", code, f"{failed} of {every} parts failed; the first: {message}"
            if absent == every:
                return "failed", "missing_table", "the source has no table for any day of the job"
            return "completed", None, None

        return self.books.of(self.tenant, read)

    def end(self, state: str, code: str | None = None, message: str | None = None) -> None:
        """End the job, and free its parts for other jobs.

        Raises:
            Fenced: somebody else has it.
        """

        def end(cursor: Cursor) -> None:
            cursor.execute(
                "UPDATE ingest_job SET state = %s, error_code = %s, error_message = %s,"
                " ended_at = clock_timestamp(), lease_until = NULL"
                " WHERE job_id = %s AND attempt = %s AND state = 'processing'",
                (state, code, message, self.job_id, self.attempt),
            )
            if cursor.rowcount != 1:
                raise self._fenced
            cursor.execute("UPDATE ingest_part SET open = false WHERE job_id = %s", (self.job_id,))

        self.books.of(self.tenant, end, repeatable=False)

    def release(self) -> None:
        """Let another worker have the job at once. Nothing happens if this one has lost it.

        It uses up no attempt.
        """

        def release(cursor: Cursor) -> None:
            cursor.execute(
                "UPDATE ingest_job SET lease_until = clock_timestamp(), leaving = true"
                " WHERE job_id = %s AND attempt = %s AND state = 'processing'",
                (self.job_id, self.attempt),
            )

        self.books.of(self.tenant, release)

    @property
    def _fenced(self) -> Fenced:
        return Fenced(f"job {self.job_id}: attempt {self.attempt} is over, another worker has it or it ended")


def claim(books: Books, worker: str, length: timedelta = LEASE) -> Lease | None:
    """The job that has waited longest, of any tenant; None: there is nothing to do.

    Two workers never wait for each other here: a row that one looks at is skipped by the other.

    Args:
        books: the tables.
        worker: who claims, for whoever reads the table.
        length: how long the job is the worker's without a sign of life.
    """

    def take(cursor: Cursor) -> tuple[Lease | None, list[Ended]]:
        ended = _sweep(cursor)
        cursor.execute(
            "UPDATE ingest_job SET state = 'processing', attempt = attempt + 1, worker = %s,"
            " lost = lost + (state = 'processing' AND NOT leaving)::integer, leaving = false,"
            " heartbeat_at = clock_timestamp(), lease_until = clock_timestamp() + %s,"
            " started_at = coalesce(started_at, clock_timestamp())"
            " WHERE job_id = (SELECT job_id FROM ingest_job WHERE state = 'queued'"
            "  OR state = 'processing' AND lease_until <= clock_timestamp()"
            "  ORDER BY requested_at LIMIT 1 FOR UPDATE SKIP LOCKED)"
            " RETURNING tenant, job_id, attempt",
            (worker, length),
        )
        row = cast("tuple[str, UUID, int] | None", cursor.fetchone())
        return (Lease(books, *row, length) if row else None), ended

    lease, swept = books.of_all(take, repeatable=False)
    for job_id, tenant, attempt, state, code in swept:
        said = {"job": str(job_id), "tenant": tenant, "attempt": attempt, "state": state, "code": code}
        logger.log(logging.ERROR if code else logging.INFO, "A job ended", extra=said)
    return lease


Ended = tuple[UUID, str, int, str, str | None]
"""A job that was ended for want of a worker: its id, tenant, attempt, state and code."""


def _sweep(cursor: Cursor) -> list[Ended]:
    """End what no worker will end: jobs out of time; with no worker, jobs cancelled or that lost many."""
    cursor.execute(
        "WITH dead AS (SELECT job_id FROM ingest_job WHERE state = 'processing'"
        "   AND (clock_timestamp() > started_at + timeout"
        "     OR lease_until <= clock_timestamp() AND (cancel_requested"
        "       OR lost + (NOT leaving)::integer >= %(most)s))"
        "   FOR UPDATE SKIP LOCKED),"
        " ended AS (UPDATE ingest_job SET ended_at = clock_timestamp(), lease_until = NULL,"
        "   state = CASE WHEN cancel_requested THEN 'cancelled' ELSE 'failed' END,"
        "   error_code = CASE WHEN cancel_requested THEN NULL"
        "     WHEN clock_timestamp() > started_at + timeout THEN 'timeout' ELSE 'attempts' END,"
        "   error_message = CASE WHEN cancel_requested THEN NULL"
        "     WHEN clock_timestamp() > started_at + timeout"
        "       THEN format('the job took longer than %%s: start another with fewer days', timeout)"
        "     ELSE format('%%s workers ended while they had the job: read their logs', lost + 1) END"
        "   WHERE job_id IN (SELECT job_id FROM dead)"
        "   RETURNING job_id, tenant, attempt, state, error_code),"
        " freed AS (UPDATE ingest_part SET open = false WHERE job_id IN (SELECT job_id FROM ended))"
        " SELECT job_id, tenant, attempt, state, error_code FROM ended",
        {"most": MOST_ATTEMPTS},
    )
    return cast("list[Ended]", cursor.fetchall())


def _late(timeout: timedelta) -> str:
    return f"the job took longer than {timeout}: start another with fewer days"

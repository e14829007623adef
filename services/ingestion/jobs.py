"""Jobs as whoever asks for them sees them: start, look, cancel.

A job and its parts are made in one transaction. A partial unique index lets a part be in one open job only,
so of two requests at once the second learns the first one's id. `leases` is the worker's side.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any, cast
from uuid import UUID

from psycopg.rows import namedtuple_row

from services.ingestion.books import Books
from services.ingestion.errors import JobOpen, KeyTaken, NoJob
from services.ingestion.requests import Part, Request
from shared.errors import Contention
from shared.postgres import Cursor

TIMEOUT = timedelta(minutes=30)
"""How long a job may take, from its first claim."""
OPEN = ("queued", "processing")

COLUMNS = (
    "job_id, kinds, first, last, state, attempt, cancel_requested, records, error_code, error_message,"
    " requested_at, started_at, heartbeat_at, ended_at"
)


@dataclass(frozen=True, slots=True)
class Job:
    """A job as it is now. Times are in UTC.

    Attributes:
        records: by kind: how many rows were read, loaded and rejected, and how many parts are done.
    """

    job_id: str
    kinds: tuple[str, ...]
    first: date | None
    last: date | None
    state: str
    attempt: int
    cancel_requested: bool
    records: Mapping[str, Mapping[str, int]]
    error_code: str | None
    error_message: str | None
    requested_at: datetime
    started_at: datetime | None
    heartbeat_at: datetime | None
    ended_at: datetime | None

    @classmethod
    def of(cls, row: Any) -> "Job":
        """A row of `COLUMNS`."""
        job_id, kinds, *others = row
        return cls(str(job_id), tuple(kinds), *others)


class Jobs:
    """The jobs of tenants. Threads may use it at once."""

    def __init__(self, books: Books) -> None:
        self._books = books

    def start(
        self, tenant: str, request: Request, *, key: str | None = None, timeout: timedelta = TIMEOUT
    ) -> tuple[Job, bool]:
        """A job for a request, and whether it is new.

        Args:
            tenant: whose.
            request: what is to be loaded.
            key: the idempotency key: the same key and request are always the same job, whatever day it is.
            timeout: how long it may take.

        Raises:
            JobOpen: another job works on one of the parts.
            KeyTaken: the key was sent with another request.
        """
        return self._books.of(
            tenant, lambda it: _start(it, tenant, request, key, timeout), repeatable=key is not None
        )

    def find(self, tenant: str, job_id: str) -> Job:
        """A job. Raises NoJob."""
        return self._books.of(tenant, lambda it: _found(it, job_id))

    def history(
        self, tenant: str, *, most: int, state: str | None = None, before: tuple[datetime, str] | None = None
    ) -> list[Job]:
        """The latest jobs, the latest first.

        Args:
            tenant: whose.
            most: how many.
            state: only those in this state.
            before: `requested_at` and id of the last one of the page before.
        """
        when, job_id = before or (None, None)

        def read(cursor: Cursor) -> list[Job]:
            cursor.execute(
                f"SELECT {COLUMNS} FROM ingest_job WHERE tenant = %(tenant)s"
                " AND (%(state)s::text IS NULL OR state = %(state)s)"
                " AND (%(when)s::timestamptz IS NULL OR (requested_at, job_id) < (%(when)s, %(id)s::uuid))"
                " ORDER BY requested_at DESC, job_id DESC LIMIT %(most)s",
                {"tenant": tenant, "state": state, "when": when, "id": job_id, "most": most},
            )
            return [Job.of(row) for row in cursor]

        return self._books.of(tenant, read)

    def parts(self, tenant: str, job_id: str) -> list[dict[str, Any]]:
        """What became of each part of a job. Raises NoJob."""

        def read(cursor: Cursor) -> list[dict[str, Any]]:
            _found(cursor, job_id)
            rows = cast("Cursor", cursor.connection.cursor(row_factory=namedtuple_row))
            rows.execute(
                "SELECT kind, day, state, source_rows, loaded, rejected, error_code, error_message"
                " FROM ingest_part WHERE job_id = %s ORDER BY day NULLS FIRST, kind",
                (job_id,),
            )
            return [row._asdict() for row in cast("Sequence[Any]", rows.fetchall())]

        return self._books.of(tenant, read)

    def cancel(self, tenant: str, job_id: str) -> Job:
        """Cancel a job: at once where no worker has it, else at the worker's next batch.

        A job that has ended stays as it is. Raises NoJob.
        """

        def stop(cursor: Cursor) -> Job:
            _found(cursor, job_id)
            cursor.execute(
                "UPDATE ingest_job SET cancel_requested = true,"
                " state = CASE state WHEN 'queued' THEN 'cancelled' ELSE state END,"
                " ended_at = CASE state WHEN 'queued' THEN clock_timestamp() END"
                " WHERE job_id = %s AND state IN ('queued', 'processing') RETURNING state",
                (job_id,),
            )
            if cursor.fetchone() == ("cancelled",):
                cursor.execute("UPDATE ingest_part SET open = false WHERE job_id = %s", (job_id,))
            return _found(cursor, job_id)

        return self._books.of(tenant, stop)


def _start(
    cursor: Cursor, tenant: str, request: Request, key: str | None, timeout: timedelta
) -> tuple[Job, bool]:
    cursor.execute(
        "INSERT INTO ingest_job (tenant, kinds, first, last, idempotency_key, timeout, records, asked)"
        " VALUES (%s, %s, %s, %s, %s, %s, %s, %s) ON CONFLICT (tenant, idempotency_key) DO NOTHING"
        f" RETURNING {COLUMNS}",
        (
            *(tenant, list(request.kinds), request.first, request.last, key, timeout, _nothing(request)),
            json.dumps(request.wish),
        ),
    )
    row = cursor.fetchone()
    if row is None:
        return _same(cursor, tenant, request, key), False
    job = Job.of(row)
    parts = list(request.parts)
    cursor.execute(
        "INSERT INTO ingest_part (tenant, job_id, kind, day) SELECT %s, %s, kind, day"
        " FROM unnest(%s::text[], %s::date[]) AS it(kind, day) ON CONFLICT DO NOTHING",
        (tenant, job.job_id, [it.kind for it in parts], [it.day for it in parts]),
    )
    if cursor.rowcount < len(parts):
        raise _open(cursor, tenant, job.job_id, parts)
    return job, True


def _nothing(request: Request) -> str:
    return json.dumps({kind: {"rows": 0, "loaded": 0, "rejected": 0, "parts": 0} for kind in request.kinds})


def _same(cursor: Cursor, tenant: str, request: Request, key: str | None) -> Job:
    cursor.execute(
        f"SELECT asked, {COLUMNS} FROM ingest_job WHERE tenant = %s AND idempotency_key = %s",
        (tenant, key),
    )
    row = cursor.fetchone()
    if row is None:
        raise Contention(f"the job of the idempotency key {key!r} is being made")
    asked, *others = row
    job = Job.of(others)
    old = asked is None and Request(job.kinds, job.first, job.last) == request  # from before this column
    if not old and asked != request.wish:
        was = f"{', '.join(job.kinds)} from {job.first} to {job.last}"
        raise KeyTaken(f"the idempotency key {key!r} is that of job {job.job_id} ({was}): send another key")
    return job


def _open(cursor: Cursor, tenant: str, own: str, parts: Sequence[Part]) -> Exception:
    cursor.execute(
        "SELECT job_id, kind, ingest_part.day FROM ingest_part"
        " JOIN unnest(%s::text[], %s::date[]) AS it(kind, day) USING (kind)"
        " WHERE tenant = %s AND open AND job_id <> %s AND ingest_part.day IS NOT DISTINCT FROM it.day"
        " ORDER BY ingest_part.day, kind LIMIT 1",
        ([it.kind for it in parts], [it.day for it in parts], tenant, own),
    )
    row = cast("tuple[UUID, str, date | None] | None", cursor.fetchone())
    if row is None:
        return Contention("another job on the same parts has just ended")
    return JobOpen(str(row[0]), str(Part(row[1], row[2])))


def _found(cursor: Cursor, job_id: str) -> Job:
    try:
        asked = UUID(job_id)
    except ValueError:
        raise NoJob(f"{job_id!r} is no id of a job: ids look like {UUID(int=0)}") from None
    cursor.execute(f"SELECT {COLUMNS} FROM ingest_job WHERE job_id = %s", (asked,))
    row = cursor.fetchone()
    if row is None:
        raise NoJob(f"there is no job {job_id}")
    return Job.of(row)

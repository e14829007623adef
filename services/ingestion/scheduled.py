"""What a run does that a schedule starts, beside a worker's work: `python -m services.ingestion --scheduled`.

It starts each tenant's load of the day, once however often a schedule calls. It says what is late: a job that
no worker has claimed, and a tenant whose latest data are old. Alerts count these lines.
"""

from collections.abc import Iterator
from datetime import date, datetime, timedelta
from typing import cast

from services.ingestion.availability import available, booked
from services.ingestion.books import Books
from services.ingestion.errors import JobOpen, KeyTaken
from services.ingestion.jobs import Jobs
from services.ingestion.requests import EVENTS, FILES, asked
from services.ingestion.tenants import Tenant, Tenants
from shared.log import logger
from shared.postgres import Cursor

WAITS = timedelta(minutes=30)
"""A job that is queued for longer waits too long: a schedule calls every ten minutes."""
LATE = timedelta(days=3)
"""How old a tenant's latest data may be. GA4 exports a day within the next; files come every day."""


def begin(books: Books, now: datetime) -> None:
    """Say which jobs wait too long, then start each tenant's load of the day.

    A tenant's day begins at midnight in its own zone. The load has every kind that the tenant has a source
    for, and the events of today and the four days before.
    """
    for job_id, whose, seconds in books.of_all(_waiting):
        logger.error("A job waits too long", extra={"job": job_id, "tenant": whose, "seconds": seconds})
    for tenant in Tenants(books).listed():
        today = now.astimezone(tenant.zone).date()
        if not (kinds := _kinds(tenant)):
            continue
        said: dict[str, object] = {"tenant": tenant.tenant, "day": today.isoformat()}
        try:
            request = asked(kinds, None, None, today)
            job, made = Jobs(books).start(tenant.tenant, request, key=f"scheduled {today}")
        except (JobOpen, KeyTaken) as error:
            logger.info("A load of the day was not started", extra=said | {"reason": str(error)})
        else:
            if made:
                logger.info("A load of the day was started", extra=said | {"job": job.job_id})


def report(books: Books, now: datetime, late: timedelta = LATE) -> None:
    """Say which tenants have no data, or old ones, of a source that they have."""
    for tenant in Tenants(books).listed():
        today = now.astimezone(tenant.zone).date()
        if found := dict(_late(books, tenant, today - late)):
            logger.warning("A tenant's data are late", extra={"tenant": tenant.tenant, "latest": found})


def _kinds(tenant: Tenant) -> tuple[str, ...]:
    """What the tenant has a source for."""
    events = EVENTS if tenant.settings.get("dataset") else ()
    return events + (FILES if tenant.settings.get("sftp") else ())


def _late(books: Books, tenant: Tenant, oldest: date) -> Iterator[tuple[str, str | None]]:
    """Kinds and their latest days, where those are before the oldest that is allowed, or there is none."""
    latest = {each.kind: each.latest for each in available(booked(books, tenant.tenant), frozenset())}
    for kind in _kinds(tenant):
        found = latest.get(kind)
        if found is None or found < oldest:
            yield kind, found.isoformat() if found else None


def _waiting(cursor: Cursor) -> list[tuple[str, str, int]]:
    cursor.execute(
        "SELECT job_id::text, tenant, extract(epoch FROM clock_timestamp() - requested_at)::integer"
        " FROM ingest_job WHERE state = 'queued' AND requested_at < clock_timestamp() - %s"
        " ORDER BY requested_at",
        (WAITS,),
    )
    return cast("list[tuple[str, str, int]]", cursor.fetchall())

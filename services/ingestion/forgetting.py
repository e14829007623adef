"""Rejected rows are raw data of people: they are kept for a while, and their counts for ever.

A book goes on saying how many rows of its part were rejected. Of the rows themselves, those of jobs that
ended long ago are deleted: of every tenant, also of one that starts no more jobs.
"""

from datetime import timedelta
from functools import partial

from services.ingestion.books import Books
from shared.postgres import Cursor

KEPT = timedelta(days=90)
"""How long rejected rows are kept after their job ended, where nobody says otherwise."""


def forget(books: Books, age: timedelta) -> int:
    """Delete the rejected rows of jobs that ended more than ``age`` ago; how many they were.

    Each tenant's in a transaction of its own: no role sees the rows of two.

    Raises:
        StoreError: the database does not take it now.
    """

    def tenants(cursor: Cursor) -> list[str]:
        cursor.execute("SELECT tenant FROM tenant_config ORDER BY tenant")
        return [str(tenant) for (tenant,) in cursor.fetchall()]

    def delete(cursor: Cursor, tenant: str) -> int:
        cursor.execute(
            "DELETE FROM ingest_rejected WHERE tenant = %(tenant)s AND job_id IN"
            " (SELECT job_id FROM ingest_job WHERE tenant = %(tenant)s AND ended_at < now() - %(age)s)",
            {"tenant": tenant, "age": age},
        )
        return cursor.rowcount

    return sum(books.of(it, partial(delete, tenant=it)) for it in books.of_all(tenants))

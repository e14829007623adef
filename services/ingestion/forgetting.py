"""Rejected rows are raw data of people: they are kept for a while, and their counts for ever.

A book goes on saying how many rows of its part were rejected. Of the rows themselves, those of jobs that
ended long ago are deleted.
"""

from datetime import timedelta

from services.ingestion.books import Books
from shared.postgres import Cursor

KEPT = timedelta(days=90)
"""How long rejected rows are kept after their job ended, where nobody says otherwise."""


def forget(books: Books, tenant: str, age: timedelta) -> int:
    """Delete a tenant's rejected rows of jobs that ended more than ``age`` ago; how many they were.

    Raises:
        StoreError: the database does not take it now.
    """

    def delete(cursor: Cursor) -> int:
        cursor.execute(
            "DELETE FROM ingest_rejected WHERE tenant = %(tenant)s AND job_id IN"
            " (SELECT job_id FROM ingest_job WHERE tenant = %(tenant)s AND ended_at < now() - %(age)s)",
            {"tenant": tenant, "age": age},
        )
        return cursor.rowcount

    return books.of(tenant, delete)

"""Whose rows a transaction sees: those of one tenant, or the jobs of all for whoever deals them out.

Each transaction takes a role for itself alone, so that a connection of the pool carries nothing over. A
statement that forgets its ``WHERE tenant`` still sees one tenant (`tables`).
"""

from collections.abc import Callable
from typing import TypeVar

from services.ingestion.tables import COMPONENT, MIGRATIONS, OPERATOR_ROLE, TENANT_ROLE, TENANT_SETTING
from shared.postgres import Cursor, Postgres

T = TypeVar("T")


class Books:
    """The tables of ingestion. Threads may use it at once."""

    def __init__(self, postgres: Postgres) -> None:
        """``postgres``: logged in as somebody who may take both roles."""
        self._postgres = postgres

    def migrate(self) -> list[int]:
        """Make the tables or bring them up to date; the numbers of what was done. Raises MigrationError."""
        return self._postgres.migrate(COMPONENT, MIGRATIONS)

    def of(self, tenant: str, work: Callable[[Cursor], T], *, repeatable: bool = True) -> T:
        """Do work in one transaction that sees one tenant's rows; see `Postgres.transaction`."""

        def alone(cursor: Cursor) -> T:
            cursor.execute(f"SET LOCAL ROLE {TENANT_ROLE}")
            cursor.execute("SELECT set_config(%s, %s, true)", (TENANT_SETTING, tenant))
            return work(cursor)

        return self._postgres.transaction(alone, repeatable=repeatable)

    def of_all(self, work: Callable[[Cursor], T], *, repeatable: bool = True) -> T:
        """Do work in one transaction that sees all tenants' jobs and settings, and none of their data."""

        def alone(cursor: Cursor) -> T:
            cursor.execute(f"SET LOCAL ROLE {OPERATOR_ROLE}")
            return work(cursor)

        return self._postgres.transaction(alone, repeatable=repeatable)

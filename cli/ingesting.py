"""What the commands of ingestion work with: the tables, and a tenant's sources."""

import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

from services.ingestion.books import Books
from services.ingestion.settings import IngestionSettings
from services.ingestion.sources import TenantSources
from services.ingestion.tenants import Tenants
from shared.postgres import Postgres


@dataclass(frozen=True, slots=True)
class Ingestion:
    """The tables and what the environment says."""

    books: Books
    settings: IngestionSettings

    @contextmanager
    def sources(self, tenant: str) -> Iterator[TenantSources]:
        """A tenant's sources. Raises TenantError."""
        found = Tenants(self.books).find(tenant)
        made = TenantSources(
            found, self.books, self.settings.vault, self.settings.places, lambda: datetime.now(UTC)
        )
        with closing(made):
            yield made


@contextmanager
def opened() -> Iterator[Ingestion]:
    """The tables that `LIBRA_POSTGRES_URL` names. Raises LibraError."""
    settings = IngestionSettings.from_environment(os.environ)
    with Postgres.connect(settings.postgres) as postgres:
        yield Ingestion(Books(postgres), settings)

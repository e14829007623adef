"""`python -m services.ingestion`: the worker. It runs until SIGTERM.

With `--until-idle` it ends when there is nothing to do, as a Cloud Run job does.
"""

import os
import signal
import socket
import sys
from datetime import UTC, datetime

from services.ingestion.books import Books
from services.ingestion.leases import Lease
from services.ingestion.settings import IngestionSettings
from services.ingestion.sources import TenantSources
from services.ingestion.tenants import Tenants
from services.ingestion.worker import Worker
from shared import log
from shared.errors import LibraError
from shared.postgres import Postgres

STATEMENT_SECONDS = 900
"""How long a statement may take: it may place a day of some million rows."""


def main(arguments: list[str]) -> int:
    """Work; the exit status: 2 where an argument is wrong."""
    if arguments not in ([], ["--until-idle"]):
        print(f"python -m services.ingestion: found {arguments}, allowed is --until-idle", file=sys.stderr)  # noqa: T201 - a program
        return 2
    settings = IngestionSettings.from_environment(os.environ)
    log.configure(settings.books.log_level)
    connections = 2 * settings.parallel + 2
    with Postgres.connect(
        settings.postgres, most=connections, statement_seconds=STATEMENT_SECONDS
    ) as postgres:
        books = Books(postgres)
        tenants = Tenants(books)

        def sources(lease: Lease) -> TenantSources:
            tenant = tenants.find(lease.tenant)
            return TenantSources(tenant, books, settings.vault, settings.places, lambda: datetime.now(UTC))

        worker = Worker(
            books,
            sources,
            name=f"{socket.gethostname()} {os.getpid()}",
            parallel=settings.parallel,
            ceilings=settings.ceilings,
        )
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: worker.stop())
        worker.run(until_idle=bool(arguments))
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except LibraError as error:
        print(f"python -m services.ingestion: {error}", file=sys.stderr)  # noqa: T201 - a program
        sys.exit(1)

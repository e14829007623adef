"""`python -m services.ingestion`: the worker. It runs until SIGTERM.

With `--until-idle` it ends when there is nothing to do. With `--scheduled`, as a schedule starts it, it
brings the tables up to date, starts each tenant's load of the day, works until there is nothing to do, and
says whose data are late. With `--log-dir DIR` it logs into rotating files of that folder.
"""

import os
import signal
import socket
import sys
from argparse import ArgumentError, ArgumentParser
from datetime import UTC, datetime
from pathlib import Path

from services.ingestion import log_files, scheduled
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


_OPTIONS = ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
_OPTIONS.add_argument("--until-idle", action="store_true")
_OPTIONS.add_argument("--scheduled", action="store_true")
_OPTIONS.add_argument("--log-dir", type=Path)


def main(arguments: list[str]) -> int:
    """Work; the exit status: 2 where an argument is wrong."""
    try:
        options, wrong = _OPTIONS.parse_known_args(arguments)
    except ArgumentError as error:
        options, wrong = None, [str(error)]
    if wrong or options is None:
        allowed = "allowed are --until-idle, --scheduled and --log-dir DIR"
        print(f"python -m services.ingestion: found {' '.join(wrong)}, {allowed}", file=sys.stderr)  # noqa: T201 - a program
        return 2
    settings = IngestionSettings.from_environment(os.environ)
    log.configure(settings.books.log_level)
    if folder := options.log_dir or settings.log_dir:
        log_files.into(folder, "worker")
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
            length=settings.lease,
            kept=settings.kept,
        )
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: worker.stop())
        if options.scheduled:
            books.migrate()
            scheduled.begin(books, datetime.now(UTC))
        worker.run(until_idle=options.until_idle or options.scheduled)
        if options.scheduled:
            scheduled.report(books, datetime.now(UTC), settings.late)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except LibraError as error:
        print(f"python -m services.ingestion: {error}", file=sys.stderr)  # noqa: T201 - a program
        sys.exit(1)

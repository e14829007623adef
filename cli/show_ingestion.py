"""`libra demo ingestion`: three weeks of a shop are loaded, a worker is killed, and the sources change."""

import os
import tempfile
import time
from collections import Counter
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime
from pathlib import Path

import psycopg
from psycopg.sql import SQL, Identifier
from rich.console import Console
from rich.table import Table

from cli.comparison import print_json
from local.ingestion import TENANT, Ingestion
from local.process import wait_until
from local.shop import DAYS, Shop
from services.ingestion import files, ga4
from services.ingestion.jobs import Job, Jobs
from services.ingestion.requests import EVENTS, FILES
from services.ingestion.settings import IngestionSettings
from services.ingestion.sources import TenantSources
from services.ingestion.tenants import Tenants
from services.ingestion.verification import verify
from shared.postgres import VARIABLE

KILLED_AFTER = 12
"""Parts that are loaded when the worker is killed, of more than a hundred."""
LEASE_SECONDS = "3"
SECONDS = 120
_BOOKED = "SELECT kind, day, source_rows, loaded, rejected FROM ingest_book"
_OF_DAYS = SQL("SELECT day, count(*) FROM {} GROUP BY 1")
_PRESENT = SQL("SELECT count(*) FROM {} WHERE left_on IS NULL")


@dataclass(frozen=True, slots=True)
class Held:
    """What is held of a kind, in the sources and in PostgreSQL.

    Attributes:
        source, bad: rows that the shop has, and how many of them cannot be loaded.
        loaded, rejected: by the books.
        table: rows of the table.
        differences: days (or files) of which any of these is not what it should be.
    """

    kind: str
    source: int
    bad: int
    loaded: int
    rejected: int
    table: int
    differences: int

    @property
    def exact(self) -> bool:
        """Whether PostgreSQL holds what the sources hold."""
        return not self.differences


def show_ingestion(console: Console, *, as_json: bool, days: int = DAYS) -> bool:
    """Load a shop's data while a worker is killed; True if the tables hold what the sources hold."""
    console = Console(quiet=True) if as_json else console
    started = time.monotonic()
    with ExitStack() as running:
        folder = Path(running.enter_context(tempfile.TemporaryDirectory(prefix="libra-ingestion-")))
        console.print("Starting PostgreSQL, BigQuery, an SFTP server, a worker and the API …")
        environment = os.environ | {"LIBRA_INGESTION_LEASE_SECONDS": LEASE_SECONDS}
        ingestion = running.enter_context(Ingestion(folder, environment, days=days, say=console.print))
        job_id = ingestion.begin(ingestion.shop.first)
        done = _kill_worker(ingestion, job_id)
        console.print(f"The worker was killed (-9) when {done} parts were loaded. Another one goes on …")
        first = ingestion.finish(job_id)
        console.print(f"The job was claimed {first.attempt} times, and is {first.state}.")
        before = _say(console, ingestion)
        ingestion.shop.change(ingestion.export)
        console.print("Events came late, today went on, and a new file of users came. Loading again …")
        second = ingestion.finish(ingestion.begin())
        after = _say(console, ingestion)
        counted = _counts_of_bigquery_agree(ingestion)
    exact = first.attempt > 1 and counted and all(each.exact for each in (*before, *after))
    seconds = time.monotonic() - started
    verdict = (
        "PostgreSQL holds exactly what the sources hold" if exact else "PostgreSQL and the sources DIFFER"
    )
    console.print(
        f"{verdict}, by type and day, after a killed worker and after late events. {seconds:.0f} seconds.",
        style="bold green" if exact else "bold red",
    )
    if as_json:
        _print([(first, before), (second, after)], exact=exact, seconds=seconds)
    return exact


def _kill_worker(ingestion: Ingestion, job_id: str) -> int:
    """Kill it when some parts are loaded; how many were."""
    with ingestion.books() as books:
        jobs = Jobs(books)

        def loaded() -> int:
            return sum(each["state"] == "loaded" for each in jobs.parts(TENANT, job_id))

        wait_until(lambda: loaded() >= KILLED_AFTER, seconds=SECONDS, what=f"{KILLED_AFTER} parts loaded")
        ingestion.kill_worker()
        return loaded()


def compared(url: str, shop: Shop) -> list[Held]:
    """Every kind, counted by the shop, in the books and in the tables. The books have no other day."""
    newest = {kind: max(day for each, day in shop.held if each == kind) for kind in FILES}
    wanted = {key: rows for key, rows in shop.held.items() if newest.get(key[0], key[1]) == key[1]}
    tables: Counter[tuple[str, date]] = Counter()
    with psycopg.connect(url) as connection:
        booked = {(kind, day): counts for kind, day, *counts in connection.execute(_BOOKED)}
        for kind in EVENTS:
            for day, rows in connection.execute(_OF_DAYS.format(Identifier(ga4.target(kind).table))):
                tables[kind, day] = rows
        for kind in FILES:
            counted = connection.execute(_PRESENT.format(Identifier(files.target(kind).table)))
            ((tables[kind, newest[kind]],),) = counted
    found = []
    for kind in (*EVENTS, *FILES):
        keys = {key for key in (*wanted, *tables, *booked) if key[0] == kind} - _replaced(
            kind, newest, booked
        )
        rows = [
            (wanted.get(key, 0), shop.bad[key], *booked.get(key, (0, 0, 0))[1:], tables[key])
            for key in sorted(keys)
        ]
        wrong = sum(
            (source - bad, bad, source - bad) != (loaded, rejected, table)
            for source, bad, loaded, rejected, table in rows
        )
        source, bad, loaded, rejected, table = map(sum, zip(*rows, strict=True))
        found.append(Held(kind, source, bad, loaded, rejected, table, wrong))
    return found


def _replaced(
    kind: str, newest: dict[str, date], booked: dict[tuple[str, date], list[int]]
) -> set[tuple[str, date]]:
    """Books of files that a newer one has replaced."""
    return {key for key in booked if key[0] == kind and key[1] < newest.get(kind, date.min)}


def _counts_of_bigquery_agree(ingestion: Ingestion) -> bool:
    """What `libra ingest verify` says of all days."""
    settings = IngestionSettings.from_environment(ingestion.environment)
    shop = ingestion.shop
    with ingestion.books() as books:
        tenant = Tenants(books).find(TENANT)
        sources = TenantSources(tenant, books, settings.vault, settings.places, lambda: datetime.now(UTC))
        try:
            return all(each.equal for each in verify(books, TENANT, sources, shop.first, shop.last))
        finally:
            sources.close()


def _say(console: Console, ingestion: Ingestion) -> list[Held]:
    found = compared(ingestion.environment[VARIABLE], ingestion.shop)
    table = Table(box=None, padding=(0, 2, 0, 0))
    table.add_column("", no_wrap=True)
    for name in ("source", "loaded", "rejected", "table", "differ"):
        table.add_column(name, justify="right")
    for each in found:
        counts = (each.source, each.loaded, each.rejected, each.table, each.differences)
        table.add_row(each.kind, *(f"{count:,}" for count in counts))
    console.print(table)
    return found


def _print(loads: list[tuple[Job, list[Held]]], *, exact: bool, seconds: float) -> None:
    print_json(
        {
            "exact": exact,
            "seconds": round(seconds, 1),
            "loads": [
                {
                    "job_id": job.job_id,
                    "attempts": job.attempt,
                    "kinds": [asdict(each) for each in held],
                }
                for job, held in loads
            ],
        }
    )

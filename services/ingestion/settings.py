"""The environment of the service and of the worker, read once into one frozen object."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from services.ingestion import secrets
from services.ingestion.bigquery import ADDRESS
from services.ingestion.forgetting import KEPT
from services.ingestion.leases import LEASE
from services.ingestion.scheduled import LATE
from services.ingestion.secrets import Vault, of_secret_manager
from services.ingestion.sources import Places
from shared import postgres
from shared.errors import SettingError
from shared.http import reading
from shared.http.identity import Tokens
from shared.settings import Settings


@dataclass(frozen=True, slots=True)
class IngestionSettings:
    """What the environment says. Build it with `from_environment`."""

    books: Settings
    """What every part of Libra reads: project, log level."""
    postgres: str
    """`LIBRA_POSTGRES_URL`."""
    tokens: Tokens
    """`LIBRA_INGESTION_AUDIENCE`, this service's URL; `LIBRA_INGESTION_ACCOUNTS`, the Google accounts that
    may act for every tenant."""
    vault: Vault
    """`LIBRA_INGESTION_KEY`: what seals secrets that are kept in the database."""
    places: Places
    """`BIGQUERY_EMULATOR_HOST`, `BIGQUERY_STORAGE_EMULATOR_HOST`: an emulator's two addresses."""
    origins: frozenset[str] = frozenset()
    """`LIBRA_INGESTION_ORIGINS`: the origins of web pages that may ask from a browser."""
    deadline: timedelta = timedelta(seconds=20)
    """`LIBRA_INGESTION_DEADLINE_SECONDS`: how long a request may take."""
    parallel: int = 4
    """`LIBRA_INGESTION_PARALLEL`: parts that a worker loads at once."""
    lease: timedelta = LEASE
    """`LIBRA_INGESTION_LEASE_SECONDS`: how long a job is a worker's without a sign of life."""
    kept: timedelta = KEPT
    """`LIBRA_INGESTION_REJECTED_DAYS`: how long rejected rows are kept after their job ended."""
    late: timedelta = LATE
    """`LIBRA_INGESTION_LATE_DAYS`: how old a tenant's latest data may be before a scheduled run says so."""
    log_dir: Path | None = None
    """`LIBRA_INGESTION_LOG_DIR`: the folder of rotating log files; None: standard output."""

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> "IngestionSettings":
        """Read and check every variable.

        Raises:
            SettingError: naming the first variable that cannot be used, its value and what is allowed.
        """
        url = reading.text(environment, postgres.VARIABLE)
        if not url:
            raise SettingError(postgres.VARIABLE, "", "postgresql://user:password@host:port/database")
        books = Settings.from_environment(environment)
        return cls(
            books=books,
            postgres=url,
            tokens=Tokens(
                books.project,
                audience=reading.url(environment, "LIBRA_INGESTION_AUDIENCE"),
                accounts=reading.accounts(environment, "LIBRA_INGESTION_ACCOUNTS"),
                audience_variable="LIBRA_INGESTION_AUDIENCE",
                accounts_variable="LIBRA_INGESTION_ACCOUNTS",
            ),
            vault=Vault(secrets.key(reading.text(environment, secrets.VARIABLE)), of_secret_manager),
            places=_places(environment),
            origins=reading.origins(environment, "LIBRA_INGESTION_ORIGINS"),
            deadline=reading.deadline(environment, "LIBRA_INGESTION_DEADLINE_SECONDS"),
            parallel=reading.number(environment, "LIBRA_INGESTION_PARALLEL", 4, 1, 32),
            lease=timedelta(
                seconds=reading.number(
                    environment, "LIBRA_INGESTION_LEASE_SECONDS", int(LEASE.total_seconds()), 2, 600
                )
            ),
            kept=timedelta(
                days=reading.number(environment, "LIBRA_INGESTION_REJECTED_DAYS", KEPT.days, 1, 36_500)
            ),
            late=timedelta(days=reading.number(environment, "LIBRA_INGESTION_LATE_DAYS", LATE.days, 1, 365)),
            log_dir=Path(folder)
            if (folder := reading.text(environment, "LIBRA_INGESTION_LOG_DIR"))
            else None,
        )


def _places(environment: Mapping[str, str]) -> Places:
    address = reading.url(environment, "BIGQUERY_EMULATOR_HOST")
    storage = reading.host(environment, "BIGQUERY_STORAGE_EMULATOR_HOST")
    if bool(address) != bool(storage):
        variable = "BIGQUERY_STORAGE_EMULATOR_HOST" if address else "BIGQUERY_EMULATOR_HOST"
        raise SettingError(variable, "", "set where the other address of the emulator is set")
    return Places(address or ADDRESS, storage)

"""The destination that an operator names."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from shared.errors import ExportError
from shared.exports.folder import Folder
from shared.exports.target import Target

BIGQUERY, POSTGRES = "bigquery", "postgres"
SCHEMA = "public"
POSTGRES_URL = "LIBRA_POSTGRES_URL"
PLACES = "DIR, bigquery:[PROJECT.]DATASET, postgres or postgres:SCHEMA"
STATEMENT_SECONDS = 6 * 3_600
"""How long the copy of a table may take in PostgreSQL."""


@contextmanager
def opened(
    place: str,
    environment: Mapping[str, str],
    project: str | None,
    *,
    form: str = "",
    keep: int | None = None,
) -> Iterator[Target]:
    """Open a destination.

    Args:
        place: `PLACES` says what it may be. A folder may be called ./bigquery:x too.
        environment: where `LIBRA_POSTGRES_URL` and `BIGQUERY_EMULATOR_HOST` are.
        project: of BigQuery, where the place names none.
        form: the format of files.
        keep: how many snapshots of a folder stay; None: all.

    Raises:
        ExportError: it is not understood, or there are no credentials for it.
        SettingError: `LIBRA_POSTGRES_URL` is no address.
        StoreError: PostgreSQL does not answer, or refuses.
    """
    scheme, _, rest = place.partition(":")
    if scheme == BIGQUERY:
        from shared.exports.rest import BigQuery  # late: Google's transport takes a while to load
        from shared.exports.warehouse import Warehouse

        if not rest:
            raise ExportError(f"{place!r} names no dataset: expected bigquery:[PROJECT.]DATASET")
        yield Warehouse(BigQuery.connect(rest, project, environment))
    elif scheme == POSTGRES:
        try:
            from shared.exports.database import Database  # late: a driver that only this needs
            from shared.postgres import Postgres
        except ImportError as error:
            raise ExportError(
                f"PostgreSQL needs the package psycopg (make .venv/.all brings it): {error}"
            ) from error
        url = environment.get(POSTGRES_URL, "")
        with Postgres.connect(url, most=1, statement_seconds=STATEMENT_SECONDS) as postgres:
            yield Database(postgres, rest or SCHEMA)
    elif scheme == "gs" or "://" in place:
        raise ExportError(f"{place!r} is no place for an export: expected {PLACES}")
    else:
        yield Folder(place, form, keep)

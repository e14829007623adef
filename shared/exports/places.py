"""The destination that an operator names."""

from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager

from shared.errors import ExportError
from shared.exports.folder import Folder
from shared.exports.formats import FORMATS
from shared.exports.target import Target

BIGQUERY, POSTGRES, GS = "bigquery", "postgres", "gs://"
SCHEMA = "public"
POSTGRES_URL = "LIBRA_POSTGRES_URL"
PLACES = "DIR, bigquery:[PROJECT.]DATASET, gs://BUCKET[/FOLDER], postgres or postgres:SCHEMA"
STATEMENT_SECONDS = 6 * 3_600
"""How long the copy of a table may take in PostgreSQL."""


@contextmanager
def opened(
    place: str,
    environment: Mapping[str, str],
    project: str | None,
    *,
    form: str = FORMATS[0],
    keep: int | None = None,
) -> Iterator[Target]:
    """Open a destination.

    Args:
        place: `PLACES` says what it may be. A folder may be called ./bigquery:x or ./gs:x too.
        environment: where `LIBRA_POSTGRES_URL` and `BIGQUERY_EMULATOR_HOST` are.
        project: of BigQuery, where the place names none.
        form: the format of files.
        keep: how many snapshots of a folder or a bucket stay; None: all.

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
        with closing(BigQuery.connect(rest, project, environment)) as bigquery:
            yield Warehouse(bigquery)
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
    elif place.startswith(GS):
        try:
            from shared.exports.bucket import Bucket  # late: a client that only this needs
        except ImportError as error:
            raise ExportError(
                f"{place} needs the package google-cloud-storage (make .venv/.all brings it): {error}"
            ) from error
        with closing(Bucket.connect(place, project, form, keep)) as bucket:
            yield bucket
    elif "://" in place or place.startswith("gs:"):
        raise ExportError(f"{place!r} is no place for an export: expected {PLACES}")
    else:
        yield Folder(place, form, keep)

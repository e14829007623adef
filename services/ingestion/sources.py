"""A tenant's sources, made from its settings: BigQuery for events, SFTP for files."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any, Literal, cast

from google.auth.credentials import Credentials
from google.oauth2 import service_account

from services.ingestion import files, ga4
from services.ingestion.bigquery import ADDRESS, BigQuery, Events
from services.ingestion.books import Books
from services.ingestion.errors import PartError
from services.ingestion.files import Format
from services.ingestion.refusals import Dataset
from services.ingestion.requests import FILES, Part
from services.ingestion.rows import Ceilings, Reading, Target
from services.ingestion.secrets import Vault
from services.ingestion.sftp import SETTLE_SECONDS, Files, Server
from services.ingestion.tenants import Tenant
from shared.http.once import Once

SCOPES = ("https://www.googleapis.com/auth/bigquery.readonly", "https://www.googleapis.com/auth/bigquery")


@dataclass(frozen=True, slots=True)
class Places:
    """Where the sources are, for all tenants.

    Attributes:
        bigquery: the address of BigQuery's API, or of an emulator.
        storage: host and port of an emulator's Storage API; None: the real one.
        settle_seconds: between the two looks at a file.
    """

    bigquery: str = ADDRESS
    storage: str | None = None
    settle_seconds: float = SETTLE_SECONDS


@dataclass(frozen=True, slots=True)
class TenantSources:
    """See `rows.Sources`."""

    tenant: Tenant
    books: Books
    vault: Vault
    places: Places
    now: Callable[[], datetime]
    _made: list[Events] = field(default_factory=list, init=False)
    _events: Once[Events] = field(init=False)

    def __post_init__(self) -> None:
        """Nothing is connected yet."""
        object.__setattr__(self, "_events", Once(self._bigquery))

    @property
    def ceilings(self) -> Ceilings:
        """What may be wrong with a part of this tenant."""
        return self.tenant.ceilings

    def target(self, kind: str) -> Target:
        """Where a kind of rows goes."""
        return files.target(kind) if kind in FILES else ga4.target(kind)

    def open(self, part: Part) -> Reading | Literal["absent", "same"]:
        """A part, ready to be read. Raises PartError."""
        return self._files(part.kind).open(part) if part.kind in FILES else self._events().open(part)

    def close(self) -> None:
        """Close the connections."""
        if self._made:
            self._made.pop().close()

    def today(self) -> date:
        """In the tenant's zone."""
        return self.now().astimezone(self.tenant.zone).date()

    def count(self, day: date) -> dict[str, int] | None:
        """How many events of each name the day's table holds, asked of BigQuery; None: there is no table."""
        return self._events().count(day)

    def _bigquery(self) -> Events:
        where = self.tenant.settings
        if missing := [name for name in ("project", "dataset") if not where.get(name)]:
            raise PartError(
                "configuration", f"tenant {self.tenant.tenant} has no {missing[0]}: libra tenant set"
            )
        client = BigQuery(self._credentials(), address=self.places.bigquery, storage=self.places.storage)
        self._made.append(Events(client, Dataset(where["project"], where["dataset"]), self.today))
        return self._made[0]

    def _credentials(self) -> Credentials | None:
        """The tenant's service account, or the worker's own account; nobody's for an emulator."""
        if self.places.storage:
            return None
        if text := self.vault.open(self.tenant.tenant, "bigquery", self.tenant.secrets):
            try:
                found = service_account.Credentials.from_service_account_info(  # type: ignore[no-untyped-call]  # as it comes
                    json.loads(text), scopes=SCOPES
                )
            except ValueError:
                message = (
                    f"the secret bigquery of {self.tenant.tenant} is no service account's key: rotate it"
                )
                raise PartError("credentials", message) from None
            return cast("Credentials", found)
        import google.auth

        try:
            return google.auth.default(scopes=SCOPES)[0]
        except google.auth.exceptions.DefaultCredentialsError as error:
            raise PartError(
                "credentials", "there are no credentials for BigQuery: set the secret bigquery"
            ) from error

    def _files(self, kind: str) -> Files:
        sftp: dict[str, Any] = self.tenant.settings.get("sftp", {})
        secret = self.vault.open(self.tenant.tenant, "sftp", self.tenant.secrets)
        if not sftp or secret is None:
            missing = "secret sftp: libra tenant rotate" if sftp else "sftp server: libra tenant set"
            raise PartError("configuration", f"tenant {self.tenant.tenant} has no {missing}")
        form = self.tenant.settings.get("files", {})
        server = Server(
            sftp["host"],
            int(sftp.get("port", 22)),
            sftp["user"],
            sftp["host_key"],
            secret,
            sftp.get("folder", "."),
        )
        names = form.get("names", {}).get(kind, {})
        written = Format(form.get("encoding", "utf-8"), form.get("delimiter", ","), names)
        return Files(server, written, self._loaded, self.today, settle_seconds=self.places.settle_seconds)

    def _loaded(self, kind: str) -> tuple[date, str] | None:
        statement = "SELECT day, sha256 FROM ingest_book WHERE kind = %s ORDER BY day DESC LIMIT 1"
        found = self.books.of(self.tenant.tenant, lambda it: it.execute(statement, (kind,)).fetchone())
        return cast("tuple[date, str] | None", found)

"""Tenants: whose data, where they are, who may ask for them.

A tenant's token is shown once and kept as a SHA-256: it has 256 random bits, so nobody finds it by trying.
"""

import hashlib
import hmac
import json
import re
import secrets as random
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, cast
from zoneinfo import ZoneInfo

from services.ingestion.books import Books
from services.ingestion.errors import IngestError
from services.ingestion.files import COLUMNS, DELIMITERS, ENCODINGS
from services.ingestion.requests import FILES
from services.ingestion.rows import Ceilings
from services.ingestion.secrets import NAMES
from shared.errors import AlreadyExists
from shared.postgres import Cursor

PREFIX = "lit_"
"""How a tenant's token begins."""
_TENANT = r"[a-z0-9][a-z0-9_-]{0,62}"
_TEXTS = ("project", "dataset", "time_zone")
_SFTP = ("host", "user", "host_key")
_WITHIN = {
    "sftp": {*_SFTP, "port", "folder"},
    "files": {"encoding", "delimiter", "names"},
    "ceilings": {"rejected", "left"},
}


class TenantError(IngestError):
    """A tenant's settings cannot be used, or there is no such tenant; the message says what is allowed."""


@dataclass(frozen=True, slots=True)
class Tenant:
    """A tenant, without its secrets' content."""

    tenant: str
    settings: Mapping[str, Any]
    secrets: Mapping[str, Mapping[str, str]]

    @property
    def zone(self) -> ZoneInfo:
        """Of the GA4 property: its days are the days of the tables."""
        return ZoneInfo(self.settings.get("time_zone", "UTC"))

    @property
    def ceilings(self) -> Ceilings:
        """What may be wrong with a part: the tenant's own shares, or the usual ones."""
        return Ceilings(
            **{name: Decimal(str(share)) for name, share in self.settings.get("ceilings", {}).items()}
        )

    def __repr__(self) -> str:
        """Without anything that is its own."""
        return f"Tenant({self.tenant})"


class Tenants:
    """The table of tenants."""

    def __init__(self, books: Books) -> None:
        self._books = books

    def add(self, tenant: str, settings: Mapping[str, Any]) -> str:
        """Add a tenant; its token. Raises TenantError."""
        if not re.fullmatch(_TENANT, tenant):
            raise TenantError(
                f"tenant: found {tenant!r}, allowed are small letters, digits, - and _, up to 63"
            )
        check(settings)
        token = _token()

        def insert(cursor: Cursor) -> None:
            cursor.execute(
                "INSERT INTO tenant_config (tenant, settings, token_sha256) VALUES (%s, %s, %s)",
                (tenant, json.dumps(settings), _hash(token)),
            )

        try:
            self._books.of_all(insert, repeatable=False)
        except AlreadyExists:
            raise TenantError(
                f"there is a tenant {tenant} already: change it with libra tenant set, or take another name"
            ) from None
        return token

    def listed(self) -> list[Tenant]:
        """All of them, by name."""
        columns = "SELECT tenant, settings, secrets FROM tenant_config ORDER BY tenant"
        return self._books.of_all(lambda it: [_of(row) for row in it.execute(columns)])

    def find(self, tenant: str) -> Tenant:
        """One. Raises TenantError."""

        def read(cursor: Cursor) -> Tenant:
            cursor.execute("SELECT tenant, settings, secrets FROM tenant_config WHERE tenant = %s", (tenant,))
            row = cursor.fetchone()
            if row is None:
                raise TenantError(f"there is no tenant {tenant!r}")
            return _of(row)

        return self._books.of(tenant, read)

    def knows(self, tenant: str, token: str) -> bool:
        """Whether the token is the tenant's. Whoever has none learns nothing of who is a tenant."""

        def read(cursor: Cursor) -> object:
            cursor.execute("SELECT token_sha256 FROM tenant_config WHERE tenant = %s", (tenant,))
            row = cursor.fetchone()
            return row[0] if row else None

        found = self._books.of(tenant, read) if re.fullmatch(_TENANT, tenant) else None
        return hmac.compare_digest(str(found or ""), _hash(token))

    def change(self, tenant: str, settings: Mapping[str, Any]) -> None:
        """Replace the tenant's settings. A job reads them when it is claimed. Raises TenantError."""
        check(settings)
        self._change(tenant, "settings = %s::jsonb", json.dumps(settings))

    def rotate_token(self, tenant: str) -> str:
        """A new token; the old one is taken no more. Raises TenantError."""
        token = _token()
        self._change(tenant, "token_sha256 = %s", _hash(token))
        return token

    def set_secret(self, tenant: str, name: str, held: Mapping[str, str]) -> None:
        """Keep a reference or an envelope under a name. Raises TenantError."""
        if name not in NAMES:
            raise TenantError(f"secret: found {name!r}, allowed are {', '.join(NAMES)}")
        self._change(tenant, "secrets = secrets || %s::jsonb", json.dumps({name: held}))

    def _change(self, tenant: str, change: str, value: str) -> None:
        def update(cursor: Cursor) -> None:
            statement = f"UPDATE tenant_config SET {change}, changed_at = now() WHERE tenant = %s"
            cursor.execute(cast("Any", statement), (value, tenant))
            if not cursor.rowcount:
                raise TenantError(f"there is no tenant {tenant!r}")

        self._books.of_all(update)


def check(settings: Mapping[str, Any]) -> None:
    """Refuse settings that no job could use. Raises TenantError, naming the field and what is allowed."""
    _object("settings", settings, {*_TEXTS, *_WITHIN})
    for name in _TEXTS:
        if name in settings and not (
            isinstance(settings[name], str) and re.fullmatch(r"[\w.:/+-]+", settings[name])
        ):
            raise TenantError(f"{name}: found {settings[name]!r}, allowed are letters, digits and ._:/+-")
    try:
        ZoneInfo(settings.get("time_zone", "UTC"))
    except (KeyError, ValueError, OSError):
        raise TenantError(f"time_zone: found {settings['time_zone']!r}, allowed is an IANA name") from None
    sftp, files, ceilings = (_object(name, settings.get(name, {}), own) for name, own in _WITHIN.items())
    if sftp:
        _check_sftp(sftp)
    for name, share in ceilings.items():
        if isinstance(share, bool) or not isinstance(share, (int, float)) or not 0 <= share <= 1:
            raise TenantError(f"ceilings.{name}: found {share!r}, allowed is a share from 0 to 1")
    if files.get("encoding", ENCODINGS[0]) not in ENCODINGS:
        raise TenantError(f"files.encoding: found {files['encoding']!r}, allowed are {', '.join(ENCODINGS)}")
    if files.get("delimiter", DELIMITERS[0]) not in DELIMITERS:
        raise TenantError(f"files.delimiter: found {files['delimiter']!r}, allowed are {DELIMITERS}")
    for kind, names in _object("files.names", files.get("names", {}), set(FILES)).items():
        own = f"files.names.{kind}"
        for column, name in _object(own, names, set(COLUMNS[kind])).items():
            if not isinstance(name, str):
                raise TenantError(f"{own}.{column}: found {name!r}, allowed is what the file calls it")


def _check_sftp(sftp: Mapping[str, Any]) -> None:
    if missing := [name for name in _SFTP if not isinstance(sftp.get(name), str)]:
        raise TenantError(f"sftp.{missing[0]}: there is none, and a server needs {', '.join(_SFTP)}")
    if type(sftp.get("port", 22)) is not int or not 0 < sftp.get("port", 22) < 65_536:
        raise TenantError(f"sftp.port: found {sftp['port']!r}, allowed is a whole number from 1 to 65535")
    if not isinstance(sftp.get("folder", "."), str):
        raise TenantError(f"sftp.folder: found {sftp['folder']!r}, allowed is a text such as out/daily")


def _object(name: str, found: object, known: set[str]) -> Mapping[str, Any]:
    allowed = ", ".join(sorted(known))
    if not isinstance(found, Mapping):
        raise TenantError(f"{name}: found {found!r}, allowed is an object of {allowed}")
    if unknown := sorted(set(found) - known):
        raise TenantError(f"{name}: found {', '.join(unknown)}, allowed are {allowed}")
    return found


def _of(row: tuple[object, ...]) -> Tenant:
    tenant, settings, secrets = cast("tuple[str, dict[str, Any], dict[str, dict[str, str]]]", row)
    return Tenant(tenant, settings, secrets)


def _token() -> str:
    return PREFIX + random.token_urlsafe(32)


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()

"""A tenant's secrets: named by Secret Manager, or sealed in the database with a key that is not in it.

An envelope is AES-256-GCM and bound to its tenant and name: moved to another row it does not open.
"""

import base64
import binascii
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import google.auth
import requests
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from google.auth.exceptions import GoogleAuthError
from google.auth.transport.requests import AuthorizedSession

from services.ingestion.errors import PartError, Unavailable
from services.ingestion.refusals import unanswered
from shared.errors import SettingError

VARIABLE = "LIBRA_INGESTION_KEY"
NAMES = ("bigquery", "sftp")
"""A service account's key as JSON (without it: the worker's own account), and a password or private key."""
_NONCE = 12
_SECONDS = 20


@dataclass(frozen=True, slots=True)
class Vault:
    """Opens what `tenant_config.secrets` holds.

    Attributes:
        key: of the envelopes; None: there are none.
        named: a secret of Secret Manager, by its resource name.
    """

    key: bytes | None
    named: Callable[[str], str]

    def __repr__(self) -> str:
        """Without the key."""
        return "Vault()"

    def seal(self, tenant: str, name: str, secret: str) -> dict[str, str]:
        """An envelope. Raises SettingError if there is no key."""
        if self.key is None:
            raise SettingError(VARIABLE, "", "32 random bytes in base64, which seal the secrets of tenants")
        nonce = os.urandom(_NONCE)
        sealed = AESGCM(self.key).encrypt(nonce, secret.encode(), _bound(tenant, name))
        return {"sealed": base64.b64encode(nonce + sealed).decode()}

    def open(self, tenant: str, name: str, held: Mapping[str, Mapping[str, str]]) -> str | None:
        """A secret; None: the tenant has none of this name. Raises PartError."""
        found = held.get(name)
        if found is None:
            return None
        if reference := found.get("reference"):
            return self.named(reference)
        if self.key is None:
            raise PartError(
                "credentials", f"{VARIABLE} is not set, and the secret {name} of {tenant} is sealed with it"
            )
        try:
            data = base64.b64decode(found["sealed"])
            opened = AESGCM(self.key).decrypt(data[:_NONCE], data[_NONCE:], _bound(tenant, name))
        except (InvalidTag, ValueError):
            raise PartError(
                "credentials",
                f"the secret {name} of {tenant} does not open with {VARIABLE}: rotate the secret",
            ) from None
        return opened.decode()


def key(value: str) -> bytes | None:
    """The key that a variable holds. Raises SettingError, which does not show it."""
    if not value:
        return None
    try:
        found = base64.b64decode(value, validate=True)
    except binascii.Error:
        found = b""
    if len(found) != 32:
        raise SettingError(VARIABLE, f"({len(value)} characters)", "32 random bytes in base64")
    return found


def of_secret_manager(reference: str) -> str:
    """A secret of Secret Manager. Raises PartError."""
    try:
        credentials, _ = google.auth.default(scopes=["https://www.googleapis.com/auth/cloud-platform"])
        with AuthorizedSession(credentials) as session:  # type: ignore[no-untyped-call]  # as it comes
            url = f"https://secretmanager.googleapis.com/v1/{reference}:access"
            answer = session.get(url, timeout=_SECONDS)
    except (GoogleAuthError, OSError) as error:
        said = f"Secret Manager cannot be asked for {reference}"
        if isinstance(error, requests.RequestException) or unanswered(error):
            raise Unavailable("network", f"{said}: look at the network, and start again") from error
        raise PartError("credentials", said) from error
    if answer.status_code == 429 or answer.status_code >= 500:
        raise Unavailable(
            "unavailable",
            f"Secret Manager answers {answer.status_code} for {reference}: start again later",
        )
    if not answer.ok:
        raise PartError(
            "credentials",
            f"Secret Manager answers {answer.status_code} for {reference}: "
            "grant roles/secretmanager.secretAccessor",
        )
    return base64.b64decode(answer.json()["payload"]["data"]).decode()


def _bound(tenant: str, name: str) -> bytes:
    return f"{tenant}/{name}".encode()

"""Tokens that are signed as Google signs them."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import google.oauth2.id_token
import jwt
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding


class Signer:
    """A key pair in place of Google's, whose public part the verifiers are given."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._key = rsa.generate_private_key(65_537, 2_048)
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "tokens")])
        made = x509.CertificateBuilder(name, name, self._key.public_key(), x509.random_serial_number())
        now = datetime.now(UTC)
        made = made.not_valid_before(now - timedelta(1)).not_valid_after(now + timedelta(1))
        self.certificate = made.sign(self._key, hashes.SHA256()).public_bytes(Encoding.PEM).decode()
        monkeypatch.setattr(google.oauth2.id_token, "_fetch_certs", lambda *_: {"k": self.certificate})

    def token(self, claims: Mapping[str, object], *, lasts: timedelta = timedelta(hours=1)) -> str:
        """A signed token."""
        now = datetime.now(UTC)
        said = {"iat": now - timedelta(hours=2), "exp": now + lasts, "sub": "somebody", **claims}
        return jwt.encode(said, self._key, algorithm="RS256", headers={"kid": "k"})

"""Who calls: Firebase ID tokens and Google's, and what each may do, as `firestore.rules` says it.

Anyone signed in reads the totals. The claim ``libra`` with the value ``operator`` reads everything and starts
recomputes. A Google account is an operator if `LIBRA_API_OPERATORS` names it.
"""

import secrets
from dataclasses import dataclass
from typing import Annotated

import firebase_admin
import google.auth.credentials
import google.auth.transport.requests
import jwt
import requests
from cachecontrol import CacheControl
from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from firebase_admin import auth, credentials
from google.auth.exceptions import TransportError
from google.oauth2 import id_token

from services.api.problems import Problem
from services.api.settings import ApiSettings
from shared.errors import SettingError
from shared.log import logger

GOOGLE = frozenset({"https://accounts.google.com", "accounts.google.com"})
"""Who issues the ID tokens of Google accounts and of service accounts."""
LONGEST_TOKEN = 8_192
"""Characters; a Firebase ID token has about 1,000."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who is signed in."""

    operator: bool


class _Nobody(credentials.Base):  # type: ignore[misc]  # the package has no types
    """To verify a token takes public keys alone, so the verifier is given no credentials."""

    def get_credential(self) -> google.auth.credentials.Credentials:
        return google.auth.credentials.AnonymousCredentials()  # type: ignore[no-untyped-call]  # as it comes


class Verifier:
    """Verifies tokens. Its calls may wait for Google's public keys: they belong in a thread."""

    def __init__(self, settings: ApiSettings) -> None:
        self._settings = settings
        # Google's keys are fetched when they change, as firebase-admin does for Firebase's.
        self._keys = google.auth.transport.requests.Request(CacheControl(requests.Session()))
        name = f"libra-api-{secrets.token_hex(8)}"  # firebase-admin keeps apps by name
        self._app = firebase_admin.initialize_app(_Nobody(), {"projectId": settings.books.project}, name)

    def caller(self, token: str) -> Caller:
        """Whose token it is.

        Raises:
            Problem: 401, it is no token that is taken here; 503, Google's keys cannot be had.
        """
        if len(token) > LONGEST_TOKEN:
            raise refused(f"the token has more than {LONGEST_TOKEN} characters")
        try:
            return self._google(token) if _issuer(token) in GOOGLE else self._firebase(token)
        except (TransportError, auth.CertificateFetchError) as error:
            logger.error("The keys that sign tokens cannot be had", extra={"error": type(error).__name__})
            raise Problem(503, "the token cannot be verified now: try again") from error

    def _firebase(self, token: str) -> Caller:
        if self._settings.books.project is None:
            raise SettingError("GOOGLE_CLOUD_PROJECT", "", "the project whose Firebase ID tokens are taken")
        try:
            claims = auth.verify_id_token(token, self._app)
        except auth.ExpiredIdTokenError:
            raise refused("the token has expired: sign in again") from None
        except (auth.InvalidIdTokenError, jwt.InvalidTokenError, ValueError):
            raise refused(f"not a Firebase ID token of the project {self._settings.books.project}") from None
        return Caller(claims.get("libra") == "operator")

    def _google(self, token: str) -> Caller:
        if not self._settings.audience:
            raise refused("a Google ID token, and LIBRA_API_AUDIENCE, which would allow them, is not set")
        try:
            claims = id_token.verify_oauth2_token(token, self._keys, self._settings.audience)  # type: ignore[no-untyped-call]  # as it comes
        except (jwt.InvalidTokenError, ValueError, google.auth.exceptions.InvalidValue):
            raise refused(f"not a valid Google ID token for {self._settings.audience}") from None
        known = claims.get("email_verified") is True and claims.get("email") in self._settings.operators
        if not known:
            raise Problem(403, "this Google account is not one of LIBRA_API_OPERATORS")
        return Caller(operator=True)


def refused(detail: str) -> Problem:
    """401, with what would be taken."""
    return Problem(401, detail, headers={"WWW-Authenticate": "Bearer"})


def _issuer(token: str) -> object:
    """Who says that it issued the token: it decides who verifies it, and nothing else."""
    try:
        return jwt.decode(token, options={"verify_signature": False}).get("iss")
    except jwt.InvalidTokenError:
        return None


_bearer = HTTPBearer(
    auto_error=False,
    bearerFormat="JWT",
    description="A Firebase ID token, or the ID token of a Google account in LIBRA_API_OPERATORS.",
)


def signed_in(
    request: Request, bearer: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]
) -> Caller:
    """The caller, who has signed in. Not a coroutine, so that FastAPI verifies the token in a thread.

    Raises:
        Problem: 401, nobody is signed in.
    """
    if bearer is None:
        raise refused("no bearer token: send Authorization: Bearer TOKEN")
    verifier: Verifier = request.app.state.verifier
    return verifier.caller(bearer.credentials)


def operator(caller: Annotated[Caller, Depends(signed_in)]) -> Caller:
    """The caller, who is an operator.

    Raises:
        Problem: 401, nobody is signed in; 403, it is somebody else.
    """
    if not caller.operator:
        raise Problem(
            403, "this takes the role operator: the claim libra of the token is another, or there is none"
        )
    return caller

"""Who signed in: Firebase ID tokens and Google's. What each may do is the service's affair."""

import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import firebase_admin
import google.auth.credentials
import google.auth.transport.requests
import jwt
import requests
from cachecontrol import CacheControl
from firebase_admin import auth, credentials
from google.auth.exceptions import TransportError
from google.oauth2 import id_token

from shared.errors import SettingError
from shared.http.problems import Problem
from shared.log import logger

GOOGLE = frozenset({"https://accounts.google.com", "accounts.google.com"})
"""Who issues the ID tokens of Google accounts and of service accounts."""
LONGEST_TOKEN = 8_192
"""Characters; a Firebase ID token has about 1,000."""
FETCH_SECONDS = 5.0
"""How long Google may take to begin an answer with its keys, and to go on with it."""
PAUSE_SECONDS = 5.0
"""How long nobody asks for keys again after that failed."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Tokens:
    """Which tokens a service takes. The names of its variables stand in its messages."""

    project: str | None
    """Whose Firebase ID tokens."""
    audience: str | None
    """The audience of Google's ID tokens: the service's URL; None: none is taken."""
    accounts: frozenset[str]
    """The Google accounts whose ID tokens are taken."""
    audience_variable: str
    accounts_variable: str


@dataclass(frozen=True, slots=True)
class Identity:
    """Who is signed in."""

    subject: str
    """What tells callers apart. It is for no log line: it may be an address."""
    role: str | None = None
    """The claim `libra` of a Firebase ID token."""
    account: str | None = None
    """The address of a Google account, one of those that are named."""


class _Nobody(credentials.Base):  # type: ignore[misc]  # the package has no types
    """To verify a token takes public keys alone, so the verifier is given no credentials."""

    def get_credential(self) -> google.auth.credentials.Credentials:
        return google.auth.credentials.AnonymousCredentials()  # type: ignore[no-untyped-call]  # as it comes


class _Keys:
    """One kind of keys, which the packages fetch as they verify a token, and keep.

    One thread verifies at a time, so that one fetches. The others use what it has fetched, or fail as it did.
    Otherwise a Google that does not answer would hold a thread for every request.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._again = 0.0
        """When they may be asked for again."""

    def verify(self, token: Callable[[], T]) -> T:
        """Verify a token.

        Raises:
            Problem: 503, the keys cannot be had.
        """
        with self._lock:
            if self._clock() >= self._again:
                try:
                    return token()
                except (TransportError, auth.CertificateFetchError) as error:
                    self._again = self._clock() + PAUSE_SECONDS
                    about = {"error": type(error).__name__}
                    logger.error("The keys that sign tokens cannot be had", extra=about)
        raise Problem(503, "the token cannot be verified now: try again")


class Verifier:
    """Verifies tokens. Its calls may wait for Google's public keys: they belong in a thread."""

    def __init__(self, tokens: Tokens, clock: Callable[[], float] = time.monotonic) -> None:
        self._tokens = tokens
        self._firebases, self._googles = _Keys(clock), _Keys(clock)
        # Google's keys are fetched when they change, as firebase-admin does for Firebase's.
        fetch = google.auth.transport.requests.Request(CacheControl(requests.Session()))
        self._fetch = partial(fetch, timeout=FETCH_SECONDS)
        name = f"libra-{secrets.token_hex(8)}"  # firebase-admin keeps apps by name
        options = {"projectId": tokens.project, "httpTimeout": FETCH_SECONDS}
        self._app = firebase_admin.initialize_app(_Nobody(), options, name)

    def identity(self, token: str) -> Identity:
        """Whose token it is.

        Raises:
            Problem: 401, it is no token that is taken here; 403, the Google account is not named; 503,
                Google's keys cannot be had.
        """
        if len(token) > LONGEST_TOKEN:
            raise refused(f"the token has more than {LONGEST_TOKEN} characters")
        return self._google(token) if _issuer(token) in GOOGLE else self._firebase(token)

    def _firebase(self, token: str) -> Identity:
        if self._tokens.project is None:
            raise SettingError("GOOGLE_CLOUD_PROJECT", "", "the project whose Firebase ID tokens are taken")
        try:
            claims = self._firebases.verify(lambda: auth.verify_id_token(token, self._app))
        except auth.ExpiredIdTokenError:
            raise refused("the token has expired: sign in again") from None
        except (auth.InvalidIdTokenError, jwt.InvalidTokenError, ValueError):
            raise refused(f"not a Firebase ID token of the project {self._tokens.project}") from None
        role = claims.get("libra")
        return Identity(f"user {claims['uid']}", role=role if isinstance(role, str) else None)

    def _google(self, token: str) -> Identity:
        tokens = self._tokens
        if not tokens.audience:
            raise refused(
                f"a Google ID token, and {tokens.audience_variable}, which would allow them, is not set"
            )
        try:
            claims = self._googles.verify(
                lambda: id_token.verify_oauth2_token(token, self._fetch, tokens.audience)  # type: ignore[no-untyped-call]  # as it comes
            )
        except (jwt.InvalidTokenError, ValueError, google.auth.exceptions.InvalidValue):
            raise refused(f"not a valid Google ID token for {tokens.audience}") from None
        account = claims.get("email")
        if claims.get("email_verified") is not True or account not in tokens.accounts:
            raise Problem(403, f"this Google account is not one of {tokens.accounts_variable}")
        return Identity(f"account {account}", account=account)


def refused(detail: str) -> Problem:
    """401, with what would be taken."""
    return Problem(401, detail, headers={"WWW-Authenticate": "Bearer"})


def _issuer(token: str) -> str | None:
    """Who says that it issued the token: it decides who verifies it, and nothing else."""
    try:
        issuer = jwt.decode(token, options={"verify_signature": False}).get("iss")
    except jwt.InvalidTokenError:
        return None
    return issuer if isinstance(issuer, str) else None

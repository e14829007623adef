"""Who may send: API keys, Firebase ID tokens, Google's.

An API key sends to the sources that it was made for. A Firebase ID token with the claim ``libra`` of
``device`` or ``operator`` sends to every source. Any other one sends to those of `LIBRA_COLLECTOR_SIGNED_IN`.
A Google account that `LIBRA_COLLECTOR_ACCOUNTS` names sends to every source.
"""

import asyncio
import math
from collections.abc import Mapping
from dataclasses import dataclass

from services.collector.keyring import Keyring
from services.collector.throttle import Throttle
from shared.api_keys import PREFIX, ApiKey
from shared.http.identity import Identity, Verifier, refused
from shared.http.problems import Problem, shown

SENDERS = frozenset({"device", "operator"})
"""The values of the claim `libra` that send to every source."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who sends.

    Attributes:
        name: what its events are counted under, by the throttle.
        sources: what it may send to; None: everything.
        rate: events a second.
    """

    name: str
    sources: frozenset[str] | None
    rate: int


class Access:
    """Says who sends, and lets through what may be sent. Of one event loop."""

    def __init__(
        self,
        keyring: Keyring,
        verifier: Verifier,
        throttle: Throttle,
        *,
        signed_in: frozenset[str],
        rate: int,
    ) -> None:
        """``signed_in``: what anyone signed in may send to. ``rate``: events a second for each caller."""
        self._keyring = keyring
        self._verifier = verifier
        self._throttle = throttle
        self._signed_in = signed_in
        self._rate = rate

    async def caller(self, headers: Mapping[str, str]) -> Caller:
        """Who sends a request with these headers.

        Raises:
            Problem: 401, nobody who is known; 403, a Google account that is not named; 503, it cannot be
                verified now.
            LibraError: a key cannot be read.
        """
        credential = _credential(headers)
        if credential.startswith(PREFIX):
            key = await self._keyring.find(credential)
            if key is None:
                raise refused("no API key that is taken here: it is unknown, or it was revoked")
            return self._of_key(key)
        return self._of_identity(await asyncio.to_thread(self._verifier.identity, credential))

    def allow(self, caller: Caller, source: str) -> None:
        """Let a request to a source through, or not.

        Raises:
            Problem: 403, it may not send there; 429, it has sent too much.
        """
        if caller.sources is not None and source not in caller.sources:
            allowed = ", ".join(sorted(caller.sources)) or "no source"
            raise Problem(403, f"this may not be sent to {shown(source)}: the caller may send to {allowed}")
        if wait := self._throttle.wait(caller.name, caller.rate):
            seconds = math.ceil(wait)
            detail = f"more than {caller.rate} events a second: send again after {seconds} seconds"
            raise Problem(429, detail, headers={"Retry-After": str(seconds)})

    def charge(self, caller: Caller, events: int) -> None:
        """Take events out of what the caller may send."""
        self._throttle.take(caller.name, caller.rate, events)

    def _of_key(self, key: ApiKey) -> Caller:
        return Caller(f"key {key.id}", frozenset(key.sources), key.rate or self._rate)

    def _of_identity(self, identity: Identity) -> Caller:
        everywhere = identity.account is not None or identity.role in SENDERS
        return Caller(identity.subject, None if everywhere else self._signed_in, self._rate)


def _credential(headers: Mapping[str, str]) -> str:
    key = headers.get("x-api-key", "").strip()
    if key:
        if not key.startswith(PREFIX):
            raise refused(f"X-Api-Key holds no API key: expected one that begins with {PREFIX}")
        return key
    scheme, _, token = headers.get("authorization", "").strip().partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise refused("nobody is signed in: send X-Api-Key: KEY, or Authorization: Bearer KEY-OR-TOKEN")
    return token.strip()

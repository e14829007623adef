"""Who may send how much: keys as an instance knows them, tokens, and the bucket of each caller."""

import asyncio
from typing import ClassVar, TypeVar

import pytest

from services.collector.access import Access, Caller
from services.collector.keyring import Keyring
from services.collector.throttle import Throttle
from shared import api_keys
from shared.http.identity import Identity
from shared.http.problems import Problem
from tests.support.collector import Clock, Keys

T = TypeVar("T")


class Tokens:
    """Stands where tokens are verified."""

    identities: ClassVar = {
        "user": Identity("user u"),
        "device": Identity("user d", role="device"),
        "operator": Identity("user o", role="operator"),
        "stranger": Identity("user s", role="owner"),
        "account": Identity("account a", account="a@b"),
    }

    def identity(self, token: str) -> Identity:
        """See `Verifier`."""
        return self.identities[token]


def access(keys: Keys, clock: Clock, signed_in: frozenset[str] = frozenset({"signals"})) -> Access:
    """Access over keys and tokens that are names."""
    ring, buckets = Keyring(keys.look, clock), Throttle(clock, burst=1_000)
    return Access(ring, Tokens(), buckets, signed_in=signed_in, rate=7)  # type: ignore[arg-type]  # stands for it


def caller(made: Access, **headers: str) -> Caller:
    """Who sends with these headers."""
    return asyncio.run(made.caller({name.replace("_", "-"): value for name, value in headers.items()}))


@pytest.mark.parametrize(
    ("token", "sources"),
    [
        ("user", {"signals"}),
        ("stranger", {"signals"}),
        ("device", None),
        ("operator", None),
        ("account", None),
    ],
)
def test_a_token_may_send_what_its_role_may(
    keys: Keys, clock: Clock, token: str, sources: set[str] | None
) -> None:
    """As firestore.rules has it for devices; anyone else signed in only where the operator says so."""
    found = caller(access(keys, clock), authorization=f"Bearer {token}")
    assert (found.sources, found.rate) == (sources, 7)


def test_a_key_may_come_in_either_header(keys: Keys, clock: Clock) -> None:
    """As X-Api-Key, or as a bearer; its scope is its own."""
    key = keys.make("user_events")
    made = access(keys, clock)
    found = [caller(made, x_api_key=key), caller(access(keys, clock), authorization=f"bearer  {key} ")]
    assert found[0] == found[1]
    assert (found[0].sources, found[0].rate) == (frozenset({"user_events"}), 7)


@pytest.mark.parametrize(
    ("headers", "detail"),
    [
        ({}, "send X-Api-Key: KEY"),
        ({"authorization": "Bearer"}, "send X-Api-Key: KEY"),
        ({"authorization": "Basic eDp5"}, "send X-Api-Key: KEY"),
        ({"x_api_key": "secret"}, "begins with lk_"),
        ({"x_api_key": "lk_secret"}, "it is unknown, or it was revoked"),
        ({"authorization": "Bearer lk_secret"}, "it is unknown, or it was revoked"),
    ],
)
def test_who_is_nobody_is_told_how_to_sign_in(
    keys: Keys, clock: Clock, headers: dict[str, str], detail: str
) -> None:
    """401 with what is taken, and not with what was sent."""
    with pytest.raises(Problem) as raised:
        caller(access(keys, clock), **headers)
    assert (raised.value.status_code, detail in raised.value.detail) == (401, True)
    assert "secret" not in raised.value.detail


def test_another_source_is_refused_with_what_is_allowed(keys: Keys, clock: Clock) -> None:
    """403, before anything is read of the body; nobody's bucket is touched."""
    made = access(keys, clock, frozenset())
    for token, allowed in (("user", "may send to no source"), (None, "may send to signals")):
        header = f"Bearer {token or keys.make()}"
        with pytest.raises(Problem) as raised:
            made.allow(caller(made, authorization=header), "user_events")
        assert raised.value.status_code == 403
        assert allowed in raised.value.detail


def test_too_much_is_refused_until_it_is_time(keys: Keys, clock: Clock) -> None:
    """429 says when; a key's own rate wins over the collector's."""
    made = access(keys, clock)
    own = api_keys.create(keys.store, "fast", ["signals"], ["signals"], rate=2_000)[1]
    slow, fast = caller(made, x_api_key=keys.make()), caller(made, x_api_key=own)
    assert fast.rate == 2_000
    for each in (slow, fast):
        made.charge(each, 1_014)
    made.allow(fast, "signals")
    with pytest.raises(Problem) as raised:
        made.allow(slow, "signals")
    assert (raised.value.status_code, raised.value.headers) == (429, {"Retry-After": "3"})
    clock.now += 3
    made.allow(slow, "signals")

"""The collector's environment: what stops the start, and with which words."""

from collections.abc import Mapping

import pytest

from services.collector.settings import CollectorSettings
from shared.errors import SettingError
from tests.support.collector import ENVIRONMENT


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"LIBRA_COLLECTOR_MODE": "both"}, "one of queue, direct"),
        ({"LIBRA_COLLECTOR_ORIGINS": "*"}, "no path, no *"),
        ({"LIBRA_COLLECTOR_ORIGINS": "https://a.example/x"}, "no path, no *"),
        ({"LIBRA_COLLECTOR_ORIGINS": "shop.example"}, "such as https://shop.example"),
        ({"LIBRA_COLLECTOR_ORIGINS": "https://*.example"}, "no path, no *"),
        ({"LIBRA_COLLECTOR_SIGNED_IN": "signals,libra"}, "of user_events, signals"),
        ({"LIBRA_COLLECTOR_RATE": "0"}, "a whole number from 1 to 100000"),
        ({"LIBRA_COLLECTOR_RATE": "9" * 5_000}, "a whole number from 1 to 100000"),
        ({"LIBRA_COLLECTOR_DEADLINE_SECONDS": "301"}, "a whole number from 1 to 300"),
        ({"LIBRA_COLLECTOR_AUDIENCE": "libra"}, "an https:// address"),
        ({"LIBRA_COLLECTOR_ACCOUNTS": "ann"}, "addresses of Google accounts"),
        ({"PUBSUB_EMULATOR_HOST": ""}, "FIRESTORE_EMULATOR_HOST is set too"),
        ({"PUBSUB_EMULATOR_HOST": "http://127.0.0.1:1"}, "host:port"),
        ({"FIREBASE_AUTH_EMULATOR_HOST": "127.0.0.1:9099", "K_SERVICE": "c"}, "not set on Cloud Run"),
        ({"LIBRA_TIME_ZONE": "Mars"}, "an IANA time zone"),
    ],
)  # fmt: skip
def test_a_wrong_setting_stops_the_start(variables: Mapping[str, str], message: str) -> None:
    """The message names the variable, the value found and what is allowed."""
    with pytest.raises(SettingError) as raised:
        CollectorSettings.from_environment({**ENVIRONMENT, **variables})
    variable, value = next(iter(variables.items()))
    assert str(raised.value).startswith(f"{variable}={value!r}: ")
    assert message in str(raised.value)


def test_without_a_word_it_queues_and_lets_keys_in_alone() -> None:
    """No page, no account and nobody who is merely signed in may send by default."""
    settings = CollectorSettings.from_environment({"GOOGLE_CLOUD_PROJECT": "kitchen-1"})
    assert settings.mode == "queue"
    assert (settings.origins, settings.signed_in, settings.tokens.accounts) == (frozenset(),) * 3
    assert (settings.tokens.audience, settings.emulated, settings.pubsub_host) == (None, False, None)


def test_an_empty_variable_is_an_unset_one() -> None:
    """That is how deploy tools write 'none'."""
    empty = {
        f"LIBRA_COLLECTOR_{name}": ""
        for name in ("MODE", "ORIGINS", "SIGNED_IN", "RATE", "DEADLINE_SECONDS", "AUDIENCE", "ACCOUNTS")
    }
    project = {"GOOGLE_CLOUD_PROJECT": "kitchen-1"}
    assert CollectorSettings.from_environment(project | empty) == CollectorSettings.from_environment(project)

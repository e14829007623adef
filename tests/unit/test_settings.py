"""The environment is read once; a wrong value stops the start with a message that says what to do."""

from datetime import timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest

from shared.errors import SettingError
from shared.settings import Settings


def test_an_empty_environment_gives_the_defaults() -> None:
    """What the design names as defaults; an empty variable is an unset one."""
    assert Settings.from_environment({"LIBRA_TIME_ZONE": "", "FIRESTORE_DATABASE": " "}) == Settings()
    defaults = Settings()
    assert (defaults.time_zone.key, defaults.time_action) == ("UTC", "Served")
    assert defaults.max_loss == Decimal("0.05")
    assert (defaults.lag, defaults.bucket) == (timedelta(minutes=10), timedelta(minutes=10))


def test_every_variable_is_read() -> None:
    """Each variable of the design's list reaches its field."""
    assert Settings.from_environment(
        {
            "GOOGLE_CLOUD_PROJECT": "demo-libra",
            "FIRESTORE_DATABASE": "kitchen",
            "FIRESTORE_EMULATOR_HOST": "127.0.0.1:8080",
            "LIBRA_TIME_ZONE": "Asia/Kathmandu",
            "LIBRA_TIME_ACTION": "*",
            "LIBRA_LAG_SECONDS": "0",
            "LIBRA_BUCKET_SECONDS": "60",
            "LIBRA_GROUP_SIZE": "1",
            "LIBRA_LINGER_MS": "25",
            "LIBRA_LOG_LEVEL": "DEBUG",
            "LIBRA_MAX_LOSS": "0.125",
        }
    ) == Settings(
        project="demo-libra",
        database="kitchen",
        emulator_host="127.0.0.1:8080",
        time_zone=ZoneInfo("Asia/Kathmandu"),
        time_action=None,
        lag=timedelta(0),
        test=True,
        bucket=timedelta(minutes=1),
        group_size=1,
        linger=timedelta(milliseconds=25),
        log_level="DEBUG",
        max_loss=Decimal("0.125"),
    )


@pytest.mark.parametrize(
    ("variable", "value", "allowed"),
    [
        ("LIBRA_TIME_ZONE", "Mars/Olympus", "an IANA time zone such as Europe/Zurich"),
        ("LIBRA_TIME_ZONE", "../etc/passwd", "an IANA time zone such as Europe/Zurich"),
        ("LIBRA_TIME_ZONE", "America", "an IANA time zone such as Europe/Zurich"),
        ("LIBRA_LAG_SECONDS", "ten", "a whole number from 0 to 86400"),
        ("LIBRA_LAG_SECONDS", "-1", "a whole number from 0 to 86400"),
        ("LIBRA_LAG_SECONDS", "86401", "a whole number from 0 to 86400"),
        ("LIBRA_BUCKET_SECONDS", "0", "a whole number from 1 to 86400"),
        ("LIBRA_BUCKET_SECONDS", "7", "a number of seconds that divides a day (86,400)"),
        ("LIBRA_GROUP_SIZE", "2001", "a whole number from 1 to 2000"),
        ("LIBRA_LINGER_MS", "0.5", "a whole number from 0 to 10000"),
        ("LIBRA_MAX_LOSS", "5%", "a share from 0 to 1, such as 0.05"),
        ("LIBRA_MAX_LOSS", "5", "a share from 0 to 1, such as 0.05"),
        ("LIBRA_MAX_LOSS", "-0.1", "a share from 0 to 1, such as 0.05"),
        ("LIBRA_MAX_LOSS", "nan", "a share from 0 to 1, such as 0.05"),
        ("LIBRA_MAX_LOSS", "inf", "a share from 0 to 1, such as 0.05"),
        ("LIBRA_LOG_LEVEL", "LOUD", "one of INFO, DEBUG, WARNING, ERROR"),
        ("FIRESTORE_EMULATOR_HOST", "8080", "host:port, such as 127.0.0.1:8080"),
        ("FIRESTORE_EMULATOR_HOST", "http://127.0.0.1:8080", "host:port, such as 127.0.0.1:8080"),
    ],
)
def test_a_wrong_value_is_named(variable: str, value: str, allowed: str) -> None:
    """The message has the variable, the value and what is allowed."""
    with pytest.raises(SettingError) as caught:
        Settings.from_environment({variable: value})
    assert str(caught.value) == f"{variable}={value!r}: {allowed}"

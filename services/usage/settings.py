"""The usage service's own environment, read once into one frozen object."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

from shared.errors import SettingError
from shared.parts import KEEP, flaw
from shared.settings import Settings

CLOSE_SECONDS = 3_600
EVERY_SECONDS = 300
KEPT_SECONDS = int(KEEP.total_seconds())
"""An application keeps a count for that long: within it, it is flushed, and its hour is sealed."""


@dataclass(frozen=True, slots=True)
class UsageSettings:
    """What the environment says. Build it with `from_environment`."""

    books: Settings
    """What every part of Libra reads: the time zone and the level of logs among it."""
    redis_url: str
    """`LIBRA_REDIS_URL`."""
    postgres_url: str
    """`LIBRA_POSTGRES_URL`."""
    close_after: timedelta = timedelta(seconds=CLOSE_SECONDS)
    """`LIBRA_USAGE_CLOSE_SECONDS`: how long after its end an hour is sealed."""
    metrics: frozenset[str] | None = None
    """`LIBRA_USAGE_METRICS`, by commas: the metrics that are declared; None: any."""

    every: timedelta = timedelta(seconds=EVERY_SECONDS)
    """`LIBRA_USAGE_EVERY_SECONDS`: how often the scheduler flushes."""

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> "UsageSettings":
        """Read and check every variable.

        Raises:
            SettingError: naming the first variable that cannot be used, its value and what is allowed.
        """
        return cls(
            Settings.from_environment(environment),
            _given(environment, "LIBRA_REDIS_URL", "redis://127.0.0.1:6379/0"),
            _given(environment, "LIBRA_POSTGRES_URL", "postgresql://user@127.0.0.1:5432/database"),
            _seconds(environment, "LIBRA_USAGE_CLOSE_SECONDS", CLOSE_SECONDS, 0),
            _metrics("LIBRA_USAGE_METRICS", environment.get("LIBRA_USAGE_METRICS", "")),
            _seconds(environment, "LIBRA_USAGE_EVERY_SECONDS", EVERY_SECONDS, 1),
        )


def _given(environment: Mapping[str, str], variable: str, example: str) -> str:
    found = environment.get(variable, "").strip()
    if not found:
        raise SettingError(variable, found, f"an address, such as {example}")
    return found


def _seconds(environment: Mapping[str, str], variable: str, default: int, least: int) -> timedelta:
    found = environment.get(variable, "").strip() or str(default)
    if not (found.isascii() and found.isdigit() and least <= int(found) <= KEPT_SECONDS):
        allowed = (
            f"a whole number of seconds from {least} to {KEPT_SECONDS}: applications keep a count that long"
        )
        raise SettingError(variable, found, allowed)
    return timedelta(seconds=int(found))


def _metrics(variable: str, value: str) -> frozenset[str] | None:
    names = frozenset(it.strip() for it in value.split(",") if it.strip())
    for name in names:
        if wrong := flaw("any", name):
            raise SettingError(variable, value, f"names by commas; {wrong}")
    return names or None

"""The API's own environment, read once into one frozen object."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

from shared.errors import SettingError
from shared.settings import Settings

ORIGIN = r"(https://(?!\S*:443$)|http://(?!\S*:80$))[a-z0-9.-]+(:\d{1,5})?|[a-z]+-extension://[a-z0-9-]+"
"""What a browser sends as `Origin` for a page with a host, or for an extension (RFC 6454, 6.2)."""


@dataclass(frozen=True, slots=True)
class ApiSettings:
    """What the environment says. Build it with `from_environment`."""

    books: Settings
    """What every part of Libra reads: project, database, declarations."""
    recompute_url: str | None = None
    """`LIBRA_API_RECOMPUTE_URL`: where the recompute answers; None: the API starts no run."""
    audience: str | None = None
    """`LIBRA_API_AUDIENCE`: the audience of Google's ID tokens: this API's URL; None: none is taken."""
    operators: frozenset[str] = frozenset()
    """`LIBRA_API_OPERATORS`: addresses of Google accounts whose ID tokens have the role operator."""
    origins: frozenset[str] = frozenset()
    """`LIBRA_API_ORIGINS`: the origins whose web pages may ask from a browser."""
    deadline: timedelta = timedelta(seconds=20)
    """`LIBRA_API_DEADLINE_SECONDS`: how long a request may take before it is answered with 504."""
    emulated: bool = False
    """Whether `FIREBASE_AUTH_EMULATOR_HOST` is set: then firebase-admin takes tokens that nobody signed."""

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> "ApiSettings":
        """Read and check every variable.

        Raises:
            SettingError: naming the first variable that cannot be used, its value and what is allowed.
        """

        def read(variable: str) -> str:
            return environment.get(variable, "").strip()

        return cls(
            books=Settings.from_environment(environment),
            recompute_url=_url("LIBRA_API_RECOMPUTE_URL", read("LIBRA_API_RECOMPUTE_URL")),
            audience=_url("LIBRA_API_AUDIENCE", read("LIBRA_API_AUDIENCE")),
            operators=_addresses("LIBRA_API_OPERATORS", read("LIBRA_API_OPERATORS")),
            origins=_origins("LIBRA_API_ORIGINS", read("LIBRA_API_ORIGINS")),
            deadline=_seconds("LIBRA_API_DEADLINE_SECONDS", read("LIBRA_API_DEADLINE_SECONDS") or "20"),
            emulated=_emulated(read("FIREBASE_AUTH_EMULATOR_HOST"), read("K_SERVICE")),
        )


def _emulated(host: str, service: str) -> bool:
    """`K_SERVICE` names the service that runs: Cloud Run sets it (container runtime contract, 2026-11)."""
    if host and service:
        raise SettingError(
            "FIREBASE_AUTH_EMULATOR_HOST",
            host,
            f"not set on Cloud Run (K_SERVICE={service!r}): with it, anybody may sign in as anybody",
        )
    return bool(host)


def _url(variable: str, value: str) -> str | None:
    if value and not value.startswith(("https://", "http://127.0.0.1:", "http://localhost:")):
        raise SettingError(variable, value, "an https:// address, or one on this machine")
    return value.rstrip("/") or None


def _listed(value: str) -> frozenset[str]:
    return frozenset(filter(None, (each.strip() for each in value.split(","))))


def _origins(variable: str, value: str) -> frozenset[str]:
    """`*` is none: a page that nobody named could ask with a token that its visitor gave it."""
    found = _listed(value)
    for each in found:
        if not re.fullmatch(ORIGIN, each):
            raise SettingError(
                variable,
                value,
                "origins as browsers send them, separated by commas, such as https://shop.example: a scheme "
                "and a host in small letters, a port only where it is not the usual one, no path, no *",
            )
    return found


def _addresses(variable: str, value: str) -> frozenset[str]:
    found = _listed(value)
    for each in found:
        if not all(each.partition("@")) or " " in each:
            raise SettingError(variable, value, "addresses of Google accounts, separated by commas")
    return found


def _seconds(variable: str, value: str) -> timedelta:
    if not (value.isascii() and value.isdigit() and 1 <= int(value) <= 300):
        raise SettingError(variable, value, "a whole number from 1 to 300")
    return timedelta(seconds=int(value))

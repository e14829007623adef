"""Reading a service's environment: each function checks a variable, or names it with what is allowed.

All raise `SettingError`.
"""

import re
from collections.abc import Mapping
from datetime import timedelta

from shared.errors import SettingError

ORIGIN = r"(https://(?!\S*:443$)|http://(?!\S*:80$))[a-z0-9.-]+(:\d{1,5})?|[a-z]+-extension://[a-z0-9-]+"
"""What a browser sends as `Origin` for a page with a host, or for an extension (RFC 6454, 6.2)."""


def text(environment: Mapping[str, str], variable: str, default: str = "") -> str:
    """The variable's value; an empty variable is an unset one."""
    return environment.get(variable, "").strip() or default


def url(environment: Mapping[str, str], variable: str) -> str | None:
    """An https:// address, or one on this machine, without a slash at its end."""
    value = text(environment, variable)
    if value and not value.startswith(("https://", "http://127.0.0.1:", "http://localhost:")):
        raise SettingError(variable, value, "an https:// address, or one on this machine")
    return value.rstrip("/") or None


def listed(environment: Mapping[str, str], variable: str) -> frozenset[str]:
    """What stands between commas."""
    return frozenset(filter(None, (each.strip() for each in text(environment, variable).split(","))))


def accounts(environment: Mapping[str, str], variable: str) -> frozenset[str]:
    """Addresses of Google accounts, between commas."""
    found = listed(environment, variable)
    for each in found:
        if not all(each.partition("@")) or " " in each:
            value = text(environment, variable)
            raise SettingError(variable, value, "addresses of Google accounts, separated by commas")
    return found


def origins(environment: Mapping[str, str], variable: str) -> frozenset[str]:
    """Origins of web pages and extensions, between commas. `*` is none: a page that nobody named could use
    what its visitor is signed in with."""
    found = listed(environment, variable)
    for each in found:
        if not re.fullmatch(ORIGIN, each):
            raise SettingError(
                variable,
                text(environment, variable),
                "origins as browsers send them, separated by commas, such as https://shop.example: a scheme "
                "and a host in small letters, a port only where it is not the usual one, no path, no *",
            )
    return found


def number(environment: Mapping[str, str], variable: str, default: int, low: int, high: int) -> int:
    """A whole number."""
    value = text(environment, variable, str(default))
    if not (value.isascii() and value.isdigit() and len(value) < 20 and low <= int(value) <= high):
        raise SettingError(variable, value, f"a whole number from {low} to {high}")
    return int(value)


def host(environment: Mapping[str, str], variable: str) -> str | None:
    """An emulator's address, as host:port."""
    value = text(environment, variable)
    name, _, port = value.rpartition(":")
    if value and (not name or "/" in value or not (port.isascii() and port.isdigit())):
        raise SettingError(variable, value, "host:port, such as 127.0.0.1:8085")
    return value or None


def deadline(environment: Mapping[str, str], variable: str) -> timedelta:
    """How long a request may take: from 1 second to 300; 20 by default."""
    return timedelta(seconds=number(environment, variable, 20, 1, 300))


def emulated(environment: Mapping[str, str]) -> bool:
    """Whether `FIREBASE_AUTH_EMULATOR_HOST` is set: then firebase-admin takes tokens that nobody signed.

    `K_SERVICE` names the service that runs: Cloud Run sets it (container runtime contract, 2026-11).
    """
    host, service = environment.get("FIREBASE_AUTH_EMULATOR_HOST"), text(environment, "K_SERVICE")
    if host and service:
        raise SettingError(
            "FIREBASE_AUTH_EMULATOR_HOST",
            host,
            f"not set on Cloud Run (K_SERVICE={service!r}): with it, anybody may sign in as anybody",
        )
    return bool(host)

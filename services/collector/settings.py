"""The collector's own environment, read once into one frozen object."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal, cast

from shared.api_keys import HIGHEST_RATE
from shared.errors import SettingError
from shared.http import reading
from shared.http.identity import Tokens
from shared.schemas import self_written
from shared.settings import Settings

Mode = Literal["queue", "direct"]
MODES = ("queue", "direct")


@dataclass(frozen=True, slots=True)
class CollectorSettings:
    """What the environment says. Build it with `from_environment`."""

    books: Settings
    """What every part of Libra reads: project, database, declarations."""
    tokens: Tokens
    """`LIBRA_COLLECTOR_AUDIENCE`, this service's URL; `LIBRA_COLLECTOR_ACCOUNTS`, the Google accounts that
    may send."""
    mode: Mode = "queue"
    """`LIBRA_COLLECTOR_MODE`: whether events go to Pub/Sub, or are counted before the answer."""
    origins: frozenset[str] = frozenset()
    """`LIBRA_COLLECTOR_ORIGINS`: the origins of web pages and extensions that may send from a browser."""
    signed_in: frozenset[str] = frozenset()
    """`LIBRA_COLLECTOR_SIGNED_IN`: the sources that anyone signed in to Firebase may send to."""
    rate: int = 1_000
    """`LIBRA_COLLECTOR_RATE`: events a second that an instance takes of a caller whose key says no other."""
    deadline: timedelta = timedelta(seconds=20)
    """`LIBRA_COLLECTOR_DEADLINE_SECONDS`: how long a request may take before it is answered with 504."""
    pubsub_host: str | None = None
    """`PUBSUB_EMULATOR_HOST`, as `host:port`; None: the real service."""
    emulated: bool = False
    """Whether `FIREBASE_AUTH_EMULATOR_HOST` is set: then firebase-admin takes tokens that nobody signed."""

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> "CollectorSettings":
        """Read and check every variable.

        Raises:
            SettingError: naming the first variable that cannot be used, its value and what is allowed.
        """
        books = Settings.from_environment(environment)
        mode = reading.text(environment, "LIBRA_COLLECTOR_MODE", "queue")
        if mode not in MODES:
            raise SettingError("LIBRA_COLLECTOR_MODE", mode, f"one of {', '.join(MODES)}")
        signed_in = reading.listed(environment, "LIBRA_COLLECTOR_SIGNED_IN")
        known = self_written(books)
        if not signed_in <= set(known):
            found = reading.text(environment, "LIBRA_COLLECTOR_SIGNED_IN")
            allowed = f"names of sources, separated by commas, of {', '.join(known)}"
            raise SettingError("LIBRA_COLLECTOR_SIGNED_IN", found, allowed)
        return cls(
            books=books,
            tokens=Tokens(
                books.project,
                audience=reading.url(environment, "LIBRA_COLLECTOR_AUDIENCE"),
                accounts=reading.accounts(environment, "LIBRA_COLLECTOR_ACCOUNTS"),
                audience_variable="LIBRA_COLLECTOR_AUDIENCE",
                accounts_variable="LIBRA_COLLECTOR_ACCOUNTS",
            ),
            mode=cast("Mode", mode),
            origins=reading.origins(environment, "LIBRA_COLLECTOR_ORIGINS"),
            signed_in=signed_in,
            rate=reading.number(environment, "LIBRA_COLLECTOR_RATE", 1_000, 1, HIGHEST_RATE),
            deadline=reading.deadline(environment, "LIBRA_COLLECTOR_DEADLINE_SECONDS"),
            pubsub_host=_queue(environment, books) if mode == "queue" else None,
            emulated=reading.emulated(environment),
        )


def _queue(environment: Mapping[str, str], books: Settings) -> str | None:
    """Where Pub/Sub is. A Firestore that is an emulator and a Pub/Sub that is not would mix two worlds."""
    host = reading.host(environment, "PUBSUB_EMULATOR_HOST")
    if books.emulator_host and host is None:
        allowed = (
            "host:port of the emulator, because FIRESTORE_EMULATOR_HOST is set too; "
            "LIBRA_COLLECTOR_MODE=direct does without"
        )
        raise SettingError("PUBSUB_EMULATOR_HOST", "", allowed)
    return host

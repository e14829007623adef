"""The worker's own environment, read once into one frozen object."""

from collections.abc import Mapping
from dataclasses import dataclass

from shared.errors import SettingError
from shared.settings import Settings

MOST_MESSAGES = 10_000
"""What an intake lets wait (`shared.grouping`)."""


@dataclass(frozen=True, slots=True)
class WorkerSettings:
    """What the environment says. Build it with `from_environment`."""

    books: Settings
    """What every part of Libra reads: project, database, declarations, groups."""
    messages: int = 1_000
    """`LIBRA_WORKER_MESSAGES`: the most messages of a source that are under way in this process."""

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> "WorkerSettings":
        """Read and check every variable.

        Raises:
            SettingError: naming the first variable that cannot be used, its value and what is allowed.
        """
        books = Settings.from_environment(environment)
        pubsub = environment.get("PUBSUB_EMULATOR_HOST", "").strip()
        if bool(pubsub) != bool(books.emulator_host):
            allowed = (
                "set exactly if FIRESTORE_EMULATOR_HOST is: one is an emulator, and the other one is not"
            )
            raise SettingError("PUBSUB_EMULATOR_HOST", pubsub, allowed)
        return cls(books, _messages("LIBRA_WORKER_MESSAGES", environment.get("LIBRA_WORKER_MESSAGES", "")))


def _messages(variable: str, value: str) -> int:
    found = value.strip() or "1000"
    if not (found.isascii() and found.isdigit() and 1 <= int(found) <= MOST_MESSAGES):
        raise SettingError(variable, found, f"a whole number from 1 to {MOST_MESSAGES}")
    return int(found)

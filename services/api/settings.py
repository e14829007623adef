"""The API's own environment, read once into one frozen object."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

from services.api.usage import VARIABLE
from shared.http import reading
from shared.http.identity import Tokens
from shared.settings import Settings


@dataclass(frozen=True, slots=True)
class ApiSettings:
    """What the environment says. Build it with `from_environment`."""

    books: Settings
    """What every part of Libra reads: project, database, declarations."""
    tokens: Tokens
    """`LIBRA_API_AUDIENCE`, this API's URL; `LIBRA_API_OPERATORS`, the Google accounts that are operators."""
    recompute_url: str | None = None
    """`LIBRA_API_RECOMPUTE_URL`: where the recompute answers; None: the API starts no run."""
    origins: frozenset[str] = frozenset()
    """`LIBRA_API_ORIGINS`: the origins whose web pages may ask from a browser."""
    deadline: timedelta = timedelta(seconds=20)
    """`LIBRA_API_DEADLINE_SECONDS`: how long a request may take before it is answered with 504."""
    postgres_url: str | None = None
    """`LIBRA_POSTGRES_URL`: where usage is booked; None: the API reads none. It holds a password."""
    emulated: bool = False
    """Whether `FIREBASE_AUTH_EMULATOR_HOST` is set: then firebase-admin takes tokens that nobody signed."""

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> "ApiSettings":
        """Read and check every variable.

        Raises:
            SettingError: naming the first variable that cannot be used, its value and what is allowed.
        """
        books = Settings.from_environment(environment)
        return cls(
            books=books,
            recompute_url=reading.url(environment, "LIBRA_API_RECOMPUTE_URL"),
            tokens=Tokens(
                books.project,
                audience=reading.url(environment, "LIBRA_API_AUDIENCE"),
                accounts=reading.accounts(environment, "LIBRA_API_OPERATORS"),
                audience_variable="LIBRA_API_AUDIENCE",
                accounts_variable="LIBRA_API_OPERATORS",
            ),
            origins=reading.origins(environment, "LIBRA_API_ORIGINS"),
            deadline=reading.deadline(environment, "LIBRA_API_DEADLINE_SECONDS"),
            postgres_url=environment.get(VARIABLE, "").strip() or None,
            emulated=reading.emulated(environment),
        )

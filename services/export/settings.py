"""The job's own environment, read once into one frozen object."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import get_args

from shared.catalog import sources
from shared.errors import SettingError
from shared.exports.tables import What
from shared.settings import Settings

PLACES = ("bigquery:", "gs://", "postgres:")
"""Where a job may write. A folder would go with its disk."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """One snapshot that is wanted."""

    source: str
    what: What


@dataclass(frozen=True, slots=True)
class ExportSettings:
    """What the environment says. Build it with `from_environment`."""

    books: Settings
    """What every part of Libra reads: project, database, declarations."""
    place: str
    """`LIBRA_EXPORT`: bigquery:DATASET, gs://BUCKET[/FOLDER], postgres or postgres:SCHEMA."""
    wanted: tuple[Wanted, ...]
    """`LIBRA_EXPORT_WHAT`: SOURCE-totals and SOURCE-entries, by commas; the totals of `libra` by default."""

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> "ExportSettings":
        """Read and check every variable.

        Raises:
            SettingError: naming the first variable that cannot be used, its value and what is allowed.
        """
        books = Settings.from_environment(environment)
        place = environment.get("LIBRA_EXPORT", "").strip()
        if not f"{place}:".startswith(PLACES):
            raise SettingError(
                "LIBRA_EXPORT", place, "bigquery:DATASET, gs://BUCKET[/FOLDER], postgres or postgres:SCHEMA"
            )
        known = {
            f"{source}-{what}": Wanted(source, what) for source in sources(books) for what in get_args(What)
        }
        listed = environment.get("LIBRA_EXPORT_WHAT", "").strip() or "libra-totals"
        names = [each.strip() for each in listed.split(",")]
        if unknown := [each for each in names if each not in known]:
            raise SettingError("LIBRA_EXPORT_WHAT", unknown[0], f"of {', '.join(known)}, by commas")
        return cls(books, place, tuple(known[each] for each in dict.fromkeys(names)))
